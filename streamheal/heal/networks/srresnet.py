"""SRResNet (Ledig 2017): residual blocks at LR size, then PixelShuffle."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from streamheal.heal.networks.hourglass import Norm, normalise
from streamheal.heal.networks.layers import resample

SIZE = 128


@dataclass(frozen=True, slots=True)
class SrResNetConfig:
    """Defaults: 1.4 M parameters; 0.8 GMAC at 16 px, 1.7 at 32."""

    width: int = 64
    blocks: int = 16
    up_width: int = 32  # ours: half the paper's, where one channel costs most
    norm: Norm = "none"  # SR networks lose nothing without (EDSR, 2017)
    residual: bool = True  # ours: added to the bicubic picture, from zero on, as in `FsrNetConfig`


PAPER: dict = {"up_width": 64, "norm": "batch", "residual": False}
"""1.55 M parameters for ×4, 1.70 M for ×8 (the paper is silent on a third doubling; ours is like the first two)."""


class Block(nn.Module):
    """x + norm(conv(PReLU(norm(conv(x)))))."""

    def __init__(self, width: int, norm: Norm):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(width, width, 3, padding=1), normalise(norm, width), nn.PReLU()),
            *(nn.Conv2d(width, width, 3, padding=1), normalise(norm, width)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class SrResNet(nn.Module):
    """A face at `size` px → the face at 128 px."""

    def __init__(self, config: SrResNetConfig, size: int):
        super().__init__()
        self.config = config
        doublings = int(math.log2(SIZE / size))
        if size * 2**doublings != SIZE:
            raise ValueError(f"size {size}: SRResNet doubles it up to {SIZE}; take a power of two")
        width = config.width
        self.enter = nn.Sequential(nn.Conv2d(3, width, 9, padding=4), nn.PReLU())
        self.blocks = nn.Sequential(
            *(Block(width, config.norm) for _ in range(config.blocks)),
            *(nn.Conv2d(width, width, 3, padding=1), normalise(config.norm, width)),
        )
        widths = [width, *(config.up_width for _ in range(doublings))]
        self.up = nn.Sequential(*(self.double(a, config.up_width) for a in widths[:-1]))
        self.leave = nn.Conv2d(widths[-1], 3, 9, padding=4)
        if config.residual:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    @staticmethod
    def double(inside: int, outside: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inside, 4 * outside, 3, padding=1), nn.PixelShuffle(2), nn.PReLU())

    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        """`(B, 3, s, s)` in [0, 1] → `(B, 3, 128, 128)`, unclamped."""
        x = self.enter(lr * 2 - 1)
        hr = self.leave(self.up(x + self.blocks(x)))
        return resample(lr, SIZE) + hr if self.config.residual else hr
