"""Drawn occluders: seeded, fitted, and with 1 = visible."""

import numpy as np
import pytest
import torch

from streamheal.heal.networks.warping import warp
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.occluders import DRAWERS, MEAN68, RealThings, draw

NOTHING = RealThings()


@pytest.fixture(scope="module")
def bank():
    return Bank.draw(0, 4)


def pictures(count: int) -> torch.Tensor:
    return torch.full((count, 3, 128, 128), 0.5)


@pytest.mark.parametrize("kind", DRAWERS)
def test_the_same_seed_draws_the_same(kind):
    one, two, other = (draw(kind, np.random.default_rng(seed), NOTHING) for seed in (3, 3, 4))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert one.shape == (128, 128, 4)
    assert one.dtype == np.uint8


@pytest.mark.parametrize("kind", [kind for kind in DRAWERS if kind != "eyeglasses"])
def test_visible_is_1_where_the_picture_is_untouched(bank, kind):
    gen = torch.Generator().manual_seed(0)
    occluded, visible, _ = bank.occlude(pictures(6), None, gen, shares={kind: 1})
    untouched = (visible == 1).expand(-1, 3, -1, -1)
    assert torch.equal(occluded[untouched], pictures(6)[untouched])
    assert 0.02 < (1 - visible).mean() < 0.75


def test_clear_glasses_are_drawn_but_hide_nothing(bank):
    gen = torch.Generator().manual_seed(0)
    occluded, visible, _ = bank.occlude(pictures(4), None, gen, shares={"eyeglasses": 1})
    assert visible.min() == 1
    assert (occluded - 0.5).abs().max() > 0.05


def test_none_leaves_the_face_as_it_is(bank):
    gen = torch.Generator().manual_seed(0)
    occluded, visible, names = bank.occlude(pictures(4), None, gen, shares={"none": 1})
    assert torch.equal(occluded, pictures(4))
    assert visible.min() == 1
    assert set(names) == {"none"}


def test_the_same_generator_lays_the_same_occluders(bank):
    shares = {"medical": 1, "hand": 1, "none": 1}
    one, two = (bank.occlude(pictures(8), None, torch.Generator().manual_seed(5), shares=shares) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert one[2] == two[2]


def test_a_mask_goes_where_the_landmarks_are(bank):
    here = torch.from_numpy(MEAN68)[None].repeat(6, 1, 1)
    there = here - torch.tensor([0.0, 20.0])
    hidden = [
        1 - bank.occlude(pictures(6), points, torch.Generator().manual_seed(1), shares={"medical": 1})[1]
        for points in (here, there)
    ]
    rows = torch.arange(128.0).view(1, 1, -1, 1)
    middle = [float((map_ * rows).sum() / map_.sum()) for map_ in hidden]
    assert 17 < middle[0] - middle[1] < 23
    assert 75 < middle[0] < 105  # mouth and chin


def test_landmarks_that_make_no_sense_do_not_fling_the_mask_away(bank):
    wild = torch.rand(6, 68, 2) * 128
    _, visible, _ = bank.occlude(pictures(6), wild, torch.Generator().manual_seed(1), shares={"medical": 1})
    assert ((1 - visible).mean((1, 2, 3)) > 0.05).all()


def test_warping_by_a_shift_samples_there():
    layer = torch.zeros(1, 1, 128, 128)
    layer[..., 40, 50] = 1
    moved = warp(layer, torch.tensor([[[1.0, 0, 10], [0, 1, -5]]]))  # output px (40, 45) reads layer px (50, 40)
    assert moved[0, 0, 45, 40] == pytest.approx(1, abs=1e-4)
