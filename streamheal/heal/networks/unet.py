"""The occlusion segmenter: which pixels of a face crop show the face, and which something before it."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import ConvNorm, SqueezeExcite, resample, resample_map


@dataclass(frozen=True, slots=True)
class OcclusionUnetConfig:
    """Defaults: 0.7 M parameters, 0.16 GMAC a crop."""

    # Crops of 12 to 128 px are brought to one size: at 64 px a mask's edge is sharper than any 16 to 32 px restorer
    # can use, and the cost is a quarter of 128 px.
    size: int = 64
    widths: tuple[int, ...] = (24, 48, 72, 112)

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))


class Unet(nn.Module):
    """U-Net (Ronneberger 2015) with additions for skips, bilinear growth and one SE at the bottom."""

    def __init__(
        self,
        size: int,
        widths: tuple[int, ...],
        outside: int,
        conv: Callable[..., nn.Module] = ConvNorm,
        stride: int = 1,
    ):
        """Works at `size` / `stride` px. `conv(inside, outside, stride=1)` makes each 3×3 convolution."""
        super().__init__()
        self.size = size
        self.enter = nn.Sequential(conv(3, widths[0], stride=stride), conv(widths[0], widths[0]))
        self.down = nn.ModuleList(
            nn.Sequential(conv(a, b, stride=2), conv(b, b)) for a, b in itertools.pairwise(widths)
        )
        self.bottom = nn.Sequential(conv(widths[-1], widths[-1]), SqueezeExcite(widths[-1]))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(conv(a, a) for a in widths[:-1])
        self.leave = nn.Conv2d(widths[0], outside, 1)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, h, w)` in [0, 1], any size → logits `(B, outside, size / stride, size / stride)`."""
        x = self.enter(resample(pictures, self.size) * 2 - 1)
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for level in reversed(range(len(self.up))):
            grown = F.interpolate(self.narrow[level](x), skips[level].shape[-2:], mode="bilinear", align_corners=False)
            x = self.up[level](grown + skips[level])
        return self.leave(x)


class OcclusionUnet(Unet):
    """RGB face of any size → logits `(B, 1, size, size)`; positive = visible."""

    def __init__(self, config: OcclusionUnetConfig = OcclusionUnetConfig()):
        super().__init__(config.size, config.widths, outside=1)
        self.config = config

    def visible(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1] → probability that each pixel is visible, `(B, 1, s, s)` at the same size."""
        return resample_map(torch.sigmoid(self(pictures).float()), pictures.shape[-1])
