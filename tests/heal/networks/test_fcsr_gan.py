"""FCSR-GAN: what is particular to it, its halves and their building blocks."""

import json
from dataclasses import asdict, replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks import fsrnet, gfc
from streamheal.heal.networks.fcsr_gan import CHOICES, FcsrGan, FcsrGanConfig
from streamheal.heal.networks.fsrnet import FsrNet, FsrNetConfig
from streamheal.heal.networks.gfc import Gfc, GfcConfig
from streamheal.heal.networks.hourglass import Hourglass
from streamheal.heal.networks.layers import fill_hidden, resample
from streamheal.heal.networks.partial_conv import PartialConv
from tests.heal.networks.sample import faces, millions, stir

TINY = {
    "gfc": {"encoder": [[4], [4], [8]], "middle": 8, "decoder": [[8], [4], [4]]},
    "pconv": {"widths": [4, 8, 8, 8, 8, 8, 8]},
    "srresnet": {"width": 4, "blocks": 1, "up_width": 4},
    "fsrnet": {"channels": 4, "encoder_channels": 4, "planes": 4, "encoder_blocks": 1, "depth": 2, "landmarks": 5},
}
COMBINATIONS = list(product(CHOICES["completion"], CHOICES["upsampling"]))
every_combination = pytest.mark.parametrize(("completion", "upsampling"), COMBINATIONS)


def build(completion="pconv", upsampling="fsrnet", lr_size=16, **more) -> FcsrGan:
    torch.manual_seed(0)
    config = {**TINY, "lr_size": lr_size, "completion": completion, "upsampling": upsampling, **more}
    network = networks.build("fcsr-gan", config)
    stir(network)
    return network.eval()


