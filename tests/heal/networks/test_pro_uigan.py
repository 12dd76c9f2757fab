"""Pro-UIGAN, its landmark network, and landmarks as maps: what is particular to them."""

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.fan_lite import FanLite, FanLiteConfig
from streamheal.heal.networks.landmark_maps import draw, peaks
from streamheal.heal.networks.pro_uigan import BLOCK_LANDMARKS, ProUigan, cosine_attention, softmax_attention
from tests.heal.networks.sample import SMALL as NETWORKS
from tests.heal.networks.sample import faces, millions, stir

SMALL = NETWORKS["pro-uigan"] | {"bottleneck": "features"}
FACES, ALL = faces(2, 16), torch.ones(2, 1, 16, 16)


def build(**config) -> ProUigan:
    torch.manual_seed(0)
    network = networks.build("pro-uigan", SMALL | config)
    stir(network)
    return network.eval()


def points(count: int = 2) -> torch.Tensor:
    return 20 + 88 * torch.rand(count, 68, 2, generator=torch.Generator().manual_seed(2))


class TestSizes:
    @pytest.mark.parametrize(("bottleneck", "size"), [("features", 1.27), ("pictures", 1.19)])
    def test_paper_width_has_the_codes_parameters(self, bottleneck, size):
        with torch.device("meta"):
            network = networks.build("pro-uigan", {"bottleneck": bottleneck}, variant="paper")
        assert millions(network) - millions(network.fan) == pytest.approx(size, abs=0.005)

    @pytest.mark.parametrize(("variant", "size"), [("slim", 0.39), ("paper", 1.54)])
    def test_the_landmark_network_is_a_tenth_of_the_papers_or_less(self, variant, size):
        with torch.device("meta"):
            assert millions(networks.build("fan-lite", variant=variant)) == pytest.approx(size, abs=0.005)

    def test_it_ships_in_one_file_of_16_mib(self):
        assert millions(networks.build("pro-uigan")) * 2e6 < 16 * 2**20

    def test_blocks_are_led_by_7_42_and_68_landmarks(self):
        assert [len(chosen) for chosen in BLOCK_LANDMARKS] == [7, 42, 68]
        assert all(len(set(chosen)) == len(chosen) for chosen in BLOCK_LANDMARKS)
        assert set(BLOCK_LANDMARKS[0]) <= set(BLOCK_LANDMARKS[1])


