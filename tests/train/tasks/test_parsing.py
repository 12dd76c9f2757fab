"""The parser's labels are brought to its classes, flips swap left and right, and it learns from what is labelled."""

import io
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.face_parser import CLASSES
from streamheal.train import data, tasks
from streamheal.train.criteria.priors import Priors
from streamheal.train.recipe import Stage
from streamheal.train.samples import parsing_labels
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.occluders import MEAN68
from streamheal.train.samples.parsing_labels import UNKNOWN
from streamheal.train.task import Batch, Context
from tests.train.faces import FIELDS, write_shard
from tests.train.tasks import stages

SMALL = {"widths": [8, 12, 16]}


def picture_of(label: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(label).save(buffer, "PNG")
    return buffer.getvalue()


def add_labels(shard, labels: dict[int, np.ndarray]):
    """Write the shard again, with `labels` for some of its rows."""
    with zipfile.ZipFile(shard) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    lines = files["index.csv"].decode().splitlines()
    for row, label in labels.items():
        cells = lines[1 + row].split(",")
        cells[FIELDS.index("parsing")] = f"{row}.parsing.png"
        lines[1 + row] = ",".join(cells)
        files[f"{row}.parsing.png"] = picture_of(label)
    files["index.csv"] = "\n".join(lines).encode()
    with zipfile.ZipFile(shard, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def label_19() -> np.ndarray:
    """A face in CelebAMask-HQ's classes: skin on background, hair above, the person's left eye on the right."""
    label = np.zeros((128, 128), np.uint8)
    label[30:110, 20:108] = 1
    label[:30] = 13
    label[50:58, 72:88] = 4
    label[50:58, 40:56] = 5
    return label


@pytest.fixture
def shard(tmp_path):
    path = write_shard(tmp_path, "faces128-train-00", [""] * 6)
    add_labels(path, {2: label_19(), 5: label_19()})
    return path


def task_on(shard, tmp_path):
    faces = data.load([shard], tmp_path / "cache")
    return tasks.build("parsing", {}, Context(Bank.draw(0, 2), faces, Priors(tmp_path)))


class TestLabels:
    @pytest.mark.parametrize(
        ("theirs", "ours"),
        [
            (range(19), [0, 1, 6, UNKNOWN, 4, 5, 2, 3, 0, 0, 8, 7, 9, 10, 0, 0, 0, 0, 0]),
            ([4, 7, 8, 3], [CLASSES.index("left eye"), CLASSES.index("right brow"), 0, UNKNOWN]),
        ],
    )
    def test_nineteen_classes_become_eleven(self, tmp_path, theirs, ours):
        path = write_shard(tmp_path, "faces128-train-00", ["", ""])
        label = np.zeros((128, 128), np.uint8)
        label[0, : len(theirs)] = list(theirs)
        add_labels(path, {1: label})
        read = parsing_labels.read([path], 128)
        assert list(read) == [1]
        assert read[1][0, : len(ours)].tolist() == ours

    def test_rows_count_on_over_shards(self, shard):
        assert list(parsing_labels.read([shard, shard], 128)) == [2, 5, 8, 11]

    @pytest.mark.parametrize("label", [np.zeros((64, 64), np.uint8), np.full((128, 128), 19, np.uint8)])
    def test_a_label_of_another_kind_is_refused_with_its_name(self, shard, label):
        add_labels(shard, {0: label})
        with pytest.raises(ConfigError, match=r"0\.parsing\.png.*classes 0 to 18"):
            parsing_labels.read([shard], 128)

    def test_shares_and_labels_are_each_others_inverse(self):
        labels = torch.randint(0, 12, (2, 8, 8), dtype=torch.uint8)
        labels[labels == 11] = UNKNOWN
        assert torch.equal(parsing_labels.strongest(parsing_labels.shares(labels), 8), labels.long())


class TestOutlines:
    def test_each_feature_lies_round_its_landmarks(self):
        label = parsing_labels.outlines(MEAN68, 128, 64)
        for name, points in {
            "right eye": MEAN68[36:42],
            "left eye": MEAN68[42:48],
            "inner mouth": MEAN68[60:68],
            "nose": MEAN68[[27, 31, 35]],
        }.items():
            at = np.argwhere(label == CLASSES.index(name))[:, ::-1].mean(0)
            assert np.abs(at * 2 + 0.5 - points.mean(0)).max() < 3, name

    def test_what_may_be_hair_is_not_known(self):
        label = parsing_labels.outlines(MEAN68, 128, 64)
        assert (label[:4] == UNKNOWN).all()
        assert not np.isin(label, [CLASSES.index("hair"), CLASSES.index("background")]).any()

    def test_a_mirrored_face_has_mirrored_outlines_with_left_and_right_swapped(self):
        landmarks = MEAN68 + np.random.default_rng(0).normal(0, 1, (68, 2))
        other = landmarks[data.FLIP68] * [-1, 1] + [127, 0]
        plain, mirrored = (torch.from_numpy(parsing_labels.outlines(p, 128, 64))[None] for p in (landmarks, other))
        swapped = parsing_labels.shares(plain).flip(3)[:, parsing_labels.FLIP11]
        agree = (parsing_labels.strongest(swapped, 64) == mirrored).float().mean()
        assert agree > 0.97  # a polygon's border pixels are not drawn symmetrically


class TestTask:
    def test_a_mirrored_picture_has_its_left_eye_on_the_other_side(self, shard, tmp_path):
        task = task_on(shard, tmp_path)
        plain, mirrored = task.shares(torch.tensor([0, 0]), torch.tensor([False, True]))
        left, right = CLASSES.index("left eye"), CLASSES.index("right eye")
        assert plain[left].nonzero()[:, 1].float().mean() > 64 > mirrored[right].nonzero()[:, 1].float().mean()
        torch.testing.assert_close(mirrored[right], plain[left].flip(1))

    @pytest.mark.parametrize("labelled", [True, False])
    def test_lowers_its_loss_on_a_fixed_batch(self, labelled, shard, tmp_path):
        if not labelled:
            shard = write_shard(tmp_path, "faces128-train-01", [""] * 4)
        torch.manual_seed(0)
        task = task_on(shard, tmp_path)
        network = networks.build("face-parser", SMALL)
        lost = stages.train(task, network, task.faces, Stage(), steps=12, rate=3e-3)
        parts = stages.draw(task, network, task.faces, Stage()).parts
        assert lost[-1] < 0.9 * lost[0]
        assert set(parts) == ({"labels", "dice", "outlines"} if labelled else {"outlines"})

    @torch.inference_mode()
    def test_looks_at_the_labelled_faces(self, shard, tmp_path):
        task = task_on(shard, tmp_path)
        gen = torch.Generator().manual_seed(0)
        batch = Batch.of(task.faces, np.arange(4), gen, mirror=False)
        figures, sheet = task.look(networks.build("face-parser", SMALL).eval(), batch, gen)
        assert 0 <= figures["iou sharp"] < 1
        assert "iou sharp hair" in figures
        assert "iou sharp nose" not in figures  # no label has one
        assert sheet.shape == (3, 5 * 128, 2 * 128)
