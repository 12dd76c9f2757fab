"""Shards, and the guard that keeps test people out of training."""

import numpy as np
import pytest

from streamheal.errors import ConfigError
from streamheal.train import data
from streamheal.train.occluders import MEAN68
from tests.train.faces import portraits, write_data, write_shard


@pytest.fixture
def folder(tmp_path):
    return write_data(tmp_path / "data")


def test_pictures_come_back_as_they_were_packed(folder, tmp_path):
    faces = data.load(data.training_shards(folder, ["faces128-train-00"]), tmp_path / "cache")
    assert len(faces) == 8
    assert np.array_equal(faces.pictures(np.array([5, 2])), portraits(8, 1)[[5, 2]])
    assert faces.landmarks.shape == (8, 68, 2)
    assert list(faces.identities[:3]) == ["ada", "ada", "bob"]


def test_several_shards_stand_in_a_row(folder, tmp_path):
    write_shard(folder, "faces128-train-01", ["", "", ""], 9)
    paths = data.training_shards(folder, ["faces128-train-00", "faces128-train-01"])
    faces = data.load(paths, tmp_path / "cache")
    assert np.array_equal(faces.pictures(np.array([9, 0])), np.stack([portraits(3, 9)[1], portraits(8, 1)[0]]))


def test_decoding_is_done_once(folder, tmp_path):
    paths = data.shards(folder, ["faces128-val"])
    data.load(paths, tmp_path / "cache")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    data.load(paths, tmp_path / "cache")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == before
    assert len(before) == 1


@pytest.mark.parametrize("name", ["faces128-test-lfw", "faces128-val"])
def test_what_is_kept_aside_is_never_trained_on(folder, name):
    with pytest.raises(ConfigError, match=f"{name}.zip: kept aside"):
        data.training_shards(folder, ["faces128-train-00", name])


def test_a_test_person_under_a_training_name_is_refused(folder):
    write_shard(folder, "faces128-train-01", ["eve", ""], 5)
    with pytest.raises(ConfigError, match="eve: named both in training shards and in faces128-test-lfw"):
        data.training_shards(folder, ["faces128-train-01"])


def test_a_missing_shard_names_those_that_are_there(folder):
    with pytest.raises(ConfigError, match=r"faces128-train-07.zip not found.*faces128-train-00.zip"):
        data.training_shards(folder, ["faces128-train-07"])


def test_a_name_that_says_no_role_is_refused(folder):
    with pytest.raises(ConfigError, match="must hold -train-"):
        data.role(folder / "faces128.zip")


def test_mirrored_landmarks_keep_their_meaning():
    mirrored = MEAN68[data.FLIP68] * [-1, 1] + [127, 0]
    assert np.abs(mirrored - MEAN68).max() < 4  # a mean face is almost symmetric about the template's middle
    assert sorted(data.FLIP68) == list(range(68))
