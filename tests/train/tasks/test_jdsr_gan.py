"""JDSR-GAN's task: what each stage lowers, what it leaves alone, and what its options mean."""

from pathlib import Path

import pytest
import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.networks.embedder import Embedder, EmbedderConfig
from streamheal.heal.networks.face_parser import FaceParser, FaceParserConfig
from streamheal.heal.networks.layers import resample
from streamheal.train import recipe, tasks, trainer
from streamheal.train.criteria.perceptual import Phi
from streamheal.train.recipe import Stage
from streamheal.train.task import Batch
from tests.heal.networks.sample import SMALL
from tests.train.tasks import stages

CONFIGS = Path(__file__).parents[3] / "configs"
DENOISING = Stage(name="denoising", train=("denoising",))
JOINT = Stage(name="joint")
CRITIC = Stage(name="critic", adversarial=True)
TINY = {"critic_width": 4, "perceptual_share": 0.25}
L_DE = {"asymmetric", "noise_smooth", "lr_pixel", "lr_smooth", "style", "lr_perceptual"}
L_FSR = {"pixel", "coarse", "smooth", "landmarks", "parsing", "perceptual", "identity"}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    torch.manual_seed(0)
    return stages.context(
        tmp_path_factory.mktemp("data"),
        phi=Phi(),
        parser=FaceParser(FaceParserConfig(size=32, widths=(4, 4))),
        embedder=Embedder(EmbedderConfig(widths=(4, 4), blocks=(1, 0))),
    )


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return networks.build("jdsr-gan", SMALL["jdsr-gan"])


def build(context, **options) -> tasks.Task:
    torch.manual_seed(0)
    return tasks.build("jdsr-gan", TINY | options, context)


def pair(task, context) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """LR input, its visibility, and the clean LR face."""
    gen = torch.Generator().manual_seed(0)
    batch = Batch.of(context.faces, torch.arange(4).numpy(), gen, mirror=False)
    return *task.pairs.draw(batch, gen), resample(batch.pictures, 16)


@pytest.mark.parametrize(("stage", "steps"), [(DENOISING, 40), (JOINT, 10), (CRITIC, 10)])
def test_each_stage_lowers_its_own_loss_on_one_fixed_batch(context, network, stage, steps):
    lost = stages.train(build(context), network, context.faces, stage, steps=steps, rate=1e-2)
    assert lost[-1] < 0.95 * lost[0]


def test_while_the_denoising_learns_alone_nothing_else_moves_or_is_even_computed(context, network):
    network.upsampling.forward = lambda faces: pytest.fail("drew a face that no loss looks at")
    before = {name: tensor.clone() for name, tensor in network.upsampling.state_dict().items()}
    task = build(context)
    stages.train(task, network, context.faces, DENOISING, steps=2, rate=1e-2)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.upsampling.state_dict().items())
    assert all(p.grad is None for p in network.upsampling.parameters())
    assert set(stages.draw(task, network, context.faces, DENOISING).parts) == L_DE


def test_a_frozen_denoising_gets_no_gradient(context, network):
    stage = Stage(name="upsampling", train=("upsampling",))
    trainer.enter(stage, network, Path("a recipe"))
    parts = stages.draw(build(context), network, context.faces, stage).parts
    assert set(parts) == L_FSR
    sum(parts.values()).backward()
    assert stages.with_gradient(network) == {"upsampling"}


def test_joint_training_is_end_to_end(context, network):
    """L_fsr reaches the denoising through the faces drawn from its picture."""
    nn.init.normal_(network.upsampling.coarse[-2].weight)
    parts = stages.draw(build(context), network, context.faces, JOINT).parts
    assert set(parts) == L_DE | L_FSR
    parts["perceptual"].backward()
    assert network.denoising.denoiser.leave.weight.grad.abs().sum() > 0


def test_the_critic_joins_when_its_stage_comes_and_learns_on_faces_that_are_let_go(context, network):
    task = build(context)
    assert stages.draw(task, network, context.faces, JOINT).critics is None
    said = stages.draw(task, network, context.faces, CRITIC)
    assert set(said.parts) == L_DE | L_FSR | {"adversarial"}
    parts = trainer.criticise(said.critics, task, torch.optim.Adam(task.critics.parameters(), 1e-3))
    assert set(parts) == {"critic", "penalty"}
    assert all(p.grad is None for p in network.parameters())
    assert sum(said.critics().values()) < sum(parts.values())


