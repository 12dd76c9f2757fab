"""What every network promises, and what a restorer promises beside."""

from dataclasses import replace

import pytest
import torch

from streamheal.errors import ConfigError, WeightsError
from streamheal.heal import networks
from streamheal.heal.networks.layers import fill_hidden, resample, resample_map
from streamheal.heal.networks.lr_trunk import LrTrunk, LrTrunkConfig, evidence
from tests.heal.networks.sample import SIZES, SMALL, build, faces, stir


def answer(network: torch.nn.Module, pictures: torch.Tensor) -> torch.Tensor:
    if not hasattr(network, "lr_size"):  # no restorer
        return network(pictures)
    visible = (pictures[:, :1] > 0.3).float()
    return network(pictures, visible).hr


SHAPES = {
    "lr-trunk": (3, 128, 128),
    "fcsr-gan": (3, 128, 128),
    "unet": (1, 32, 32),
    "embedder": (128,),
    "fan-lite": (68, 32, 32),
    "face-parser": (11, 32, 32),
    "landmark-regressor": (68, 2),
    "ofhnet": (3, 128, 128),
    "pro-uigan": (3, 128, 128),
    "fd-stackgan": (3, 128, 128),
    "jdsr-gan": (3, 128, 128),
    "identity-net": (512,),
}


# What brings a track's crops together takes no pictures of single faces: test_track_fusion.py
@pytest.mark.parametrize("system", [system for system in networks.NETWORKS if system != "track-fusion"])
class TestEveryNetwork:
    @pytest.mark.parametrize("count", [1, 3])
    @torch.inference_mode()
    def test_answers_with_its_shape_for_any_batch(self, system, count):
        assert answer(build(system), faces(count, SIZES[system])).shape == (count, *SHAPES[system])

    @torch.inference_mode()
    def test_a_row_does_not_depend_on_the_others(self, system):
        network, pictures = build(system), faces(3, SIZES[system])
        alone = torch.cat([answer(network, row[None]) for row in pictures])
        torch.testing.assert_close(answer(network, pictures), alone, atol=1e-5, rtol=1e-4)

    @torch.inference_mode()
    def test_comes_back_from_its_file_in_half_precision(self, system, tmp_path):
        network, pictures = build(system), faces(2, SIZES[system])
        sha256 = networks.save(tmp_path / "n.safetensors", system, network)
        back = networks.load(tmp_path / "n.safetensors", sha256)
        assert not back.training
        assert back.config == network.config
        network.load_state_dict({name: tensor.half() for name, tensor in network.state_dict().items()})
        torch.testing.assert_close(answer(back, pictures), answer(network, pictures))

    def test_every_parameter_gets_a_gradient(self, system):
        network = build(system).train()
        answer(network, faces(2, SIZES[system])).pow(2).mean().backward()
        learning = {name: p for name, p in network.named_parameters() if p.requires_grad}  # Pro-UIGAN's FAN never does
        without = [name for name, p in learning.items() if p.grad is None or not p.grad.isfinite().all()]
        assert without == []

    def test_an_unknown_field_names_the_allowed_ones(self, system):
        with pytest.raises(ConfigError, match=r"has no depth_of_field; allowed: \w+"):
            networks.build(system, {"depth_of_field": 3})


def test_an_unknown_system_names_the_known_ones():
    with pytest.raises(ConfigError, match=r"no network 'gfpgan'.*lr-trunk"):
        networks.build("gfpgan")


def test_a_file_of_another_network_is_refused(tmp_path):
    network = build("unet")
    networks.save(tmp_path / "n.safetensors", "embedder", network, {})
    with pytest.raises(WeightsError, match="doesn't fit any network"):
        networks.load(tmp_path / "n.safetensors")


