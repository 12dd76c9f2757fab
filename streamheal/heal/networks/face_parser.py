"""The face parser: which part of the face each pixel of a crop shows. A prior and a teacher of the restorers."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn

from streamheal.heal.networks.layers import ConvNorm
from streamheal.heal.networks.unet import Unet

FaceClass = Literal[
    "background", "skin", "left brow", "right brow", "left eye", "right eye", "nose", "upper lip", "inner mouth",
    "lower lip", "hair",
]  # fmt: skip
CLASSES: tuple[str, ...] = get_args(FaceClass)
"""The eleven of GFC's parser (FCSR-GAN, JDSR-GAN), in the order of the logits; left is the person's left."""


@dataclass(frozen=True, slots=True)
class FaceParserConfig:
    """Defaults: 0.6 M parameters, 0.14 GMAC a crop."""

    # Crops of any size are brought to one: at 128 px an eye is four pixels high, below that it is lost.
    size: int = 128
    widths: tuple[int, ...] = (16, 48, 80, 128)

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.size % 2:
            raise ValueError(f"size must be even, as the logits have half of it; got {self.size}")


class FaceParser(Unet):
    """RGB face of any size → logits `(B, 11, size / 2, size / 2)` in the order of `CLASSES`.

    The U-Net works at half the picture's side; by the SE at its bottom left and right are told apart.
    """

    def __init__(self, config: FaceParserConfig = FaceParserConfig()):
        super().__init__(config.size, config.widths, len(CLASSES), _conv, stride=2)
        self.config = config


def _conv(inside: int, outside: int, stride: int = 1) -> nn.Module:
    """ReLU, as ConvNorm's own PReLU is slow on a CPU."""
    return nn.Sequential(ConvNorm(inside, outside, stride=stride, activation=False), nn.ReLU())
