"""OFHNet learns in its stages: the inpainting, the upsampling behind it, then both."""

from pathlib import Path

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.layers import resample
from streamheal.train import recipe, tasks, trainer
from streamheal.train.criteria.priors import Priors
from streamheal.train.recipe import Stage
from streamheal.train.task import Batch, Context
from tests.heal.networks.sample import SMALL
from tests.train.tasks import stages

STAGES = recipe.read(Path("configs/ofhnet.yaml")).stages
OPTIONS = {"critic_width": 4}
INPAINTING, UPSAMPLING = Stage(train=("inpainting",)), Stage(train=("upsampling",), adversarial=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    torch.manual_seed(0)
    regressor = networks.build("landmark-regressor", SMALL["landmark-regressor"])
    return stages.context(tmp_path_factory.mktemp("faces"), landmark_regressor=regressor)


def build(context: Context, **options) -> tuple[torch.nn.Module, tasks.Task]:
    torch.manual_seed(0)
    return networks.build("ofhnet", SMALL["ofhnet"]), tasks.build("ofhnet", OPTIONS | options, context)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_each_stage_of_the_recipe_lowers_its_own_loss(stage, context):
    network, task = build(context)
    lost = stages.train(task, network, context.faces, stage, steps=35, rate=3e-3, count=2)
    assert lost[-1] < 0.9 * lost[0]


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_frozen_parts_get_no_gradient_and_no_statistics(stage, context):
    network, task = build(context)
    trainer.enter(stage, network, stages.RECIPE)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sum(stages.draw(task, network, context.faces, stage).parts.values()).backward()
    learning = set(stage.train or ("inpainting", "upsampling"))
    moved = {name.split(".")[0] for name, tensor in network.state_dict().items() if not tensor.equal(before[name])}
    assert stages.with_gradient(network) == moved == learning
    assert all(parameter.grad is None for parameter in context.priors.landmark_regressor.parameters())


def test_the_inpainting_is_compared_with_the_shrunk_face_as_a_whole(context):
    """Eq. 1: all of the network's own picture, not only the hole, not the composite."""
    network, task = build(context)
    drawn = []
    network.inpainting.register_forward_hook(lambda *said: drawn.append(said[2].detach()))
    parts = stages.draw(task, network, context.faces, INPAINTING).parts
    assert set(parts) == {"inpainting"}
    pictures = torch.from_numpy(context.faces.pictures(range(4))).permute(0, 3, 1, 2) / 255
    expected = (drawn[0] - resample(pictures, 16)).square().mean()
    torch.testing.assert_close(parts["inpainting"].detach(), expected)


def test_absolute_differences_count_beside_the_squares_where_a_recipe_says_so(context):
    plain, both = (
        stages.draw(task, network, context.faces, INPAINTING).parts["inpainting"]
        for network, task in (build(context), build(context, weights={"absolute": 1.0}))
    )
    assert both > 2 * plain  # of errors below 1 the squares are the smaller part


def test_the_upsampling_loses_pixels_structure_and_the_critics_favour(context):
    network, task = build(context)
    said = stages.draw(task, network, context.faces, UPSAMPLING)
    assert set(said.parts) == {"pixel", "structure", "adversarial"}
    assert set(said.critics()) == {"critic"}
    untold = stages.draw(task, network, context.faces, Stage(train=("upsampling",)))
    assert set(untold.parts) == {"pixel", "structure"}
    assert untold.critics is None


def test_the_critic_learns_nothing_about_the_network(context):
    network, task = build(context)
    said = stages.draw(task, network, context.faces, UPSAMPLING)
    sum(said.critics().values()).backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None for parameter in task.critics.parameters())


def test_without_its_weight_a_loss_needs_no_prior_and_no_critic(context, tmp_path):
    alone = Context(context.bank, context.faces, Priors(tmp_path))
    network, task = build(alone, weights={"structure": 0, "adversarial": 0})
    assert set(stages.draw(task, network, context.faces, UPSAMPLING).parts) == {"pixel"}
    assert list(task.critics.parameters()) == []


def test_a_loss_that_there_is_not_is_refused_by_name(context):
    with pytest.raises(ConfigError, match="no loss style; allowed: inpainting, pixel, adversarial, structure"):
        build(context, weights={"style": 1})


def test_looks_at_each_protocol(context):
    network, task = build(context, shares={"ofhnet": 1, "cctv": 1})
    gen = torch.Generator().manual_seed(0)
    batch = Batch.of(context.faces, torch.arange(4).numpy(), gen, mirror=False)
    with torch.inference_mode():
        figures, sheet = task.look(network.eval(), batch, gen)
    assert set(figures) == {"psnr ofhnet", "psnr cctv"}
    assert sheet.shape == (3, 7 * 128, 4 * 128)
