"""Shards, and the guard that keeps test people out of training."""

import zipfile

import numpy as np
import pytest

from streamheal.errors import ConfigError
from streamheal.train import data
from streamheal.train.samples.occluders import MEAN68
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


def test_pictures_may_be_of_256_px_with_landmarks_that_fit_them(tmp_path):
    small, large = (write_shard(tmp_path, f"faces{s}-train", ["ada", "", ""], 4, s) for s in (128, 256))
    faces, twice = (data.load([path], tmp_path / "cache") for path in (small, large))
    assert (faces.size, twice.size) == (128, 256)
    assert np.array_equal(twice.pictures(np.array([2, 0])), portraits(3, 4, 256)[[2, 0]])
    # A shard's file counts in pixels of the 128 px crop; the first centre of two pixels that were one lies at 0.5.
    assert np.allclose(twice.landmarks, faces.landmarks * 2 + 0.5, atol=1e-4)


def test_shards_of_different_sizes_do_not_mix(tmp_path):
    paths = [write_shard(tmp_path, f"faces{s}-train", ["", ""], 4, s) for s in (128, 256)]
    with pytest.raises(ConfigError, match=r"one size, got faces128-train.zip 128 px, faces256-train.zip 256 px"):
        data.load(paths, tmp_path / "cache")


def test_pictures_of_another_size_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="100 × 100, expected a square of 128 or 256 px"):
        data.load([write_shard(tmp_path, "faces100-train", [""], 4, 100)], tmp_path / "cache")


@pytest.mark.parametrize("file", ["landmarks68.npy", "teacher128.npy"])
def test_a_shard_without_landmarks_or_embeddings_is_refused_by_name(folder, tmp_path, file):
    with zipfile.ZipFile(folder / "faces128-val.zip") as archive:
        entries = {name: archive.read(name) for name in archive.namelist() if name != file}
    with zipfile.ZipFile(folder / "faces128-val.zip", "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(ConfigError, match=f"faces128-val.zip: no {file} in it; make the shard with"):
        data.load([folder / "faces128-val.zip"], tmp_path / "cache")


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
