"""From folders to shards, as a user calls it; and what `check` finds in sets that somebody has touched."""

import csv
import hashlib
import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from streamheal import weights
from streamheal.cli import app
from streamheal.errors import ConfigError
from streamheal.faces import alignment
from streamheal.records import ModelUsed
from streamheal.train import data, prepare
from streamheal.train.prepare import measure, near
from streamheal.train.prepare.align import five_of
from streamheal.train.prepare.check import problems
from streamheal.train.samples.occluders import MEAN68
from tests.train.prepare import folders

PEOPLE = ["7", "7", "8", "8", "9", "10", "10", "10"]
PARTS = [0, 0, 0, 0, 1, 2, 2, 0]  # the last picture of 10 lies in training by mistake


def mean_face(pictures: torch.Tensor) -> torch.Tensor:
    """Stands in for the landmark network: right to a few pixels on aligned faces."""
    return torch.from_numpy(np.tile(MEAN68, (len(pictures), 1, 1)))


LANDMARKS = measure.Landmarks(ModelUsed("landmarks", "mean-face", "0" * 64), mean_face)


@pytest.fixture(scope="module", autouse=True)
def landmarks():
    """The mean face in place of the shipped network, which tests may ask for by this fixture."""
    shipped = measure.landmarks
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "landmarks", lambda: LANDMARKS)
        yield shipped


@pytest.fixture(scope="module")
def celeba(tmp_path_factory):
    """A set with one photograph for each of many reasons."""
    folder = folders.celeba(tmp_path_factory.mktemp("photographs") / "celeba", PEOPLE, PARTS)
    place = folder / "img_align_celeba"
    picture, five = folders.lit(0)
    folders.save(place / "000901.jpg", picture[:, ::-1])  # 1, mirrored
    mirrored = (([178, 0] + five * [-1, 1])[[1, 0, 2, 4, 3]] - 0.5).round().astype(int).ravel()
    with (folder / "Anno/list_landmarks_align_celeba.txt").open("a") as file:
        file.write(f"000901.jpg {' '.join(map(str, mirrored))}\n")
    (place / "000902.jpg").write_bytes((place / "000003.jpg").read_bytes())
    (place / "000903.jpg").write_bytes((place / "000003.jpg").read_bytes()[:999])
    (folder / "Eval/list_eval_partition.txt").open("a").write("000901.jpg 0\n")
    return folder


@pytest.fixture(scope="module")
def made(celeba, tmp_path_factory):
    out = tmp_path_factory.mktemp("data")
    return out, prepare.prepare(celeba, out, shard_size=3)


