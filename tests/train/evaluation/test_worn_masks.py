"""The judge of masks that people wear counts faces, each at its own size."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from streamheal.faces.alignment import TEMPLATE
from streamheal.train.evaluation.judge_occlusion import worn_masks
from streamheal.train.samples.worn_masks import WornMasks, marked

SIDES = np.array([16, 16, 100])


class Below:
    """A segmenter that holds everything below the eyes to be hidden, and remembers what sizes it saw."""

    config = SimpleNamespace(size=64)

    def __init__(self):
        self.sizes = []

    def visible(self, pictures: torch.Tensor) -> torch.Tensor:
        size = pictures.shape[-1]
        self.sizes.append(size)
        return (torch.arange(size).view(1, 1, size, 1) < size * 0.48).float().expand(len(pictures), 1, size, size)


def test_a_part_counts_as_hidden_by_most_of_what_is_known_of_it():
    masked = np.array([True, False, True])
    known = np.stack(
        [marked(TEMPLATE, mask, covered) for mask, covered in zip(masked, [[], [], ["eyes"]], strict=True)]
    )
    crowds, segmenter = WornMasks(np.zeros((3, 128, 128, 3), np.uint8), known, masked, SIDES), Below()
    table = worn_masks(segmenter, crowds)
    assert segmenter.sizes == [16, 16, 64]
    small, large = table.rows
    assert small[0] == "8 to 23 px (1, 1, 2)"
    assert [cell["mean"] for cell in small[1:]] == pytest.approx([1, 1, 0])
    assert large[0] == "48 to 128 px (1, 0, 0)"
    assert large[1]["mean"] == 1
    assert large[2:] == ["–", "–"]
