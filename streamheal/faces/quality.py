"""How much a restorer can make of a crop: size, sharpness, pose, exposure, visible share, and their weighted sum.

It is scaled by what the pose leaves in sight.
"""

import math
from functools import lru_cache

import cv2
import numpy as np

from streamheal.faces.alignment import TEMPLATE, TEMPLATE_SIDE, scale_of
from streamheal.records import Quality

WEIGHTS = {"size": 0.30, "sharpness": 0.20, "level": 0.15, "certainty": 0.15, "visible": 0.10, "exposure": 0.10}
"""Pixels on the face bound what can be restored, blur takes them away again, so these two lead. The detector's score
stands in for what is not measured: it is low for hidden faces that no segmenter has looked at yet, and for what is no
face. Exposure is mostly mended by normalisation. What a turned head or an occluder takes away of the face scales the
sum (`in_sight`, `heal/occlusion.py`)."""
FULL_SIZE = 128  # source pixels beyond which a larger face restores no better: the restorers' output
FULL_PITCH = 45.0  # degrees up or down at which `level` is 0
REBLUR = 5  # pixels of the box filter: tells σ = 0 from 3 px apart (0.8 … 0.15); 3 px saturates at σ = 1.5

# Mean adult face in the template's plane (1 unit = 1 px at 128 ≈ 1.8 mm); z points away from the camera. The nose tip
# stands about 25 mm before the eyes' centres, the mouth corners about as deep as these.
_MODEL = np.column_stack([TEMPLATE, [0.0, 0.0, -14.0, 0.0, 0.0]])
_TO_POSE = np.linalg.pinv(_MODEL - _MODEL.mean(0))  # (3, 5)


def assess(
    image: np.ndarray,
    landmarks: np.ndarray,
    affine: np.ndarray,
    visible: np.ndarray | None = None,
    certainty: float = 1.0,
) -> Quality:
    """Measures an aligned crop.

    `image` (s, s, 3) uint8 RGB; `landmarks` (5, 2) in crop pixels; `affine` (2, 3) frame → crop pixels, which tells the
    size in source pixels and the roll; `visible` (s, s) in [0, 1], 1 = visible, or None for all of it; `certainty` the
    detector's score.
    """
    side = image.shape[0]
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    oval = face_oval(side)
    shown = oval if visible is None else oval * visible
    size = side / scale_of(affine)
    yaw, pitch, roll = pose(landmarks, affine)
    parts = {
        "size": size_term(size),
        "sharpness": sharpness(luma, shown),
        "level": 1 - min(abs(pitch) / FULL_PITCH, 1),
        "certainty": min(max(certainty, 0.0), 1.0),
        "visible": float(shown.sum() / oval.sum()),
        "exposure": exposure(luma, shown),
    }
    return Quality(
        size=size, sharpness=parts["sharpness"], yaw=yaw, pitch=pitch, roll=roll, exposure=parts["exposure"],
        visible=parts["visible"], score=in_sight(yaw) * sum(WEIGHTS[name] * value for name, value in parts.items()),
    )  # fmt: skip


def size_term(size: float) -> float:
    """[0, 1]: 0 at 8 source pixels, 1 at 128, even per doubling, because each doubling is one more band of detail."""
    return min(max(math.log2(max(size, 1e-6) / 8) / math.log2(FULL_SIZE / 8), 0.0), 1.0)


def in_sight(yaw: float) -> float:
    """[0, 1]: the share of its width that a flat face turned by `yaw` degrees shows: 0.87 at 30, half at 60, 0 at 90.

    It scales the score as the visible share does (`heal/occlusion.py`): a masked face from the front tells more than a
    bare profile, of which nothing can be restored.
    """
    return max(math.cos(math.radians(yaw)), 0.0)


def score_bound(size: float, certainty: float = 1.0) -> float:
    """The best score that a crop of `size` source pixels can have: worth cutting only if that is enough."""
    return 1 - WEIGHTS["size"] * (1 - size_term(size)) - WEIGHTS["certainty"] * (1 - certainty)


@lru_cache(maxsize=256)
def face_oval(side: int) -> np.ndarray:
    """(side, side) float32, read-only: 1 in the template's ellipse from brows to chin, 0 elsewhere."""
    y, x = (np.mgrid[:side, :side] + 0.5) * (TEMPLATE_SIDE / side)
    oval = ((((x - 64) / 38) ** 2 + ((y - 72) / 46) ** 2) <= 1).astype(np.float32)
    oval.setflags(write=False)
    return oval


def sharpness(luma: np.ndarray, weight: np.ndarray) -> float:
    """[0, 1]: the share of gradient energy that a 5 px box blur takes away (after Crété et al., 2007, squared).

    A blurred picture has little left to lose. A ratio, so contrast and brightness cancel; in native pixels, so that
    faces of 12 and of 256 px compare: in focus 0.84 and 0.70, at σ = 1 px 0.54 and 0.39, at 2 px 0.35 and 0.19 (mean
    of 20 faces). Noise counts as detail: σ = 5 grey levels lift 0.24 to 0.63, but alike in all frames of a camera.
    """
    before = after = 0.0
    for picture, mask in ((luma, weight), (luma.T, weight.T)):  # down, then across
        pair = np.minimum(mask[1:], mask[:-1])
        blurred = cv2.blur(np.ascontiguousarray(picture), (1, REBLUR), borderType=cv2.BORDER_REFLECT)
        before += float((np.diff(picture, axis=0) ** 2 * pair).sum())
        after += float((np.diff(blurred, axis=0) ** 2 * pair).sum())
    # One grey level of steps per pixel is what rounding alone gives: a flat patch isn't sharp.
    floor = float(weight.sum())
    return float(np.clip((before - after) / max(before, floor, 1e-6), 0, 1))


def exposure(luma: np.ndarray, weight: np.ndarray) -> float:
    """[0, 1]: 1 = neither dark, nor blown out, nor flat.

    `luma` (s, s) in [0, 255]. Full from a mean of 50, so that dark skin in good light isn't called dark.
    """
    total = float(weight.sum())
    if total < 1:
        return 0.0
    mean = float((luma * weight).sum() / total)
    contrast = float(np.sqrt(((luma - mean) ** 2 * weight).sum() / total))
    blown = float(((luma >= 250) * weight).sum() / total)
    return min(mean / 50, 1.0) * min((255 - mean) / 55, 1.0) * (1 - blown) * min(contrast / 12, 1.0)


def pose(landmarks: np.ndarray, affine: np.ndarray) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees. Yaw: positive looks to picture right; pitch: positive looks up; roll: positive is
    clockwise in the picture.

    `landmarks` (5, 2) in crop pixels, `affine` (2, 3) frame → crop. The scaled orthographic pose of a mean face of five
    points (POS, DeMenthon & Davis 1995), one linear least-squares step. Only the nose tip has depth, so yaw is good to
    about 10° and pitch, which takes a long nose for looking down, to about 15°.
    """
    points = np.asarray(landmarks, np.float64)
    right, down = (_TO_POSE @ (points - points.mean(0))).T
    yaw = np.degrees(np.arctan2(-right[2], np.hypot(right[0], right[1])))
    pitch = np.degrees(np.arctan2(down[2], np.hypot(down[0], down[1])))
    roll = np.degrees(np.arctan2(-affine[1, 0], affine[0, 0]))  # the turn that the similarity took away
    return float(yaw), float(pitch), float(roll)