def copy(made, tmp_path):
    for path in made[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def test_a_set_is_shards_a_list_and_a_manifest(made):
    out, manifest = made
    assert sorted(path.name for path in out.iterdir()) == [
        "faces128-celeba-test.zip", "faces128-celeba-train-00.zip", "faces128-celeba-train-01.zip",
        "faces128-celeba-val.zip", "faces128-celeba.manifest.json", "faces128-celeba.rejected.csv",
    ]  # fmt: skip
    assert manifest == json.loads((out / "faces128-celeba.manifest.json").read_text())
    assert manifest["splits"] == {
        "train": {"pictures": 4, "people": 2, "unnamed": 0},
        "val": {"pictures": 1, "people": 1, "unnamed": 0},
        "test": {"pictures": 2, "people": 1, "unnamed": 0},
    }
    assert manifest["counts"]["photographs"] == 11 and manifest["counts"]["packed"] == 7
    assert manifest["models"]["embedder"]["name"] == "embedder"
    assert problems(out) == {"faces128-celeba": []}


def test_training_reads_the_shards(made, tmp_path):
    out, _ = made
    paths = data.training_shards(out, ["faces128-celeba-train-00", "faces128-celeba-train-01"])
    faces = data.load(paths, tmp_path)
    assert len(faces) == 4 and faces.size == 128
    assert sorted(faces.identities) == ["celeba_7", "celeba_7", "celeba_8", "celeba_8"]
    assert faces.landmarks.shape == (4, 68, 2) and faces.teacher.shape == (4, 128)
    with zipfile.ZipFile(paths[0]) as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    row = data.read_index(paths[0])[0]
    assert list(row)[:8] == [
        "name", "source", "identity", "interocular", "sharpness", "score", "parsing", "licence",
    ]  # fmt: skip
    assert row["source"] == "celeba" and row["licence"] == "CelebA: non-commercial research"
    assert 35 < float(row["interocular"]) < 45 and row["file"].startswith("img_align_celeba/")


def test_each_photograph_left_out_is_listed_with_its_reason(made):
    out, manifest = made
    with (out / "faces128-celeba.rejected.csv").open() as file:
        rows = {row["file"].split("/")[1]: row for row in csv.DictReader(file)}
    assert {file: row["reason"] for file, row in rows.items()} == {
        "000008.jpg": "person in two splits",
        "000901.jpg": "duplicate",
        "000902.jpg": "duplicate",
        "000903.jpg": "unreadable picture",
    }
    assert rows["000902.jpg"]["detail"] == "the same file as img_align_celeba/000003.jpg"
    assert "shows what img_align_celeba/000001.jpg shows" in rows["000901.jpg"]["detail"]
    assert manifest["counts"]["rejected"] == {"duplicate": 2, "person in two splits": 1, "unreadable picture": 1}


def test_the_same_photographs_make_the_same_bytes(made, celeba, tmp_path):
    assert prepare.prepare(celeba, tmp_path, shard_size=3)["files"] == made[1]["files"]


def test_pictures_of_256_px_and_parsing_labels(tmp_path):
    folder = folders.celebamask_hq(tmp_path / "celebamask", 2)
    manifest = prepare.prepare(folder, tmp_path / "out", size=256, name="hq", least_interocular=40, split_by="1/0/0")
    assert manifest["splits"]["train"]["pictures"] == 2
    (shard,) = (tmp_path / "out").glob("*.zip")
    assert shard.name == "faces256-hq-train-00.zip"
    faces = data.load([shard], tmp_path / "cache")
    assert faces.size == 256
    assert np.abs(faces.landmarks - (MEAN68 * 2 + 0.5)).max() < 0.01
    rows = data.read_index(shard)
    assert [row["parsing"] for row in rows] == ["hq-000000.parsing.png", "hq-000001.parsing.png"]
    assert problems(tmp_path / "out") == {"faces256-hq": []}


def test_landmarks_of_the_data_set_are_packed_as_they_are(tmp_path):
    folder = folders.helen(tmp_path / "helen", 1, 0)
    prepare.prepare(folder, tmp_path / "out")
    faces = data.load(list((tmp_path / "out").glob("*.zip")), tmp_path / "cache")
    apart = np.linalg.norm(faces.landmarks[0] - MEAN68, axis=1)
    assert 0.1 < apart.mean() < 4  # the mean face where the detector put it, not where the template has it


def test_a_run_that_fails_leaves_nothing(celeba, tmp_path):
    def fail(pictures):
        raise RuntimeError("out of memory")

    broken = measure.Landmarks(LANDMARKS.model, fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        prepare.prepare(celeba, tmp_path / "out", landmarks=broken, limit=2)
    assert not list((tmp_path / "out").iterdir())


def test_what_a_killed_run_left_is_no_set_and_the_next_run_takes_its_place(made, celeba, tmp_path):
    (tmp_path / ".faces128-celeba.part").mkdir()
    (tmp_path / ".faces128-celeba.part/kept").write_bytes(b"half a picture")
    shard = tmp_path / "faces128-celeba-train-07.zip"  # it was killed while it moved them
    shard.write_bytes((made[0] / "faces128-celeba-train-00.zip").read_bytes())
    with pytest.raises(ConfigError, match="no whole set was prepared there"):
        problems(tmp_path)
    prepare.prepare(celeba, tmp_path, shard_size=3)
    assert not shard.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in made[0].iterdir())


def test_a_set_that_is_there_is_not_replaced(made, celeba):
    with pytest.raises(ConfigError, match=r"faces128-celeba.manifest.json says that this set is there already"):
        prepare.prepare(celeba, made[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 100}, "size 100: allowed are 128 and 256"),
        ({"name": "my-test-set"}, "without the words identity, test, train, val"),
        ({"name": "../up"}, "lower-case letters"),
        ({"shard_size": 0}, "must be at least 1"),
        ({"split_by": "all"}, "give TRAIN/VAL/TEST"),
        ({"least_interocular": 500}, r"no face to train on in .*: of 11 photographs, too small 9"),
    ],
)
def test_settings_that_can_not_be_are_refused(celeba, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        prepare.prepare(celeba, tmp_path, **settings)
    assert not list(tmp_path.iterdir())


def test_a_partition_is_not_asked_of_a_folder_that_has_none(tmp_path):
    folders.lfw(tmp_path / "lfw", {"Ada": 1})
    with pytest.raises(ConfigError, match=r"layout lfw of .* has no partition; give shares such as 90/5/5"):
        prepare.prepare(tmp_path / "lfw", tmp_path / "out", split_by="partition")


def test_a_changed_byte_is_found(made, tmp_path):
    path = copy(made, tmp_path) / "faces128-celeba-val.zip"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    (tmp_path / "faces128-celeba-test.zip").unlink()
    assert problems(tmp_path)["faces128-celeba"] == [
        "faces128-celeba-test.zip is missing",
        "faces128-celeba-val.zip is not the file that was made: its SHA-256 differs",
    ]


def rewrite(folder, shard: str, **files: bytes) -> None:
    """Other content in a shard, and a manifest that agrees with it."""
    path = folder / shard
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()} | files
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    target = folder / "faces128-celeba.manifest.json"
    manifest = json.loads(target.read_text())
    content = path.read_bytes()
    manifest["files"][shard] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    target.write_text(json.dumps(manifest))


