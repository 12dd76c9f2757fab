"""What brings a track's crops together: registration, and the promise that one crop alone stays what it is."""

import pytest
import torch

from streamheal.faces import alignment
from streamheal.heal import networks
from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.lr_trunk import LrTrunk
from streamheal.heal.networks.registration import register
from streamheal.heal.networks.track_fusion import TrackFusion
from streamheal.heal.networks.warping import compose, invert, rescale, similarity, warp
from tests.faces.portrait import astronaut
from tests.heal.networks.sample import SMALL, stir

ONES = torch.ones(1, 1, 16, 16)
FIRST = torch.tensor([0])


def face(size: int = 128) -> torch.Tensor:
    """`(1, 3, size, size)`, an aligned portrait."""
    aligned = alignment.cut(*astronaut(128)).image
    picture = torch.from_numpy(aligned).permute(2, 0, 1)[None].float() / 255
    return torch.nn.functional.interpolate(picture, (size, size), mode="area")


def moved(shift: tuple[float, float], angle: float = 0.0, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A crop of 16 px of a face that lies elsewhere in it, and the map from the first one's pixels to its own."""
    there = similarity(
        angle=torch.tensor([angle]), scale=torch.tensor([scale]), shift=torch.tensor([shift]) * 8, side=128
    )
    return torch.nn.functional.interpolate(warp(face(), invert(there)), (16, 16), mode="area"), rescale(there, 1 / 8)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Mean distance in px of what two maps make of five points of a face."""
    points = torch.tensor([[4.0, 5, 1], [11, 5, 1], [7.5, 8, 1], [5, 11, 1], [10, 11, 1]]).T
    return float(((one - other) @ points).norm(dim=1).mean())


def fusion(out: int = 8) -> TrackFusion:
    torch.manual_seed(0)
    made = networks.build("track-fusion", {"width": 8, "out": out}).eval()
    stir(made)
    return made


def trunk(stem: int, mirrored: bool) -> LrTrunk:
    more = {"lr_size": 16 * stem, "stem": stem, "fusion": 8, "mirrored": mirrored}
    return networks.build("lr-trunk", SMALL["lr-trunk"] | more).eval()


def tracks(frames: int = 3, larger: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Two tracks of the portrait, moving, and hidden by a bar elsewhere in each crop; each pixel `larger` px wide."""
    crops = [moved((0.3 * t, -0.2 * t), 0.02 * t)[0] for t in range(frames)]
    lr = torch.stack([torch.cat(crops), torch.cat(crops).flip(3)])
    visible = torch.ones(2, frames, 1, 16, 16)
    for t in range(frames):
        visible[:, t, :, 3 + 4 * t : 6 + 4 * t] = 0
    return tuple(part.repeat_interleave(larger, 3).repeat_interleave(larger, 4) for part in (lr * visible, visible))


class TestMaps:
    def test_there_and_back_is_nowhere(self):
        there = similarity(angle=torch.tensor([0.1]), scale=torch.tensor([1.1]), shift=torch.tensor([[3.0, -2.0]]))
        torch.testing.assert_close(compose(invert(there), there), torch.eye(2, 3)[None], atol=1e-5, rtol=0)

    def test_on_a_smaller_grid_a_point_goes_to_the_same_place(self):
        there = similarity(angle=torch.tensor([0.1]), scale=torch.tensor([1.1]), shift=torch.tensor([[3.0, -2.0]]))
        large, small = torch.tensor([40.0, 90.0]), (torch.tensor([40.0, 90.0]) + 0.5) / 8 - 0.5
        gone = there[0, :, :2] @ large + there[0, :, 2]
        gone_small = rescale(there, 1 / 8)[0, :, :2] @ small + rescale(there, 1 / 8)[0, :, 2]
        torch.testing.assert_close((gone_small + 0.5) * 8 - 0.5, gone, atol=1e-3, rtol=0)


class TestRegistration:
    @pytest.mark.parametrize(
        ("shift", "angle", "scale"), [((0.9, -0.6), 0, 1), ((0.4, 0.7), 0.05, 0.97), ((-1.0, 1.0), -0.05, 1.03)]
    )
    def test_finds_where_a_tiny_face_went_to_a_tenth_of_a_pixel(self, shift, angle, scale):
        other, true = moved(shift, angle, scale)
        found = register(face(16), ONES, other, ONES, FIRST)
        assert apart(found.maps, true) < 0.1
        assert apart(torch.eye(2, 3)[None], true) > 0.5
        assert found.fits > 0.95

    def test_what_hides_does_not_lead_it_astray(self):
        other, true = moved((0.9, -0.6))
        here, there = ONES.clone(), ONES.clone()
        here[..., 2:7, 3:9], there[..., 9:14, 6:12] = 0, 0  # black in either crop, elsewhere
        found = register(face(16) * here, here, other * there, there, FIRST)
        assert apart(found.maps, true) < 0.2

    def test_another_light_does_not_matter(self):
        other, true = moved((0.9, -0.6))
        found = register(face(16), ONES, other * 0.6 + 0.2, ONES, FIRST)
        assert apart(found.maps, true) < 0.1
        torch.testing.assert_close(found.lit(other * 0.6 + 0.2), other, atol=0.02, rtol=0)
        assert found.fits > 0.95

    def test_light_that_noise_alone_makes_differ_is_not_followed(self):
        other, _ = moved((0.9, -0.6))
        noisy = other + 0.05 * torch.randn(other.shape, generator=torch.Generator().manual_seed(0))
        found = register(face(16), ONES, noisy, ONES, FIRST)
        torch.testing.assert_close(found.lit(noisy), noisy, atol=0.005, rtol=0)

    def test_what_is_no_such_face_fits_badly(self):
        noise = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        assert register(face(16), ONES, noise, ONES, FIRST).fits < 0.5

    def test_nothing_visible_is_no_fit_and_no_failure(self):
        found = register(face(16), ONES, face(16), ONES * 0, FIRST)
        assert torch.isfinite(found.maps).all()
        assert torch.isfinite(found.lit(face(16))).all()
        assert found.fits < 0.5


class TestFusion:
    @torch.inference_mode()
    def test_one_crop_alone_comes_back_as_it_went_in(self):
        lr, visible = tracks(1)
        fused = fusion()(lr, visible, torch.ones(2, 1, dtype=torch.bool))
        assert torch.equal(fused.lr, lr[:, 0])
        assert torch.equal(fused.visible, visible[:, 0])
        assert not fused.features.any()

    @torch.inference_mode()
    def test_a_track_of_one_beside_a_longer_one_stays_alone(self):
        lr, visible = tracks(3)
        valid = torch.tensor([[True, False, False], [True, True, True]])
        fused = fusion()(lr, visible, valid)
        assert torch.equal(fused.lr[0], lr[0, 0])
        assert torch.equal(fused.visible[0], visible[0, 0])
        assert not fused.features[:, 0].any()
        assert not torch.equal(fused.lr[1], lr[1, 0])

    @torch.inference_mode()
    @pytest.mark.parametrize("padding", [0.0, 1.0, float("nan")])
    def test_padding_has_no_influence(self, padding):
        lr, visible = tracks(3)
        valid = torch.ones(2, 3, dtype=torch.bool)
        longer = torch.cat([lr, torch.full_like(lr, padding)], 1)
        hidden = torch.cat([visible, torch.full_like(visible, padding)], 1)
        fused = fusion()(longer, hidden, torch.cat([valid, ~valid], 1))
        without = fusion()(lr, visible, valid)
        for name in ("lr", "visible", "features"):
            assert torch.equal(getattr(fused, name), getattr(without, name))
        assert not fused.weights[:, 3:].any()

    @torch.inference_mode()
    def test_the_order_of_the_others_does_not_matter(self):
        lr, visible = tracks(3)
        valid = torch.ones(2, 3, dtype=torch.bool)
        fused, turned = fusion()(lr, visible, valid), fusion()(lr[:, [0, 2, 1]], visible[:, [0, 2, 1]], valid)
        torch.testing.assert_close(fused.lr, turned.lr)
        torch.testing.assert_close(fused.weights, turned.weights[:, [0, 2, 1]])

    @torch.inference_mode()
    def test_untrained_it_shows_what_another_crop_shows_of_the_hidden(self):
        lr, visible = tracks(3)
        true = face(16)
        fused = networks.build("track-fusion").eval()(lr, visible, torch.ones(2, 3, dtype=torch.bool))
        hidden = (visible[:1, 0] == 0).expand(-1, 3, -1, -1)
        assert (lr[:1, 0] - true)[hidden].abs().mean() > 0.2
        assert (fused.lr[:1] - true)[hidden].abs().mean() < 0.05
        assert fused.visible[:1][hidden[:, :1]].mean() > 0.9

    @torch.inference_mode()
    def test_what_no_crop_shows_stays_hidden(self):
        lr, visible = tracks(3)
        visible[:, :, :, 3:6] = 0
        fused = networks.build("track-fusion").eval()(lr * visible, visible, torch.ones(2, 3, dtype=torch.bool))
        assert fused.visible[:, :, 4].max() < 0.3

    @torch.inference_mode()
    def test_another_thing_is_not_taken_for_the_face(self):
        lr, visible = tracks(2)
        lr[:, 1] = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * visible[:, 1]
        fused = networks.build("track-fusion").eval()(lr, visible, torch.ones(2, 2, dtype=torch.bool))
        assert fused.visible.mean() - visible[:, 0].mean() < 0.05
        laid = fusion()(lr, visible, torch.ones(2, 2, dtype=torch.bool)).laid
        assert laid.clear[laid.own].mean() > 0.5
        assert laid.clear[~laid.own].max() < 0.01

    def test_every_parameter_gets_a_gradient(self):
        network = fusion().train()
        fused = network(*tracks(3), torch.ones(2, 3, dtype=torch.bool))
        (fused.lr.pow(2).mean() + fused.features.pow(2).mean()).backward()
        assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


class TestAcrossTrack:
    @torch.inference_mode()
    @pytest.mark.parametrize("mirrored", [False, True])
    @pytest.mark.parametrize("stem", [1, 2])
    def test_one_crop_alone_is_restored_exactly_as_without(self, mirrored, stem):
        network = trunk(stem, mirrored)
        stir(network)
        lr, visible = tracks(3, stem)
        alone = torch.tensor([[True, False, False]] * 2)
        assert torch.equal(restore_track(network, None, lr, visible, alone)[0].hr, network(lr[:, 0], visible[:, 0]).hr)

    @pytest.mark.parametrize("mirrored", [False, True])
    def test_behind_a_stem_the_others_features_join_where_the_input_does(self, mirrored):
        network = trunk(2, mirrored)
        torch.nn.init.normal_(network.leave.weight)
        everyone = torch.ones(2, 3, dtype=torch.bool)
        before = restore_track(network, None, *tracks(3, 2), everyone)[0].hr
        torch.nn.init.normal_(network.fusion.features.weight)
        after = restore_track(network, None, *tracks(3, 2), everyone)[0].hr
        assert network.fusion.features.out_channels == network.again.out_channels
        assert not torch.equal(before, after)

    @torch.inference_mode()
    def test_as_far_as_it_is_to_a_face_agrees_with_the_crops(self):
        network = trunk(1, mirrored=False)
        lr, visible = tracks(3)
        everyone = torch.ones(2, 3, dtype=torch.bool)
        fused = network.fusion(lr, visible, everyone)
        free = network(fused.lr, fused.visible, fused).hr
        torch.nn.init.ones_(network.agreement.judge[2].bias)
        bound = network(fused.lr, fused.visible, fused).hr

        def off(hr: torch.Tensor) -> torch.Tensor:
            shown = torch.nn.functional.interpolate(hr, (16, 16), mode="bicubic", antialias=True)
            return ((shown - lr[:, 0]) * (visible[:, 0] == 1)).abs().mean()

        assert off(bound) < 0.7 * off(free)

    @torch.inference_mode()
    def test_in_half_precision_next_to_nothing_changes(self):
        network = trunk(1, mirrored=True)
        torch.nn.init.ones_(network.agreement.judge[2].bias)
        everyone = torch.ones(2, 3, dtype=torch.bool)
        full = restore_track(network, None, *tracks(3), everyone)[0].hr
        with torch.autocast("cpu", torch.bfloat16):
            half = restore_track(network, None, *tracks(3), everyone)[0].hr
        assert (half - full).abs().mean() < 0.01

    @torch.inference_mode()
    def test_a_mirrored_track_is_restored_to_the_mirror_image(self):
        """But for registration and attention, which look at the track as it is."""
        lr, visible = tracks(3)
        valid = torch.ones(2, 3, dtype=torch.bool)

        def difference(mirrored: bool) -> float:
            network = trunk(1, mirrored)
            torch.manual_seed(0)
            stir(network)
            made = restore_track(network, None, lr, visible, valid)[0].hr
            turned = restore_track(network, None, lr.flip(-1), visible.flip(-1), valid)[0].hr
            return float((turned - made.flip(-1)).abs().mean())

        assert difference(mirrored=True) < 0.1 * difference(mirrored=False)

    @torch.inference_mode()
    @pytest.mark.parametrize("system", ["fcsr-gan", "ofhnet", "jdsr-gan"])
    def test_any_system_is_served_by_a_fusion_beside_it(self, system):
        network = networks.build(system, SMALL[system]).eval()
        lr, visible = tracks(3)
        beside = networks.build("track-fusion").eval()
        alone, still = torch.tensor([[True, False, False]] * 2), network(lr[:, 0], visible[:, 0]).hr
        together = restore_track(network, beside, lr, visible, torch.ones(2, 3, dtype=torch.bool))[0].hr
        assert together.shape == (2, 3, 128, 128)
        assert not torch.equal(together, still)
        assert torch.equal(restore_track(network, beside, lr, visible, alone)[0].hr, still)

    def test_a_network_without_fusion_asks_for_one(self):
        network = networks.build("lr-trunk", SMALL["lr-trunk"])
        with pytest.raises(ValueError, match="LrTrunk has no fusion of its own: give one"):
            restore_track(network, None, *tracks(1), torch.ones(2, 1, dtype=torch.bool))
