"""Pro-UIGAN learns in its three steps: the first block, the second, then all, against critics that learn as well."""

from pathlib import Path

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.landmark_maps import GROUPS
from streamheal.train import recipe, tasks, trainer
from streamheal.train.criteria.perceptual import Phi
from streamheal.train.criteria.priors import Priors
from streamheal.train.recipe import Stage
from streamheal.train.task import Context
from tests.heal.networks.sample import SMALL as NETWORKS
from tests.train.tasks import stages

PLAN = recipe.read(Path(__file__).parents[3] / "configs" / "pro-uigan.yaml")
SMALL = NETWORKS["pro-uigan"] | {"bottleneck": "features"}
NO_LOOKS = {"feature": 0, "style1": 0, "style2": 0, "style3": 0}
BLOCKS = ("block1", "block2", "block3")
FIRST, SECOND = Stage(train=("block1",), adversarial=True), Stage(train=("block2",), adversarial=True)
ALL = Stage(train=BLOCKS, adversarial=True)


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    torch.manual_seed(0)
    return stages.context(tmp_path_factory.mktemp("faces"), phi=Phi())


def build(context: Context, **options) -> tuple[torch.nn.Module, tasks.Task]:
    torch.manual_seed(1)
    options = {"critic_width": 4, "weights": NO_LOOKS} | options
    return networks.build("pro-uigan", SMALL), tasks.build("pro-uigan", options, context)


def entered(context: Context, stage: Stage, **options) -> tuple[torch.nn.Module, tasks.Task]:
    network, task = build(context, **options)
    task.critics.requires_grad_(False)
    trainer.enter(stage, network, stages.RECIPE)
    return network, task


@pytest.mark.parametrize("stage", PLAN.stages, ids=lambda stage: stage.name)
def test_each_stage_of_the_recipe_lowers_its_own_loss(stage, context):
    network, task = build(context)
    steps = 14 if len(stage.train) == 3 else 40  # all of them at once cost more, and learn more at each step
    lost = stages.train(task, network, context.faces, stage, steps=steps, rate=4e-3, count=2)
    assert lost[-1] < 0.9 * lost[0]


@pytest.mark.parametrize("stage", PLAN.stages, ids=lambda stage: stage.name)
def test_what_a_stage_does_not_train_gets_no_gradient_and_no_statistics(stage, context):
    network, task = entered(context, stage)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    sum(stages.draw(task, network, context.faces, stage).parts.values()).backward()
    assert stages.with_gradient(network) == set(stage.train)
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())
    assert all(parameter.grad is None for parameter in task.critics.parameters())


def test_the_third_block_is_trained_ten_times_as_fast_as_the_others_in_the_papers_last_step():
    names = ["block 1", "block 2", "together", "all", "looks"]
    assert [(stage.name, stage.train) for stage in PLAN.stages] == list(
        zip(names, [("block1",), ("block2",), BLOCKS, BLOCKS, BLOCKS], strict=True)
    )
    assert all(stage.rates == {"block1": 0.1, "block2": 0.1} for stage in PLAN.stages[3:])
    assert not any(stage.rates for stage in PLAN.stages[:3])
    assert PLAN.parts == {"fan": "fan-lite"}
    whole = sum(stage.share for stage in PLAN.stages)
    assert sum(stage.share for stage in PLAN.stages if stage.adversarial) <= 0.4 * whole


@pytest.mark.parametrize(
    ("stage", "critics"),
    [(FIRST, {"local1"}), (SECOND, set()), (ALL, {"local1", "local3", "global3"})],
    ids=["block 1", "block 2", "all"],
)
def test_critics_learn_to_tell_the_blocks_faces_from_real_ones(stage, critics, context):
    """The authors' code never steps its discriminator: its adversarial loss is noise."""
    network, task = entered(context, stage)
    losses = stages.draw(task, network, context.faces, stage)
    assert ("adversarial" in losses.parts) == bool(critics)
    if not critics:
        assert losses.critics is None
        return
    optimizer = torch.optim.Adam(task.critics.parameters(), 2e-3)
    first = trainer.criticise(losses.critics, task, optimizer)
    assert set(first) == {f"critic {name}" for name in critics}
    for _ in range(20):
        last = trainer.criticise(losses.critics, task, optimizer)
    assert all(last[name] < 0.8 * first[name] for name in first)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_critics_wait_for_their_stage(context):
    network, task = entered(context, Stage(train=BLOCKS))
    losses = stages.draw(task, network, context.faces, Stage(train=BLOCKS))
    assert "adversarial" not in losses.parts and losses.critics is None


def test_all_blocks_together_cost_what_each_costs(context):
    network, task = entered(context, Stage(train=BLOCKS))
    one_by_one = [stages.draw(task, network, context.faces, Stage(train=(block,))).parts for block in BLOCKS]
    together = stages.draw(task, network, context.faces, Stage(train=BLOCKS)).parts
    for name, part in together.items():
        torch.testing.assert_close(part, sum(parts[name] for parts in one_by_one))


def test_looks_are_compared_by_vgg_with_a_weight_of_style_for_each_block(context):
    network, task = entered(context, FIRST, weights=NO_LOOKS | {"feature": 0.01, "style1": 10})
    parts = stages.draw(task, network, context.faces, FIRST, count=2).parts
    network, task = entered(context, FIRST, weights=NO_LOOKS | {"feature": 0.02, "style1": 30})
    more = stages.draw(task, network, context.faces, FIRST, count=2).parts
    torch.testing.assert_close(more["style"], 3 * parts["style"])
    torch.testing.assert_close(more["feature"], 2 * parts["feature"])
    assert parts["style"] > 0 and parts["feature"] > 0


def test_absolute_differences_count_beside_the_squares_where_a_recipe_says_so(context):
    plain, both = (
        stages.draw(task, network, context.faces, FIRST).parts["pixel"]
        for network, task in (entered(context, FIRST), entered(context, FIRST, weights=NO_LOOKS | {"absolute": 1.0}))
    )
    assert both > 2 * plain  # of errors below 1 the squares are the smaller part


def test_without_looks_no_vgg_is_asked_for(context):
    bare = Context(context.bank, context.faces, Priors(Path("nowhere")))
    network, task = entered(bare, FIRST)
    assert set(stages.draw(task, network, bare.faces, FIRST).parts) == {
        "pixel", "completed", "heatmaps", "adversarial",
    }  # fmt: skip


def test_a_group_of_landmarks_is_drawn_true_as_a_whole_and_as_often_as_said(context):
    _, task = build(context, true_priors=0.3)
    given = task._given(torch.zeros(500, 68, 2), torch.Generator().manual_seed(0))
    for group in GROUPS.values():
        assert (given[:, group].all(1) == given[:, group].any(1)).all()
    assert given.float().mean() == pytest.approx(0.3, abs=0.04)
    assert not (given[:, 0] == given[:, 67]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"landmark_loss": "l1"}, "allowed: cross-entropy, squared"),
        ({"perceptual_share": 0}, "above 0 and at most 1"),
        ({"true_priors": 1.5}, "from 0 to 1"),
        ({"weights": {"lpips": 1}}, "no loss lpips; allowed: pixel"),
        ({"shares": {"helen": 1}}, "no protocol helen"),
    ],
)
def test_an_option_that_there_is_not_names_those_there_are(context, options, message):
    with pytest.raises(ConfigError, match=message):
        tasks.build("pro-uigan", options, context)
