"""Figures that judge, with their intervals. Pictures are float tensors in [0, 1]."""

from collections.abc import Callable, Iterable

import cv2
import numpy as np
import torch

from streamheal.train.criteria import similarity
from streamheal.train.samples.parsing_labels import UNKNOWN


def luma(pictures: torch.Tensor) -> torch.Tensor:
    """RGB `(B, 3, H, W)` → Y `(B, 1, H, W)` by BT.601 in studio range (16 to 235 of 255), as MATLAB's rgb2ycbcr."""
    weights = pictures.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((pictures * weights).sum(1, keepdim=True) + 16) / 255


def psnr(output: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    """Per picture, dB, peak 1: `(B,)`."""
    error = ((output - target) ** 2).mean((1, 2, 3)).clamp(min=1e-10)
    return (-10 * error.log10()).cpu().numpy()


def ssim(output: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    """Mean SSIM per picture: `(B,)`."""
    return similarity.ssim(output, target).cpu().numpy()


def telea(lr: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """The classical inpainting (Telea 2004, radius 3) of what is less than half visible: `(B, 3, s, s)`."""
    pictures = (lr.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    holes = (visible[:, 0] < 0.5).byte().cpu().numpy() * 255
    filled = [
        cv2.inpaint(np.ascontiguousarray(p), h, 3, cv2.INPAINT_TELEA) for p, h in zip(pictures, holes, strict=True)
    ]
    return torch.from_numpy(np.stack(filled)).permute(0, 3, 1, 2).float() / 255


def iou(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Intersection over union per picture of bool `(B, h, w)`; 1 where both are empty."""
    union = (found | wanted).sum((1, 2))
    return np.where(union == 0, 1.0, (found & wanted).sum((1, 2)) / np.maximum(union, 1))


def parsing_iou(found: np.ndarray, wanted: np.ndarray, classes: Iterable[int]) -> np.ndarray:
    """Mean intersection over union of labels `(B, h, w)`, over those of `classes` that either has: `(B,)`.

    Where `wanted` is 255 (unknown) nobody looks. NaN for a picture with none of the classes.
    """
    known = wanted != UNKNOWN
    each = []
    for label in classes:
        a, b = (found == label) & known, (wanted == label) & known
        each.append(np.where((a | b).any((1, 2)), iou(a, b), np.nan))
    each = np.stack(each)
    there = ~np.isnan(each)
    return np.where(there.any(0), np.nansum(each, 0) / np.maximum(there.sum(0), 1), np.nan)


def nrmse(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Landmarks `(B, 68, 2)`: mean distance as a share of that of the outer eye corners (300-W), per cent: `(B,)`.

    The papers call this NRMSE though no root of a mean square is in it.
    """
    error = np.linalg.norm(found - wanted, axis=2).mean(1)
    return 100 * error / np.linalg.norm(wanted[:, 36] - wanted[:, 45], axis=1)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of embeddings `(N, D)`, `(M, D)`, as if each were a Gaussian (Heusel 2017, FID).

    Of few pictures it is biased upwards: compare only figures of as many. Raises ValueError on fewer than two.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a spread needs two embeddings at least, got {len(a)} and {len(b)}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    spread_a, spread_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    root = _root(spread_a)
    # tr (AB)^½ = tr (A^½ B A^½)^½, and that one is symmetric
    shared = np.sqrt(np.clip(np.linalg.eigvalsh(root @ spread_b @ root), 0, None)).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return float(max(apart + np.trace(spread_a) + np.trace(spread_b) - 2 * shared, 0))


def _root(matrix: np.ndarray) -> np.ndarray:
    """The square root of a symmetric matrix without negative eigenvalues, but for rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def tar_at_far(scores: np.ndarray, same: np.ndarray, far: float) -> float:
    """Share of same-person pairs above the threshold that accepts `far` of the others. High scores: alike."""
    return float((scores[same] > threshold_at_far(scores, same, far)).mean())


def threshold_at_far(scores: np.ndarray, same: np.ndarray, far: float) -> float:
    others = scores[~same]
    rank = max(len(others) - 1 - int(far * len(others)), 0)
    return float(np.partition(others, rank)[rank])


def ranked(scores: np.ndarray, owner: np.ndarray, rank: int = 1) -> np.ndarray:
    """Per probe: is its own among the best `rank`? `scores` (probes, gallery); `owner` (probes,): column of the own.

    A tie counts against it: a probe that looks like everybody is not recognised.
    """
    own = scores[np.arange(len(owner)), owner]
    return (scores >= own[:, None]).sum(1) <= rank


def rank1_among(scores: np.ndarray, owner: np.ndarray, people: int) -> np.ndarray:
    """Per probe: the chance that its own gallery picture is best among `people` drawn at random from the gallery.

    Exact: with k of n others scoring higher, the chance that none of the k is among the `people` - 1 drawn.
    """
    own = scores[np.arange(len(owner)), owner]
    better, others = (scores > own[:, None]).sum(1), scores.shape[1] - 1
    drawn = min(people - 1, others)
    steps = np.arange(drawn)
    return np.prod(np.maximum(others - better[:, None] - steps, 0) / (others - steps), 1)


def interval(values: np.ndarray, *, draws: int = 1000, seed: int = 0) -> dict[str, float]:
    """Mean with its 95 % bootstrap interval over rows (pictures, probes)."""
    values = np.asarray(values, np.float64)
    rows = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[rows].mean(1), [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def interval_of(
    figure: Callable[[np.ndarray], float], rows: int, *, draws: int = 200, seed: int = 0, centred: bool = False
) -> dict[str, float]:
    """`figure(chosen rows)` for all rows, with its 95 % bootstrap interval over resampled rows (people).

    centred: for a figure that grows by the mere repetition of rows, as a Fréchet distance does: the draws are moved so
    that their mean is the figure.
    """
    rng = np.random.default_rng(seed)
    values = np.array([figure(rng.integers(0, rows, rows)) for _ in range(draws)])
    found = float(figure(np.arange(rows)))
    low, high = np.quantile(values, [0.025, 0.975]) + (found - values.mean() if centred else 0)
    return {"mean": found, "low": float(low), "high": float(high)}
