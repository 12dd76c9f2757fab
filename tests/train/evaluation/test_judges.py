"""Judges of looks and of geometry, with made-up weights in the real ones' layout, and with those where they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.train.evaluation import judge_landmarks, lpips
from streamheal.train.evaluation.judge_landmarks import LandmarkJudge
from streamheal.train.evaluation.lpips import LpipsJudge
from streamheal.train.samples.occluders import MEAN68
from tests.train.faces import portraits

SHARED = Path(__file__).parents[4] / "shared"


def needs(file: str):
    return pytest.mark.skipif(not (SHARED / "weights" / file).is_file(), reason="needs the weights beside the checkout")


@pytest.fixture(scope="module")
def faces():
    return torch.from_numpy(portraits(3)).permute(0, 3, 1, 2).float() / 255


def alexnet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(),
    )  # fmt: skip


def test_lpips_is_the_weighted_distance_of_unit_features(faces, tmp_path):
    torch.manual_seed(0)
    (tmp_path / "weights").mkdir()
    network = alexnet()
    tensors = {f"features.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"lpips.lin{i}.weight": torch.rand(1, w, 1, 1) for i, w in enumerate((64, 192, 384, 256, 256))}
    weights.save(tmp_path / "weights" / lpips.FILE, tensors, {})
    said, _ = weights.load(tmp_path / "weights" / lpips.FILE)
    network.load_state_dict({name[9:]: value for name, value in said.items() if name.startswith("features")})
    output, expected = faces.flip(3), 0
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = (((x * 2 - 1).movedim(1, 3) - shift) / scale for x in (output, faces))
    a, b = a.movedim(3, 1), b.movedim(3, 1)
    with torch.inference_mode():
        for i, end in enumerate((2, 5, 8, 10, 12)):
            x, y = (nn.functional.normalize(network[:end](z), dim=1) for z in (a, b))
            expected += ((x - y) ** 2 * said[f"lpips.lin{i}.weight"]).sum(1).mean((1, 2))
    judge = LpipsJudge(tmp_path / "data")
    assert judge(output, faces) == pytest.approx(expected.numpy(), rel=1e-3)
    assert judge(faces, faces) == pytest.approx(0)
    with pytest.raises(ValueError, match="at least 35 px"):
        judge(faces[..., :16, :16], faces[..., :16, :16])


@needs(lpips.FILE)
def test_lpips_of_the_real_weights_knows_blur_from_brightness(faces):
    judge = LpipsJudge(SHARED / "data")
    blurred = nn.functional.avg_pool2d(faces, 5, 1, 2)
    assert (judge(blurred, faces) > 2 * judge(faces + (blurred - faces).abs().mean(), faces)).all()


def made_up_landmark_weights() -> dict[str, torch.Tensor]:
    """All zero but the bias of the last layer: every face has the same points, MEAN68 in the judge's square."""
    widths, tensors = (3, 32, 64, 128, 256), {}
    for stage in range(4):
        for number in range(4):
            inside, outside = widths[stage + (number > 0)], widths[stage + 1]
            name = f"dense{stage}.conv{number}"
            tensors[f"{name}.bias"] = torch.zeros(outside)
            if stage == number == 0:
                tensors[f"{name}.filters"] = torch.zeros(3, 3, inside, outside)
            else:
                tensors[f"{name}.depthwise_filter"] = torch.zeros(3, 3, inside, 1)
                tensors[f"{name}.pointwise_filter"] = torch.zeros(1, 1, inside, outside)
    left, top, side = judge_landmarks.SQUARE
    points = (torch.from_numpy(MEAN68).float() - torch.tensor([left, top])) / side
    return tensors | {"fc.weights": torch.zeros(256, 136), "fc.bias": points.flatten()}


def test_landmarks_are_pixels_of_whatever_picture_is_given(faces, tmp_path):
    (tmp_path / "weights").mkdir()
    weights.save(tmp_path / "weights" / judge_landmarks.FILE, made_up_landmark_weights(), {})
    judge = LandmarkJudge(tmp_path / "data")
    assert judge(faces) == pytest.approx(np.tile(MEAN68, (3, 1, 1)), abs=0.1)
    larger = nn.functional.interpolate(faces, (256, 256))
    assert judge(larger)[0] == pytest.approx((MEAN68 + 0.5) * 2 - 0.5, abs=0.2)  # pixel centres at whole numbers


@needs(judge_landmarks.FILE)
def test_the_real_judge_follows_a_face_that_moves(faces):
    judge = LandmarkJudge(SHARED / "data")
    moved = judge(faces.roll((2, 3), (2, 3))) - judge(faces)
    assert np.median(moved, (0, 1)) == pytest.approx([3, 2], abs=1.5)
    mirrored = judge(faces.flip(3)) * [-1, 1] + [127, 0]
    assert np.abs(mirrored[:, 36] - judge(faces)[:, 45]).mean() < 3


@pytest.mark.parametrize("judge", [LpipsJudge, LandmarkJudge])
def test_missing_weights_say_where_they_belong(judge, tmp_path):
    with pytest.raises(ConfigError, match=r"weights/.*safetensors"):
        judge(tmp_path / "data")
