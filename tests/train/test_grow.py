"""A trunk made larger draws what it drew, and what is new can learn."""

import pytest
import torch

from streamheal.heal import networks
from streamheal.heal.networks.across_track import restore_track
from streamheal.heal.networks.layers import resample
from streamheal.train.grow import taking, widened
from tests.heal.networks.sample import SMALL, faces, stir


@pytest.fixture(scope="module")
def narrow():
    torch.manual_seed(0)
    network = networks.build("lr-trunk", SMALL["lr-trunk"] | {"fusion": 8}).eval()
    stir(network)
    return network


@torch.inference_mode()
def test_it_draws_the_same(narrow):
    lr, visible = faces(3, 16), (faces(3, 16)[:, :1] > 0.3).float()
    wide = widened(narrow, 24).eval()
    assert wide.config.width == 24
    torch.testing.assert_close(wide(lr, visible).hr, narrow(lr, visible).hr, atol=1e-5, rtol=0)


@torch.inference_mode()
def test_it_makes_the_same_of_a_track(narrow):
    lr, visible = faces(6, 16).view(2, 3, 3, 16, 16), torch.ones(2, 3, 1, 16, 16)
    valid = torch.ones(2, 3, dtype=torch.bool)
    made, _ = restore_track(widened(narrow, 24).eval(), None, lr, visible, valid)
    before, _ = restore_track(narrow, None, lr, visible, valid)
    torch.testing.assert_close(made.hr, before.hr, atol=1e-5, rtol=0)


def test_the_new_channels_get_gradients(narrow):
    wide = widened(narrow, 24).train()
    wide(faces(2, 16), torch.ones(2, 1, 16, 16)).hr.square().mean().backward()
    assert wide.up[0][0].weight.grad[:, 16:].any()


def test_it_is_never_made_narrower(narrow):
    with pytest.raises(ValueError, match="width 8: the network has 16 channels already"):
        widened(narrow, 8)


@torch.inference_mode()
@pytest.mark.parametrize("times", [2, 4])
def test_of_a_larger_crop_it_draws_what_it_drew_of_the_small_one(narrow, times):
    lr = faces(3, 16)
    crops = lr.repeat_interleave(times, 2).repeat_interleave(times, 3)
    larger = taking(narrow, 16 * times).train()  # unclamped
    added = larger(crops, torch.ones_like(crops[:, :1])).hr - resample(crops, 128)
    before = narrow.train()(lr, torch.ones_like(lr[:, :1])).hr - resample(lr, 128)
    narrow.eval()
    assert larger.config.stem == times
    torch.testing.assert_close(added, before, atol=1e-5, rtol=0)


def test_a_larger_crops_own_pixels_and_its_track_can_be_learned_from(narrow):
    larger = taking(narrow, 32).train()
    lr, visible = faces(6, 32).view(2, 3, 3, 32, 32), torch.ones(2, 3, 1, 32, 32)
    restore_track(larger, None, lr, visible, torch.ones(2, 3, dtype=torch.bool))[0].hr.square().mean().backward()
    assert larger.again.weight.grad.any()
    assert larger.fusion.features.weight.grad.any()


@pytest.mark.parametrize("size", [16, 24, 48, 128])
def test_it_takes_twice_or_four_times_its_size(narrow, size):
    with pytest.raises(ValueError, match=f"lr_size {size}: .* twice or four times its own size; this one takes 16 px"):
        taking(narrow, size)