def hole(count: int, size: int) -> torch.Tensor:
    visible = torch.ones(count, 1, size, size)
    visible[..., size // 4 : size // 2 + 2, size // 4 : -2] = 0
    return visible


class TestCombinations:
    @pytest.mark.parametrize("lr_size", [16, 32])
    @pytest.mark.parametrize("completion_at", CHOICES["completion_at"])
    @every_combination
    @torch.inference_mode()
    def test_each_answers_in_its_ranges_from_one_config(self, completion, upsampling, lr_size, completion_at):
        network = build(completion, upsampling, lr_size, completion_at=completion_at)
        for count in (1, 3):
            restored = network(faces(count, lr_size), hole(count, lr_size))
            for value, side in ((restored.hr, 128), (restored.lr_completed, lr_size)):
                assert value.shape == (count, 3, side, side)
                assert value.min() >= 0
                assert value.max() <= 1
        if upsampling == "fsrnet":
            assert restored.heatmaps.shape == (3, 5, 64, 64)
            assert 0 < restored.heatmaps.min() < restored.heatmaps.max() < 1
            assert restored.parsing.shape == (3, 11, 64, 64)
        else:
            assert restored.heatmaps is None
            assert restored.parsing is None

    @pytest.mark.parametrize("completion_at", CHOICES["completion_at"])
    @every_combination
    @torch.inference_mode()
    def test_what_is_visible_stays_and_what_is_hidden_is_not_read(self, completion, upsampling, completion_at):
        network = build(completion, upsampling, completion_at=completion_at)
        lr, visible = faces(2, 16), hole(2, 16)
        restored = network(lr, visible)
        seen = visible.expand(-1, 3, -1, -1) == 1
        assert torch.equal(restored.lr_completed[seen], lr[seen])
        other = network(torch.where(seen, lr, 1 - lr), visible)
        torch.testing.assert_close(other.hr, restored.hr, atol=0, rtol=0)
        torch.testing.assert_close(other.lr_completed, restored.lr_completed, atol=0, rtol=0)
        everything = network(lr, torch.ones_like(visible))
        assert torch.equal(everything.lr_completed, lr)

    @torch.inference_mode()
    def test_a_half_hidden_pixel_is_half_drawn(self):
        network, lr = build(), faces(1, 16)
        raw, completed = network.complete(lr, torch.full((1, 1, 16, 16), 0.5))
        torch.testing.assert_close(completed, (raw + lr) / 2)

    @every_combination
    @torch.inference_mode()
    def test_before_training_it_fills_smoothly_and_enlarges_bicubically(self, completion, upsampling):
        config = {**TINY, "completion": completion, "upsampling": upsampling}
        network = networks.build("fcsr-gan", config).eval()
        lr, visible = faces(2, 16), hole(2, 16)
        restored = network(lr, visible)
        torch.testing.assert_close(restored.lr_completed, fill_hidden(lr, visible), atol=1e-6, rtol=0)
        torch.testing.assert_close(restored.hr, resample(fill_hidden(lr, visible), 128), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(("completion", "upsampling"), [("pconv", "fsrnet"), ("gfc", "srresnet")])
    def test_every_half_can_be_exported_for_any_batch(self, completion, upsampling):
        class Picture(torch.nn.Module):  # exported programs return tensors
            def __init__(self):
                super().__init__()
                self.network = build(completion, upsampling)

            def forward(self, lr, visible):
                return self.network(lr, visible).hr

        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        program = torch.export.export(Picture(), (faces(2, 16), hole(2, 16)), dynamic_shapes=(batch, batch))
        lr, visible = faces(5, 16), hole(5, 16)
        torch.testing.assert_close(program.module()(lr, visible), Picture()(lr, visible), atol=1e-5, rtol=1e-4)


class TestConfig:
    def test_comes_back_from_json(self):
        config = FcsrGanConfig(**TINY, lr_size=32, completion="gfc")
        assert FcsrGanConfig(**json.loads(json.dumps(asdict(config)))) == config

    @pytest.mark.parametrize(
        ("wrong", "allowed"),
        [
            ({"completion": "unet"}, "allowed: gfc, pconv"),
            ({"upsampling": "esrgan"}, "allowed: srresnet, fsrnet"),
            ({"completion_at": "mr"}, "allowed: lr, hr"),
            ({"lr_size": 24}, "allowed: 16, 32"),
            ({"pconv": {"norm": "group"}}, "allowed: batch, none"),
            ({"pconv": {"depth": 3}}, "depth"),
            ({"completion": "gfc", "gfc": {"encoder": [[4]] * 3, "decoder": [[4]]}}, "encoder has 3 levels"),
        ],
    )
    def test_an_impossible_choice_names_the_possible_ones(self, wrong, allowed):
        with pytest.raises(ConfigError, match=allowed):
            networks.build("fcsr-gan", wrong)


class TestSizes:
    """Counts of the specification, in millions of parameters; all on the meta device."""

    @pytest.mark.parametrize(
        ("choice", "lr_size", "part", "size"),
        [
            ({"completion": "pconv"}, 16, "completion", 25.77),
            ({"completion": "gfc"}, 16, "completion", 137),
            ({"upsampling": "srresnet"}, 32, "upsampling", 1.55),
            ({"upsampling": "srresnet"}, 16, "upsampling", 1.70),
            ({"upsampling": "fsrnet"}, 16, "upsampling", 27.5),
        ],
    )
    def test_at_paper_width_it_is_as_large_as_the_paper_has_it(self, choice, lr_size, part, size):
        with torch.device("meta"):
            network = networks.build("fcsr-gan", {**choice, "lr_size": lr_size}, variant="paper")
            network.eval()(torch.empty(1, 3, lr_size, lr_size), torch.empty(1, 1, lr_size, lr_size))
        assert millions(network.get_submodule(part)) == pytest.approx(size, rel=3e-3)

    @pytest.mark.parametrize("lr_size", [16, 32])
    @every_combination
    def test_slim_fits_into_a_file_of_16_mib(self, completion, upsampling, lr_size):
        with torch.device("meta"):
            network = FcsrGan(FcsrGanConfig(lr_size=lr_size, completion=completion, upsampling=upsampling))
        assert millions(network) < 8.3

    def test_channel_attention_adds_what_jdsr_gan_has(self):
        with torch.device("meta"):
            network = FsrNet(FsrNetConfig(**{**fsrnet.PAPER, "squeeze": 8}))
        assert millions(network) == pytest.approx(27.6, rel=3e-3)

    def test_repeated_blocks_share_nothing(self):
        with torch.device("meta"):
            network = networks.build("fcsr-gan", variant="paper")
        names = [name for name, _ in network.named_parameters(remove_duplicate=False)]
        assert len(names) == len(list(network.parameters()))


class TestPartialConv:
    @pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2)])
    def test_is_a_convolution_where_all_is_visible(self, kernel, stride):
        conv, x = PartialConv(3, 8, kernel, stride), faces(2, 16)
        torch.nn.init.normal_(conv.bias)
        out, mask = conv((x, torch.ones(2, 1, 16, 16)))
        torch.testing.assert_close(out, F.conv2d(x, conv.weight, conv.bias, stride, kernel // 2))
        assert torch.equal(mask, torch.ones_like(out[:, :1]))

    def test_ignores_values_under_the_hole(self):
        conv, x, visible = PartialConv(3, 8), faces(2, 16), hole(2, 16)
        other = torch.where(visible == 1, x, torch.randn_like(x) * 100)
        assert torch.equal(conv((x, visible))[0], conv((other, visible))[0])

    def test_keeps_its_scale_at_the_edge_of_a_hole(self):
        conv, visible = PartialConv(1, 1), torch.ones(1, 1, 6, 6)
        torch.nn.init.ones_(conv.weight)
        visible[..., 3:] = 0
        out, mask = conv((torch.ones(1, 1, 6, 6), visible))
        # 9 in the middle, 6 and 4 at the border as any zero-padded convolution; the hole changes nothing of that
        assert out[0, 0, 2].tolist() == pytest.approx([6, 9, 9, 9, 0, 0], abs=1e-5)
        assert mask[0, 0, 2].tolist() == [1, 1, 1, 1, 0, 0]

    def test_blind_windows_give_nothing_and_no_gradient_breaks(self):
        conv = PartialConv(3, 8)
        torch.nn.init.ones_(conv.bias)
        x = faces(1, 8).requires_grad_()
        out, mask = conv((x, torch.zeros(1, 1, 8, 8)))
        assert not out.any()
        assert not mask.any()
        out.sum().backward()
        assert x.grad.isfinite().all()

    def test_two_masks_count_as_one_of_all_channels(self):
        conv, x = PartialConv(5, 4), torch.randn(1, 5, 8, 8)
        first, second = hole(1, 8), hole(1, 8).flip(3)
        out, _ = conv((x[:, :2], first), (x[:, 2:], second))
        full = torch.cat([first.expand(-1, 2, -1, -1), second.expand(-1, 3, -1, -1)], 1)
        seen = F.conv2d(full, torch.ones(1, 5, 3, 3), padding=1)
        whole = F.conv2d(torch.ones_like(full), torch.ones(1, 5, 3, 3), padding=1)
        wanted = F.conv2d(x * full, conv.weight, padding=1) * whole / seen.clamp(min=1)
        torch.testing.assert_close(out, wanted)


class TestHalves:
    def test_gfc_sees_the_whole_face_from_every_pixel(self):
        network = Gfc(GfcConfig(**TINY["gfc"]), 16)
        torch.nn.init.normal_(network.leave.weight)
        lr = faces(1, 16).requires_grad_()
        network(lr, torch.ones(1, 1, 16, 16))[..., 0, 0].sum().backward()
        assert lr.grad[..., 8:, 8:].any()

    @torch.inference_mode()
    def test_gfc_at_paper_depth_unpools_where_it_found_the_maxima(self):
        config = replace(GfcConfig(**gfc.PAPER), encoder=((4,),) * 4, decoder=((4,),) * 4, middle=8)
        assert Gfc(config, 32)(faces(2, 32), hole(2, 32)).shape == (2, 3, 32, 32)

    @torch.inference_mode()
    def test_fsrnet_draws_the_fine_face_with_its_prior(self):
        torch.manual_seed(0)
        network = FsrNet(FsrNetConfig(**{**TINY["fsrnet"], "residual": False})).eval()
        x = faces(1, 128)
        before = network(x)
        network.prior.landmarks.bias += 5
        after = network(x)
        assert torch.equal(before.coarse, after.coarse)
        assert not torch.allclose(before.hr, after.hr)

    def test_fsrnet_refuses_a_small_face(self):
        with pytest.raises(ValueError, match="128, 128"):
            FsrNet(FsrNetConfig(**TINY["fsrnet"]))(faces(1, 16))

    @torch.inference_mode()
    def test_an_hourglass_without_norm_starts_as_sums_of_its_input(self):
        hourglass = Hourglass(4, 2, depth=2, bottlenecks=2, norm="none")
        plain = torch.full((1, 4, 8, 8), 0.5)
        torch.testing.assert_close(hourglass(plain), 3 * plain)  # its own skip, the inner one's, and the way down
