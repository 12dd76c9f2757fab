"""Generative face completion (Li 2017): an encoder, a fully connected middle that sees the whole face, a decoder."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from streamheal.heal.networks.layers import fill_hidden


@dataclass(frozen=True, slots=True)
class GfcConfig:
    """Defaults (`GFCLite`): 2.6 M parameters at 32 px, 1.0 M at 16 px."""

    # Ours: three halvings at LR size. The paper's network has 137 M parameters, 97 % of them in the middle.
    encoder: tuple[tuple[int, ...], ...] = ((32, 32), (64, 64), (128, 128))  # convolutions of each level, then max-pool
    middle: int = 512
    decoder: tuple[tuple[int, ...], ...] = ((64, 64), (64, 32), (32,))  # after each doubling; then one to 3 channels
    # Ours: nearest neighbours. Max-unpooling puts values back where the encoder found its maxima, and those that it
    # found in a hole mean nothing.
    unpool: bool = False
    mask_channel: bool = True  # ours: the paper's network must guess what is hidden from its zeros
    residual: bool = True  # ours: added to a smooth filling, as in `PConvConfig`

    def __post_init__(self):
        for name in ("encoder", "decoder"):
            object.__setattr__(self, name, tuple(tuple(widths) for widths in getattr(self, name)))
        if len(self.encoder) != len(self.decoder):
            raise ValueError(f"encoder has {len(self.encoder)} levels and decoder {len(self.decoder)}; take as many")


PAPER: dict = {
    "encoder": ((32, 32), (64, 64), (128, 128), (256, 256, 256, 256)), "middle": 4096,
    "decoder": ((64, 64, 64, 128), (64, 64), (64, 32), (32,)),
    "unpool": True, "mask_channel": False, "residual": False,
}  # fmt: skip
"""137 M parameters at 128 px."""


def convolutions(inside: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers = []
    for width in widths:
        conv = nn.Conv2d(inside, width, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight)  # a dozen ReLU layers without a norm fade under PyTorch's smaller default
        layers += [conv, nn.ReLU()]
        inside = width
    return nn.Sequential(*layers)


class Gfc(nn.Module):
    """A face with a hole → the whole face."""

    def __init__(self, config: GfcConfig, size: int):
        super().__init__()
        self.config = config
        self.bottom = size // 2 ** len(config.encoder)
        if self.bottom * 2 ** len(config.encoder) != size:
            raise ValueError(f"size {size}: GFC halves it {len(config.encoder)} times; take a power of two")
        ends = [widths[-1] for widths in config.encoder]
        starts = [4 if config.mask_channel else 3, *ends]
        self.encode = nn.ModuleList(convolutions(a, widths) for a, widths in zip(starts, config.encoder, strict=False))
        positions = ends[-1] * self.bottom**2
        self.middle = nn.Sequential(
            nn.Linear(positions, config.middle), nn.ReLU(), nn.Linear(config.middle, positions), nn.ReLU()
        )
        starts = [ends[-1], *(widths[-1] for widths in config.decoder)]
        self.decode = nn.ModuleList(convolutions(a, widths) for a, widths in zip(starts, config.decoder, strict=False))
        self.leave = nn.Conv2d(starts[-1], 3, 3, padding=1)
        for layer in (self.middle[0], self.middle[2]):
            nn.init.kaiming_normal_(layer.weight)  # as the convolutions
        if config.residual:
            nn.init.zeros_(self.leave.weight)
            nn.init.zeros_(self.leave.bias)

    def forward(self, lr: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """`lr` (B, 3, s, s) and `visible` (B, 1, s, s) in [0, 1] → `(B, 3, s, s)`, unclamped."""
        x = (lr * 2 - 1) * visible
        if self.config.mask_channel:
            x = torch.cat([x, visible], 1)
        found = []
        for encode in self.encode:
            x, indices = F.max_pool2d(encode(x), 2, return_indices=True)
            found.append(indices)
        x = self.middle(x.flatten(1)).unflatten(1, (-1, self.bottom, self.bottom))
        for decode, indices in zip(self.decode, reversed(found), strict=True):
            x = F.max_unpool2d(x, indices, 2) if self.config.unpool else F.interpolate(x, scale_factor=2.0)
            x = decode(x)
        x = self.leave(x)
        return fill_hidden(lr, visible) + x if self.config.residual else x