class TestRestorers:
    @torch.inference_mode()
    def test_all_that_is_returned_lies_between_0_and_1(self):
        restored = build("lr-trunk")(faces(2, 16), torch.ones(2, 1, 16, 16))
        for name, shape in (("hr", (2, 3, 128, 128)), ("evidence", (2, 1, 128, 128)), ("lr_completed", (2, 3, 16, 16))):
            value = getattr(restored, name)
            assert value.shape == shape
            assert value.min() >= 0
            assert value.max() <= 1

    def test_another_size_is_refused_with_the_size_it_takes(self):
        with pytest.raises(ValueError, match="16, 16"):
            build("lr-trunk")(faces(1, 32), torch.ones(1, 1, 32, 32))

    def test_widths_that_do_not_reach_128_are_refused(self):
        with pytest.raises(ConfigError, match="must give 128"):
            networks.build("lr-trunk", {"lr_size": 32})

    @torch.inference_mode()
    def test_a_stem_takes_larger_crops_into_a_trunk_of_the_same_size(self):
        network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"lr_size": 32, "stem": 2}).eval()
        torch.nn.init.normal_(network.leave.weight)
        pictures = faces(1, 32)
        whole, features = torch.ones(1, 1, 32, 32), []
        network.after.register_forward_hook(lambda *said: features.append(said[2].shape[-1]))
        first = network(pictures, whole).hr
        pictures[..., 5, 7] += 0.1
        assert first.shape == (1, 3, 128, 128)
        assert features == [16]
        assert not torch.equal(network(pictures, whole).hr, first)

    @torch.inference_mode()
    def test_a_mirrored_trunk_restores_a_mirrored_face_to_its_mirror_image(self):
        network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"mirrored": True}).eval()
        stir(network)
        pictures, visible = faces(2, 16), torch.ones(2, 1, 16, 16)
        visible[..., 2:6] = 0
        made, mirrored = network(pictures, visible).hr, network(pictures.flip(3), visible.flip(3)).hr
        torch.testing.assert_close(mirrored, made.flip(3))
        network.config = replace(network.config, mirrored=False)
        assert not torch.allclose(network(pictures.flip(3), visible.flip(3)).hr, made.flip(3), atol=1e-2)

    @torch.inference_mode()
    def test_before_training_it_is_the_bicubic_picture(self):
        pictures = faces(1, 16)
        restored = LrTrunk(LrTrunkConfig()).eval()(pictures, torch.ones(1, 1, 16, 16))
        torch.testing.assert_close(restored.hr, resample(pictures, 128))

    @torch.inference_mode()
    def test_before_training_the_occluder_does_not_show(self):
        visible = torch.ones(1, 1, 16, 16)
        visible[..., 8:14, 4:12] = 0
        grey, red = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, 3, 16, 16)
        red[:, 0] = 1
        restored = LrTrunk(LrTrunkConfig()).eval()(grey * visible + red * (1 - visible), visible)
        torch.testing.assert_close(restored.hr, torch.full_like(restored.hr, 0.5), atol=2e-3, rtol=0)


class TestEvidence:
    def test_is_one_where_all_is_visible(self):
        assert torch.equal(evidence(torch.ones(1, 1, 16, 16)), torch.ones(1, 1, 128, 128))

    def test_is_nothing_deep_in_a_hole_and_full_far_from_it(self):
        visible = torch.ones(1, 1, 16, 16)
        visible[..., 8:] = 0
        found = evidence(visible)[0, 0]
        assert found[:, 88:].max() == 0
        assert found[:, :48].min() == 1
        steps = found[64, 48:88].diff()
        assert (steps <= 0).all()
        assert steps.abs().max() < 0.1


class TestResampling:
    def test_growing_and_shrinking_keep_a_plain_picture(self):
        plain = torch.full((1, 3, 20, 20), 0.25)
        for size in (7, 16, 128):
            torch.testing.assert_close(resample(plain, size), torch.full((1, 3, size, size), 0.25))

    def test_a_shrunk_map_is_the_share_that_is_visible(self):
        visible = torch.ones(1, 1, 128, 128)
        visible[..., :4] = 0
        assert resample_map(visible, 16)[0, 0, 0, 0] == 0.5

    def test_filling_keeps_what_is_visible_and_continues_it(self):
        ramp = torch.linspace(0.2, 0.8, 16).view(1, 1, 1, 16).expand(1, 3, 16, 16)
        visible = torch.ones(1, 1, 16, 16)
        visible[..., 6:10, 6:10] = 0
        filled = fill_hidden(ramp * visible, visible)
        assert torch.equal(filled * visible, ramp * visible)
        assert (filled - ramp).abs().max() < 0.12
