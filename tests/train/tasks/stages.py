"""Training on one fixed batch, stage by stage, as the trainer does it."""

from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn

from streamheal.train import data, trainer
from streamheal.train.recipe import Stage
from streamheal.train.samples.bank import Bank
from streamheal.train.task import Batch, Context, Losses, Task
from tests.train.faces import write_shard

RECIPE = Path("a recipe")


def context(folder: Path, *, size: int = 128, **priors: nn.Module) -> Context:
    """Eight faces of `size` px, two occluders of each kind, and the priors given, frozen."""
    folder.mkdir(exist_ok=True)
    faces = data.load([write_shard(folder, "faces-train", [""] * 8, size=size)], folder / "cache")
    frozen = {name: prior.eval().requires_grad_(False) for name, prior in priors.items()}
    return Context(Bank.draw(0, 2), faces, SimpleNamespace(**frozen))


def draw(task: Task, network: nn.Module, faces: data.Faces, stage: Stage, count: int = 4) -> Losses:
    """The losses of the same `count` faces, hidden in the same way each time."""
    gen = torch.Generator().manual_seed(0)
    return task.losses(network, Batch.of(faces, torch.arange(count).numpy(), gen, mirror=False), gen, stage)


def with_gradient(network: nn.Module) -> set[str]:
    """The network's parts that a loss has reached."""
    return {
        name for name, part in network.named_children() if any(weight.grad is not None for weight in part.parameters())
    }


def train(
    task: Task, network: nn.Module, faces: data.Faces, stage: Stage, *, steps: int, rate: float, count: int = 4
) -> list[float]:
    """What the network loses at each step of `stage`; its critics learn along."""
    trainer.enter(stage, network, RECIPE)
    task.critics.requires_grad_(False)
    optimizer = torch.optim.Adam([*network.parameters(), *task.extra.parameters()], rate)
    against = list(task.critics.parameters())
    critic_optimizer = torch.optim.Adam(against, rate / 10) if against else None
    lost = []
    for _ in range(steps):
        said = draw(task, network, faces, stage, count)
        loss = sum(said.parts.values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if said.critics:
            trainer.criticise(said.critics, task, critic_optimizer)
        lost.append(loss.item())
    return lost
