"""FD-StackGAN learns in its stages: the base network, the refining one behind it, then both."""

from pathlib import Path

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import recipe, tasks, trainer
from streamheal.train.criteria.perceptual import Phi
from streamheal.train.recipe import Stage
from streamheal.train.samples.protocols import FD_SHARES, draw_pair
from streamheal.train.task import Context
from tests.heal.networks.sample import SMALL
from tests.train.tasks import stages

STAGES = recipe.read(Path("configs/fd-stackgan-128.yaml")).stages
NO_PHI = {"base perceptual": 0, "refine perceptual": 0}
WITH_CRITICS = [stage for stage in STAGES if stage.adversarial]


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    torch.manual_seed(0)
    return stages.context(tmp_path_factory.mktemp("faces"), phi=Phi())


def build(context: Context, **options) -> tuple[torch.nn.Module, tasks.Task]:
    torch.manual_seed(0)
    network = networks.build("fd-stackgan", SMALL["fd-stackgan"])
    return network, tasks.build("fd-stackgan", {"critic_width": 4, "weights": NO_PHI} | options, context)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_each_stage_of_the_recipe_lowers_its_own_loss(stage, context):
    network, task = build(context)
    lost = stages.train(task, network, context.faces, stage, steps=25, rate=3e-3, count=1)
    assert lost[-1] < 0.9 * lost[0]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_frozen_parts_get_no_gradient(stage, context):
    network, task = build(context)
    trainer.enter(stage, network, stages.RECIPE)
    sum(stages.draw(task, network, context.faces, stage, 1).parts.values()).backward()
    assert stages.with_gradient(network) == set(stage.train or ("base", "refine"))


@pytest.mark.parametrize("stage", WITH_CRITICS, ids=lambda stage: stage.name)
def test_each_part_that_learns_has_a_critic_of_its_own(stage, context):
    network, task = build(context)
    said = stages.draw(task, network, context.faces, stage, 1)
    learns = stage.train or ("base", "refine")
    sum(said.critics().values()).backward()
    for part in ("base", "refine"):
        assert (f"{part} adversarial" in said.parts) is (part in learns)
        own = task.critics.get_submodule(part).parameters()
        assert all((parameter.grad is not None) is (part in learns) for parameter in own)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_stage_without_critics_looks_at_pixels_alone(context):
    network, task = build(context, weights={})
    said = stages.draw(task, network, context.faces, Stage(train=("base",)), 1)
    assert set(said.parts) == {"base pixel", "base ssim"}
    assert said.critics is None


def test_with_critics_it_has_the_weights_of_the_paper(context):
    """10 : 10 : 3.3 : 1 in the second stage, 100 : 100 : 33 : 1 in the first; the drawn faces start out the same."""
    network, task = build(context, weights={})
    parts = stages.draw(task, network, context.faces, Stage(adversarial=True), 1).parts
    assert len(parts) == 8
    for name in ("pixel", "ssim", "perceptual"):
        torch.testing.assert_close(parts[f"base {name}"], 10 * parts[f"refine {name}"])


def test_the_critics_score_depends_on_the_occluded_face(context):
    """Two conditions, one picture: a conditioned critic tells them apart (eq. 7)."""
    _, task = build(context)
    face, one, other = torch.rand(3, 1, 3, 128, 128).unbind()
    for part in ("base", "refine"):
        assert not torch.equal(task._score(part, face, one), task._score(part, face, other))


def test_at_256_px_it_learns_from_faces_of_256_px(tmp_path):
    context = stages.context(tmp_path, size=256)
    torch.manual_seed(0)
    network = networks.build("fd-stackgan", SMALL["fd-stackgan"] | {"resolution": 256, "dilations": [1, 2, 4, 2]})
    task = tasks.build("fd-stackgan", {"critic_width": 4, "weights": NO_PHI}, context)
    parts = stages.draw(task, network, context.faces, Stage(adversarial=True), 1).parts
    assert sum(parts.values()).isfinite()


def test_a_network_of_another_resolution_is_refused(context):
    network = networks.build("fd-stackgan", SMALL["fd-stackgan"] | {"resolution": 256})
    with pytest.raises(ValueError, match=r"this network takes .* 256, 256"):
        stages.draw(build(context)[1], network, context.faces, STAGES[0], 1)


def test_a_loss_that_there_is_not_is_refused_by_name(context):
    with pytest.raises(ConfigError, match="no loss style; allowed: base pixel"):
        build(context, weights={"style": 1})


class TestProtocol:
    """ "fd": things are laid before the face, and nothing shrinks."""

    @pytest.mark.parametrize("size", [128, 256])
    def test_what_is_visible_is_the_face_itself(self, size, tmp_path):
        context = stages.context(tmp_path, size=size)
        hr = torch.from_numpy(context.faces.pictures(range(8))).permute(0, 3, 1, 2) / 255
        landmarks = torch.from_numpy(context.faces.landmarks)
        pair = draw_pair("fd", hr, landmarks, context.bank, torch.Generator().manual_seed(0), size=size)
        assert pair.lr.shape == hr.shape
        free = (pair.visible == 1).expand_as(hr)
        assert torch.equal(pair.lr[free], hr[free])
        assert set(pair.kinds) <= set(FD_SHARES)
        hidden = 1 - pair.visible.mean((1, 2, 3))
        assert hidden.min() > 0
        assert (pair.lr != hr).flatten(1).any(1).all()

    def test_a_face_of_256_px_is_hidden_where_that_of_128_px_is(self, tmp_path):
        masks = []
        for size in (128, 256):
            context = stages.context(tmp_path / str(size), size=size)
            hr = torch.from_numpy(context.faces.pictures(range(8))).permute(0, 3, 1, 2) / 255
            landmarks = torch.from_numpy(context.faces.landmarks)
            gen = torch.Generator().manual_seed(0)
            masks.append(draw_pair("fd", hr, landmarks, context.bank, gen, size=size).visible)
        shrunk = torch.nn.functional.avg_pool2d(masks[1], 2)
        assert (shrunk - masks[0]).abs().mean() < 0.01
