"""The embedder: 128 numbers that tell people apart, from crops that may be tiny."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import ConvNorm, SqueezeExcite, resample


@dataclass(frozen=True, slots=True)
class EmbedderConfig:
    """Defaults: 2.1 M parameters, 0.23 GMAC a face."""

    # The crops that come are 12 to 60 px, and restored ones hold no detail beyond 64; at 128 px four times the compute
    # would look at interpolated pixels.
    size: int = 64
    widths: tuple[int, ...] = (40, 80, 144, 208)  # channels at 1/2, 1/4, 1/8, 1/16 of the input
    blocks: tuple[int, ...] = (2, 2, 2, 1)
    dimensions: int = 128

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "blocks", tuple(self.blocks))


class NormedBlock(nn.Module):
    """The residual block of face recognition networks: BN-conv-BN-PReLU-conv-BN, then SE (ArcFace's IR-SE)."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(width),
            ConvNorm(width, width),
            ConvNorm(width, width, activation=False),
            SqueezeExcite(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Embedder(nn.Module):
    """A small residual network over the canonical crop, whole template as it is."""

    def __init__(self, config: EmbedderConfig = EmbedderConfig()):
        super().__init__()
        self.config = config
        stages, inside = [], 3
        for width, blocks in zip(config.widths, config.blocks, strict=True):
            stages += [ConvNorm(inside, width, stride=2), *(NormedBlock(width) for _ in range(blocks))]
            inside = width
        self.stages = nn.Sequential(*stages)
        side = config.size // 2 ** len(config.widths)
        # one weight per place and channel (MobileFaceNet's global depthwise convolution): eyes tell more than corners
        self.gather = nn.Sequential(nn.Conv2d(inside, inside, side, groups=inside, bias=False), nn.BatchNorm2d(inside))
        self.project = nn.Linear(inside, config.dimensions)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, h, w)` in [0, 1], canonical template, any size → `(B, dimensions)` float32, L2-normalised."""
        x = self.gather(self.stages(resample(pictures, self.config.size) * 2 - 1))
        return F.normalize(self.project(x.flatten(1)).float(), dim=1)
