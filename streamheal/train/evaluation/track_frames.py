"""The frames of a track laid onto its first one, and what can be made of them without any fusion: the base lines.

Frames are `(B, T, C, S, S)`, `maps` (B, T, 2, 3) the exact similarities px of the first frame → px of each.
"""

import numpy as np
import torch

from streamheal.heal.networks.warping import warp


def onto_first(frames: torch.Tensor, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """All frames as the first one would show them, and which of their pixels `(B, T, 1, S, S)` a frame truly has."""
    many, side = maps.flatten(0, 1), frames.shape[-1]
    moved = warp(frames.flatten(0, 1).float(), many, mode="bicubic").clamp(0, 1)
    return moved.unflatten(0, maps.shape[:2]), inside(many, side).unflatten(0, maps.shape[:2])


def inside(maps: torch.Tensor, side: int) -> torch.Tensor:
    """Which pixels `maps` (N, 2, 3) send to a place within a picture of `side` px: `(N, 1, side, side)` bool."""
    points = places(side) @ maps.mT
    return ((points >= 0) & (points <= side - 1)).all(2).view(-1, 1, side, side)


def places(side: int) -> torch.Tensor:
    """The pixels of a picture, row by row, as (x, y, 1): `(1, side², 3)`."""
    at = torch.arange(side, dtype=torch.float32)
    y, x = torch.meshgrid(at, at, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).view(1, -1, 3)


def best_frame(moved: torch.Tensor, within: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The restoration of the frame that shows most of its face, `visible` (B, T, 1, s, s); of equals the first. Where
    that frame ends, the first frame's own restoration: `(B, C, S, S)`."""
    rows, best = torch.arange(len(moved)), visible.mean((2, 3, 4)).argmax(1)
    return torch.where(within[rows, best], moved[rows, best], moved[:, 0])


def mean_of_frames(moved: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean over frames, weighted per pixel by `weights` (B, T, 1, S, S) ≥ 0; where all are 0, the first frame."""
    weights = weights.float()
    total = weights.sum(1)
    mean = (moved * weights).sum(1) / total.clamp(min=1e-6)
    return torch.where(total > 1e-6, mean, moved[:, 0])


def template(embeddings: np.ndarray) -> np.ndarray:
    """L2-normalised mean of each track's embeddings: `(B, T, D)` → `(B, D)`."""
    mean = embeddings.mean(1)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)
