"""The judges of the priors give full marks to one who knows the answers, at every size."""

import numpy as np
import pytest
import torch

from streamheal.train import data
from streamheal.train.evaluation import judge_occlusion, judge_priors
from streamheal.train.samples import parsing_labels
from streamheal.train.samples.bank import Bank
from tests.train.faces import write_shard
from tests.train.tasks.test_parsing import add_labels, label_19


@pytest.fixture(autouse=True)
def small_bank(monkeypatch):
    bank = Bank.draw(0, 2)
    monkeypatch.setattr(judge_priors.Bank, "draw", lambda *_, **__: bank)
    monkeypatch.setattr(judge_occlusion, "PICTURES", 3)


def test_landmarks_are_compared_in_pixels_of_the_clean_picture(tmp_path):
    faces = data.load([write_shard(tmp_path, "faces128-test-lfw", [""] * 3)], tmp_path / "cache")
    wanted = torch.from_numpy(faces.landmarks[judge_occlusion.chosen(faces)])

    class Knows(torch.nn.Module):
        def points(self, pictures):
            return (wanted + 0.5) * (pictures.shape[-1] / 128) - 0.5

    tables, _, sheet = judge_priors.judge_landmarks(Knows(), tmp_path, tmp_path / "cache")
    *rows, mean_face = tables[0].rows
    assert {row[0] for row in rows} >= {"none", "medical", "hand"}
    assert max(cell["mean"] for row in rows for cell in row[1:]) < 0.01
    assert mean_face[1]["mean"] > 0.5
    assert sheet.shape[0] == 3


def test_parsing_is_compared_with_the_labels_class_by_class(tmp_path):
    shard = write_shard(tmp_path, "faces128-val", [""] * 4)
    add_labels(shard, {1: label_19(), 3: label_19()})
    label = parsing_labels.read([shard], 128)[1]
    shares = parsing_labels.shares(torch.from_numpy(label)[None])
    right = parsing_labels.shares(parsing_labels.strongest(shares, 64))

    def knows_all_but_an_eye(pictures):
        logits = right.clone()
        logits[:, 1] += 2 * logits[:, 4]  # the left eye is called skin
        return logits.expand(len(pictures), -1, -1, -1)

    tables, _, _ = judge_priors.judge_parsing(knows_all_but_an_eye, tmp_path, tmp_path / "cache")
    found = {row[0]: row[1]["mean"] for row in tables[0].rows}
    assert found["hair"] == found["right eye"] == 1
    assert found["left eye"] == 0
    assert 0.9 < found["skin"] < 1
    assert "nose" not in found  # nobody labelled one
    assert np.isclose(found["mean over the classes there"], np.mean([1, found["skin"], 0, 1, 1]))