def index_with(folder, shard: str, old: str, new: str) -> bytes:
    with zipfile.ZipFile(folder / shard) as archive:
        return archive.read("index.csv").replace(old.encode(), new.encode())


def test_a_person_in_two_splits_is_found_by_name(made, tmp_path):
    folder = copy(made, tmp_path)
    changed = index_with(folder, "faces128-celeba-test.zip", "celeba_10", "celeba_7")
    rewrite(folder, "faces128-celeba-test.zip", **{"index.csv": changed})
    assert problems(folder)["faces128-celeba"] == ["celeba_7: in train and in test"]


def test_a_person_in_two_splits_is_found_by_looks_where_no_name_tells(made, tmp_path):
    folder = copy(made, tmp_path)
    changed = index_with(folder, "faces128-celeba-val.zip", "celeba_9", "")
    rewrite(folder, "faces128-celeba-val.zip", **{"index.csv": changed})
    found = problems(folder)["faces128-celeba"]
    assert any("unnamed pictures of train and val look like the same person" in what for what in found), found


def test_a_person_in_two_splits_of_two_sets_is_found(made, tmp_path):
    folder = copy(made, tmp_path)
    lfw = folders.lfw(tmp_path / "photographs", {"celeba_10": 2})
    prepare.prepare(lfw, folder, name="more")
    assert problems(folder) == {
        "faces128-celeba": [],
        "faces128-more": ["celeba_10: in train here, in test in another set of the folder"],
    }


