"""The student starts as its teacher: the same vectors on clean faces."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from streamheal.heal import networks
from streamheal.train import data
from streamheal.train.teacher import student_weights

SHARED = Path(__file__).parents[3] / "shared"


def write_teacher(path: Path) -> dict[str, torch.Tensor]:
    """Random weights in the teacher's layout (HWIO filters, an affine layer after each convolution)."""
    gen, said = torch.Generator().manual_seed(0), {}

    def conv(name: str, size: int, inside: int, outside: int) -> None:
        said[f"{name}.conv.filters"] = torch.randn(size, size, inside, outside, generator=gen) * 0.05
        for key in ("conv.bias", "scale.weights", "scale.biases"):
            said[f"{name}.{key}"] = torch.randn(outside, generator=gen)

    conv("conv32_down", 7, 3, 32)
    inside = 32
    for name, width, blocks in (("conv32", 32, 3), ("conv64", 64, 3), ("conv128", 128, 2), ("conv256", 256, 2)):
        pairs = [(f"{name}_{i + 1}", width) for i in range(blocks)]
        for block, first in [(f"{name}_down", inside), *pairs] if width != 32 else pairs:
            conv(f"{block}.conv1", 3, first, width)
            conv(f"{block}.conv2", 3, width, width)
        inside = width
    for part in ("conv1", "conv2"):
        conv(f"conv256_down_out.{part}", 3, 256, 256)
    said["fc"] = torch.randn(256, 128, generator=gen)
    save_file(said, path)
    return said


def test_all_weights_find_their_place_and_affine_layers_are_folded(tmp_path):
    said = write_teacher(tmp_path / "t.safetensors")
    network = networks.build("embedder")
    network.load_state_dict(student_weights(tmp_path / "t.safetensors", torch.zeros(128)))
    x = torch.rand(1, 3, 32, 32)
    plain = F.conv2d(x, said["conv32_down.conv.filters"].permute(3, 2, 0, 1), said["conv32_down.conv.bias"], 2)
    scaled = plain * said["conv32_down.scale.weights"].view(1, -1, 1, 1)
    torch.testing.assert_close(network.enter(x), scaled + said["conv32_down.scale.biases"].view(1, -1, 1, 1))


def test_the_common_part_is_taken_off(tmp_path):
    said, mean = write_teacher(tmp_path / "t.safetensors"), torch.linspace(-1, 1, 128)
    found = student_weights(tmp_path / "t.safetensors", mean)
    features = torch.rand(2, 256)
    torch.testing.assert_close(
        F.linear(features, found["project.weight"], found["project.bias"]), features @ said["fc"] - mean
    )


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="needs the data beside the checkout")
@torch.inference_mode()
def test_it_sees_what_the_real_teacher_saw(tmp_path):
    shard = SHARED / "data/faces128-test-cc0.zip"
    faces = data.load([shard], tmp_path)
    network = networks.build("embedder").eval()
    teacher = SHARED / "weights/teacher_dlib_resnet128.safetensors"
    network.load_state_dict(student_weights(teacher, torch.zeros(128)))
    pictures = torch.from_numpy(faces.pictures(np.arange(8))).permute(0, 3, 1, 2).float() / 255
    expected = F.normalize(torch.from_numpy(faces.teacher[:8]), dim=1)
    assert (network(pictures) * expected).sum(1).min() > 0.9995
