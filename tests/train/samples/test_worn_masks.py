"""Faces of crowds that wear a mask or not: what is known of them, and that it teaches the segmenter."""

import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures

from streamheal.errors import ConfigError
from streamheal.faces.alignment import TEMPLATE
from streamheal.heal import networks
from streamheal.train import tasks
from streamheal.train.detector import scenes
from streamheal.train.recipe import Stage
from streamheal.train.samples import worn_masks
from streamheal.train.samples.worn_masks import HIDDEN, OPEN, VISIBLE, WornMasks, marked
from streamheal.train.task import Context
from tests.heal.networks.sample import SMALL
from tests.train.detector.test_training import FACE, POINTS, SHARED
from tests.train.tasks import stages

MOUTH, LEFT_EYE, BROW = (92, 64), (51, 46), (20, 64)  # row, column of the canonical template
KINDS = ("with_mask", "con_mascarilla", "without_mask", "sin_mascarilla", "mask_weared_incorrect")


def photograph(masked: bool) -> bytes:
    """The astronaut, or her behind a white mask."""
    picture, file = pictures.astronaut(), io.BytesIO()
    if masked:
        picture[116:175, 190:258] = 235
    Image.fromarray(picture).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def crowd(tmp_path, monkeypatch):
    """A folder with one photograph for each of KINDS, all of the astronaut; the teacher knows where her face is."""
    teacher = SimpleNamespace(found=(FACE[None], POINTS[None], np.ones(1, np.float32)))
    monkeypatch.setattr(scenes, "Teacher", lambda data: lambda image: teacher.found)
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), FACE.astype(int), strict=True))
    box = "".join(f"<{name}>{value}</{name}>" for name, value in corners.items())
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        for i, kind in enumerate(KINDS):
            archive.writestr(f"fmd/crowd{i}.jpg", photograph(masked=i < 2))
            xml = f"<annotation><object><name>{kind}</name><bndbox>{box}</bndbox></object></annotation>"
            archive.writestr(f"fmd/crowd{i}.xml", xml)
        archive.writestr("afw/nobody-said.jpg", photograph(masked=False))
    return tmp_path


class TestMarked:
    @pytest.mark.parametrize(("masked", "mouth"), [(True, HIDDEN), (False, VISIBLE)])
    def test_a_mask_hides_the_mouth_and_leaves_the_eyes(self, masked, mouth):
        known = marked(TEMPLATE, masked, [])
        assert (known[MOUTH], known[LEFT_EYE], known[BROW]) == (mouth, VISIBLE, OPEN)

    def test_what_something_else_covers_is_not_known(self):
        known = marked(TEMPLATE, False, ["mouth", "eyes"])
        assert (known == OPEN).all()
        assert marked(TEMPLATE, True, ["mouth"])[MOUTH] == HIDDEN  # a mask under a hand hides, too


