"""Which parts of the face crops show, alone and together: what a gallery is for, in one place."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from streamheal.faces.quality import face_oval
from streamheal.records import FaceCrop

CELLS = 8  # to a side of the template: a cell is half an eye wide, and one to two pixels of the smallest crops
COVER = 8.0
"""Quality score that showing the whole face anew is worth: a mouth (an eighth of the face) that one crop alone shows,
at a score of 0.4, counts for 0.4, so that it stays beside seven sharper crops without one."""
DIVERSITY = 0.15  # of quality score that a crop unlike all others may lack and still stay
UNLIKE_ANGLE = 30.0  # degrees of yaw and pitch together at which two crops are no longer near-duplicates at all
UNLIKE_TIME = 1.0  # seconds apart at which two of the same pose no longer are; another pose counts twice as much


@lru_cache(maxsize=1)
def oval_cells() -> np.ndarray:
    """(CELLS²,) float32, read-only: the share of the face oval that lies in each cell. They add up to 1."""
    cells = _averaged(face_oval(CELLS * 16))
    cells = cells / cells.sum()
    cells.setflags(write=False)
    return cells


def shown(crop: FaceCrop) -> np.ndarray:
    """(CELLS²,) float32 in [0, 1]: the visible share of each cell. Where nobody has looked yet, all of it."""
    if crop.visible is None:
        return np.ones(CELLS * CELLS, np.float32)
    return _averaged((crop.visible > 0.5).astype(np.float32))


def in_order_of_gain(crops: Sequence[FaceCrop]) -> tuple[list[int], list[float]]:
    """The order in which a greedy cover takes crops, and what each of them in turn adds.

    First the best by score; then, again and again, the one that adds most to those before it: its own score, up to
    `DIVERSITY` for another pose or moment, and `COVER` × the area that it shows more clearly than they do. So every
    beginning of the order is a good gallery of its length, and the last crop is the one to lose. O(N² · CELLS²).
    """
    score = np.array([crop.quality.score for crop in crops])
    views = np.stack([shown(crop) * crop.quality.clearness for crop in crops])
    angle = np.array([(crop.quality.yaw, crop.quality.pitch) for crop in crops])
    time = np.array([crop.captured_at for crop in crops])
    unlike = np.ones(len(crops))
    left = np.ones(len(crops), bool)
    covered = np.zeros(CELLS * CELLS)
    order, gains, gain = [], [], score
    for _ in crops:
        pick = int(np.where(left, gain, -np.inf).argmax())
        order.append(pick)
        left[pick] = False
        gains.append(float(gain[pick]))
        covered = np.maximum(covered, views[pick])
        turned = np.linalg.norm(angle - angle[pick], axis=1) / UNLIKE_ANGLE
        apart = np.minimum(np.abs(time - time[pick]) / UNLIKE_TIME, 1) / 2
        unlike = np.minimum(unlike, np.maximum(turned, apart))
        gain = score + DIVERSITY * unlike + COVER * (np.maximum(views - covered, 0) @ oval_cells())
    return order, gains


def most_gain(score: float, covered: np.ndarray) -> float:
    """The most that a wholly visible crop of such a score adds to others that together show `covered` (CELLS²,), each
    cell as clearly as the clearest of them: no more than this in any place of the order."""
    return score + DIVERSITY + COVER * float(np.maximum(score - covered, 0) @ oval_cells())


def thumbnail(image: np.ndarray) -> np.ndarray:
    """(CELLS², 3) float32: mean colour of each cell of a crop (s, s, 3) uint8, at one brightness over the oval."""
    colours = _averaged(image.astype(np.float32))
    return colours * (128 / max(float(oval_cells() @ colours.mean(1)), 1.0))


def change(one: np.ndarray, other: np.ndarray) -> float:
    """Grey levels, mean of RGB, by which at least an eighth of the face's cells differ between two thumbnails."""
    apart = np.sort(np.abs(one - other).mean(1)[oval_cells() > 0])
    return float(apart[-(len(apart) // 8)])


def _averaged(picture: np.ndarray) -> np.ndarray:
    cells = cv2.resize(picture, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return cells.reshape(CELLS * CELLS, *picture.shape[2:])
