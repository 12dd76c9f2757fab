"""OFHNet: a hole is inpainted at 16×16, then the face grows to 128×128."""

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.layers import fill_hidden, resample
from streamheal.heal.networks.ofhnet import OfhNet
from tests.heal.networks import sample
from tests.heal.networks.sample import millions, stir

SMALL = sample.SMALL["ofhnet"]
AS_IN_THE_PAPER = networks.PAPER["ofhnet"] | SMALL


def built(config: dict, *, stirred: bool = True) -> OfhNet:
    """In eval mode; `stirred`: no layer at its zero start."""
    torch.manual_seed(0)
    network = networks.build("ofhnet", config).eval()
    if stirred:
        stir(network, std=0.2)
    return network


def faces(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and their visibility with a hole of 6×5."""
    visible = torch.ones(count, 1, 16, 16)
    visible[..., 4:10, 8:13] = 0
    return sample.faces(count, 16), visible


@pytest.mark.parametrize(("variant", "upsampling"), [("slim", 1.079), ("paper", 2.03)])
def test_has_as_many_parameters_as_specified(variant, upsampling):
    with torch.device("meta"):
        network = networks.build("ofhnet", variant=variant)
    assert millions(network.inpainting) == pytest.approx(0.087, abs=0.0005)
    assert millions(network.upsampling) == pytest.approx(upsampling, abs=0.005)


def test_the_bottleneck_has_1024_numbers():
    network, seen = networks.build("ofhnet").eval(), []
    network.inpainting.encoder.register_forward_hook(lambda *said: seen.append(said[2].shape))
    network(*faces(1))
    assert seen == [(1, 64, 4, 4)]


@pytest.mark.parametrize("config", [SMALL, AS_IN_THE_PAPER], ids=["ours", "paper"])
class TestBothVariants:
    @torch.inference_mode()
    def test_visible_pixels_come_from_the_input(self, config):
        network = built(config)
        pictures, visible = faces()
        completed = network(pictures, visible).lr_completed
        assert torch.equal(completed * visible, pictures * visible)
        assert not torch.equal(completed, pictures)

    @torch.inference_mode()
    def test_a_face_without_a_hole_is_completed_already(self, config):
        pictures, _ = faces()
        assert torch.equal(built(config)(pictures, torch.ones(2, 1, 16, 16)).lr_completed, pictures)

    @torch.inference_mode()
    def test_what_lies_under_the_hole_has_no_influence(self, config):
        network = built(config)
        pictures, visible = faces()
        other = torch.where(visible > 0, pictures, 1 - pictures)
        assert torch.equal(network(pictures, visible).hr, network(other, visible).hr)

    @torch.inference_mode()
    def test_all_that_is_returned_lies_between_0_and_1(self, config):
        restored = built(config)(*faces())
        for value in (restored.hr, restored.lr_completed, restored.occlusion, restored.evidence):
            assert 0 <= value.min() <= value.max() <= 1
        assert restored.evidence.shape == (2, 1, 128, 128)

    @torch.inference_mode()
    def test_without_composition_all_comes_from_the_network(self, config):
        network = built(config | {"composite": False})
        steps = network.steps(*faces())
        assert torch.equal(steps.completed, steps.inpainted)


class TestStart:
    @torch.inference_mode()
    def test_before_training_it_is_smooth_filling_and_bicubic(self):
        pictures, visible = faces()
        filled = fill_hidden(pictures, visible)
        restored = built(SMALL, stirred=False)(pictures, visible)
        torch.testing.assert_close(restored.lr_completed, filled)
        torch.testing.assert_close(restored.hr, resample(filled, 128))

    @torch.inference_mode()
    def test_the_paper_starts_from_no_picture(self):
        pictures, visible = faces()
        steps = built(AS_IN_THE_PAPER, stirred=False).steps(pictures, visible)
        assert (steps.inpainted - fill_hidden(pictures, visible)).abs().mean() > 0.1
        assert 0 < steps.hr.min() <= steps.hr.max() < 1  # a sigmoid


@torch.inference_mode()
def test_the_mask_channel_tells_a_hole_from_black():
    """Only with it: the same black pixels, once said to be hidden and once to be seen."""
    pictures, visible = faces()
    black = pictures * visible
    for config, differ in ((AS_IN_THE_PAPER, False), (AS_IN_THE_PAPER | {"mask_channel": True}, True)):
        network = built(config, stirred=False)
        hidden, seen = network.steps(black, visible), network.steps(black, torch.ones_like(visible))
        assert torch.equal(hidden.inpainted, seen.inpainted) is not differ


def test_a_correction_of_hr_reaches_the_inpainting():
    network = built(SMALL).train()
    network(*faces()).hr.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.inpainting.leave.parameters())


def test_another_size_is_refused_with_the_size_it_takes():
    with pytest.raises(ValueError, match="16, 16"):
        built(SMALL)(torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32))


def test_a_wrong_number_of_widths_is_refused():
    with pytest.raises(ConfigError, match=r"encoder_widths .* must be 4 positive numbers"):
        networks.build("ofhnet", {"encoder_widths": [8, 8]})


class TestLandmarkRegressor:
    @torch.inference_mode()
    def test_points_are_shares_of_the_side_at_any_size(self):
        torch.manual_seed(0)
        network = networks.build("landmark-regressor").eval()
        for size in (48, 64, 128):
            points = network(torch.rand(2, 3, size, size))
            assert points.shape == (2, 68, 2)
            assert 0 < points.min() <= points.max() < 1

    @torch.inference_mode()
    def test_colour_without_brightness_has_no_influence(self):
        torch.manual_seed(0)
        network = networks.build("landmark-regressor").eval()
        grey = torch.full((1, 3, 64, 64), 0.5)
        tinted = grey + torch.tensor([0.114, 0.0, -0.299]).view(1, 3, 1, 1)  # as much red more as blue less, by luma
        torch.testing.assert_close(network(grey), network(tinted))

    def test_a_size_that_cannot_be_halved_is_refused(self):
        with pytest.raises(ConfigError, match="size 60 can't be halved 4 times"):
            networks.build("landmark-regressor", {"size": 60})
