"""Critics: each says how real pictures look, as logits or scores `(B, 1, h, w)` (`OfhDiscriminator`: `(B, 1)`).

Pictures are `(B, inside, s, s)` in the range in which the task gives both sides; a conditioned critic takes picture and
condition beside each other, as more channels. None ends in the sigmoid that some papers name: the losses in
`adversarial.py` take logits. `width`: channels of the first layer, the paper's by default, all others in proportion.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Sequential):
    """pix2pix's PatchGAN (Isola 2017, §3.2.2 and §6.1.2): each score sees a patch of the picture.

    `n_layers` 4×4 convolutions of stride 2, two of stride 1. A patch is 34 px wide for 2 of them (FD-StackGAN says 32),
    70 px for 3 (FCSR-GAN). A spectral norm holds the slope, in place of the original's BatchNorm.
    """

    def __init__(self, inside: int = 3, width: int = 64, n_layers: int = 3):
        if n_layers < 1:
            raise ValueError(f"n_layers {n_layers}; at least 1 convolution of stride 2")
        widths = [width * min(2**i, 8) for i in range(n_layers + 1)]
        parts: list[nn.Module] = [_spectral(inside, width, stride=2), nn.LeakyReLU(0.2)]
        for i, (before, after) in enumerate(itertools.pairwise(widths)):
            stride = 2 if i < n_layers - 1 else 1
            parts += [_spectral(before, after, stride), nn.LeakyReLU(0.2)]
        super().__init__(*parts, _spectral(widths[-1], 1, stride=1))


class FcsrCritic(nn.Sequential):
    """FCSR-GAN's as its code has it, for WGAN-GP: a 2×2 map for 128 px, each score of the whole face. 44.7 M.

    The paper's text names PatchGAN: `PatchDiscriminator`.
    """

    def __init__(self, inside: int = 3, width: int = 64):
        widths = [width * 2**i for i in range(6)]
        super().__init__(*_halvings(inside, widths, slope=0.01), nn.Conv2d(widths[-1], 1, 3, padding=1, bias=False))


class OfhDiscriminator(nn.Sequential):
    """OFHNet's: six convolutions, one more, one score for the whole face of 128 px `(B, 1)`. Unconditional (eqs. 3-4).

    Kernels and widths are ours, the paper has none: 4×4 of stride 2, 32 to 512, LeakyReLU; the first has no norm (as
    in DCGAN), or the critic would not see colours as they are.
    """

    def __init__(self, inside: int = 3, width: int = 32):
        widths = [width * min(2**i, 16) for i in range(6)]
        narrow = widths[-1] // 4
        super().__init__(
            *_halvings(inside, widths, norm=True),
            nn.Conv2d(widths[-1], narrow, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(2 * 2 * narrow, 1),
        )


class ProUiGlobal(nn.Sequential):
    """Pro-UIGAN's Global-D, of SRGAN's kind: four pairs of 3×3 convolutions, an 8×8 map for 128 px. 4.7 M."""

    def __init__(self, inside: int = 3, width: int = 64):
        pairs = _pairs(inside, [width * 2**i for i in range(4)])
        super().__init__(*pairs, nn.Conv2d(width * 8, 1, 3, padding=1))


class ProUiLocal(nn.Sequential):
    """Pro-UIGAN's Local-D: what Global-D does, on the middle half of the picture, where eyes, nose and mouth are.

    64 of 128 px: three pairs, to 256 channels. 16 of 32 px: `pairs=2`, as a third would leave 2×2 scores (ours).
    """

    def __init__(self, inside: int = 3, width: int = 64, pairs: int = 3):
        layers = _pairs(inside, [width * 2**i for i in range(pairs)])
        super().__init__(*layers, nn.Conv2d(width * 2 ** (pairs - 1), 1, 3, padding=1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        edge = pictures.shape[-1] // 4
        return super().forward(F.pad(pictures, (-edge,) * 4))


class WganCritic(nn.Sequential):
    """JDSR-GAN's, "same as WGAN-GP" in the paper: four 4×4 convolutions of stride 2 and one 3×3 to an 8×8 map (ours).

    No norm: BatchNorm ties a batch's rows together, while the gradient penalty is each row's own.
    """

    def __init__(self, inside: int = 3, width: int = 64):
        widths = [width * 2**i for i in range(4)]
        super().__init__(*_halvings(inside, widths), nn.Conv2d(widths[-1], 1, 3, padding=1))


def _halvings(inside: int, widths: list[int], *, slope: float = 0.2, norm: bool = False) -> list[nn.Module]:
    """Per width a 4×4 convolution of stride 2; with `norm` BatchNorm after all but the first."""
    parts: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise([inside, *widths])):
        normed = [nn.BatchNorm2d(after)] if norm and i else []
        parts += [nn.Conv2d(before, after, 4, 2, 1), *normed, nn.LeakyReLU(slope)]
    return parts


def _pairs(inside: int, widths: list[int]) -> list[nn.Module]:
    """Per width two 3×3 convolutions, the second of stride 2; BatchNorm after all but the very first."""
    parts: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise([inside, *widths])):
        normed = [nn.BatchNorm2d(after)] if i else []
        parts += [nn.Conv2d(before, after, 3, padding=1), *normed, nn.LeakyReLU(0.2)]
        parts += [nn.Conv2d(after, after, 3, 2, 1), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
    return parts


def _spectral(inside: int, outside: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(inside, outside, 4, stride, padding=1))
