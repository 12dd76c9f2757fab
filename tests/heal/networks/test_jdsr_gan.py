"""What is particular to JDSR-GAN: nobody tells it where the mask is."""

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.identity_net import IdentityNet, IdentityNetConfig
from streamheal.heal.networks.jdsr_gan import JdsrGan
from streamheal.heal.networks.layers import ResidualBlock, SqueezeExcite, resample
from tests.heal.networks.sample import SMALL, build, faces, millions


def untrained(**config) -> JdsrGan:
    torch.manual_seed(0)
    return networks.build("jdsr-gan", SMALL["jdsr-gan"] | config).eval()


def ones(count: int, size: int) -> torch.Tensor:
    return torch.ones(count, 1, size, size)


class TestBlind:
    @torch.inference_mode()
    def test_what_is_said_to_be_visible_changes_nothing(self):
        network, pictures = build("jdsr-gan"), faces(2, 16)
        one, other = network(pictures, ones(2, 16)), network(pictures, torch.zeros(2, 1, 16, 16))
        for name in ("hr", "lr_completed", "occlusion", "evidence", "heatmaps", "parsing"):
            assert torch.equal(getattr(one, name), getattr(other, name))

    @torch.inference_mode()
    def test_its_noise_map_is_the_occlusion_and_the_evidence_follows(self):
        network, pictures = build("jdsr-gan"), faces(2, 16)
        answer = network(pictures, ones(2, 16))
        assert answer.occlusion.shape == (2, 1, 16, 16)
        torch.testing.assert_close(answer.occlusion, network.steps(pictures).noise.mean(1, keepdim=True))
        network.denoising.estimator[-2].bias.fill_(30)  # all is hidden
        answer = network(pictures, ones(2, 16))
        assert answer.occlusion.min() > 0.99
        assert answer.evidence.max() < 0.01

    @pytest.mark.parametrize("size", [16, 32])
    @pytest.mark.parametrize("rows", [1, 3])
    @torch.inference_mode()
    def test_one_config_serves_both_sizes(self, size, rows):
        network = untrained(lr_size=size)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        answer = network(faces(rows, size), ones(rows, size))
        shapes = {
            "hr": (rows, 3, 128, 128), "lr_completed": (rows, 3, size, size), "heatmaps": (rows, 68, 64, 64),
            "parsing": (rows, 11, 64, 64), "occlusion": (rows, 1, size, size), "evidence": (rows, 1, 128, 128),
        }  # fmt: skip
        assert {name: tuple(getattr(answer, name).shape) for name in shapes} == shapes
        for name in set(shapes) - {"parsing"}:
            assert 0 <= getattr(answer, name).min() <= getattr(answer, name).max() <= 1
            assert getattr(answer, name).dtype == torch.float32

    def test_another_size_is_refused_with_the_size_it_takes(self):
        with pytest.raises(ValueError, match="16, 16"):
            untrained()(faces(1, 32), ones(1, 32))


class TestBeforeTraining:
    @torch.inference_mode()
    def test_it_is_the_bicubic_picture(self):
        pictures = faces(2, 16)
        answer = untrained()(pictures, ones(2, 16))
        assert torch.equal(answer.lr_completed, pictures)
        torch.testing.assert_close(answer.hr, resample(pictures, 128))

    @torch.inference_mode()
    def test_what_the_estimator_finds_hidden_is_filled_and_the_rest_kept(self):
        network, pictures = untrained(), torch.full((1, 3, 16, 16), 0.5)
        pictures[..., 4:12, 4:12] = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)
        hidden = torch.zeros(1, 3, 16, 16)
        hidden[..., 4:12, 4:12] = 1
        network.denoising.estimator.forward = lambda lr: hidden
        torch.testing.assert_close(network.steps(pictures).denoised, torch.full_like(pictures, 0.5), atol=2e-3, rtol=0)

    @torch.inference_mode()
    def test_as_in_the_paper_the_denoiser_adds_to_the_picture_itself(self):
        network, pictures = untrained(ours=False), faces(1, 16)
        noise, denoised = network.denoising(pictures)
        torch.testing.assert_close(denoised, network.denoising.denoiser(noise, pictures) + pictures)
        assert not torch.equal(denoised, pictures)

    @pytest.mark.parametrize(("ours", "learns"), [(True, True), (False, False)])
    def test_an_estimate_that_fell_below_zero_everywhere_learns_on_with_ours_alone(self, ours, learns):
        network = untrained(ours=ours).train()
        torch.nn.init.zeros_(network.denoising.estimator[-2].weight)
        torch.nn.init.constant_(network.denoising.estimator[-2].bias, -2)
        network.steps(faces(2, 16)).noise.sum().backward()
        assert bool(network.denoising.estimator[-2].bias.grad.abs().sum() > 0) == learns


