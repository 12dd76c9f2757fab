"""The face parser: which part of the face each pixel of a crop shows. A prior and a teacher of the restorers."""

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import ConvNorm, SqueezeExcite, resample

FaceClass = Literal[
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "nose", "upper lip", "inner mouth",
    "lower lip", "hair",
]  # fmt: skip
CLASSES: tuple[str, ...] = get_args(FaceClass)
"""The eleven of GFC's parser (FCSR-GAN, JDSR-GAN), in the order of the logits; left is the person's left."""


@dataclass(frozen=True, slots=True)
class FaceParserConfig:
    """Defaults: 0.6 M parameters, 0.14 GMAC a crop."""

    # Crops of any size are brought to one: at 128 px an eye is four pixels high, below that it is lost.
    size: int = 128
    widths: tuple[int, ...] = (16, 48, 80, 128)

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.size % 2:
            raise ValueError(f"size must be even, as the logits have half of it; got {self.size}")


class FaceParser(nn.Module):
    """U-Net (Ronneberger 2015) that works at half the picture's side: additions for skips, bilinear growth, SE at the
    bottom, where left and right are told apart."""

    def __init__(self, config: FaceParserConfig = FaceParserConfig()):
        super().__init__()
        self.config = config
        widths = config.widths
        self.enter = nn.Sequential(_conv(3, widths[0], stride=2), _conv(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(a, b, stride=2), _conv(b, b)) for a, b in itertools.pairwise(widths)
        )
        self.bottom = nn.Sequential(_conv(widths[-1], widths[-1]), SqueezeExcite(widths[-1]))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_conv(a, a) for a in widths[:-1])
        self.leave = nn.Conv2d(widths[0], len(CLASSES), 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, h, w)` in [0, 1], any size → logits `(B, 11, size / 2, size / 2)` in the order of `CLASSES`."""
        x = self.enter(resample(pictures, self.config.size) * 2 - 1)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for level in reversed(range(len(self.up))):
            grown = F.interpolate(self.narrow[level](x), skips[level].shape[-2:], mode="bilinear", align_corners=False)
            x = self.up[level](grown + skips[level])
        return self.leave(x)


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Module:
    """ReLU, as ConvNorm's own PReLU is slow on a CPU."""
    return nn.Sequential(ConvNorm(inside, outside, stride=stride, activation=False), nn.ReLU())
