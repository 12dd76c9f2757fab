"""A trunk made wider draws what it drew, and its new channels can learn."""

import pytest
import torch

from streamheal.heal import networks
from streamheal.heal.networks.across_track import restore_track
from streamheal.train.widen import widened
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
