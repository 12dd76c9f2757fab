"""The project's own restorer: all depth at LR size, late upsampling. Little compute, and wide in context.

At 16×16 one 3×3 convolution sees a fifth of a face; eleven residual blocks and one attention over all 256 positions see
all of it. Three PixelShuffle steps lead to 128×128.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.agreement import Agreement, lacking
from streamheal.heal.networks.layers import (
    PositionAttention,
    ResidualBlock,
    fill_hidden,
    mean_with_mirrored,
    resample,
    settle,
    with_mirrored,
)
from streamheal.heal.networks.restored import Restored
from streamheal.heal.networks.track_fusion import JOINED, Fused, TrackFusion, TrackFusionConfig

HR_SIZE = 128


@dataclass(frozen=True, slots=True)
class LrTrunkConfig:
    """Defaults: 1.33 M parameters, 0.5 GMAC a face."""

    lr_size: int = 16  # side of the input
    # LR pixels to a side of one trunk pixel. 2 for an input of 32 px: the trunk, which is most of the work, stays at
    # 16×16 and sees all of the face, and the input's own pixels join again where the features have their size.
    stem: int = 1
    width: int = 72  # channels at LR size
    blocks_before: int = 8  # residual blocks before the attention
    blocks_after: int = 3
    up_widths: tuple[int, ...] = (48, 28, 12)  # channels after each doubling; the last has no residual block
    squeeze: int = 8  # SE reduction
    # Hidden pixels of the skip are filled smoothly, so that the network starts at inpainting + bicubic
    # and not at a black hole or at the occluder's texture.
    prefill: bool = True
    # In use, each face is restored as it is and mirrored, and the mean is the answer: twice the work.
    mirrored: bool = False
    fusion: int = 0  # width of the part that brings a track's other crops in (track_fusion.py); 0: none

    def __post_init__(self):
        object.__setattr__(self, "up_widths", tuple(self.up_widths))
        if self.stem not in (1, 2, 4) or self.lr_size % self.stem:
            raise ValueError(f"stem {self.stem}: it must be 1, 2 or 4, and a divisor of lr_size {self.lr_size}")
        if (reached := self.trunk_size * 2 ** len(self.up_widths)) != HR_SIZE:
            raise ValueError(
                f"lr_size {self.lr_size} / stem {self.stem}, doubled {len(self.up_widths)} times (up_widths), gives "
                f"{reached}; it must give {HR_SIZE}"
            )

    @property
    def trunk_size(self) -> int:
        return self.lr_size // self.stem


class UpStep(nn.Sequential):
    """Twice the size: convolution, PixelShuffle, then a residual block (or, at the end, LeakyReLU)."""

    def __init__(self, inside: int, outside: int, last: bool):
        super().__init__(
            nn.Conv2d(inside, outside * 4, 3, padding=1),
            nn.PixelShuffle(2),
            # in place: the largest map of all, and nothing needs it as it was
            nn.LeakyReLU(0.2, inplace=True) if last else ResidualBlock(outside, None),
        )


class LrTrunk(nn.Module):
    """RGB and visibility at LR size → RGB 128×128."""

    hr_size = HR_SIZE
    blind = False  # it needs to be told what is hidden

    def __init__(self, config: LrTrunkConfig = LrTrunkConfig()):
        super().__init__()
        self.config = config
        self.lr_size = config.lr_size
        width = config.width
        channels = 7 if config.prefill else 4
        self.enter = nn.Conv2d(channels * config.stem**2, width, 3, padding=1)
        self.before = nn.Sequential(*(ResidualBlock(width, config.squeeze) for _ in range(config.blocks_before)))
        self.attention = PositionAttention(width, config.trunk_size)
        self.after = nn.Sequential(*(ResidualBlock(width, config.squeeze) for _ in range(config.blocks_after)))
        widths = (width, *config.up_widths)
        steps = len(config.up_widths)
        self.up = nn.Sequential(*(UpStep(widths[i], widths[i + 1], i == steps - 1) for i in range(steps)))
        joins = widths[int(math.log2(config.stem))]  # channels of the features that have the input's size
        self.again = nn.Conv2d(channels, joins, 3, padding=1) if config.stem > 1 else None
        self.leave = nn.Conv2d(widths[-1], 3, 3, padding=1)
        fusing = TrackFusionConfig(config.lr_size, config.fusion, out=joins, mirrored=config.mirrored)
        self.fusion = TrackFusion(fusing) if config.fusion else None
        self.agreement = Agreement(JOINED) if config.fusion else None
        nn.init.zeros_(self.leave.weight)  # the untrained network is the skip alone
        nn.init.zeros_(self.leave.bias)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor, track: Fused | None = None) -> Restored:
        """`lr` (B, 3, s, s) and `visible` (B, 1, s, s), both in [0, 1], s = config.lr_size → Restored.

        The occluder's own pixels may stay in `lr`: `visible` says what to make of them. `track`: what the other crops
        of its track add. Raises ValueError on another size; `layers.resample` brings any crop to it.
        """
        size = self.config.lr_size
        if lr.shape[1:] != (3, size, size) or visible.shape != (lr.shape[0], 1, size, size):
            raise ValueError(
                f"lr {tuple(lr.shape)} and visible {tuple(visible.shape)}: this network takes (B, 3, {size}, {size}) "
                f"and (B, 1, {size}, {size}); resample the crop first"
            )
        filled = fill_hidden(lr, settle(visible)) if self.config.prefill else lr
        entered = torch.cat([lr, visible, filled] if self.config.prefill else [lr, visible], 1)
        entered = entered * 2 - 1
        helped = None
        if track is not None and track.features is not None:
            helped = track.features.flatten(0, 1)  # all, then all mirrored
        if self.config.mirrored and not self.training:
            drawn = mean_with_mirrored(self._draw(with_mirrored(entered), helped))
        else:
            drawn = self._draw(entered, helped)
        hr = resample(filled, HR_SIZE).float() + drawn.float()
        if track is not None and track.laid is not None:
            with torch.autocast(hr.device.type, enabled=False):  # equations want all their digits
                lacks, differs = lacking(hr, track.laid)
            hr = hr + self._agrees(track, differs) * lacks
        return Restored(
            hr=hr if self.training else hr.clamp(0, 1),  # a clamp while training would stop the gradient
            lr_completed=lr * visible + resample(hr.detach().clamp(0, 1), size) * (1 - visible),
            occlusion=1 - visible,
            evidence=evidence(visible),
        )

    def _agrees(self, track: Fused, differs: torch.Tensor) -> torch.Tensor:
        """How far each pixel is to agree with the track's crops, `(B, 1, 128, 128)`."""
        if len(track.joined) > len(differs):
            agrees = mean_with_mirrored(self.agreement(track.joined, with_mirrored(differs)))
        else:
            agrees = self.agreement(track.joined, differs)
        return F.interpolate(agrees.float(), (HR_SIZE, HR_SIZE), mode="bilinear", align_corners=False)

    def _draw(self, entered: torch.Tensor, helped: torch.Tensor | None) -> torch.Tensor:
        """What is added to the enlarged crop, `(B, 3, 128, 128)`; `helped`: features of the track's other crops."""
        features = self.enter(F.pixel_unshuffle(entered, self.config.stem))
        if self.again is None and helped is not None:
            features = features + helped
        features = features + self.after(self.attention(self.before(features)))
        for step in self.up:
            features = step(features)
            if self.again is not None and features.shape[-1] == self.lr_size:
                features = features + self.again(entered)
                if helped is not None:
                    features = features + helped
        return self.leave(features)


def evidence(visible: torch.Tensor, size: int = HR_SIZE) -> torch.Tensor:
    """Share of each output pixel that visible input backs: `(B, 1, s, s)` → `(B, 1, size, size)` in [0, 1].

    An output pixel leans on the LR pixels round it (bicubic support, ±2, weights falling with distance), so the map
    is the visibility averaged over 3×3 LR pixels, then bilinear: 1 where all is visible, 0 from two LR pixels
    inside a hole on.
    """
    kernel = visible.new_tensor([1.0, 2.0, 1.0]) / 4
    local = F.conv2d(F.pad(visible, (1, 1, 1, 1), mode="replicate"), (kernel[:, None] * kernel)[None, None])
    return F.interpolate(local, (size, size), mode="bilinear", align_corners=False).clamp(0, 1)
