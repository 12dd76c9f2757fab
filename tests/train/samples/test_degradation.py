"""Each protocol in its order and with its kernel; the camera; the same seed, the same pair."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.train.samples import degradation
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.protocols import PROTOCOLS, make_pair
from tests.train.faces import portraits


@pytest.fixture(scope="module")
def bank():
    return Bank.draw(0, 4)


@pytest.fixture(scope="module")
def hr():
    return torch.from_numpy(portraits(8)).permute(0, 3, 1, 2).float() / 255


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("protocol", PROTOCOLS)
class TestEveryProtocol:
    @pytest.mark.parametrize("size", [16, 32])
    def test_pair_has_its_size_and_range(self, protocol, bank, hr, size):
        lr, visible = make_pair(protocol, hr, None, bank, gen(), size=size)
        assert lr.shape == (8, 3, size, size)
        assert visible.shape == (8, 1, size, size)
        for maps in (lr, visible):
            assert maps.min() >= 0
            assert maps.max() <= 1

    def test_the_seed_alone_decides(self, protocol, bank, hr):
        one, two, other = (make_pair(protocol, hr, None, bank, gen(seed)) for seed in (1, 1, 2))
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
        assert not torch.equal(one[0], other[0])

    def test_what_is_fully_visible_resembles_the_shrunk_face(self, protocol, bank, hr):
        lr, visible = make_pair(protocol, hr, None, bank, gen())
        clear = (visible == 1).expand(-1, 3, -1, -1)
        error = (lr - degradation.shrink(hr, 16, "area"))[clear].abs().mean()
        assert error < (0.12 if protocol == "cctv" else 0.03)


def test_an_unknown_protocol_names_the_known_ones(bank, hr):
    with pytest.raises(ConfigError, match="no protocol 'x'; allowed: fcsr"):
        make_pair("x", hr, None, bank, gen())


def test_fcsr_hides_a_quarter_and_fills_with_zeros(hr):
    lr, visible = degradation.fcsr(hr, gen())
    assert torch.equal(visible.mean((1, 2, 3)), torch.full((8,), 0.75))
    assert lr[(visible == 0).expand(-1, 3, -1, -1)].abs().max() == 0


def test_ofhnet_hides_a_sixteenth_to_a_quarter():
    hidden = 1 - degradation.rectangles(2000, 16, gen(), area=(1 / 16, 1 / 4)).mean((1, 2, 3))
    assert hidden.min() >= 1 / 16 - 0.03
    assert hidden.max() <= 1 / 4 + 0.04
    assert hidden.mean() == pytest.approx((1 / 16 + 1 / 4) / 2, abs=0.01)


def test_pro_uigan_hides_before_it_shrinks(hr):
    """So the edge of its hole is half visible, and noise bleeds over it."""
    visible = torch.ones(8, 1, 128, 128)
    visible[..., 44:84, 44:84] = 0
    lr, shrunk = degradation.pro_uigan(hr, visible, gen())
    assert shrunk[0, 0, 8, 5] == 0.5
    assert shrunk[0, 0, 8, 8] == 0
    assert shrunk[0, 0, 0, 0] == 1
    hole = lr[..., 7:9, 7:9]
    assert hole.mean() == pytest.approx(0.5, abs=0.05)  # uniform noise, averaged by the shrinking


def test_blur_kernels_sum_to_one():
    kernels = degradation.blur_kernels(64, gen(), scale=2.0)
    torch.testing.assert_close(kernels.sum((1, 2)), torch.ones(64))
    assert kernels.min() >= 0


def test_filtering_uses_each_pictures_own_kernel(hr):
    keep, shift = torch.zeros(2, 3, 3).unbind()
    keep[1, 1] = 1
    shift[1, 2] = 1  # cross-correlation: takes the right neighbour
    out = degradation.filter_each(hr[:2], torch.stack([keep, shift]))
    assert torch.equal(out[0], hr[0])
    assert torch.equal(out[1, :, :, :-1], hr[1, :, :, 1:])


def test_noise_stays_within_the_stated_strength():
    grey = torch.full((256, 3, 16, 16), 0.5)
    sigma = (degradation.sensor_noise(grey, gen()) - grey).std((1, 2, 3)) * 255
    assert sigma.max() < 13
    assert sigma.mean() > 3


@pytest.mark.parametrize("quality", [30, 60, 80])
def test_jpeg_errs_as_a_true_encoder_does(quality):
    face = portraits(1)[0]
    buffer = io.BytesIO()
    Image.fromarray(face).save(buffer, "JPEG", quality=quality, subsampling=2)
    true = np.asarray(Image.open(buffer)).astype(np.float32) / 255
    clean = torch.from_numpy(face).permute(2, 0, 1)[None].float() / 255
    ours = degradation.jpeg(clean, torch.tensor([float(quality)]))[0].permute(1, 2, 0).numpy()
    clean = clean[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - true).mean() < 0.45 * np.abs(true - clean).mean()


def test_the_camera_gives_a_size_within_its_range(hr):
    sizes = {degradation.camera(hr, hr[:, :1], gen(seed), native=(12, 36))[0].shape[-1] for seed in range(30)}
    assert min(sizes) >= 12
    assert max(sizes) <= 36
    assert len(sizes) > 8
