"""Landmark maps against Gaussians worked out by hand."""

import math

import pytest
import torch

from streamheal.heal.networks.landmark_maps import peaks
from streamheal.train.samples import heatmaps


def test_a_landmark_on_a_cells_centre_peaks_at_one_there():
    # cell 10 of 64 covers pixels 20 and 21 of 128: its centre lies at 20.5
    maps = heatmaps.draw(torch.tensor([[[20.5, 40.5]]]), 128, 64)
    assert maps.shape == (1, 1, 64, 64)
    assert maps[0, 0, 20, 10] == 1  # rows are y
    assert maps[0, 0, 20, 12].item() == pytest.approx(math.exp(-4 / 2))
    assert maps[0, 0, 21, 11].item() == pytest.approx(math.exp(-2 / 2))


def test_sigma_is_in_cells():
    maps = heatmaps.draw(torch.tensor([[[20.5, 40.5]]]), 128, 64, sigma=2.0)
    assert maps[0, 0, 20, 12].item() == pytest.approx(math.exp(-4 / 8))


def test_each_row_and_landmark_has_its_own_map_and_comes_back():
    points = 4 + 120 * torch.rand(3, 68, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(peaks(heatmaps.draw(points, 128, 64), 128), points, atol=0.3, rtol=0)


@pytest.mark.parametrize("outside", [[-1.0, 50.0], [50.0, 127.6], [math.nan, 50.0], [1e9, -1e9]])
def test_a_landmark_outside_the_picture_leaves_its_map_empty(outside):
    maps = heatmaps.draw(torch.tensor([[outside, [64.0, 64.0]]]), 128, 32)
    assert maps[0, 0].abs().max() == 0
    assert maps[0, 1].max() > 0.7
