"""Both landmark networks learn where the points are, on faces that are small, hidden, and lie askew."""

import numpy as np
import pytest
import torch

from streamheal.heal import networks
from streamheal.train import tasks
from streamheal.train.recipe import Stage
from streamheal.train.samples.jitter import Jitter
from streamheal.train.samples.views import Views
from streamheal.train.task import Batch
from tests.heal.networks.sample import SMALL
from tests.train.tasks import stages

KINDS = {"landmark-maps": "fan-lite", "landmark-points": "landmark-regressor"}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return stages.context(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("kind", KINDS)
class TestBoth:
    def test_lowers_its_loss_on_a_fixed_batch(self, kind, context):
        torch.manual_seed(0)
        task = tasks.build(kind, {}, context)
        network = networks.build(KINDS[kind], SMALL[KINDS[kind]])
        lost = stages.train(task, network, context.faces, Stage(), steps=25, rate=1e-2)
        assert lost[-1] < 0.9 * lost[0]

    @torch.inference_mode()
    def test_looks_at_sharp_small_and_hidden_faces(self, kind, context):
        task = tasks.build(kind, {}, context)
        gen = torch.Generator().manual_seed(0)
        batch = Batch.of(context.faces, np.arange(4), gen, mirror=False)
        figures, sheet = task.look(networks.build(KINDS[kind], SMALL[KINDS[kind]]).eval(), batch, gen)
        assert set(figures) == {"nrmse sharp", "nrmse 32 px", "nrmse 16 px", "nrmse camera"}
        assert all(value > 0 for value in figures.values())
        assert sheet.shape == (3, 5 * 128, 4 * 128)

    def test_the_points_of_a_mirrored_face_are_on_the_mirrored_places(self, kind, context):
        task = tasks.build(kind, {"hidden": 0.0, "degrees": 0.0, "scale": 0.0, "shift": 0.0}, context)
        gen = torch.Generator().manual_seed(3)
        batch = Batch.of(context.faces, np.zeros(16, int), gen, mirror=True)
        _, landmarks = task.pair(batch, gen)
        left_eye = landmarks[:, 42:48, 0].mean(1)
        assert batch.mirrored.any()
        assert not batch.mirrored.all()
        assert (left_eye > 64).all()  # the person's left is on the picture's right, in a mirror as well


class TestJitter:
    def test_a_point_and_its_pixel_move_alike(self):
        gen = torch.Generator().manual_seed(0)
        jitter = Jitter.draw(4, 128, gen, degrees=10, scale=0.1, shift=5)
        maps = torch.zeros(4, 1, 128, 128)
        maps[:, :, 40, 90] = 1
        moved, at = jitter.maps(maps)[:, 0], torch.arange(128.0)
        mass = moved.sum((1, 2))
        centre = torch.stack([(moved.sum(1) * at).sum(1) / mass, (moved.sum(2) * at).sum(1) / mass], 1)
        torch.testing.assert_close(jitter.points(torch.tensor([[[90.0, 40.0]]]))[:, 0], centre, atol=0.3, rtol=0)

    def test_none_leaves_all_where_it_is(self):
        jitter = Jitter.draw(2, 16, torch.Generator(), degrees=0, scale=0, shift=0)
        maps, points = torch.rand(2, 3, 16, 16), torch.rand(2, 5, 2) * 16
        torch.testing.assert_close(jitter.maps(maps), maps)
        torch.testing.assert_close(jitter.points(points), points)


class TestViews:
    @pytest.mark.parametrize("view", ["sharp", "camera", "papers"])
    @pytest.mark.parametrize("hidden", [0.0, 1.0])
    def test_every_view_is_a_picture_of_the_same_size(self, view, hidden, context):
        pictures = torch.from_numpy(context.faces.pictures(np.arange(5))).permute(0, 3, 1, 2) / 255
        landmarks = torch.from_numpy(context.faces.landmarks[:5])
        gen = torch.Generator().manual_seed(0)
        for _ in range(4):
            seen = Views(context.bank, hidden, {view: 1.0}, group=2).draw(pictures, landmarks, gen)
            assert seen.shape == pictures.shape
            assert seen.min() >= 0
            assert seen.max() <= 1

    def test_sharp_and_free_is_the_picture_itself(self, context):
        pictures, gen = torch.rand(3, 3, 128, 128), torch.Generator()
        assert torch.equal(
            Views(context.bank, 0.0, {"sharp": 1.0}).draw(pictures, torch.zeros(3, 68, 2), gen), pictures
        )
