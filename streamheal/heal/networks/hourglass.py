"""The hourglass (Newell 2016, "Stacked Hourglass Networks"): a map is halved, understood as a whole, and grown back."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

Norm = Literal["batch", "none"]


def normalise(norm: Norm, width: int) -> nn.Module:
    """BatchNorm of `width` channels, or nothing. Raises ValueError on another name."""
    if norm not in ("batch", "none"):
        raise ValueError(f"norm {norm!r}; allowed: batch, none")
    return nn.BatchNorm2d(width) if norm == "batch" else nn.Identity()


class Bottleneck(nn.Module):
    """x + conv1(conv3(conv1(x))) through `planes` channels, norm and ReLU before each convolution (He 2016)."""

    def __init__(self, width: int, planes: int, norm: Norm):
        super().__init__()
        leave = nn.Conv2d(planes, width, 1)
        if norm == "none":  # dozens of them stand in a row: each starts as the identity, or the sum grows with each
            nn.init.zeros_(leave.weight)
            nn.init.zeros_(leave.bias)
        self.layers = nn.Sequential(
            *(normalise(norm, width), nn.ReLU(), nn.Conv2d(width, planes, 1)),
            *(normalise(norm, planes), nn.ReLU(), nn.Conv2d(planes, planes, 3, padding=1)),
            *(normalise(norm, planes), nn.ReLU(), leave),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x)


class Hourglass(nn.Module):
    """`(B, width, s, s)` → the same shape; s must be divisible by 2**depth. Each node has `bottlenecks` of them."""

    def __init__(self, width: int, planes: int, depth: int, bottlenecks: int, norm: Norm = "batch"):
        super().__init__()

        def node() -> nn.Sequential:
            return nn.Sequential(*(Bottleneck(width, planes, norm) for _ in range(bottlenecks)))

        self.skip, self.before, self.after = node(), node(), node()
        self.inner = Hourglass(width, planes, depth - 1, bottlenecks, norm) if depth > 1 else node()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = self.after(self.inner(self.before(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")
