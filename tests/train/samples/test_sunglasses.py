"""Faces behind sunglasses: who they are, what is known of them, and that it teaches the segmenter."""

import json

import numpy as np
import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data, tasks
from streamheal.train.evaluation import judge_occlusion
from streamheal.train.recipe import Stage
from streamheal.train.samples import sunglasses
from streamheal.train.samples.occluders import MEAN68
from streamheal.train.samples.sunglasses import Sunglasses, shaded
from streamheal.train.samples.worn_masks import HIDDEN, OPEN, VISIBLE
from streamheal.train.task import Batch, Context
from tests.heal.networks.sample import SMALL
from tests.train.detector.test_training import SHARED
from tests.train.faces import write_shard
from tests.train.tasks import stages

EYE, MOUTH, BROW = (52, 46), (92, 64), (20, 64)  # row, column of the canonical template


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Of the shards "faces-train" and "other-test" some wear sunglasses."""
    path = tmp_path / "sunglasses.json"
    names = {"hidden": ["faces-train-001.webp", "faces-train-004.webp"], "doubtful": ["faces-train-006.webp"]}
    other = {"hidden": ["other-test-000.webp"], "doubtful": []}
    path.write_text(json.dumps({"faces-train": names, "other-test": other}))
    monkeypatch.setattr(sunglasses, "_LABELS", path)


@pytest.fixture
def context(tmp_path, listed) -> Context:
    return stages.context(tmp_path / "faces")


def test_who_is_listed_is_found_in_its_own_shard(context, tmp_path):
    found = Sunglasses.among(context.faces)
    assert (found.hidden.tolist(), found.doubtful.tolist()) == ([1, 4], [6])
    both = [*context.faces.shards, write_shard(tmp_path, "other-test", [""] * 2)]
    assert Sunglasses.among(data.load(both, tmp_path / "cache")).hidden.tolist() == [1, 4, 8]
    renamed = context.faces.shards[0].rename(tmp_path / "another-train.zip")
    assert not len(Sunglasses.among(data.load([renamed], tmp_path / "cache")).hidden)


def test_a_batch_of_bare_faces_has_none_of_them(context):
    batch = Batch.of(context.faces, np.arange(8), torch.Generator().manual_seed(0), mirror=False)
    bare = Sunglasses.among(context.faces).bare(batch)
    assert bare.indices.tolist() == [0, 2, 3, 5, 7]
    assert torch.equal(bare.pictures[1], batch.pictures[2])


def test_glasses_hide_the_eyes_and_leave_the_mouth():
    known = shaded(MEAN68)
    assert (known[EYE], known[MOUTH], known[BROW]) == (HIDDEN, VISIBLE, OPEN)


def test_only_hidden_eyes_are_drawn_and_marks_turn_with_the_face(context):
    found = Sunglasses.among(context.faces)
    drawn, known = found.draw(context.faces, 12, torch.Generator().manual_seed(0))
    own = torch.from_numpy(context.faces.pictures(found.hidden)).permute(0, 3, 1, 2) / 255
    for picture, marks in zip(drawn, known, strict=True):
        rows = [(i, flipped) for i in (0, 1) for flipped in (False, True)
                if torch.equal(picture, own[i].flip(2) if flipped else own[i])]  # fmt: skip
        ((i, flipped),) = rows
        points = torch.from_numpy(shaded(context.faces.landmarks[found.hidden[i]])).float()
        there = (points.flip(1) if flipped else points)[None]
        assert (marks.float() != there).float().mean() < 0.005  # a pixel's rounding at outlines


class TestTask:
    def test_the_segmenter_learns_from_them(self, context):
        torch.manual_seed(0)
        task = tasks.build("occlusion", {"sunglasses": 4, "camera": 0.0}, context)
        task.weights = {"visibility": 0.0, "sunglasses": 1.0}
        network = networks.build("unet", SMALL["unet"])
        lost = stages.train(task, network, context.faces, Stage(), steps=25, rate=3e-3)
        assert lost[-1] < 0.8 * lost[0]

    @pytest.mark.parametrize(("asked", "wanted"), [(4, [0, 2, 3]), (0, [0, 1, 2, 3])])
    def test_faces_with_sunglasses_pass_for_bare_ones_only_where_nobody_asked(self, asked, wanted, context):
        task, met = tasks.build("occlusion", {"sunglasses": asked}, context), []
        pair = task.pair
        task.pair = lambda batch, *rest: (met.extend(batch.indices), pair(batch, *rest))[1]
        stages.draw(task, networks.build("unet", SMALL["unet"]), context.faces, Stage())
        assert met == wanted

    def test_shards_without_any_say_what_to_do(self, tmp_path):
        task = tasks.build("occlusion", {"sunglasses": 4}, stages.context(tmp_path / "faces"))
        with pytest.raises(ConfigError, match=r"nobody in these shards is known to wear some.*`sunglasses: 0`"):
            task.known_pairs(torch.Generator(), 64)


def test_who_finds_no_eyes_hidden_is_told_so(context):
    class Sees(torch.nn.Module):
        def __init__(self, hides):
            super().__init__()
            self.hides = hides

        def visible(self, pictures):
            return torch.full_like(pictures[:, :1], 0.0 if self.hides else 1.0)

    for hides in (True, False):
        table = judge_occlusion.worn_sunglasses(Sees(hides), context.faces)
        assert table.note.startswith("2 test faces behind sunglasses")
        assert [[cell["mean"] for cell in row[1:]] for row in table.rows] == [[float(hides)] * 2] * 3


def test_where_nobody_wears_some_there_is_no_table(tmp_path):
    assert judge_occlusion.worn_sunglasses(None, stages.context(tmp_path / "faces").faces) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="no face shards beside the checkout")
def test_all_that_are_listed_are_there():
    for shard, kinds in json.loads(sunglasses._LABELS.read_text()).items():
        names = {row["name"] for row in data.read_index(SHARED / f"{shard}.zip")}
        assert set(kinds["hidden"]) <= names
        assert set(kinds["doubtful"]) <= names
        assert not set(kinds["hidden"]) & set(kinds["doubtful"])