def test_a_mask_overlooked_costs_more_than_one_imagined(context):
    task = build(context)
    small = torch.full((1, 3, 16, 16), 0.5)
    half = torch.full_like(small, 0.5)
    missed = task.denoising(half - 0.2, small, small, half)["asymmetric"]
    imagined = task.denoising(half + 0.2, small, small, half)["asymmetric"]
    assert missed.item() == pytest.approx(0.7 * 0.04)
    assert imagined.item() == pytest.approx(0.3 * 0.04)


def test_the_estimator_learns_how_much_of_each_pixel_is_covered(context):
    task = build(context)
    lr, visible, small = pair(task, context)
    true = task.true_noise(lr, visible, small)
    assert true.shape == (4, 3, 16, 16)
    assert torch.equal(true, (1 - visible).expand(-1, 3, -1, -1))
    assert ((true > 0.05) & (true < 0.95)).any()  # soft at the mask's edge


def test_or_how_far_the_picture_is_from_the_clean_one(context):
    task = build(context, noise="difference")
    lr, visible, small = pair(task, context)
    torch.testing.assert_close(small + task.true_noise(lr, visible, small) * (lr - small).sign(), lr)


def test_the_papers_squared_prior_is_an_option(context, network):
    entropy, squared = (
        stages.draw(build(context, prior_loss=kind), network, context.faces, JOINT).parts
        for kind in ("cross-entropy", "squared")
    )
    for name in ("landmarks", "parsing"):
        assert 0 < squared[name] < entropy[name]


def test_what_weighs_nothing_needs_no_trained_network(tmp_path, network):
    bare = stages.context(tmp_path / "data")
    dear = ("style", "lr_perceptual", "perceptual", "identity", "parsing", "adversarial")
    task = build(bare, weights=dict.fromkeys(dear, 0.0))
    assert not list(task.critics.parameters())
    assert set(stages.draw(task, network, bare.faces, CRITIC).parts) == (L_DE | L_FSR) - set(dear)


@torch.inference_mode()
def test_a_look_tells_how_well_it_finds_what_is_hidden(context, network):
    task = build(context, shares={"jdsr": 1, "cctv": 1})
    batch = Batch.of(context.faces, torch.arange(4).numpy(), torch.Generator(), mirror=False)
    network.eval()
    network.denoising.estimator.forward = lambda lr: torch.ones_like(lr)
    figures, picture = task.look(network, batch, torch.Generator().manual_seed(0))
    assert set(figures) == {f"{name} {protocol}" for name in ("psnr", "iou hidden") for protocol in ("jdsr", "cctv")}
    hidden = pair(task, context)[1] < 0.5
    assert 0.5 * hidden.float().mean() < figures["iou hidden jdsr"] < 1  # all found hidden: what is right is its share
    assert picture.shape == (3, 128 * 9, 128 * 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": "level"}, "allowed: coverage, difference"),
        ({"alpha": 0.7}, "below 0.5"),
        ({"perceptual_share": 0}, "above 0 and at most 1"),
        ({"parsing_labels": "helen"}, "allowed: parser, outlines"),
        ({"prior_loss": "l1"}, "allowed: cross-entropy, squared"),
        ({"weights": {"lpips": 1}}, "no loss lpips; allowed: asymmetric"),
        ({"shares": {"paper": 1}}, "no protocol paper"),
    ],
)
def test_an_option_that_there_is_not_names_those_there_are(context, options, message):
    with pytest.raises(ConfigError, match=message):
        build(context, **options)


@pytest.mark.parametrize("name", ["jdsr-gan-16", "jdsr-gan-32"])
def test_recipes_warm_the_denoiser_up_and_let_the_critic_in_after_60_percent(context, name):
    plan = recipe.read(CONFIGS / f"{name}.yaml")
    task, network = tasks.build(plan.task, plan.options, context), networks.build(plan.system, plan.network)
    assert (plan.name, plan.system) == (name, "jdsr-gan")
    assert network.lr_size == task.pairs.size == int(name[-2:])
    assert [stage.train for stage in plan.stages] == [("denoising",), (), ()]
    assert [stage.adversarial for stage in plan.stages] == [False, False, True]
    shares = [stage.share for stage in plan.stages]
    assert sum(shares[:2]) / sum(shares) >= 0.6
    assert task.pairs.shares["jdsr"] == max(task.pairs.shares.values())
