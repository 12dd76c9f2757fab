"""A restorer that learns from a shipped one: its answers stand in for most of each true face, until a critic joins."""

from pathlib import Path

import pytest
import torch

from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import tasks
from streamheal.train.criteria.priors import Priors
from streamheal.train.recipe import Stage
from streamheal.train.task import Batch, Context
from streamheal.train.tasks.pairs_task import TRUST
from tests.heal.networks.sample import SMALL
from tests.train.tasks import stages

PIXELS = {"structure": 0, "adversarial": 0}


@pytest.fixture(scope="module")
def context(tmp_path_factory) -> Context:
    known = stages.context(tmp_path_factory.mktemp("faces"))
    return Context(known.bank, known.faces, Priors(Path("no data")))


def drawn(context: Context, stage: Stage, **options) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the teacher makes of the inputs, the true faces, and what is to be made of them."""
    task = tasks.build("ofhnet", {"weights": PIXELS} | options, context)
    gen = torch.Generator().manual_seed(0)
    batch = Batch.of(context.faces, torch.arange(4).numpy(), gen, mirror=False)
    lr, visible, wanted = task.draw(batch, gen, stage)
    with torch.no_grad():
        said = Priors(Path("no data")).restorer("lr-trunk-16", 16)(lr, visible).hr
    return said, batch.pictures, wanted.pictures


def test_it_learns_the_teachers_answer_and_some_of_the_true_face(context):
    said, true, wanted = drawn(context, Stage(), teacher="lr-trunk-16")
    torch.testing.assert_close(wanted, TRUST * said + (1 - TRUST) * true)


def test_beside_a_critic_it_learns_the_true_face(context):
    _, true, wanted = drawn(context, Stage(adversarial=True), teacher="lr-trunk-16")
    assert wanted.equal(true)


def test_without_a_teacher_it_learns_the_true_face(context):
    _, true, wanted = drawn(context, Stage())
    assert wanted.equal(true)


def test_the_pixels_are_compared_with_what_is_to_be_learned(context):
    lost = []
    for options in ({}, {"teacher": "lr-trunk-16"}):
        torch.manual_seed(0)
        network = networks.build("ofhnet", SMALL["ofhnet"])
        task = tasks.build("ofhnet", {"weights": PIXELS} | options, context)
        lost.append(stages.draw(task, network, context.faces, Stage()).parts)
    assert all(lost[0][part] != lost[1][part] for part in ("inpainting", "pixel"))


def test_the_teacher_learns_nothing(context):
    task = tasks.build("ofhnet", {"weights": PIXELS, "teacher": "lr-trunk-16"}, context)
    assert not task.teacher.training
    assert not any(parameter.requires_grad for parameter in task.teacher.parameters())


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ("lr-trunk-32", "takes inputs of 32 px, these are of 16"),
        ("embedder", "of kind embedder"),
        ("nobody", "teacher"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(context, teacher, said):
    with pytest.raises(ConfigError, match=said):
        tasks.build("ofhnet", {"weights": PIXELS, "teacher": teacher}, context)
