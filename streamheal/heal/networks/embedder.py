"""The embedder: 128 numbers that tell people apart, from crops that may be tiny, blurred or half hidden."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import resample

_TEMPLATE_SIDE = 128
# dlib's chip shows the same face as the canonical template under chip = 1.47763 · template - (19, 30.9), pixels
_CHIP_SIDE, _CHIP_SCALE, _CHIP_SHIFT = 150, 1.47763, (19.0, 30.9)
_MEAN_COLOUR = (122.782, 117.001, 104.298)  # of 255, as dlib's network takes it off


@dataclass(frozen=True, slots=True)
class EmbedderConfig:
    """Defaults: dlib's 29-layer ResNet: 5.6 M parameters, 0.28 GMAC a face."""

    widths: tuple[int, ...] = (32, 64, 128, 256, 256)  # channels; each stage but the first halves the size
    blocks: tuple[int, ...] = (3, 3, 2, 2, 0)  # residual blocks of each stage, after the one that halves
    dimensions: int = 128

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "blocks", tuple(self.blocks))


class Block(nn.Module):
    """ReLU(x + conv(ReLU(conv(x)))); the normalisation of the original is folded into its convolutions."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.conv2(F.relu(self.conv1(x))))


class Halve(nn.Module):
    """Half the size. The skip is an average pool, filled up with zero channels and, at odd sizes, zero borders."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride=2)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip, y = F.avg_pool2d(x, 2), self.conv2(F.relu(self.conv1(x)))
        y = F.pad(y, (0, skip.shape[3] - y.shape[3], 0, skip.shape[2] - y.shape[2]))
        return F.relu(y + F.pad(skip, (0, 0, 0, 0, 0, y.shape[1] - skip.shape[1])))


class Embedder(nn.Module):
    """dlib's face recognition ResNet without normalisation layers, over its own chip cut from the canonical crop."""

    def __init__(self, config: EmbedderConfig = EmbedderConfig()):
        super().__init__()
        self.config = config
        self.enter = nn.Conv2d(3, config.widths[0], 7, stride=2)
        stages, inside = [], config.widths[0]
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            halve = [Halve(inside, width)] if stage else []
            stages.append(nn.Sequential(*halve, *(Block(width) for _ in range(blocks))))
            inside = width
        self.stages = nn.Sequential(*stages)
        self.project = nn.Linear(inside, config.dimensions)
        at = torch.arange(_CHIP_SIDE)
        y, x = torch.meshgrid(at, at, indexing="ij")
        points = (torch.stack([x, y], 2) + torch.tensor(_CHIP_SHIFT)) / _CHIP_SCALE
        self.register_buffer("chip", ((points + 0.5) * 2 / _TEMPLATE_SIDE - 1)[None], persistent=False)
        self.register_buffer("colour", torch.tensor(_MEAN_COLOUR).view(1, 3, 1, 1) / 255, persistent=False)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """RGB `(B, 3, s, s)` in [0, 1], canonical template, any size → `(B, dimensions)` float32, L2-normalised."""
        template = resample(pictures, _TEMPLATE_SIDE).float()
        chip = F.grid_sample(
            template, self.chip.expand(len(template), -1, -1, -1), padding_mode="border", align_corners=False
        )
        x = F.max_pool2d(F.relu(self.enter(chip - self.colour)), 3, stride=2)
        return F.normalize(self.project(self.stages(x).mean((2, 3))).float(), dim=1)