class TestLoad:
    def test_faces_of_which_somebody_said_it_are_aligned_and_marked(self, crowd):
        found = WornMasks.load(crowd, "train")
        assert sorted(found.masked) == [False, False, True, True]
        assert found.pictures.shape == (4, 128, 128, 3)
        assert {int(known[MOUTH]) for known in found.known[found.masked]} == {HIDDEN}
        assert {int(known[MOUTH]) for known in found.known[~found.masked]} == {VISIBLE}
        assert (found.sides == found.sides[0]).all()
        assert 60 < found.sides[0] < 200

    def test_those_that_were_put_aside_by_eye_teach_nothing(self, crowd, monkeypatch):
        aside = crowd / "aside.json"
        aside.write_text('{"fmd/crowd2.jpg": {"mouth": [0]}}')
        monkeypatch.setattr(worn_masks, "_LABELS", aside)
        found = WornMasks.load(crowd, "train")
        assert sorted(int(known[MOUTH]) for known in found.known[~found.masked]) == [VISIBLE, OPEN]

    def test_the_parts_of_the_scenes_are_kept_apart(self, crowd, monkeypatch):
        monkeypatch.setattr(scenes, "part_of", lambda name: "test" if name == "fmd/crowd0.jpg" else "train")
        assert (len(WornMasks.load(crowd, "train")), len(WornMasks.load(crowd, "test"))) == (3, 1)

    def test_what_was_found_is_kept(self, crowd, monkeypatch):
        first = WornMasks.load(crowd, "train", crowd / "kept")
        monkeypatch.setattr(scenes, "Teacher", None)  # nobody is asked again
        again = WornMasks.load(crowd, "train", crowd / "kept")
        assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in WornMasks.__slots__)

    def test_other_labels_are_not_taken_for_it(self, crowd, monkeypatch):
        WornMasks.load(crowd, "train", crowd / "kept")
        aside = crowd / "aside.json"
        aside.write_text('{"fmd/crowd2.jpg": {"mouth": [0]}}')
        monkeypatch.setattr(worn_masks, "_LABELS", aside)
        assert (WornMasks.load(crowd, "train", crowd / "kept").known[..., MOUTH[0], MOUTH[1]] == OPEN).any()

    def test_without_scenes_it_says_what_to_do(self, crowd):
        with pytest.raises(ConfigError, match="none of its faces has a box that says con_mascarilla"):
            WornMasks.load(crowd, "tune")
        (crowd / "scenes.zip").unlink()
        with pytest.raises(ConfigError, match=r"no scenes at .*scenes\.zip.*worn: 0"):
            WornMasks.load(crowd, "train")


@pytest.mark.skipif(not (SHARED / "scenes.zip").is_file(), reason="no scenes beside the checkout")
def test_what_was_put_aside_is_there():
    with zipfile.ZipFile(SHARED / "scenes.zip") as archive:
        for name, parts in json.loads(worn_masks._LABELS.read_text()).items():
            boxes = scenes.voc_boxes(archive.read(name.replace(".jpg", ".xml")))
            assert parts.keys() <= {"eyes", "mouth", "sunglasses"}
            assert set(parts.get("sunglasses", [])) <= set(parts.get("eyes", []))
            assert max(max(rows) for rows in parts.values()) < len(boxes), name


def test_half_of_what_is_drawn_is_masked_and_marks_turn_with_the_picture():
    face = np.zeros((128, 128, 3), np.uint8)
    face[:, :64] = 255
    known = np.full((128, 128), OPEN, np.uint8)
    known[:, :64] = VISIBLE
    crowds = WornMasks(np.stack([face] * 3), np.stack([known] * 3), np.array([True, False, False]), np.full(3, 128))
    drawn, marks = crowds.draw(40, torch.Generator().manual_seed(0))
    assert drawn.shape == (40, 3, 128, 128)
    left = drawn[:, 0, 0, 0] == 1
    assert 8 < int(left.sum()) < 32
    assert torch.equal(marks[:, 0] == VISIBLE, drawn[:, 0] == 1)


@pytest.fixture
def task(crowd, tmp_path):
    base = stages.context(tmp_path / "faces")
    context = Context(base.bank, base.faces, SimpleNamespace(data_dir=crowd), tmp_path / "kept")
    return tasks.build("occlusion", {"worn": 4, "camera": 0.0}, context)


def test_of_the_eyes_nothing_is_taught(task):
    seen, visible, known = task.known_pairs(torch.Generator().manual_seed(0), 64)["worn"]
    assert seen.shape == (4, 3, 64, 64)
    assert not known[:, :, :32].any()
    assert known[:, :, 32:].flatten(1).any(1).all()
    assert sorted(float(face[here].mean()) for face, here in zip(visible, known, strict=True)) == [0, 0, 1, 1]


def test_the_segmenter_learns_from_them(task):
    torch.manual_seed(0)
    task.weights = {"visibility": 0.0, "worn": 1.0}
    network = networks.build("unet", SMALL["unet"])
    lost = stages.train(task, network, task.context.faces, Stage(), steps=25, rate=3e-3)
    assert lost[-1] < 0.8 * lost[0]
