"""Building blocks that more than one network uses."""

import torch
import torch.nn.functional as F
from torch import nn


def resample(pictures: torch.Tensor, size: int) -> torch.Tensor:
    """`(B, C, h, w)` → `(B, C, size, size)`, bicubic, antialiased when it shrinks (Pillow's kernel, a = -0.5).

    The one way in which crops change size, in training and in use. Stays in [0, 1].
    """
    if pictures.shape[-2:] == (size, size):
        return pictures
    out = F.interpolate(pictures.float(), (size, size), mode="bicubic", align_corners=False, antialias=True)
    return out.clamp(0, 1)


def bicubic(of: int, to: int, device: torch.device) -> torch.Tensor:
    """What takes rows of `of` pixels to `to`, `(to, of)`: PyTorch's kernel, antialiased when it shrinks.

    `b @ pictures @ b.mT` of small pictures is `F.interpolate` in a tenth of its time.
    """
    rows = torch.eye(of, device=device)[None, None]
    return F.interpolate(rows, (to, of), mode="bicubic", align_corners=False, antialias=to < of)[0, 0]


def with_mirrored(maps: torch.Tensor) -> torch.Tensor:
    """`(B, C, h, w)` → `(2 B, C, h, w)`: all as they are, then all mirrored left to right."""
    return torch.cat([maps, maps.flip(-1)])


def mean_with_mirrored(made: torch.Tensor) -> torch.Tensor:
    """What was made of `with_mirrored`, `(2 B, C, h, w)` → `(B, C, h, w)`, the second half turned back first.

    Geometric self-ensemble (EDSR+, Lim 2017): the errors of two views are not the same ones, and their mean is less.
    """
    own, mirrored = made.chunk(2)
    return (own + mirrored.flip(-1)) / 2


def resample_map(maps: torch.Tensor, size: int) -> torch.Tensor:
    """A map in [0, 1] `(B, 1, h, w)` → `(B, 1, size, size)`: area-averaged when it shrinks, bilinear when it grows.

    A picture that shrinks mixes visible and hidden points in one pixel, and the area average is that share.
    """
    if maps.shape[-2:] == (size, size):
        return maps
    if maps.shape[-1] > size and maps.shape[-1] % size == 0:
        return F.avg_pool2d(maps.float(), maps.shape[-1] // size)
    out = F.interpolate(maps.float(), (size, size), mode="bilinear", align_corners=False, antialias=True)
    return out.clamp(0, 1)  # rounding may pass 1 by an ulp


def settle(visible: torch.Tensor) -> torch.Tensor:
    """A soft map in [0, 1] made firmer: 0 up to 0.5, 1 from 0.9 on, a ramp between; any shape.

    What shines through an occluder's soft edge is more occluder than face, and `fill_hidden` would spread it over the
    hole: over things before sharp faces, filling alone gains 2.7 dB by this, at 16 px 0.1 to 0.2 dB.
    """
    return ((visible - 0.5) / 0.4).clamp(0, 1)


def fill_hidden(pictures: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Hidden pixels replaced by a smooth continuation of the visible ones (push-pull over a pyramid, no parameters).

    `(B, C, s, s)` and `(B, 1, s, s)` in [0, 1] → `(B, C, s, s)`; visible pixels stay as they are. With nothing
    visible at all the result is 0.
    """
    if pictures.shape[-1] == 1:
        return pictures * visible
    weighted, weight = F.avg_pool2d(pictures * visible, 2, ceil_mode=True), F.avg_pool2d(visible, 2, ceil_mode=True)
    # one visible pixel in four is enough to speak for its cell
    coarse = fill_hidden(weighted / (weight + 1e-4), (4 * weight).clamp(max=1))
    coarse = F.interpolate(coarse, pictures.shape[-2:], mode="bilinear", align_corners=False)
    return pictures * visible + coarse * (1 - visible)


class SqueezeExcite(nn.Module):
    """Channel attention from the picture's mean (Hu 2018): scales each of `width` channels by (0, 1)."""

    def __init__(self, width: int, ratio: int = 8):
        super().__init__()
        hidden = max(width // ratio, 4)
        self.squeeze = nn.Conv2d(width, hidden, 1)
        self.excite = nn.Conv2d(hidden, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True)))))


class ResidualBlock(nn.Module):
    """x + SE(conv(ReLU(conv(x)))), no normalisation: super-resolution loses by it (EDSR, 2017)."""

    def __init__(self, width: int, squeeze: int | None = 8):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.attend = SqueezeExcite(width, squeeze) if squeeze else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.attend(self.conv2(F.relu(self.conv1(x))))


class PositionAttention(nn.Module):
    """x + one-head attention over all positions of a `size` × `size` map, with a learned map of positions.

    A face is symmetric: what one eye shows tells about the other, sixteen pixels away.
    """

    def __init__(self, width: int, size: int):
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, width, size, size) * 0.02)
        self.query_key_value = nn.Conv2d(width, 3 * width, 1)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, width, height, across = x.shape
        qkv = self.query_key_value(x + self.position.to(x.dtype)).flatten(2).transpose(1, 2)
        query, key, value = (part.contiguous().unsqueeze(1) for part in qkv.chunk(3, dim=2))
        mixed = F.scaled_dot_product_attention(query, key, value).squeeze(1)
        return x + self.project(mixed.transpose(1, 2).reshape(batch, width, height, across))


class ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, activation. In use the norm is an affine map (eval mode), so rows don't mix."""

    def __init__(self, inside: int, outside: int, kernel: int = 3, stride: int = 1, activation: bool = True):
        layers = [nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outside)]
        super().__init__(*layers, *([nn.PReLU(outside)] if activation else []))