class TestAttention:
    def test_the_cheap_form_of_the_cosine_equals_the_one_over_all_pairs(self):
        query, key, value = torch.randn(3, 2, 4, 49, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        pairs = torch.einsum("bci,bcj->bij", query, key)
        pairs = pairs / query.norm(dim=1)[:, :, None] / key.norm(dim=1)[:, None, :]
        expected = torch.einsum("bij,bcj->bci", pairs, value) / 49
        torch.testing.assert_close(cosine_attention(query, key, value), expected, atol=1e-10, rtol=0)

    def test_softmax_equals_its_form_over_all_pairs(self):
        query, key, value = torch.randn(3, 2, 4, 49, generator=torch.Generator().manual_seed(0))
        pairs = torch.einsum("bci,bcj->bij", query, key).softmax(2)
        torch.testing.assert_close(softmax_attention(query, key, value), torch.einsum("bij,bcj->bci", pairs, value))

    def test_a_face_without_features_gives_zeros_and_no_nan(self):
        assert torch.equal(cosine_attention(*torch.zeros(3, 1, 4, 9)), torch.zeros(1, 4, 9))


class TestMaps:
    def test_a_drawn_map_is_read_back(self):
        assert (peaks(draw(points(), 128, 32), 128) - points()).abs().max() < 0.3

    def test_a_cells_centre_is_its_middle_pixel(self):
        """Cell 3 of 32 covers the pixels 12 to 15 of 128: centre 13.5."""
        drawn = draw(torch.tensor([[[13.5, 17.5]]]), 128, 32)
        assert drawn.flatten().argmax() == 4 * 32 + 3
        assert drawn.max() == 1

    def test_a_second_weaker_peak_does_not_pull(self):
        two = draw(torch.tensor([[[20.0, 20.0], [100.0, 90.0]]]), 128, 32)
        one = (two[:, :1] + 0.8 * two[:, 1:]).clamp(max=1)
        torch.testing.assert_close(peaks(one, 128), peaks(two[:, :1], 128))

    @torch.inference_mode()
    def test_the_landmark_network_answers_in_pixels_of_what_it_got(self):
        torch.manual_seed(0)
        network = FanLite(FanLiteConfig(width=8)).eval()
        small = faces(2, 32)
        grown = torch.nn.functional.interpolate(small, (128, 128), mode="bicubic", antialias=True).clamp(0, 1)
        torch.testing.assert_close(4 * (network.points(small) + 0.5) - 0.5, network.points(grown))


class TestSteps:
    @pytest.mark.parametrize("config", [{}, {"attention": "softmax"}, {"ours": False}, {"norm": "batch"}])
    @pytest.mark.parametrize("more", [{}, {"bottleneck": "pictures"}, {"growth": "pixelshuffle"}])
    def test_every_choice_doubles_three_times(self, config, more):
        steps = build(**config, **more).steps(FACES, ALL)
        assert [step.completed.shape[-1] for step in steps] == [16, 32, 64]
        assert [step.face.shape[-1] for step in steps] == [32, 64, 128]
        for step, count in zip(steps, (7, 42, 68), strict=True):
            assert step.priors.shape == step.heatmaps.shape == (2, count, *step.completed.shape[2:])
            assert step.heatmaps.min() >= 0 and step.heatmaps.max() <= 1

    def test_the_first_blocks_run_without_the_others(self):
        network = build()
        assert torch.equal(network.steps(FACES, ALL, blocks=1)[0].face, network.steps(FACES, ALL)[0].face)
        assert len(network.steps(FACES, ALL, blocks=2)) == 2

    @torch.inference_mode()
    def test_the_answer_holds_the_face_of_every_step(self):
        restored = build()(FACES, ALL)
        assert [face.shape[-1] for face in restored.lr_completed] == [16, 32, 64]
        assert restored.heatmaps.shape == (2, 68, 64, 64)
        assert torch.equal(restored.lr_completed[0], FACES)

    @torch.inference_mode()
    def test_the_occluders_own_pixels_are_not_seen(self):
        visible = ALL.clone()
        visible[..., 8:13, 4:12] = 0
        noise = FACES * visible + torch.rand(2, 3, 16, 16) * (1 - visible)
        network = build()
        torch.testing.assert_close(network(noise, visible).hr, network(FACES * visible, visible).hr)

    def test_faces_and_maps_on_the_way_can_be_supervised_apart_from_the_last_face(self):
        """Streams go on, as in the paper, and not what the heads make of them."""
        network = build().train()
        steps = network.steps(FACES, ALL)
        steps[-1].face.mean().backward(retain_graph=True)
        heads = [
            layer for block in (network.block1, network.block2, network.block3)
            for layer in (block.face_head, block.maps_head)
        ]  # fmt: skip
        assert all(head.weight.grad is None for head in heads)
        sum(step.completed.mean() + step.heatmaps.mean() for step in steps).backward()
        assert all(head.weight.grad.abs().sum() > 0 for head in heads)

    def test_it_leaves_its_landmark_network_as_it_is(self):
        network = build().train()
        before = {name: tensor.clone() for name, tensor in network.fan.state_dict().items()}
        network(FACES, ALL).hr.mean().backward()
        assert not network.fan.training
        assert all(parameter.grad is None for parameter in network.fan.parameters())
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.fan.state_dict().items())

    def test_an_impossible_choice_names_the_allowed_ones(self):
        with pytest.raises(ConfigError, match="cosine, softmax"):
            networks.build("pro-uigan", {"attention": "dot"})
        with pytest.raises(ConfigError, match=r"kernels.*odd"):
            networks.build("pro-uigan", {"kernels": [3, 4, 5]})


class TestEditing:
    @torch.inference_mode()
    def test_given_landmarks_lead_every_block(self):
        network = build()
        for step, chosen in zip(network.steps(FACES, ALL, points()), BLOCK_LANDMARKS, strict=True):
            side = step.priors.shape[-1]
            found = peaks(step.priors, side)
            expected = (points()[:, chosen] + 0.5) * side / 128 - 0.5
            assert (found - expected).abs().max() < 0.6

    @torch.inference_mode()
    def test_other_landmarks_give_another_face(self):
        network = build()
        assert not torch.equal(network.edit(FACES, ALL, points()).hr, network.edit(FACES, ALL, points() + 4).hr)

    @torch.inference_mode()
    def test_where_none_is_given_it_is_the_restored_face(self):
        network = build()
        none = torch.zeros(2, 68, dtype=torch.bool)
        assert torch.equal(network.edit(FACES, ALL, points(), none).hr, network(FACES, ALL).hr)

    @torch.inference_mode()
    def test_only_what_is_given_is_drawn(self):
        network = build()
        mouth = (torch.arange(68) >= 48).expand(2, 68)
        own, led = (network.steps(FACES, ALL, *more, blocks=1)[0].priors for more in ((), (points(), mouth)))
        drawn = torch.tensor(BLOCK_LANDMARKS[0]) >= 48
        assert torch.equal(own[:, ~drawn], led[:, ~drawn])
        assert not torch.equal(own[:, drawn], led[:, drawn])
