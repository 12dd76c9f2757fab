"""OFHNet: a face of 16×16 with a hole is first inpainted at that size, then upsampled eight times.

arXiv 1811.04645. The smallest of the restorers, and the natural base line of the others. The paper's discriminator and
landmark network take part in training only: `train/criteria/critics.py`, `landmark_regressor.py`.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import nn

from streamheal.heal.networks.layers import fill_hidden, resample, settle
from streamheal.heal.networks.lr_trunk import HR_SIZE, evidence
from streamheal.heal.networks.restored import Restored, check_input

LR_SIZE = 16


@dataclass(frozen=True, slots=True)
class OfhNetConfig:
    """Defaults: slim, 0.09 M parameters to inpaint, 1.1 M to upsample; 0.9 GMAC a face. `PAPER` is wider.

    The paper gives strides, kernels and the order of layers. Of the widths it gives the first (16) and the size of the
    bottleneck (1024 numbers: 64 maps of 4×4); the others are ours.
    """

    encoder_widths: tuple[int, ...] = (16, 32, 64, 64)  # at 16, 16, 8 and 4 px
    decoder_widths: tuple[int, ...] = (32, 16)  # at 8 and 16 px
    # Narrower as the picture grows, as most of the work is at its end: two thirds of PAPER's is at 64 px and above, and
    # a CPU core makes 3.5 pictures a second of it.
    up_widths: tuple[int, ...] = (192, 96, 32)  # of the blocks at 16, 32 and 64 px
    tail_widths: tuple[int, ...] = (16, 16)  # at 128 px
    # The paper feeds the picture with its hole alone. Black hair and a black hole look alike; the map tells them apart.
    mask_channel: bool = True
    composite: bool = True  # visible pixels come from the input (figure 2 of the paper); off: all from the network
    # Both parts correct a picture that is there before any training: the hole filled smoothly, and its bicubic
    # enlargement. The paper draws each picture anew, behind a sigmoid, and learns for days. What is added is linear and
    # not in logits: black and white are then as easy to reach as grey, and a right filling needs no correction at all.
    residual: bool = True

    def __post_init__(self):
        for field, count in (("encoder_widths", 4), ("decoder_widths", 2), ("up_widths", 3), ("tail_widths", 2)):
            widths = tuple(getattr(self, field))
            object.__setattr__(self, field, widths)
            if len(widths) != count or min(widths) < 1:
                raise ValueError(f"{field} {widths} must be {count} positive numbers: 16 px, down to 4, up to 128")


PAPER: dict = {
    # Halved at each doubling: a constant 128 has fewer parameters (1.4 M), but twice the work, most of it at 64 px.
    "up_widths": (256, 128, 64), "tail_widths": (64, 32), "mask_channel": False, "residual": False,
}  # fmt: skip
"""As in the paper: 2.03 M parameters to upsample, 2.5 GMAC a face."""


@dataclass(slots=True)
class OfhSteps:
    """What the losses compare. Unclamped: [0, 1] only where the network ends in a sigmoid."""

    inpainted: torch.Tensor  # (B, 3, 16, 16), all of it from the network
    completed: torch.Tensor  # (B, 3, 16, 16), its visible pixels from the input
    hr: torch.Tensor | None  # (B, 3, 128, 128)


class OfhNet(nn.Module):
    """Inpainting, then upsampling."""

    lr_size, hr_size = LR_SIZE, HR_SIZE
    blind = False  # it needs to be told what is hidden

    def __init__(self, config: OfhNetConfig = OfhNetConfig()):
        super().__init__()
        self.config = config
        self.inpainting = Inpainting(config)
        self.upsampling = Upsampling(config)

    def steps(self, lr: torch.Tensor, visible: torch.Tensor, *, upsample: bool = True) -> OfhSteps:
        """As `forward`, with all that lies between; without `upsample` no further than the first stage of training
        needs. Raises ValueError on another size."""
        check_input(lr, visible, LR_SIZE)
        visible = settle(visible)
        inpainted = self.inpainting(lr, visible)
        completed = lr * visible + inpainted * (1 - visible) if self.config.composite else inpainted
        return OfhSteps(inpainted, completed, self.upsampling(completed) if upsample else None)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> Restored:
        """`lr` (B, 3, 16, 16) and `visible` (B, 1, 16, 16), both in [0, 1] → Restored.

        The occluder's own pixels may stay in `lr`. Raises ValueError on another size.
        """
        steps = self.steps(lr, visible)
        return Restored(
            hr=steps.hr if self.training else steps.hr.clamp(0, 1),
            lr_completed=steps.completed if self.training else steps.completed.clamp(0, 1),
            occlusion=1 - visible,
            evidence=evidence(visible),
        )


class Inpainting(nn.Module):
    """16×16 with a hole → 16×16 without: four blocks down to 4×4, two modules up, two convolutions."""

    def __init__(self, config: OfhNetConfig):
        super().__init__()
        self.config = config
        widths = (4 if config.mask_channel else 3, *config.encoder_widths)
        self.encoder = nn.Sequential(
            *(_conv_relu_norm(*widths[i : i + 2], stride) for i, stride in enumerate((1, 1, 2, 2)))
        )
        widths = (config.encoder_widths[-1], *config.decoder_widths)
        self.decoder = nn.Sequential(*(DecoderModule(a, b) for a, b in itertools.pairwise(widths)))
        self.tail = nn.Conv2d(widths[-1], widths[-1], 3, padding=1)
        self.leave = _last(widths[-1], config)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """`(B, 3, 16, 16)` and `(B, 1, 16, 16)` in [0, 1] → `(B, 3, 16, 16)`, visible pixels drawn anew as well."""
        # who corrects a filling must see it; the paper's network sees a hole of zeros
        start = fill_hidden(lr, visible) if self.config.residual else lr * visible
        entered = torch.cat([start, visible], 1) if self.config.mask_channel else start
        drawn = self.leave(self.tail(self.decoder(self.encoder(entered)))).float()
        return start + drawn if self.config.residual else torch.sigmoid(drawn)


class Upsampling(nn.Module):
    """16×16 → 128×128: three residual blocks that each double the size, three convolutions."""

    def __init__(self, config: OfhNetConfig):
        super().__init__()
        self.config = config
        widths = (3, *config.up_widths)
        self.blocks = nn.Sequential(*(ResidualUpsample(a, b) for a, b in itertools.pairwise(widths)))
        widths = (config.up_widths[-1], *config.tail_widths)
        self.tail = nn.Sequential(*(_conv_norm_relu(a, b) for a, b in itertools.pairwise(widths)))
        self.leave = _last(widths[-1], config)

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        """`(B, 3, 16, 16)` in [0, 1] → `(B, 3, 128, 128)`."""
        drawn = self.leave(self.tail(self.blocks(face))).float()
        return resample(face, HR_SIZE) + drawn if self.config.residual else torch.sigmoid(drawn)


class DecoderModule(nn.Sequential):
    """Nearest ×2, BatchNorm, ReLU, convolution, BatchNorm, ReLU."""

    def __init__(self, inside: int, outside: int):
        super().__init__(
            nn.Upsample(scale_factor=2), nn.BatchNorm2d(inside), nn.ReLU(), *_conv_norm_relu(inside, outside)
        )


class ResidualUpsample(nn.Module):
    """(Convolution, BatchNorm, ReLU) twice, a convolution, plus the skip; then nearest ×2, BatchNorm, ReLU.

    The paper's "k1nCs1" is read as the 1×1 convolution that gives the skip as many maps as the rest has.
    """

    def __init__(self, inside: int, width: int):
        super().__init__()
        self.body = nn.Sequential(
            *_conv_norm_relu(inside, width), *_conv_norm_relu(width, width), nn.Conv2d(width, width, 3, padding=1)
        )
        self.skip = nn.Conv2d(inside, width, 1)
        self.grow = nn.Sequential(nn.Upsample(scale_factor=2), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.grow(self.body(x) + self.skip(x))


def _conv_relu_norm(inside: int, outside: int, stride: int) -> nn.Sequential:
    """The encoder's block: the paper names ReLU before BatchNorm there."""
    return nn.Sequential(nn.Conv2d(inside, outside, 3, stride, 1), nn.ReLU(), nn.BatchNorm2d(outside))


def _conv_norm_relu(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU())


def _last(inside: int, config: OfhNetConfig) -> nn.Conv2d:
    """The convolution to RGB; at zero where it is a correction."""
    layer = nn.Conv2d(inside, 3, 3, padding=1)
    if config.residual:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
