"""One suite that every restorer passes, whatever its paper. What is particular to one is tested in its own file."""

import numpy as np
import pytest
import torch

from streamheal.heal import networks
from streamheal.heal.networks.layers import resample
from tests.heal.networks.sample import SIZES, build, faces


def hole(count: int, size: int) -> torch.Tensor:
    """Visible but for a block right of and below the middle."""
    visible = torch.ones(count, 1, size, size)
    visible[..., size // 2 : size // 4 * 3, size // 2 : size // 8 * 7] = 0
    return visible


def intermediate(restored: networks.Restored) -> list[torch.Tensor]:
    completed = restored.lr_completed
    return completed if isinstance(completed, list) else [completed]


class Tensors(torch.nn.Module):
    """The restorer with a plain tuple for its answer, as exported graphs need it."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        restored = self.network(lr, visible)
        return restored.hr, restored.evidence


@pytest.mark.parametrize("system", networks.RESTORERS)
class TestEveryRestorer:
    def test_says_what_it_takes_and_what_it_makes(self, system):
        network = build(system)
        assert network.lr_size == SIZES[system]
        assert network.hr_size == 128
        assert network.blind == (system == "jdsr-gan")

    @pytest.mark.parametrize("count", [1, 3])
    @torch.inference_mode()
    def test_answers_in_its_shapes_and_ranges(self, system, count):
        network, size = build(system), SIZES[system]
        restored = network(faces(count, size), hole(count, size))
        assert restored.hr.shape == (count, 3, 128, 128)
        assert restored.evidence.shape == (count, 1, 128, 128)
        assert restored.occlusion.shape == (count, 1, size, size)
        pictures = [restored.hr, restored.evidence, restored.occlusion, *intermediate(restored)]
        if restored.heatmaps is not None:
            pictures.append(restored.heatmaps)
        for picture in pictures:
            assert picture.dtype == torch.float32
            assert picture.isfinite().all()
            assert picture.min() >= 0
            assert picture.max() <= 1

    def test_another_size_is_refused_with_the_size_it_takes(self, system):
        size = SIZES[system]
        with pytest.raises(ValueError, match=f"{size}, {size}"):
            build(system)(faces(1, size + 4), torch.ones(1, 1, size + 4, size + 4))

    @torch.inference_mode()
    def test_an_untrained_slim_one_is_no_worse_than_filling_and_bicubic(self, system):
        from skimage.data import astronaut

        torch.manual_seed(0)
        network = networks.build(system).eval()
        face = torch.from_numpy(astronaut()[50:210, 150:310].copy()).permute(2, 0, 1)[None].float() / 255
        size = network.lr_size
        lr = resample(resample(face, 16), size)
        restored = network(lr, torch.ones(1, 1, size, size)).hr
        torch.testing.assert_close(restored, resample(lr, network.hr_size), atol=0.02, rtol=0)

    @torch.inference_mode()
    def test_an_exported_graph_agrees_for_any_batch(self, system, tmp_path):
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
        network, size = Tensors(build(system)), SIZES[system]
        example, other = (faces(2, size), hole(2, size)), (faces(3, size), hole(3, size))
        batch = {0: torch.export.Dim("batch", min=1, max=64)}
        program = torch.export.export(network, example, dynamic_shapes=(batch, batch))
        expected = network(*other)
        for found, wanted in zip(program.module()(*other), expected, strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        torch.onnx.export(program, dynamo=True, verbose=False).save(tmp_path / "network.onnx")
        session = runtime.InferenceSession(tmp_path / "network.onnx")
        inputs = {said.name: tensor.numpy() for said, tensor in zip(session.get_inputs(), other, strict=True)}
        for found, wanted in zip(session.run(None, inputs), expected, strict=True):
            np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("system", [s for s in networks.RESTORERS if not networks.NETWORKS[s][1].blind])
class TestEveryRestorerThatIsToldWhatIsVisible:
    @torch.inference_mode()
    def test_a_wholly_visible_face_is_complete_already(self, system):
        network, size = build(system), SIZES[system]
        pictures = faces(2, size)
        first = intermediate(network(pictures, torch.ones(2, 1, size, size)))[0]
        torch.testing.assert_close(first, pictures, atol=1e-5, rtol=0)

    @torch.inference_mode()
    def test_visible_pixels_are_kept(self, system):
        network, size = build(system), SIZES[system]
        pictures, visible = faces(2, size), hole(2, size)
        first = intermediate(network(pictures, visible))[0]
        torch.testing.assert_close(first * visible, pictures * visible, atol=1e-5, rtol=0)

    @torch.inference_mode()
    def test_evidence_is_least_where_the_hole_is(self, system):
        network, size = build(system), SIZES[system]
        backed = network(faces(1, size), hole(1, size)).evidence
        seen = resample(hole(1, size), 128)
        assert backed[seen > 0.9].mean() > 0.9
        assert backed[seen < 0.1].mean() < 0.4


@pytest.mark.parametrize("system", networks.PAPER)
def test_the_papers_width_is_a_variant_by_name(system):
    with torch.device("meta"):
        slim, paper = networks.build(system), networks.build(system, variant="paper")
    assert paper.config != slim.config


def test_a_variant_that_is_not_there_names_those_that_are():
    with pytest.raises(networks.ConfigError, match="no variant 'wide'; allowed: slim, paper"):
        networks.build("ofhnet", variant="wide")
