"""FanLite: where the 68 landmarks of a face are, also of one that is small, blurred or half hidden.

One hourglass of the Face Alignment Network (Bulat & Tzimiropoulos 2017, fig. 1 and 2) at half its input size. Pro-UIGAN
runs it three times a face, where the original's four hourglasses would cost ten times the network that they serve.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.landmark_maps import peaks
from streamheal.heal.networks.layers import resample

LANDMARKS = 68
INPUT_SIDE, MAP_SIDE = 128, 32
EMPTY = -5.0
"""Bias of an untrained map: sigmoid(-5) = 0.7 % is the share of a 32×32 map that one Gaussian of σ = 1 fills."""


@dataclass(frozen=True, slots=True)
class FanLiteConfig:
    """Defaults: 0.4 M parameters, 0.15 GMAC a face; `PAPER` (width 128): 1.5 M, 0.54 GMAC."""

    # The original has 256. A block's three convolutions have 1/2, 1/4 and 1/4 of it.
    width: int = 64
    depth: int = 4  # halvings inside the hourglass: 32 → 2 px, so one cell sees the whole face

    def __post_init__(self):
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width {self.width} must be a positive multiple of 8: blocks split it in 2, 4 and 4")
        if not 1 <= self.depth <= 5:
            raise ValueError(f"depth {self.depth} must be 1 to 5: {MAP_SIDE} px can't be halved more often")


PAPER: dict = {"width": 128}
"""Half of the original's width; at all of it, one hourglass alone has 6 M parameters."""


class MultiScaleBlock(nn.Module):
    """Three convolutions one after the other, the outputs of all three beside each other, plus the input (fig. 1b).

    Each convolution comes after BatchNorm and ReLU.
    """

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.first = _norm_relu_conv(inside, outside // 2, 3)
        self.second = _norm_relu_conv(outside // 2, outside // 4, 3)
        self.third = _norm_relu_conv(outside // 4, outside // 4, 3)
        self.skip = _norm_relu_conv(inside, outside, 1) if inside != outside else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.first(x)
        second = self.second(first)
        return torch.cat([first, second, self.third(second)], 1) + self.skip(x)


class Hourglass(nn.Module):
    """Down by halves and up again, a skip at each size (Newell 2016, fig. 3). `block()` makes each node.

    FAN halves by means, where Newell's own (`hourglass.py`) takes maxima.
    """

    def __init__(self, depth: int, block: Callable[[], nn.Module]):
        super().__init__()
        self.beside, self.down = block(), block()
        self.inner = Hourglass(depth - 1, block) if depth > 1 else block()
        self.up = block()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low = self.up(self.inner(self.down(F.avg_pool2d(x, 2))))
        return self.beside(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class FanLite(nn.Module):
    """RGB face of any size → 68 landmark maps at 32×32."""

    def __init__(self, config: FanLiteConfig = FanLiteConfig()):
        super().__init__()
        self.config = config
        width = config.width
        self.enter = nn.Sequential(
            nn.Conv2d(3, width // 2, 7, stride=2, padding=3),
            nn.BatchNorm2d(width // 2),
            nn.ReLU(),
            MultiScaleBlock(width // 2, width // 2),
            nn.AvgPool2d(2),
            MultiScaleBlock(width // 2, width),
        )
        self.hourglass = Hourglass(config.depth, lambda: MultiScaleBlock(width, width))
        self.leave = nn.Sequential(MultiScaleBlock(width, width), nn.BatchNorm2d(width), nn.ReLU())
        self.maps = nn.Conv2d(width, LANDMARKS, 1)
        nn.init.constant_(self.maps.bias, EMPTY)

    def logits(self, pictures: torch.Tensor) -> torch.Tensor:
        """What `forward` takes the sigmoid of: a binary cross-entropy against drawn maps learns well from these."""
        x = resample(pictures, INPUT_SIDE) * 2 - 1
        return self.maps(self.leave(self.hourglass(self.enter(x))))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1], canonical template, any s → `(B, 68, 32, 32)` in [0, 1], iBUG order."""
        return torch.sigmoid(self.logits(pictures).float())

    def points(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1] → `(B, 68, 2)` x, y in pixels of the input, pixel centres at whole numbers."""
        return peaks(self(pictures), pictures.shape[-1])


def _norm_relu_conv(inside: int, outside: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, outside, kernel, padding=kernel // 2, bias=False)
    )
