"""FD-StackGAN (Jabbar 2021): what hides a face is taken away at full resolution, by two U-Nets one after the other.

The base network draws a coarse face from the occluded one and its mask; the refining network sees all that and the
coarse face, and draws the final one. The two discriminators take part in training only (`train/criteria/critics.py`).
"""

import itertools
from dataclasses import dataclass

import torch
from torch import nn

from streamheal.heal.networks.layers import SqueezeExcite, fill_hidden, mean_with_mirrored, settle, with_mirrored
from streamheal.heal.networks.lr_trunk import evidence
from streamheal.heal.networks.restored import Restored, check_input

_MULTIPLES = (1, 2, 4, 8, 8)  # of the width, after each of the five halvings (as pix2pix, Isola 2017)


@dataclass(frozen=True, slots=True)
class FdStackGanConfig:
    """Defaults: 3.7 M parameters each for base and refine, 0.2 GMAC each at 128 px.

    The paper gives five convolutions and five deconvolutions with skips, instance norm, tanh, dilated convolutions and
    squeeze-and-excitation at the bottom; kernels, widths and rates are pix2pix's or ours.
    """

    resolution: int = 128  # side of input and output; 256 as in the paper, for near faces
    width: int = 24  # of the first convolution; the paper's size is taken to be 64, which no small file holds
    # Of the convolutions at the bottom, where 128 px have become 4 and 256 px 8. A rate that reaches the map's side
    # would leave a kernel nothing but its centre.
    dilations: tuple[int, ...] = (1, 2, 1, 2)
    squeeze: int = 16  # reduction of squeeze-and-excitation (its paper's)
    # Both networks correct a picture that is there before any training: the base network the smoothly filled one, the
    # refining network the base network's. The paper draws both anew and trains for 1 000 epochs.
    residual: bool = True
    # Visible pixels from the input, also in `hr`. Off: an enlarged crop is to become sharper where it is visible, too,
    # and an occluder's soft edge counts as visible. (`lr_completed` keeps the visible pixels in any case.)
    composite: bool = False
    # In use, each face is restored as it is and mirrored, and the mean is the answer: twice the work.
    mirrored: bool = False

    def __post_init__(self):
        object.__setattr__(self, "dilations", tuple(self.dilations))
        if self.resolution not in (128, 256):
            raise ValueError(f"resolution {self.resolution} must be 128 or 256")
        bottom = self.resolution // 2 ** len(_MULTIPLES)
        if not self.dilations or not all(1 <= rate < bottom for rate in self.dilations):
            raise ValueError(
                f"dilations {self.dilations} must be one or more of 1 to {bottom - 1}: "
                f"at {self.resolution} px the bottom is {bottom}×{bottom}"
            )


PAPER: dict = {"resolution": 256, "width": 64, "dilations": (1, 2, 4, 2), "residual": False}
"""26.2 M parameters each for base and refine."""


@dataclass(slots=True)
class FdSteps:
    """What the losses compare: pictures `(B, 3, s, s)`, unclamped, visible pixels drawn anew as well."""

    coarse: torch.Tensor  # of the base network
    refined: torch.Tensor | None  # of the refining network


class FdStackGan(nn.Module):
    """Base network, then refining network."""

    blind = False  # it needs to be told what is hidden

    def __init__(self, config: FdStackGanConfig = FdStackGanConfig()):
        super().__init__()
        self.config = config
        self.lr_size = self.hr_size = config.resolution
        self.base = Unet(4, config)
        self.refine = Unet(7, config)

    def steps(self, lr: torch.Tensor, visible: torch.Tensor, *, refine: bool = True) -> FdSteps:
        """As `forward`, with the coarse face; without `refine` no further than the first stage of training needs.
        Raises ValueError on another size."""
        check_input(lr, visible, self.lr_size)
        residual, visible = self.config.residual, settle(visible)
        # who corrects a filling must see it; the paper's networks see the occluder
        picture = fill_hidden(lr, visible) if residual else lr
        entered = torch.cat([picture * 2 - 1, 1 - visible], 1)  # the paper's mask is 1 in the hole
        coarse = self.base(entered) + picture if residual else (self.base(entered) + 1) / 2
        if not refine:
            return FdSteps(coarse, None)
        drawn = self.refine(torch.cat([entered, coarse * 2 - 1], 1))
        return FdSteps(coarse, drawn + coarse if residual else (drawn + 1) / 2)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> Restored:
        """`lr` (B, 3, s, s) and `visible` (B, 1, s, s), both in [0, 1], s = config.resolution → Restored at s px.

        The crop comes resampled to the working size; the occluder's own pixels may stay in it. Raises ValueError on
        another size.
        """
        if self.config.mirrored and not self.training:
            drawn = mean_with_mirrored(self.steps(with_mirrored(lr), with_mirrored(visible)).refined)
        else:
            drawn = self.steps(lr, visible).refined
        if not self.training:
            drawn = drawn.clamp(0, 1)
        kept = settle(visible)
        completed = lr * kept + drawn * (1 - kept)
        return Restored(
            hr=completed if self.config.composite else drawn,
            lr_completed=completed,
            occlusion=1 - visible,
            evidence=evidence(visible, self.hr_size),
        )


class Unet(nn.Module):
    """`(B, inside, s, s)` → `(B, 3, s, s)` in (-1, 1): five halvings, dilated convolutions, five doublings with skips.

    Each step is ReLU, convolution, instance norm; the first has the convolution alone, the last tanh for its norm.
    """

    def __init__(self, inside: int, config: FdStackGanConfig):
        super().__init__()
        widths = [config.width * multiple for multiple in _MULTIPLES]
        self.enter = nn.Conv2d(inside, widths[0], 4, 2, 1)
        self.down = nn.ModuleList(_step(nn.Conv2d, a, b) for a, b in itertools.pairwise(widths))
        self.bottom = nn.Sequential(*(Dilated(widths[-1], rate, config.squeeze) for rate in config.dilations))
        pairs = itertools.pairwise(reversed(widths))
        # all but the first take the skip of their size beside what comes from below
        self.up = nn.ModuleList(_step(nn.ConvTranspose2d, a * (2 if i else 1), b) for i, (a, b) in enumerate(pairs))
        self.leave = nn.ConvTranspose2d(2 * widths[0], 3, 4, 2, 1)
        if config.residual:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = [self.enter(x)]
        for down in self.down:
            skips.append(down(skips[-1]))
        x = self.bottom(skips.pop())
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        return torch.tanh(self.leave(torch.relu(x)).float())


class Dilated(nn.Sequential):
    """3×3 convolution with holes, instance norm, ReLU, squeeze-and-excitation: it sees the whole face."""

    def __init__(self, width: int, rate: int, squeeze: int):
        super().__init__(
            nn.Conv2d(width, width, 3, padding=rate, dilation=rate, bias=False),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(),
            SqueezeExcite(width, squeeze),
        )


def _step(convolution: type[nn.Module], inside: int, outside: int) -> nn.Sequential:
    layer = convolution(inside, outside, 4, 2, 1, bias=False)
    return nn.Sequential(nn.ReLU(), layer, nn.InstanceNorm2d(outside, affine=True))
