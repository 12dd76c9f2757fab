"""Does a face flicker, or change person, along its track? Every frame is restored, and the motion is known exactly.

Frames are `(B, T, 3, S, S)` in [0, 1], `maps` (B, T, 2, 3) px of the first frame → px of each.
"""

import numpy as np
import torch

from streamheal.heal.networks.warping import compose, invert, warp
from streamheal.train.evaluation.track_frames import inside, template

FIGURES = ("warping error", "identity variance", "landmark jitter px")


def warping_error(frames: torch.Tensor, maps: torch.Tensor) -> np.ndarray:
    """Mean absolute difference between each frame and the next one laid onto it, over the pixels that both have and the
    photograph too; of 255. `(B,)`; NaN for a single frame."""
    if frames.shape[1] < 2:
        return np.full(len(frames), np.nan)
    side, pairs = frames.shape[-1], (len(frames), frames.shape[1] - 1)
    back = invert(maps[:, :-1].flatten(0, 1))  # px of a frame → px of the first
    across = compose(maps[:, 1:].flatten(0, 1), back)  # px of a frame → px of the next
    known = inside(across, side) & inside(back, side)
    moved = warp(frames[:, 1:].flatten(0, 1).float(), across, mode="bicubic").clamp(0, 1)
    apart = (frames[:, :-1].flatten(0, 1) - moved).abs().mean(1, keepdim=True) * known
    each = 255 * apart.sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp(min=1)
    return each.view(pairs).mean(1).numpy()


def identity_variance(embeddings: np.ndarray) -> np.ndarray:
    """1 - mean cosine to the track's mean embedding; L2-normalised `(B, T, D)` → `(B,)`."""
    return 1 - (embeddings * template(embeddings)[:, None]).sum(2).mean(1)


def landmark_jitter(points: np.ndarray) -> np.ndarray:
    """How far landmarks `(B, T, L, 2)`, of frames laid onto the first one, stray from their mean place: root mean
    square over the frames, mean over the landmarks, px: `(B,)`."""
    away = ((points - points.mean(1, keepdims=True)) ** 2).sum(3)
    return np.sqrt(away.mean(1)).mean(1)
