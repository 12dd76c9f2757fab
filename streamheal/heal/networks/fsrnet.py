"""FSRNet (Chen 2018): a coarse face, what its geometry is, and a fine face drawn with both.

FCSR-GAN and JDSR-GAN use it for super-resolution; JDSR-GAN adds channel attention to every residual block.
"""

from dataclasses import dataclass

import torch
from torch import nn

from streamheal.heal.networks.hourglass import Hourglass, Norm, normalise
from streamheal.heal.networks.layers import ResidualBlock

SIZE = 128
EMPTY = -6.5
"""sigmoid(-6.5) = 0.15 %: the share of a 64×64 map that one Gaussian of σ = 1 fills, and what maps start with."""


@dataclass(frozen=True, slots=True)
class FsrNetConfig:
    """Defaults: slim. `PAPER` in this file is the published width."""

    # Nearly all of the paper's 40.7 GMAC are 64 channels at 128 px and 256 at 64 px; no CPU trains that in minutes.
    # These widths take 1.1 GMAC and 0.6 M parameters.
    channels: int = 32  # of the coarse face's layers and the decoder's
    # Ours: they work at 128 / fold px, fold² pixels beside each other as channels (PixelShuffle and its inverse):
    # layers see twice as far for the same work, and a CPU moves half as much memory.
    fold: int = 2
    encoder_channels: int = 32  # at 64 px
    planes: int = 32  # bottleneck width of the hourglasses; the prior's features have twice as many
    coarse_blocks: int = 2  # residual blocks, here and below
    encoder_blocks: int = 3
    prior_blocks: int = 0
    decoder_blocks: int = 3
    hourglasses: int = 2
    depth: int = 4  # halvings in each hourglass
    bottlenecks: int = 1  # in each of its nodes
    landmarks: int = 68  # 81 in the papers (SeetaFace); photographs here are labelled with 68
    parsing: int = 11  # classes of GFC's parser
    squeeze: int | None = None  # SE reduction in every residual block (JDSR-GAN)
    # Batches of a short training on a CPU are small and mix protocols: their statistics are not those of use. SR
    # networks lose nothing without (EDSR, 2017).
    norm: Norm = "none"
    # Ours: the decoder reads the features that the maps are made of too. The hourglasses alone see the whole face, and
    # while the maps are still empty nothing of it would reach the decoder.
    prior_features: bool = True
    # Ours: both faces are what is added to the upsampled input, and the layers that add start at zero, so that minutes
    # of training go into detail and none into the identity.
    residual: bool = True

    def __post_init__(self):
        if self.fold not in (1, 2):
            raise ValueError(f"fold {self.fold}; allowed: 1, 2 (the maps that the decoder reads are half as large)")


PAPER: dict = {
    "channels": 64, "fold": 1, "encoder_channels": 64, "planes": 128,
    "coarse_blocks": 3, "encoder_blocks": 12, "prior_blocks": 3, "bottlenecks": 4,
    "landmarks": 81, "norm": "batch", "prior_features": False, "residual": False,
}  # fmt: skip
"""27.5 M parameters, 40.7 GMAC a face."""


@dataclass(slots=True)
class FsrFaces:
    """What FSRNet says of B faces."""

    coarse: torch.Tensor  # (B, 3, 128, 128), unclamped
    hr: torch.Tensor  # (B, 3, 128, 128), unclamped
    heatmaps: torch.Tensor  # (B, landmarks, 64, 64) in (0, 1)
    parsing: torch.Tensor  # (B, parsing, 64, 64) logits


def residual_blocks(width: int, count: int, squeeze: int | None) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width, squeeze) for _ in range(count)))


class Prior(nn.Module):
    """The face's geometry: `(B, 3, 128, 128)` → landmark maps and parsing, both logits, and features; at 64 px."""

    def __init__(self, config: FsrNetConfig):
        super().__init__()
        planes, width = config.planes, 2 * config.planes
        self.enter = nn.Sequential(
            *(nn.Conv2d(3, planes // 2, 7, 2, 3), normalise(config.norm, planes // 2), nn.ReLU()),
            *(nn.Conv2d(planes // 2, width, 3, padding=1), normalise(config.norm, width), nn.ReLU()),
            residual_blocks(width, config.prior_blocks, config.squeeze),
        )
        self.hourglasses = nn.Sequential(
            *(
                Hourglass(width, planes, config.depth, config.bottlenecks, config.norm)
                for _ in range(config.hourglasses)
            ),
            *(nn.Conv2d(width, planes, 1), normalise(config.norm, planes), nn.ReLU()),
        )
        self.landmarks = nn.Conv2d(planes, config.landmarks, 1)
        nn.init.constant_(self.landmarks.bias, EMPTY)
        self.parsing = nn.Conv2d(planes, config.parsing, 1)

    def forward(self, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        features = self.hourglasses(self.enter(faces))
        return self.landmarks(features), self.parsing(features), features


class FsrNet(nn.Module):
    """A face upsampled to 128 px → coarse and fine face, landmark maps, parsing."""

    def __init__(self, config: FsrNetConfig = FsrNetConfig()):
        super().__init__()
        self.config = config
        wide, deep, fold = config.channels, config.encoder_channels, config.fold
        folded = 3 * fold**2
        self.coarse = nn.Sequential(
            nn.PixelUnshuffle(fold),
            *(nn.Conv2d(folded, wide, 3, padding=1), normalise(config.norm, wide), nn.ReLU()),
            residual_blocks(wide, config.coarse_blocks, config.squeeze),
            *(nn.Conv2d(wide, folded, 3, padding=1), nn.PixelShuffle(fold)),
        )
        self.encoder = nn.Sequential(
            *(nn.Conv2d(3, deep, 3, 2, 1), normalise(config.norm, deep), nn.ReLU()),
            residual_blocks(deep, config.encoder_blocks, config.squeeze),
            nn.Conv2d(deep, deep, 3, padding=1),
        )
        self.prior = Prior(config)
        read = deep + config.landmarks + config.parsing + (config.planes if config.prior_features else 0)
        self.decoder = nn.Sequential(
            nn.Conv2d(read, wide, 3, padding=1),
            *(nn.Upsample(scale_factor=2.0 / fold, mode="nearest"), normalise(config.norm, wide), nn.ReLU()),
            residual_blocks(wide, config.decoder_blocks, config.squeeze),
            *(nn.Conv2d(wide, folded, 3, padding=1), nn.PixelShuffle(fold)),
        )
        if config.residual:
            for leave in (self.coarse[-2], self.decoder[-2]):
                nn.init.zeros_(leave.weight)
                nn.init.zeros_(leave.bias)

    def forward(self, faces: torch.Tensor) -> FsrFaces:
        """`(B, 3, 128, 128)`, bicubic from LR, in [0, 1]. Raises ValueError on another size."""
        if faces.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"faces {tuple(faces.shape)}: FSRNet takes (B, 3, {SIZE}, {SIZE}); upsample them first")
        coarse = self.coarse(faces * 2 - 1)
        if self.config.residual:
            coarse = faces + coarse
        seen = coarse * 2 - 1
        landmarks, parsing, features = self.prior(seen)
        heatmaps = torch.sigmoid(landmarks.float())  # half precision has no share as small as that
        read = [self.encoder(seen), heatmaps, parsing]
        hr = self.decoder(torch.cat([*read, features] if self.config.prior_features else read, 1))
        if self.config.residual:
            hr = coarse + hr
        return FsrFaces(coarse=coarse, hr=hr, heatmaps=heatmaps, parsing=parsing)