def test_arrays_and_pictures_of_another_shape_are_found(made, tmp_path):
    folder = copy(made, tmp_path)
    small = cv2.imencode(".webp", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    with zipfile.ZipFile(folder / "faces128-celeba-val.zip") as archive:
        name = archive.namelist()[0]
        array = archive.read("teacher128.npy")
    rewrite(folder, "faces128-celeba-val.zip", **{name: small, "landmarks68.npy": array})
    found = problems(folder)["faces128-celeba"]
    assert found[0] == f"faces128-celeba-val.zip: {name} is 64 × 64, expected 128"
    assert "landmarks68.npy has shape (1, 128)" in found[1]


def test_a_manifest_that_is_none_is_reported(tmp_path):
    (tmp_path / "faces128-x.manifest.json").write_text("[]")
    assert "can't be read" in problems(tmp_path)["faces128-x"][0]


def test_the_commands_say_what_came_of_it(tmp_path):
    folder = folders.lfw(tmp_path / "lfw", {"Ada": 2, "Bo": 1, "Cy": 1})
    (folder / "Bo/broken.jpg").write_text("no picture")
    out = tmp_path / "data"
    call = ["data", "prepare", str(folder), "--out", str(out), "--split", "50/25/25", "--layout", "lfw", "--limit", "9"]
    answer = CliRunner().invoke(app, call)
    assert answer.exit_code == 0, answer.output
    assert "4 of 5 photographs packed" in answer.output
    assert "unreadable picture" in answer.output
    assert "faces128-lfw.rejected.csv" in answer.output
    answer = CliRunner().invoke(app, ["data", "check", str(out)])
    assert (answer.exit_code, answer.output) == (0, "faces128-lfw: ok\n")
    (out / "faces128-lfw-val.zip").unlink()
    answer = CliRunner().invoke(app, ["data", "check", str(out)])
    assert (answer.exit_code, answer.output) == (1, "faces128-lfw: faces128-lfw-val.zip is missing\n")


@pytest.mark.skipif("fan-lite" not in weights.manifest(), reason="fan-lite doesn't ship yet")
def test_the_shipped_network_finds_the_landmarks(landmarks):
    picture, five = folders.lit(0)
    crop = alignment.resample(alignment.cut(picture, five, max_side=256).image, 256)
    network = landmarks()
    found = np.concatenate([network([crop]), network([alignment.resample(crop, 128)])])  # in px of 128 both times
    assert np.linalg.norm(five_of(found) + 0.5 - alignment.TEMPLATE, axis=2).mean() < 5
    assert np.abs(found[0] - found[1]).mean() < 1


def test_the_same_photograph_in_another_light_is_another_photograph():
    thumbs = np.array([near.thumb(folders.lit(seed)[0]) for seed in (0, 1)])
    close = np.zeros((2, 128), np.float32)
    assert near.doubles(close, thumbs, 0.37) == {}
    assert near.doubles(close, thumbs[[0, 0]], 0.37) == {1: 0}
    assert near.doubles(close, np.array([thumbs[0], thumbs[0][:, ::-1]]), 0.37) == {1: 0}


SHARED = Path(__file__).parents[4] / "shared"


@pytest.mark.skipif(not (SHARED / "data/faces128-test-cc0.zip").is_file(), reason="the shards are not here")
def test_real_portraits_stay_where_another_detector_aligned_them(tmp_path):
    shard = SHARED / "data/faces128-test-cc0.zip"
    with zipfile.ZipFile(shard) as archive:
        names = [row["name"] for row in data.read_index(shard) if float(row["interocular"]) > 30][:12]
        for name in names:
            archive.extract(name, tmp_path / "photographs")
    manifest = prepare.prepare(tmp_path / "photographs", tmp_path / "out", split_by="1/0/0")
    assert manifest["counts"] == {"photographs": 12, "packed": 12, "rejected": {}}
    (packed,) = (tmp_path / "out").glob("*.zip")
    alike = []
    with zipfile.ZipFile(packed) as archive:
        for row in data.read_index(packed):
            with Image.open(tmp_path / "photographs" / row["file"]) as before, archive.open(row["name"]) as after:
                thumbs = [near.thumb(np.asarray(picture.convert("RGB"))) for picture in (before, Image.open(after))]
            alike.append(np.corrcoef(thumbs[0].ravel(), thumbs[1].ravel())[0, 1])
            assert float(row["interocular"]) == pytest.approx(35.2, rel=0.25)  # the mean face of the template
    assert np.mean(alike) > 0.85  # a shift by 2 px costs 0.05
