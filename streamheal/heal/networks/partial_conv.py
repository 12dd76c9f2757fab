"""Partial convolutions (Liu 2018): a U-Net that sees visible pixels alone and grows them into the hole."""

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.hourglass import Norm, normalise
from streamheal.heal.networks.layers import fill_hidden

EPSILON = 1e-6
"""Windows that see a smaller share are blind; without a bound a division by nothing spreads NaN."""


@dataclass(frozen=True, slots=True)
class PConvConfig:
    """A U-Net of as many levels as `widths` has and as the input's side allows, which is 1 px at its bottom.

    Defaults: 3.8 M parameters, 0.08 GMAC at 32 px.
    """

    # Ours: four levels at 16 px (2.0 M parameters), five at 32. The paper's seven want 128 px, so that LR must be
    # upsampled first: much compute, and no more to see.
    widths: tuple[int, ...] = (64, 128, 192, 256, 256)
    kernels: tuple[int, ...] = (5,)  # of the first levels; the others have 3
    norm: Norm = "none"  # as in `FsrNetConfig`: short trainings with small batches
    # Ours: what is learned is added to a smooth continuation of the visible pixels and starts at zero, so that minutes
    # of training begin at plain inpainting.
    residual: bool = True

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "kernels", tuple(self.kernels))
        if not self.widths:
            raise ValueError("widths: the U-Net needs at least one level")


PAPER: dict = {"widths": (64, 128, 256, 512, 512, 512, 512), "kernels": (7, 5, 5), "norm": "batch", "residual": False}
"""25.8 M parameters; 2.4 GMAC at 128 px."""


class PartialConv(nn.Module):
    """W·(x⊙m) / share + b, where `share` is how much of the window inside the picture is visible (Liu 2018, eq. 1-2).

    A mask has one channel, whatever the width of its features: NVIDIA's normaliser, at one channel's cost. On an
    all-ones mask this is a convolution with zero padding, borders too.
    """

    def __init__(self, inside: int, outside: int, kernel: int = 3, stride: int = 1):
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight = nn.Parameter(torch.empty(outside, inside, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outside))
        nn.init.kaiming_normal_(self.weight)  # ten levels without a norm fade under PyTorch's smaller default

    def forward(self, *seen: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Pairs of features `(B, c, s, s)` and mask `(B, 1, s, s)` in [0, 1], 1 = valid; two pairs lie side by side.

        Returns the new features and mask; both are 0 where a window sees nothing valid.
        """
        x = torch.cat([features * mask for features, mask in seen], 1)
        # each mask counts by its channels: what a mask of as many channels as the features would give
        mask = sum(mask.float() * features.shape[1] for features, mask in seen) / x.shape[1]
        padding = self.kernel // 2
        share = F.avg_pool2d(mask, self.kernel, self.stride, padding, count_include_pad=False)
        valid = (share > EPSILON).float()
        x = F.conv2d(x, self.weight, None, self.stride, padding) / share.clamp(min=EPSILON)
        return (x + self.bias.view(1, -1, 1, 1)) * valid, valid


class Encode(nn.Module):
    """Half the size: partial convolution, norm, ReLU."""

    def __init__(self, inside: int, outside: int, kernel: int, norm: Norm):
        super().__init__()
        self.conv = PartialConv(inside, outside, kernel, stride=2)
        self.norm = normalise(norm, outside)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, mask = self.conv((x, mask))
        return F.relu(self.norm(x)), mask


class Decode(nn.Module):
    """Twice the size, beside the encoder's features of that size; the last has neither norm nor activation."""

    def __init__(self, inside: int, skip: int, outside: int, norm: Norm, last: bool):
        super().__init__()
        self.conv = PartialConv(inside + skip, outside)
        self.finish = nn.Identity() if last else nn.Sequential(normalise(norm, outside), nn.LeakyReLU(0.2))

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor, skip: torch.Tensor, skip_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x, mask = (F.interpolate(half, scale_factor=2.0, mode="nearest") for half in (x, mask))
        x, mask = self.conv((x, mask), (skip, skip_mask))
        return self.finish(x), mask


class PConvUnet(nn.Module):
    """A face with a hole → the whole face, its visible pixels drawn anew as well."""

    def __init__(self, config: PConvConfig, size: int):
        super().__init__()
        self.config = config
        widths = config.widths[: size.bit_length() - 1]
        if size % 2 ** len(widths):
            raise ValueError(f"size {size}: the PConv U-Net halves it {len(widths)} times; take a power of two")
        kernels = (*config.kernels, *(3 for _ in widths))
        levels = list(itertools.pairwise((3, *widths)))
        self.encode = nn.ModuleList(
            Encode(inside, outside, kernel, config.norm if level else "none")
            for level, ((inside, outside), kernel) in enumerate(zip(levels, kernels, strict=False))
        )
        self.decode = nn.ModuleList(
            Decode(outside, inside, inside, config.norm, last=level == 0)
            for level, (inside, outside) in enumerate(levels)
        )
        if config.residual:
            nn.init.zeros_(self.decode[0].conv.weight)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """`lr` (B, 3, s, s) and `visible` (B, 1, s, s) in [0, 1] → `(B, 3, s, s)`, unclamped.

        What lies where `visible` is 0 makes no difference; a soft value is a weight.
        """
        x, mask = lr * 2 - 1, visible
        seen = []
        for encode in self.encode:
            seen.append((x, mask))
            x, mask = encode(x, mask)
        for level in reversed(range(len(self.decode))):
            x, mask = self.decode[level](x, mask, *seen[level])
        return fill_hidden(lr, visible) + x if self.config.residual else x
