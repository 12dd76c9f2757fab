"""FD-StackGAN: a coarse face, then a refined one, at the size of the input."""

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.fd_stackgan import FdStackGan
from streamheal.heal.networks.layers import fill_hidden
from tests.heal.networks import sample
from tests.heal.networks.sample import millions, stir

SMALL = {"width": 4}


def built(config: dict | None = None, *, stirred: bool = True) -> FdStackGan:
    """In eval mode; `stirred`: no layer at its zero start."""
    torch.manual_seed(0)
    network = networks.build("fd-stackgan", SMALL | (config or {})).eval()
    if stirred:
        stir(network)
    return network


def faces(count: int = 2, size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures, and their visibility with a hole of a third of the width."""
    visible = torch.ones(count, 1, size, size)
    visible[..., size // 2 : size - 8, size // 3 : 2 * size // 3] = 0
    return sample.faces(count, size), visible


class TestSize:
    def test_the_paper_has_26_million_parameters_a_part(self):
        with torch.device("meta"):
            network = networks.build("fd-stackgan", variant="paper")
        assert network.lr_size == network.hr_size == 256
        assert millions(network.base) == pytest.approx(26.2, abs=0.05)
        assert millions(network.refine) == pytest.approx(26.2, abs=0.05)

    @pytest.mark.parametrize("resolution", [128, 256])
    def test_both_slim_parts_fit_one_file_of_16_mib(self, resolution):
        with torch.device("meta"):
            network = networks.build("fd-stackgan", {"resolution": resolution})
        assert millions(network) * 2 * 1e6 < 16 * 2**20

    @torch.inference_mode()
    def test_at_256_px_a_face_of_256_px_comes_back(self):
        restored = built({"resolution": 256, "dilations": [1, 2, 4, 2]})(*faces(1, 256))
        assert restored.hr.shape == restored.lr_completed.shape == (1, 3, 256, 256)
        assert restored.occlusion.shape == restored.evidence.shape == (1, 1, 256, 256)

    @pytest.mark.parametrize(("resolution", "bottom"), [(128, 4), (256, 8)])
    def test_the_bottom_is_what_five_halvings_leave(self, resolution, bottom):
        network, seen = built({"resolution": resolution}), []
        network.base.bottom.register_forward_hook(lambda *said: seen.append(said[2].shape[-1]))
        network(*faces(1, resolution))
        assert seen == [bottom]

    def test_a_dilation_that_only_sees_padding_is_refused(self):
        with pytest.raises(ConfigError, match="at 128 px the bottom is 4×4"):
            networks.build("fd-stackgan", {"dilations": [2, 4]})

    def test_another_resolution_is_refused(self):
        with pytest.raises(ConfigError, match="resolution 64 must be 128 or 256"):
            networks.build("fd-stackgan", {"resolution": 64})

    def test_another_size_is_refused_with_the_size_it_takes(self):
        with pytest.raises(ValueError, match="128, 128"):
            built()(*faces(1, 256))


class TestPictures:
    @torch.inference_mode()
    @pytest.mark.parametrize("residual", [True, False])
    def test_all_that_is_returned_lies_between_0_and_1(self, residual):
        restored = built({"residual": residual})(*faces())
        for value in (restored.hr, restored.lr_completed, restored.occlusion, restored.evidence):
            assert 0 <= value.min() <= value.max() <= 1

    @torch.inference_mode()
    @pytest.mark.parametrize("composite", [True, False])
    def test_the_completed_input_keeps_what_is_visible(self, composite):
        pictures, visible = faces()
        restored = built({"composite": composite})(pictures, visible)
        assert torch.equal(restored.lr_completed * visible, pictures * visible)
        assert torch.equal(restored.hr * visible, pictures * visible) is composite

    @torch.inference_mode()
    def test_a_face_without_a_hole_is_completed_already(self):
        pictures, _ = faces()
        assert torch.equal(built()(pictures, torch.ones(2, 1, 128, 128)).lr_completed, pictures)

    @torch.inference_mode()
    def test_before_training_both_faces_are_the_smoothly_filled_one(self):
        pictures, visible = faces()
        steps = built(stirred=False).steps(pictures, visible)
        filled = fill_hidden(pictures, visible)
        torch.testing.assert_close(steps.coarse, filled)
        torch.testing.assert_close(steps.refined, filled)

    @torch.inference_mode()
    def test_mirrored_a_face_and_its_mirror_image_come_back_alike(self):
        pictures, visible = faces()
        network = built({"mirrored": True})
        once = built()(pictures, visible).hr
        own = network(pictures, visible).hr
        other = network(pictures.flip(3), visible.flip(3)).hr.flip(3)
        torch.testing.assert_close(own, other)
        assert (once - own).abs().max() > 0.01  # one look alone is not symmetric

    @torch.inference_mode()
    def test_a_correction_can_reach_any_colour_from_any_other(self):
        """From a black filling to white, which a tanh added in [-1, 1] could not."""
        network = built(stirred=False)
        torch.nn.init.constant_(network.base.leave.bias, 5.0)
        pictures, visible = torch.zeros(1, 3, 128, 128), torch.ones(1, 1, 128, 128)
        assert network.steps(pictures, visible).coarse.min() > 0.999

    @torch.inference_mode()
    def test_the_paper_draws_anew_and_sees_the_occluder(self):
        network = built({"residual": False})
        pictures, visible = faces()
        other = torch.where(visible > 0, pictures, 1 - pictures)
        steps = network.steps(pictures, visible)
        assert 0 < steps.coarse.min() <= steps.coarse.max() < 1  # a tanh
        assert not torch.equal(steps.coarse, network.steps(other, visible).coarse)


@torch.inference_mode()
def test_an_occluders_soft_edge_does_not_colour_the_filling():
    """A red thing on a grey face, its edge mixed from both as things in pictures are."""
    visible = torch.ones(1, 1, 128, 128)
    visible[..., 40:80, 40:80] = 0
    visible = torch.nn.functional.avg_pool2d(visible, 5, 1, 2, count_include_pad=False)
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    pictures = 0.5 * visible + red * (1 - visible)
    coarse = built(stirred=False).steps(pictures, visible).coarse
    assert (coarse - 0.5).abs()[..., 45:75, 45:75].max() < 0.2


class TestParts:
    def test_base_takes_four_channels_and_refine_seven(self):
        network = built()
        assert network.base.enter.in_channels == 4  # occluded face, mask
        assert network.refine.enter.in_channels == 7  # the same and the coarse face

    @torch.inference_mode()
    def test_the_mask_that_enters_is_one_in_the_hole(self):
        network, seen = built(), []
        network.base.register_forward_pre_hook(lambda _, said: seen.append(said[0]))
        pictures, visible = faces()
        network(pictures, visible)
        assert torch.equal(seen[0][:, 3:], 1 - visible)

    def test_a_frozen_base_gets_no_gradient_from_the_refined_face(self):
        network = built().train()
        network.base.requires_grad_(False)
        network.steps(*faces()).refined.sum().backward()
        assert all(parameter.grad is None for parameter in network.base.parameters())
        assert all(parameter.grad is not None for parameter in network.refine.parameters())
