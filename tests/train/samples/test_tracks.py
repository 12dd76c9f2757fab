"""Tracks from photographs: exact motion, one clean face in all frames, and what each kind of track promises."""

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal.networks.warping import warp
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.codec import through_h264
from streamheal.train.samples.degradation import shrink
from streamheal.train.samples.tracks import KINDS, draw_track


@pytest.fixture(scope="module")
def bank() -> Bank:
    return Bank.draw(0, 2)


def photographs(count: int = 3, side: int = 64) -> torch.Tensor:
    """Smooth pictures, as a warped one of noise is hard to compare."""
    small = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(small, (side, side), mode="bicubic", align_corners=False).clamp(0, 1)


def drawn(kind: str, bank: Bank, frames: int = 5, seed: int = 1, **more):
    return draw_track(kind, photographs(), None, bank, torch.Generator().manual_seed(seed), frames=frames, **more)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_has_its_shapes_and_ranges(self, kind, bank):
        tracks = drawn(kind, bank)
        assert tracks.lr.shape == (3, 5, 3, 16, 16)
        assert tracks.visible.shape == (3, 5, 1, 16, 16)
        assert tracks.true.shape == (3, 5, 3, 64, 64)
        for values in (tracks.lr, tracks.visible, tracks.true):
            assert values.min() >= 0
            assert values.max() <= 1

    def test_is_the_same_for_the_same_seed(self, kind, bank):
        one, again, other = drawn(kind, bank), drawn(kind, bank), drawn(kind, bank, seed=2)
        assert torch.equal(one.lr, again.lr)
        assert torch.equal(one.maps, again.maps)
        assert not torch.equal(one.lr, other.lr)

    def test_begins_with_the_photograph_itself(self, kind, bank):
        tracks = drawn(kind, bank)
        assert torch.equal(tracks.true[:, 0], photographs())
        assert torch.equal(tracks.maps[:, 0], torch.eye(2, 3).expand(3, 2, 3))

    def test_its_maps_lead_to_where_each_frame_shows_the_same_place(self, kind, bank):
        tracks = drawn(kind, bank)
        back = warp(tracks.true.flatten(0, 1), tracks.maps.flatten(0, 1)).unflatten(0, (3, 5))
        inner = (back - photographs()[:, None])[..., 12:-12, 12:-12]
        assert inner.abs().max() < 0.03
        assert (tracks.true - photographs()[:, None])[:, 1:, :, 12:-12, 12:-12].abs().max() > 0.1

    def test_of_a_living_face_begins_with_the_photograph_and_then_strays(self, kind, bank):
        tracks = drawn(kind, bank, alive=12.0)
        assert torch.equal(tracks.true[:, 0], photographs())
        assert tracks.lr.shape == (3, 5, 3, 16, 16)
        assert tracks.lr.isfinite().all()
        if kind == "moving":  # sharp and unoccluded where visible: nothing but the bend is between both
            still = shrink(tracks.true.flatten(0, 1), 16, "bicubic").unflatten(0, (3, 5)) * tracks.visible
            apart = (tracks.lr - still).abs().amax((2, 3, 4))
            assert apart[:, 0].max() == 0
            assert (apart[:, 1:] > 0.05).float().mean() > 0.7

    def test_one_frame_is_a_track(self, kind, bank):
        assert drawn(kind, bank, frames=1).lr.shape == (3, 1, 3, 16, 16)


def test_a_rectangle_of_one_size_passes_over(bank):
    visible = drawn("moving", bank).visible
    hidden = (1 - visible).sum((2, 3, 4))
    assert (hidden == hidden[:, :1]).all()
    assert ((hidden >= 16 * 16 / 16 * 0.7) & (hidden <= 16 * 16 / 4 * 1.3)).all()
    assert any(not torch.equal(visible[b, 0], visible[b, t]) for b in range(3) for t in range(1, 5))


def test_a_mask_stays_on_the_face(bank):
    tracks = drawn("mask", bank)
    back = warp(
        torch.nn.functional.interpolate(tracks.visible.flatten(0, 1), (64, 64), mode="bilinear"),
        tracks.maps.flatten(0, 1),
    ).unflatten(0, (3, 5))
    assert (back - back[:, :1]).abs().mean() < 0.06


def test_h264_changes_little_and_keeps_every_face_in_its_place():
    grey = photographs(5, 24).mean(1, keepdim=True)  # an encoder keeps a quarter of the colours alone
    tracks = grey[:, None].repeat(1, 4, 3, 1, 1)
    seen = through_h264(tracks, torch.Generator().manual_seed(0))
    assert seen.shape == tracks.shape
    assert 0.001 < (seen - tracks).abs().mean() < 0.06
    for face in range(5):
        errors = [(seen[face] - tracks[other]).abs().mean() for other in range(5)]
        assert errors.index(min(errors)) == face


def test_an_unknown_kind_is_refused(bank):
    with pytest.raises(ConfigError, match="no kind of track 'walk'; allowed: moving, mask, camera"):
        drawn("walk", bank)