class TestWidths:
    def test_the_papers_have_the_specifications_parameters(self):
        with torch.device("meta"):
            network = networks.build("jdsr-gan", variant="paper")
        assert millions(network.denoising) == pytest.approx(4.38, abs=0.005)
        assert millions(network.upsampling) == pytest.approx(27.6, abs=0.05)
        assert not network.config.ours
        assert not network.config.upsampling.residual

    @pytest.mark.parametrize("size", [16, 32])
    def test_what_ships_fits_its_file(self, size):
        with torch.device("meta"):
            assert millions(networks.build("jdsr-gan", {"lr_size": size})) < 8.3

    def test_channel_attention_is_in_every_block_of_both_modules(self):
        with torch.device("meta"):
            network = networks.build("jdsr-gan")
        for part, count in ((network.denoising.estimator, 4), (network.denoising.denoiser, 5)):
            assert sum(isinstance(module, SqueezeExcite) for module in part.modules()) == count
        blocks = [module for module in network.upsampling.modules() if isinstance(module, ResidualBlock)]
        assert blocks
        assert all(isinstance(block.attend, SqueezeExcite) for block in blocks)

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ({"lr_size": 24}, "16 .*32"),
            ({"widths": [4, 4, 4], "convs": [1, 1]}, "one length"),
            ({"widths": [4] * 6, "convs": [1] * 6}, "halved 5 times"),
            ({"upsampling": {"norm": "layer"}}, "batch, none"),
            ({"upsampling": {"colour": 3}}, "colour"),
        ],
    )
    def test_impossible_ones_are_refused(self, config, said):
        with pytest.raises(ConfigError, match=said):
            networks.build("jdsr-gan", config)


class TestIdentityNet:
    def test_has_the_parameters_of_table_1(self):
        with torch.device("meta"):
            paper, slim = networks.build("identity-net", variant="paper"), networks.build("identity-net")
        assert millions(paper) == pytest.approx(38.5, abs=0.05)
        assert millions(paper.project) == pytest.approx(16.8, abs=0.05)
        assert millions(slim) == pytest.approx(5.6, abs=0.05)

    @torch.inference_mode()
    def test_embeds_to_length_one_at_any_size_and_tells_pictures_apart(self):
        network = IdentityNet(IdentityNetConfig(size=32, widths=(4, 8), blocks=(1, 1), mean=False)).eval()
        for size in (16, 32, 128):
            embeddings = network(faces(2, size))
            torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
            assert not torch.allclose(embeddings[0], embeddings[1])

    def test_impossible_ones_are_refused(self):
        with pytest.raises(ConfigError, match="one length"):
            networks.build("identity-net", {"widths": [8]})
        with pytest.raises(ConfigError, match="halved 4 times"):
            networks.build("identity-net", {"size": 100})


@torch.inference_mode()
def test_an_exported_graph_takes_any_batch_and_agrees():
    class Picture(torch.nn.Module):  # exported programs return tensors
        def __init__(self):
            super().__init__()
            self.network = build("jdsr-gan")

        def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
            return self.network(lr, visible).hr

    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    program = torch.export.export(Picture(), (faces(2, 16), ones(2, 16)), dynamic_shapes=(batch, batch))
    pictures = faces(5, 16)
    torch.testing.assert_close(program.module()(pictures, ones(5, 16)), Picture()(pictures, ones(5, 16)))
