"""Landmarks as maps, one Gaussian each, and back. Points are x, y in pixels; pixel centres lie at whole numbers."""

import torch

GROUPS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
"""The 68 landmarks (iBUG 300-W order) by part of the face; the picture's left comes first."""


def draw(points: torch.Tensor, side: int, size: int, sigma: float = 1.0) -> torch.Tensor:
    """Points `(B, K, 2)` in a picture of `side` px → `(B, K, size, size)` in [0, 1], a Gaussian of `sigma` cells each.

    Its peak is 1, reached where the point falls on a cell's centre; a point outside the picture leaves its map (nearly)
    empty.
    """
    cells = (points.float() + 0.5) * (size / side) - 0.5
    at = torch.arange(size, device=points.device, dtype=cells.dtype)
    fall = torch.exp(-((at - cells[..., None]) ** 2) / (2 * sigma**2))  # (B, K, 2, size): along x and along y
    return fall[:, :, 1, :, None] * fall[:, :, 0, None, :]


def peaks(maps: torch.Tensor, side: int, reach: int = 2) -> torch.Tensor:
    """Where maps `(B, K, s, s)` in [0, 1] peak → `(B, K, 2)` in pixels of a picture of `side` px.

    Soft-argmax over the window of `reach` cells round the highest cell: finer than a cell, and deaf to a second peak.
    """
    size = maps.shape[-1]
    highest = maps.flatten(2).argmax(2, keepdim=True)
    at = torch.arange(size, device=maps.device)
    near_x = ((at - highest % size).abs() <= reach).unsqueeze(2)
    near_y = ((at - highest // size).abs() <= reach).unsqueeze(3)
    weight = (maps + 1e-12) * near_x * near_y  # an empty map has its peak in the first cell, not nowhere
    weight = weight / weight.sum((2, 3), keepdim=True)
    cells = torch.stack([(weight.sum(2) * at).sum(2), (weight.sum(3) * at).sum(2)], 2)
    return (cells + 0.5) * (side / size) - 0.5
