"""What the trainer asks of a task, and what it gives to it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from streamheal.errors import ConfigError
from streamheal.train.criteria.priors import Priors
from streamheal.train.data import FLIP68, Faces
from streamheal.train.recipe import Stage
from streamheal.train.samples.bank import Bank
from streamheal.train.samples.degradation import uniform


@dataclass(frozen=True, slots=True)
class Context:
    """What a task may draw on."""

    bank: Bank
    faces: Faces
    priors: Priors
    kept: Path | None = None  # folder for what takes long to make


@dataclass(slots=True)
class Batch:
    """Clean faces on the device, mirrored by chance while training."""

    pictures: torch.Tensor  # (B, 3, s, s) in [0, 1], s = 128 or 256
    landmarks: torch.Tensor  # (B, 68, 2) px
    indices: np.ndarray  # (B,) into the faces
    mirrored: torch.Tensor  # (B,) bool

    @classmethod
    def of(
        cls,
        faces: Faces,
        indices: np.ndarray,
        gen: torch.Generator,
        *,
        mirror: bool,
        resident: torch.Tensor | None = None,
    ) -> "Batch":
        """`resident`: all pictures of `faces` as uint8 `(N, s, s, 3)` on the device, where it has room for them."""
        if resident is None:
            pictures = torch.from_numpy(faces.pictures(indices)).to(gen.device)
        else:
            pictures = resident[torch.from_numpy(indices).to(gen.device)]
        pictures = pictures.permute(0, 3, 1, 2).float() / 255
        landmarks = torch.from_numpy(faces.landmarks[indices]).to(gen.device)
        flip = (uniform((len(indices),), 0, 1, gen) < 0.5) & mirror
        pictures = torch.where(flip.view(-1, 1, 1, 1), pictures.flip(3), pictures)
        other_side = landmarks.new_tensor([pictures.shape[-1] - 1, 0])
        mirrored = landmarks[:, FLIP68] * landmarks.new_tensor([-1, 1]) + other_side
        return cls(pictures, torch.where(flip.view(-1, 1, 1), mirrored, landmarks), indices, flip)

    def rows(self, part: slice | np.ndarray) -> "Batch":
        """Some of them: a slice, or (B,) bool."""
        return Batch(self.pictures[part], self.landmarks[part], self.indices[part], self.mirrored[part])


@dataclass(slots=True)
class Losses:
    """What one batch costs."""

    parts: dict[str, torch.Tensor]  # already weighted; the network lowers their sum
    # Called after the network's step: what the critics lose on the same, detached, outputs.
    critics: Callable[[], dict[str, torch.Tensor]] | None = None


class Task(Protocol):
    weights: dict[str, float]  # of its losses; the trainer puts a stage's own in their place
    extra: nn.Module  # learns beside the network, with its optimiser
    critics: nn.Module  # learn against it, with their own; nn.Module() where there are none

    def losses(self, network: nn.Module, batch: Batch, gen: torch.Generator, stage: Stage) -> Losses: ...

    def look(self, network: nn.Module, batch: Batch, gen: torch.Generator) -> tuple[dict[str, float], torch.Tensor]:
        """Figures on held-out faces, and a contact sheet `(3, H, W)` in [0, 1]."""


def weights_of(own: dict[str, float], said: dict[str, float] | None) -> dict[str, float]:
    """A task's loss weights with the recipe's in their place. Raises ConfigError on one that the task doesn't have."""
    if unknown := sorted(set(said or {}) - set(own)):
        raise ConfigError(f"weights: no loss {', '.join(unknown)}; allowed: {', '.join(own)}")
    return own | {name: float(weight) for name, weight in (said or {}).items()}


def one_of(option: str, value: str, allowed: Iterable[str]) -> str:
    """`value`. Raises ConfigError if it isn't among what is allowed."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise ConfigError(f"options: {option}: {value!r}; allowed: {', '.join(allowed)}")
    return value


def half(device: torch.device) -> torch.autocast:
    """bf16 on a GPU for the networks alone; degradation and losses stay in fp32.

    A CPU stays in fp32: there bf16's casts and norms cost more than its products save (on one thread of a CPU that has
    avx512_bf16, fp32 was 1.2 to 1.4 times as fast for every restorer: benchmarks/precision.py).
    """
    kind = torch.device(device).type
    return torch.autocast(kind, torch.bfloat16, enabled=kind != "cpu")
