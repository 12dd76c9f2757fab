"""From five landmarks to an upright face of canonical layout, at the density that the camera gave and no other.

Coordinates are continuous: pixel i covers [i, i + 1), as detectors give them. So a template scaled by s / 128 lands
where an area or bicubic resize of the crop puts it; with pixel centres at whole numbers a 12 px crop would be off by
5 px at 128. `cv2.warpAffine` counts from pixel centres: use `warp` here, which converts.
"""

from dataclasses import dataclass

import cv2
import numpy as np

TEMPLATE = np.array([[46.29, 51.70], [81.53, 51.50], [64.03, 71.74], [49.55, 92.37], [78.73, 92.20]], dtype=np.float64)
"""InsightFace's five points (eyes, nose, mouth corners; picture left first) in a picture of 128 px."""
TEMPLATE_SIDE = 128
MIN_SIDE = 8  # a crop below shows about five pixels of face
MAX_SIDE = 256  # the largest that a restorer makes use of
MAX_FULL = 4096  # bounds the memory for a face larger than any picture
MIN_FIT = 0.5  # share of the template's spread explained: a profile keeps 0.7, mirrored or shuffled points < 0.4
MIN_WIDTH = 0.05  # least spread across the points' main axis, as a share of the spread along it


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """An aligned face."""

    image: np.ndarray  # (s, s, 3) uint8 RGB
    affine: np.ndarray  # (2, 3) float64, frame pixels → crop pixels
    landmarks: np.ndarray  # (5, 2) float32, crop pixels


def similarity(landmarks: np.ndarray, size: float = TEMPLATE_SIDE) -> np.ndarray:
    """The least-squares similarity from landmarks to the template scaled to `size`.

    `landmarks` (..., 5, 2) in pixels; gives (..., 2, 3) float64, all NaN where the points are no face: not finite,
    coincident, on one line, or so far from the template's layout (mirrored, shuffled) that a fit means nothing.

    Umeyama (1991) eqs. 40-42; in the plane, with points as complex numbers, the optimum without reflection is the one
    quotient below, so that no SVD is needed.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape[-2:] != (5, 2):
        raise ValueError(f"landmarks have shape {points.shape}; expected (..., 5, 2)")
    points = np.where(np.isfinite(points).all((-2, -1), keepdims=True), points, 0.0)  # coincident: refused below
    source, target = points[..., 0] + 1j * points[..., 1], TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1]
    target = target * (size / TEMPLATE_SIDE)
    source_mean, target_mean = source.mean(-1), target.mean()
    w, z = source - source_mean[..., None], target - target_mean
    with np.errstate(divide="ignore", invalid="ignore"):
        power = (np.abs(w) ** 2).sum(-1)
        a = (w.conj() * z).sum(-1) / power
        fit = np.abs(a) ** 2 * power / (np.abs(z) ** 2).sum()
        # Eigenvalues of the points' covariance are (power ± |Σw²|) / 2; their roots are the spreads along and across.
        elongation = np.abs((w**2).sum(-1)) / power
        across = np.sqrt(np.clip((1 - elongation) / (1 + elongation), 0, None))
        shift = target_mean - a * source_mean
        sound = np.isfinite(a) & np.isfinite(shift) & (fit > MIN_FIT) & (across > MIN_WIDTH)
    rows = [np.stack([a.real, -a.imag, shift.real], -1), np.stack([a.imag, a.real, shift.imag], -1)]
    return np.where(sound[..., None, None], np.stack(rows, -2), np.nan)


def scale_of(affine: np.ndarray) -> float:
    """Crop pixels per frame pixel of a similarity (2, 3)."""
    return float(np.hypot(affine[0, 0], affine[1, 0]))


def native_side(fit: np.ndarray) -> float:
    """Side in frame pixels of the square that the crop covers, from a `similarity` (2, 3) to 128; NaN where that is."""
    return TEMPLATE_SIDE / scale_of(fit)


def apply(affine: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (N, 2) through an affine (2, 3)."""
    return np.asarray(points, dtype=np.float64) @ affine[:, :2].T + affine[:, 2]


def invert(affine: np.ndarray) -> np.ndarray:
    """The affine (2, 3) that undoes `affine`: crop pixels → frame pixels."""
    linear = np.linalg.inv(affine[:, :2])
    return np.hstack([linear, -linear @ affine[:, 2:]])


def warp(
    image: np.ndarray, affine: np.ndarray, shape: tuple[int, int], interpolation: int = cv2.INTER_CUBIC
) -> np.ndarray:
    """`image` (H, W[, C]) through `affine` into (height, width) = `shape`. Border pixels repeat; shrinking aliases."""
    centred = affine.copy()
    centred[:, 2] += 0.5 * affine[:, :2].sum(1) - 0.5
    return cv2.warpAffine(image, centred, shape[::-1], flags=interpolation, borderMode=cv2.BORDER_REPLICATE)


def cut(
    image: np.ndarray, landmarks: np.ndarray, max_side: int = MAX_SIDE, fit: np.ndarray | None = None
) -> Crop | None:
    """Cuts the aligned face out of `image` (H, W, 3) uint8 at its native size: never magnified.

    The side s is that of the square of frame pixels which the template covers, rounded. A face larger than `max_side`
    is shrunk to it, averaged over area. Beyond the frame the border pixels repeat. None where the landmarks are no
    face (see `similarity`), or where it would be smaller than 8 px. `fit`: what `similarity` gave for these landmarks,
    where the caller has it already.
    """
    affine = similarity(landmarks) if fit is None else fit
    native = native_side(affine)
    if not native >= MIN_SIDE:  # NaN too
        return None
    side = min(round(native), max_side)
    affine = affine * (side / TEMPLATE_SIDE)
    if native > side + 1:  # turned at full density first, then averaged: `cv2.warpAffine` alone would alias
        full = min(round(native), MAX_FULL)
        pixels = resample(warp(image, affine * (full / side), (full, full)), side)
    else:
        pixels = warp(image, affine, (side, side))
    return Crop(pixels, affine, apply(affine, landmarks).astype(np.float32))


def resample(crop: np.ndarray, size: int) -> np.ndarray:
    """A square crop or map (s, s[, C]) at the side that a network takes: by area to shrink, bicubic to grow."""
    if crop.shape[0] == size:
        return crop
    method = cv2.INTER_AREA if crop.shape[0] > size else cv2.INTER_CUBIC
    return cv2.resize(crop, (size, size), interpolation=method)
