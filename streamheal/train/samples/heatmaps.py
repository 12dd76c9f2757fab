"""Landmark maps to learn from: a landmark that the picture doesn't show leaves its map empty."""

import torch

from streamheal.heal.networks import landmark_maps


def draw(landmarks: torch.Tensor, side: int, size: int, sigma: float = 1.0) -> torch.Tensor:
    """Landmarks `(B, K, 2)` in pixels of a picture of `side` px → `(B, K, size, size)`, a Gaussian of peak 1 each.

    `sigma` in cells: 1 at 64×64 in FCSR-GAN's and JDSR-GAN's face prior. Maps of landmarks outside the picture are 0:
    the tail of one just over the edge would teach that something is there.
    """
    inside = ((landmarks >= -0.5) & (landmarks < side - 0.5)).all(-1)  # pixel centres lie at whole numbers
    maps = landmark_maps.draw(landmarks, side, size, sigma)
    return torch.where(inside[..., None, None], maps, 0.0)  # not times 0: an unknown landmark may be NaN
