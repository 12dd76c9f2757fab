"""Parsing labels of CelebAMask-HQ: which of 19 classes each pixel of a face is."""

from pathlib import Path

import numpy as np

from streamheal.train.prepare.photos import Rejected, open_bounded

CLASSES = {
    "skin": 1, "nose": 2, "eye_g": 3, "l_eye": 4, "r_eye": 5, "l_brow": 6, "r_brow": 7, "l_ear": 8, "r_ear": 9,
    "mouth": 10, "u_lip": 11, "l_lip": 12, "hair": 13, "hat": 14, "ear_r": 15, "neck_l": 16, "neck": 17, "cloth": 18,
}  # fmt: skip
"""The data set's names of masks, in the order in which later ones cover earlier ones; 0 is the background. Left is the
person's left."""
COUNT = len(CLASSES) + 1


def read(parts: tuple[tuple[int | None, Path], ...]) -> np.ndarray:
    """`(H, W)` uint8 of classes, from one mask a class, later ones on top, or from one picture of classes (None).

    Raises Rejected if a file can't be read, or the files don't fit each other.
    """
    labels = None
    for number, path in parts:
        try:
            with open_bounded(path) as picture:
                layer = np.asarray(picture if picture.mode in ("L", "P") else picture.convert("L"))
        except Exception as error:  # see `photos.read`
            raise Rejected("unreadable picture", f"{path.name}: {error}") from error
        if labels is None:
            labels = np.zeros(layer.shape, np.uint8)
        if layer.shape != labels.shape or (number is None and layer.max() >= COUNT):
            raise Rejected("unreadable picture", f"{path.name} is no picture of {COUNT} classes in the others' size")
        labels = layer.astype(np.uint8) if number is None else np.where(layer > 127, np.uint8(number), labels)
    return labels
