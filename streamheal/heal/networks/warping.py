"""Similarities and affine maps of pictures, batched.

A map `(…, 2, 3)` takes points (x, y) of one picture, in pixels with pixel centres at whole numbers, to points of
another.
"""

import torch
import torch.nn.functional as F


def warp(
    pictures: torch.Tensor, maps: torch.Tensor, size: int | None = None, *, mode: str = "bilinear"
) -> torch.Tensor:
    """Sample `(B, C, s, s)` at `maps` (B, 2, 3): px of the result → px of the picture. `(B, C, size, size)`, s by
    default; the border repeats, so that a scarf reaches the picture's edge."""
    side = pictures.shape[-1]
    return sample(pictures, places(maps, size or side, side), mode=mode)


def places(maps: torch.Tensor, size: int, side: int) -> torch.Tensor:
    """Where a picture of `side` px is looked at for a result of `size` px: `(B, size, size, 2)`, for `sample`."""
    linear, shift = maps[..., :2], maps[..., 2:]
    middle = maps.new_full((2, 1), (size - 1) / 2)
    inside = torch.cat([linear * (size / side), (linear @ middle + shift + 0.5) * (2 / side) - 1], -1)
    return F.affine_grid(inside, [len(maps), 1, size, size], align_corners=False)


def sample(pictures: torch.Tensor, at: torch.Tensor, *, mode: str = "bilinear") -> torch.Tensor:
    """`(B, C, s, s)` at `at` (B, S, S, 2), of `places` → `(B, C, S, S)`; the border repeats."""
    return F.grid_sample(pictures, at, mode=mode, padding_mode="border", align_corners=False)


def similarity(*, angle: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor, side: int = 128) -> torch.Tensor:
    """`(B, 2, 3)`: turned by `angle` (B,) radians and scaled by `scale` (B,) round the middle of a picture of `side`
    px, then shifted by `shift` (B, 2) px."""
    cosine, sine = angle.cos() * scale, angle.sin() * scale
    linear = torch.stack([torch.stack([cosine, -sine], 1), torch.stack([sine, cosine], 1)], 1)
    middle = shift.new_full((2,), side / 2)
    return torch.cat([linear, (middle + shift - (linear @ middle))[:, :, None]], 2)


def near_identity(p: torch.Tensor, side: int) -> torch.Tensor:
    """`(N, 2, 3)` of a, b, tx, ty, `(N, 4)`, about the middle of a picture of `side` px: x' = x + a x - b y + tx and
    y' = y + b x + a y + ty. All zeros is the identity."""
    a, b, tx, ty = p.unbind(1)
    middle = (side - 1) / 2
    across = torch.stack([1 + a, -b, tx - middle * (a - b)], 1)
    return torch.stack([across, torch.stack([b, 1 + a, ty - middle * (a + b)], 1)], 1)


def compose(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """First `inner`, then `outer`."""
    return torch.cat([outer[..., :2] @ inner[..., :2], outer[..., :2] @ inner[..., 2:] + outer[..., 2:]], -1)


def invert(maps: torch.Tensor) -> torch.Tensor:
    """The way back."""
    linear = torch.linalg.inv(maps[..., :2])
    return torch.cat([linear, -linear @ maps[..., 2:]], -1)


def rescale(maps: torch.Tensor, ratio: float) -> torch.Tensor:
    """The same maps between pictures whose sides are `ratio` times as long."""
    half = maps.new_full((2, 1), 0.5)  # a pixel's middle: what scales is p + 0.5
    linear, shift = maps[..., :2], maps[..., 2:]
    return torch.cat([linear, (shift + half - linear @ half) * ratio - half + linear @ half], -1)
