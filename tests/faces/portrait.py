"""A real face of known landmarks, from a picture that scikit-image carries, at any size in a frame of any content."""

from functools import lru_cache

import cv2
import numpy as np
from skimage import data

from streamheal.faces.alignment import native_side, similarity
from streamheal.records import Face

LANDMARKS = np.array([[203.6, 100.9], [246.9, 103.4], [225.0, 122.0], [204.7, 140.4], [245.8, 141.3]])
"""Eyes, nose tip, mouth corners, marked by eye on `data.astronaut()`."""
NATIVE = native_side(similarity(LANDMARKS))


@lru_cache(maxsize=128)
def astronaut(size: float = NATIVE, angle: float = 0.0, centre=(160, 120), shape=(240, 320), blur=0.0):
    """A frame (H, W, 3) in which the aligned face would be `size` pixels wide, and its landmarks (5, 2).

    The head is turned clockwise by `angle` degrees about `centre`, where the face's landmarks have their mean.
    """
    factor, turn = size / NATIVE, np.radians(angle)
    linear = factor * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine = np.column_stack([linear, np.asarray(centre) - linear @ LANDMARKS.mean(0)])
    picture = data.astronaut()
    if factor < 1:  # what a lens and a sensor do before sampling
        picture = cv2.GaussianBlur(picture, (0, 0), 0.45 / factor)
    centred = affine.copy()
    centred[:, 2] += 0.5 * affine[:, :2].sum(1) - 0.5
    frame = cv2.warpAffine(picture, centred, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    if blur:
        frame = cv2.GaussianBlur(frame, (0, 0), blur)
    return frame, LANDMARKS @ affine[:, :2].T + affine[:, 2]


def hidden(frame: np.ndarray, landmarks: np.ndarray, part: str) -> np.ndarray:
    """The frame with an arm in a blue sleeve before the "upper" or the "lower" half of the face."""
    side = native_side(similarity(landmarks))
    nose = landmarks[2] - [0, 0.04 * side]
    away = 0.75 * side * np.ones(2)
    low, high = (nose - away, nose + away * [1, 0]) if part == "upper" else (nose - away * [1, 0], nose + away)
    (left, top), (right, bottom) = np.round(low).astype(int), np.round(high).astype(int)
    covered = frame.copy()
    rows, columns = np.mgrid[top:bottom, left:right]
    folds = 6 * np.sin(rows * 0.9 + columns * 0.5)[..., None]
    covered[top:bottom, left:right] = np.array([58, 84, 118]) + folds
    return covered


def face(landmarks: np.ndarray, score: float = 0.9) -> Face:
    """A detection whose box lies around the landmarks as a detector's would."""
    low, high = landmarks.min(0), landmarks.max(0)
    margin = 0.5 * (high - low)
    return Face(np.concatenate([low - margin, high + margin]).astype(np.float32), landmarks.astype(np.float32), score)
