"""FCSR-GAN learns in its stages: the completion, the upsampling behind it, then both against a critic."""

from pathlib import Path

import pytest
import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.face_parser import FaceParser, FaceParserConfig
from streamheal.heal.networks.fan_lite import FanLite, FanLiteConfig
from streamheal.train import recipe, tasks, trainer
from streamheal.train.criteria.perceptual import Phi
from streamheal.train.criteria.priors import Priors
from streamheal.train.recipe import Stage
from streamheal.train.task import Context, Task
from tests.train.tasks import stages

TINY = {
    "pconv": {"widths": [8, 8, 8, 8]},
    "srresnet": {"width": 16, "blocks": 1, "up_width": 8},
    "fsrnet": {"channels": 4, "encoder_channels": 8, "planes": 8, "encoder_blocks": 1, "depth": 2},
}
CONFIGS = Path(__file__).parents[3] / "configs"
COMPLETION = Stage(name="completion", train=("completion",))
UPSAMPLING = Stage(name="upsampling", train=("upsampling",))
WHOLE = Stage(name="whole", adversarial=True)
EVERY_STAGE = pytest.mark.parametrize("stage", [COMPLETION, UPSAMPLING, WHOLE], ids=lambda stage: stage.name)

# Untrained teachers say nothing that could be learned in a few steps, and VGG at 128 px takes a second.
PIXELS = {"style": 0, "lr_perceptual": 0, "perceptual": 0, "lr_pixel": 1, "lr_smooth": 0.01}


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    torch.manual_seed(0)
    parser, fan = FaceParser(FaceParserConfig(size=32, widths=(4, 4))), FanLite(FanLiteConfig(width=8))
    return stages.context(tmp_path_factory.mktemp("faces"), phi=Phi(), parser=parser, fan=fan)


def build(context: Context, weights: dict | None = None, *, options: dict | None = None, **config) -> tuple:
    torch.manual_seed(0)
    said = {"critic_width": 4, "weights": PIXELS if weights is None else weights} | (options or {})
    return networks.build("fcsr-gan", TINY | config), tasks.build("fcsr-gan", said, context)


def parts(task: Task, network: nn.Module, context: Context, stage: Stage, count: int = 1) -> dict[str, torch.Tensor]:
    trainer.enter(stage, network, stages.RECIPE)
    task.critics.requires_grad_(False)
    return stages.draw(task, network, context.faces, stage, count).parts


@EVERY_STAGE
@pytest.mark.parametrize("halves", [("pconv", "fsrnet"), ("gfc", "srresnet")], ids=" + ".join)
def test_each_stage_lowers_its_own_loss(stage, halves, context):
    completion, upsampling = halves
    weights = PIXELS | ({"landmarks": 0, "parsing": 0} if upsampling == "srresnet" else {})
    network, task = build(context, weights, completion=completion, upsampling=upsampling)
    steps = 60 if stage is COMPLETION else 30  # at 16 px they cost next to nothing
    lost = stages.train(task, network, context.faces, stage, steps=steps, rate=2e-3, count=2)
    assert lost[-1] < 0.95 * lost[0]


@EVERY_STAGE
def test_frozen_parts_get_no_gradient(stage, context):
    network, task = build(context)
    sum(parts(task, network, context, stage).values()).backward()
    assert stages.with_gradient(network) == set(stage.train or ("completion", "upsampling"))
    assert all(parameter.grad is None for parameter in task.critics.parameters())


def test_the_fine_face_s_loss_reaches_the_completion(context):
    """So the last stage trains end to end, not two networks side by side."""
    network, task = build(context)
    parts(task, network, context, WHOLE)["coarse"].backward()
    assert network.completion.decode[0].conv.weight.grad.any()


@EVERY_STAGE
def test_the_losses_are_those_of_what_a_stage_trains(stage, context):
    small = {"style", "lr_perceptual", "lr_pixel", "lr_smooth"}
    fine = {"perceptual", "pixel", "smooth", "coarse", "landmarks", "parsing"}
    wanted = {"completion": small, "upsampling": fine, "whole": small | fine | {"adversarial"}}
    network, task = build(context, {})
    found = parts(task, network, context, stage)
    assert set(found) == wanted[stage.name]
    assert all(part.isfinite() for part in found.values())


@pytest.mark.parametrize("upsampling", ["fsrnet", "srresnet"])
@pytest.mark.parametrize("loss", ["landmarks", "parsing"])
def test_the_face_prior_reaches_the_upsampling(loss, upsampling, context):
    """FSRNet by its own branch, SRResNet by what teachers see in its faces."""
    network, task = build(context, upsampling=upsampling)
    parts(task, network, context, UPSAMPLING)[loss].backward()
    assert any(p.grad is not None and p.grad.any() for p in network.upsampling.parameters())


@pytest.mark.parametrize(
    ("game", "names"), [("hinge", ["critic"]), ("log", ["critic"]), ("wgan-gp", ["critic", "penalty"])]
)
def test_a_critic_learns_from_faces_that_are_let_go(game, names, context):
    network, task = build(context, options={"game": game})
    trainer.enter(WHOLE, network, stages.RECIPE)
    said = stages.draw(task, network, context.faces, WHOLE, count=2)
    optimizer = torch.optim.AdamW(task.critics.parameters(), 1e-3)
    first = trainer.criticise(said.critics, task, optimizer)
    assert list(first) == names
    assert all(parameter.grad is None for parameter in network.parameters())
    assert sum(said.critics().values()) < sum(first.values())


def test_without_the_parser_outlines_serve(context):
    bare = Context(context.bank, context.faces, Priors(Path("nowhere")))
    network, task = build(bare, PIXELS | {"adversarial": 0}, options={"parsing_labels": "outlines"})
    assert parts(task, network, bare, UPSAMPLING)["parsing"] > 0
    assert not list(task.critics.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"game": "lsgan"}, "allowed: hinge, log, wgan-gp"),
        ({"parsing_labels": "helen"}, "allowed: parser, outlines"),
        ({"landmark_loss": "l1"}, "allowed: cross-entropy, squared"),
        ({"perceptual_share": 0}, "above 0 and at most 1"),
        ({"weights": {"lpips": 1}}, "no loss lpips; allowed: style"),
    ],
)
def test_an_option_that_there_is_not_names_those_there_are(options, message, context):
    with pytest.raises(ConfigError, match=message):
        tasks.build("fcsr-gan", options, context)


@pytest.mark.parametrize("size", [16, 32])
def test_its_recipes_have_the_stages_of_the_paper_and_a_critic_in_the_last(size, context):
    plan = recipe.read(CONFIGS / f"fcsr-gan-{size}.yaml")
    task = tasks.build(plan.task, plan.options, context)
    with torch.device("meta"):
        network = networks.build(plan.system, plan.network, plan.variant)
    assert plan.name == f"fcsr-gan-{size}"
    assert network.lr_size == task.pairs.size == size
    first, second, *whole = plan.stages
    assert (first.train, second.train) == (("completion",), ("upsampling",))
    assert all(stage.train == () for stage in whole)
    assert [stage.adversarial for stage in plan.stages].index(True) == len(plan.stages) - 1
    assert plan.stages[-1].share / sum(stage.share for stage in plan.stages) <= 1 / 3
