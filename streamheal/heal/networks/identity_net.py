"""The identity network of JDSR-GAN (its table 1, "CNN_E"): a plain face recogniser on 128 px, for a loss alone."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import resample


@dataclass(frozen=True, slots=True)
class IdentityNetConfig:
    """Defaults: half the table's widths and a mean over positions, 5.6 M parameters; `PAPER` is the table itself."""

    size: int = 128  # px; pictures of other sizes are brought to it
    widths: tuple[int, ...] = (32, 64, 128, 256)  # channels; each is followed by a pool that halves the size
    blocks: tuple[int, ...] = (2, 4, 8, 2)  # residual blocks after each pool
    dimensions: int = 512
    # The table's last layer sees all 8·8·512 values: 16.8 of its 38.5 M parameters, tied to one alignment. The mean
    # over positions, as recognisers have it since, costs 0.1 M.
    mean: bool = True

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"widths {self.widths} and blocks {self.blocks} must be of one length")
        if self.size % 2 ** len(self.widths):
            raise ValueError(f"size {self.size} can't be halved {len(self.widths)} times (once for each of widths)")


PAPER = {"widths": (64, 128, 256, 512), "mean": False}


class Block(nn.Module):
    """x + PReLU(conv(PReLU(conv(x)))): table 1 names no normalisation."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.act1 = nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)
        self.conv2, self.act2 = nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.act2(self.conv2(self.act1(self.conv1(x))))


class IdentityNet(nn.Module):
    """Pictures → embeddings whose cosine tells whether two faces are one person's."""

    def __init__(self, config: IdentityNetConfig = IdentityNetConfig()):
        super().__init__()
        self.config = config
        stages = []
        for (inside, width), blocks in zip(itertools.pairwise((3, *config.widths)), config.blocks, strict=True):
            stages += [nn.Conv2d(inside, width, 3, padding=1), nn.PReLU(width), nn.AvgPool2d(3, 2, 1)]
            stages += [Block(width) for _ in range(blocks)]
        self.stages = nn.Sequential(*stages)
        positions = 1 if config.mean else (config.size >> len(config.widths)) ** 2
        self.project = nn.Linear(config.widths[-1] * positions, config.dimensions)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1], canonical template, any size → `(B, dimensions)` float32, L2-normalised."""
        x = self.stages(resample(pictures, self.config.size) * 2 - 1)
        x = x.mean((2, 3)) if self.config.mean else x.flatten(1)
        return F.normalize(self.project(x).float(), dim=1)
