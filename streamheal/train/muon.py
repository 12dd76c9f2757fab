"""Muon: momentum whose matrices are made orthogonal before they are applied (Jordan 2024), beside AdamW for the rest.

Adam's step of a convolution is mostly a few directions that all pictures agree on; made orthogonal, the rare ones count
as much. Networks that see few pictures learn more from each (the figures: docs/training.md).
"""

from collections import defaultdict

import torch
from torch import nn

# Newton–Schulz of degree five, tuned by Jordan for speed at zero: singular values land in 0.7 … 1.2 after five steps.
QUINTIC = (3.4445, -4.7750, 2.0315)
STEPS = 5


def is_matrix(weight: torch.Tensor) -> bool:
    """Whether Muon takes it. Not vectors, nor what has hardly a direction to choose: layers out to RGB, depthwise ones,
    maps of positions."""
    return weight.ndim >= 2 and min(len(weight), weight[0].numel()) > 9


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """`(N, rows, columns)` → the nearest (semi-)orthogonal ones, singular values within 0.7 … 1.2."""
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide / (wide.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if matrices.shape[1] <= matrices.shape[2] else x.mT


class Muon(torch.optim.Optimizer):
    """For weights that are matrices: linear layers, and convolutions with one row a channel.

    Steps have the length that AdamW's have, 0.2 RMS × the rate (Liu 2025, "Muon is scalable"), so one rate serves both.
    """

    def __init__(self, params, lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            alike = defaultdict(list)  # one call for all matrices of a shape
            for weight in group["params"]:
                if weight.grad is not None:
                    alike[len(weight), weight[0].numel()].append(weight)
            for (rows, columns), weights in alike.items():
                pushed = torch.stack([self._pushed(weight, group["momentum"]) for weight in weights])
                scale = 0.2 * max(rows, columns) ** 0.5
                for weight, update in zip(weights, orthogonal(pushed), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.add_(update.reshape(weight.shape), alpha=-group["lr"] * scale)

    def _pushed(self, weight: nn.Parameter, momentum: float) -> torch.Tensor:
        """The gradient with Nesterov's momentum, as a matrix."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(state["momentum"], momentum).reshape(len(weight), -1)


class MuonAndAdamW:
    """Two optimisers that look like one. Groups with `"muon": True` are Muon's."""

    def __init__(self, groups: list[dict], rate: float, betas: tuple[float, float], weight_decay: float):
        self.parts = []
        if mine := [group for group in groups if group["muon"]]:
            self.parts.append(Muon(mine, rate, weight_decay=weight_decay))
        if others := [group for group in groups if not group["muon"]]:
            self.parts.append(torch.optim.AdamW(others, rate, betas=betas, weight_decay=weight_decay, fused=True))

    @property
    def param_groups(self) -> list[dict]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict:
        return {str(i): part.state_dict() for i, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict) -> None:
        for i, part in enumerate(self.parts):
            part.load_state_dict(state[str(i)])
