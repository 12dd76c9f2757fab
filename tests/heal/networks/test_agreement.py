"""Back-projection: what a restored face lacks of that which its track's crops show."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from streamheal.heal.networks.agreement import Grid, Laid, Points, lacking
from streamheal.heal.networks.warping import compose, invert, near_identity, rescale, similarity, warp
from tests.heal.networks.test_track_fusion import face

SHIFTS = torch.tensor([[0.0, 0.0], [0.45, -0.3], [-0.4, 0.55], [0.3, 0.6], [-0.5, -0.45]])


def laid(size: int = 16, off: float = 0.0) -> Laid:
    """Five crops of the portrait, moved by fractions of a pixel; `off`: px by which maps but the first err."""
    pixel = 128 / size
    there = similarity(angle=torch.zeros(5), scale=torch.ones(5), shift=SHIFTS * pixel, side=128)
    shown = warp(face().expand(5, -1, -1, -1), invert(there), mode="bicubic")
    crops = F.interpolate(shown, (size, size), mode="bicubic", antialias=True)
    own = torch.arange(5) == 0
    wrong = near_identity(torch.tensor([0.0, 0.0, off, -off]).expand(5, 4), size)
    maps = torch.where(own.view(-1, 1, 1), torch.eye(2, 3), compose(wrong, rescale(there, 1 / pixel)))
    return Laid(crops, torch.ones(5, 1, size, size), maps, torch.zeros(5, dtype=torch.long), own)


def enlarged(crops: Laid) -> torch.Tensor:
    """The first crop alone, `(1, 3, 128, 128)`."""
    return F.interpolate(crops.crops[:1], (128, 128), mode="bicubic")


def error(faces: torch.Tensor) -> float:
    return float((faces - face()).pow(2).mean())


class TestLacking:
    @pytest.mark.parametrize("size", [16, 32])
    def test_a_face_comes_nearer_to_the_person_by_what_its_crops_show(self, size):
        crops = laid(size)
        faces = enlarged(crops)
        assert error(faces + lacking(faces, crops)[0]) < 0.6 * error(faces)

    def test_crops_that_were_laid_beside_their_place_are_laid_there(self):
        faces = enlarged(laid())
        near, beside = (faces + lacking(faces, laid(off=off))[0] for off in (0.0, 0.15))
        assert error(beside) < 1.1 * error(near)

    def test_a_face_that_shows_what_its_crops_do_lacks_nothing(self):
        smooth = F.interpolate(face(16), (128, 128), mode="bicubic")
        crops = laid(32)
        own = replace(crops, clear=crops.clear * crops.own.view(-1, 1, 1, 1))
        exact = F.interpolate(smooth, (32, 32), mode="bicubic", antialias=True)
        assert lacking(smooth, replace(own, crops=exact.expand(5, -1, -1, -1)))[0].abs().max() < 0.02

    @pytest.mark.parametrize("others", [1, 4])
    def test_where_a_face_has_moved_it_stays_as_the_restored_crop_shows_it(self, others):
        crops = laid(32)
        crops.clear[1 + others :] = 0
        crops.crops[1:, :, 20:28, 10:22] = 1 - crops.crops[1:, :, 20:28, 10:22]  # the mouth
        faces = enlarged(crops)
        made = F.interpolate(faces + lacking(faces, crops)[0], (32, 32), mode="bicubic", antialias=True)
        mouth = slice(None), slice(None), slice(22, 26), slice(12, 20)
        own, other = crops.crops[:1][mouth], crops.crops[1:2][mouth]
        assert (made[mouth] - own).abs().mean() < 0.2 * (other - own).abs().mean()

    def test_what_no_crop_shows_is_left_as_it_is(self):
        crops = laid()
        crops.clear[:, :, 8:] = 0
        change, _ = lacking(enlarged(crops), crops)
        assert change[:, :, :48].abs().mean() > 0.01
        assert not change[:, :, 96:].any()
        assert not lacking(enlarged(crops), replace(crops, clear=crops.clear * 0))[0].any()

    def test_tracks_do_not_mix(self):
        one, other = laid(), laid()
        # With a camera's noise: where crops agree wholly, the logarithm makes much of rounding.
        noise = 0.03 * torch.randn(one.crops.shape, generator=torch.Generator().manual_seed(0))
        one = replace(one, crops=one.crops + noise)
        other = replace(other, crops=other.crops.flip(-1) + noise, maps=other.maps[:1].expand(5, -1, -1))
        faces = torch.cat([enlarged(one), enlarged(other)])
        fields = ("crops", "clear", "maps", "own")
        both = Laid(**{name: torch.cat([getattr(one, name), getattr(other, name)]) for name in fields},
                    rows=torch.arange(2).repeat_interleave(5))  # fmt: skip
        apart = [torch.cat(pair) for pair in zip(lacking(faces[:1], one), lacking(faces[1:], other), strict=True)]
        torch.testing.assert_close(list(lacking(faces, both)), apart, atol=1e-5, rtol=0)


def test_what_is_carried_back_is_the_transpose_of_what_is_seen():
    gen = torch.Generator().manual_seed(0)
    grid = Grid.of(16)
    at = Points.of(laid().maps, torch.tensor([0, 1, 1, 0, 1]), grid)
    pictures, values = torch.rand(2, 3, grid.whole, grid.whole, generator=gen), torch.rand(5 * 256, 3, generator=gen)
    seen, carried = (at.sample(pictures) * values).sum(), (at.spreading(2)(values) * pictures).sum()
    torch.testing.assert_close(seen, carried, rtol=1e-4, atol=0)
