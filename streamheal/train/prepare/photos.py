"""Photographs as they lie in a folder: what is known of each, how one is read safely, and why one is left out."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from streamheal.train.data import Role

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
MAX_PIXELS = 50_000_000  # 150 MB decoded; a file of a few bytes may claim any size, so this is asked before decoding

Reason = Literal[
    "unreadable picture",
    "no face",
    "several faces",
    "too small",
    "too blurred",
    "cut by the border",
    "landmarks disagree",
    "duplicate",
    "not in the partition",
    "person in two splits",
    "looks like a person of another split",
]
REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """One photograph and what its data set says of it. Coordinates are continuous: pixel i covers [i, i + 1)."""

    path: Path
    file: str  # path within the folder, as the index and the list of rejected files name it
    identity: str = ""  # "" where unknown
    split: Role | None = None  # by the data set's own partition
    five: np.ndarray | None = None  # (5, 2) eyes, nose, mouth corners; picture left first
    points: np.ndarray | None = None  # (68, 2) iBUG points, or others that only say which face is meant
    parsing: tuple[tuple[int | None, Path], ...] = ()  # see `parsing.read`

    @property
    def annotated(self) -> bool:
        """Whether coordinates are known, which hold for the pixels as stored."""
        return self.five is not None or self.points is not None or bool(self.parsing)


class Rejected(Exception):
    """Why a photograph is left out: one of REASONS, and what was measured."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def listing(folder: Path) -> list[Path]:
    """Every picture under `folder`, in the order of names. Links to folders are not followed: they may run in rings."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def read(photo: Photo) -> np.ndarray:
    """The photograph as `(H, W, 3)` uint8 RGB, turned upright by its EXIF where no coordinates say otherwise.

    Raises Rejected if it can't be had.
    """
    try:
        with open_bounded(photo.path) as picture:
            upright = picture if photo.annotated else ImageOps.exif_transpose(picture)
            return np.asarray(upright.convert("RGB"))
    except Exception as error:  # Pillow's readers raise nearly anything on broken files
        raise Rejected("unreadable picture", " ".join(str(error).split())[:200] or type(error).__name__) from error


def open_bounded(path: Path) -> Image.Image:
    """The picture, not yet decoded. Raises ValueError if it claims more than MAX_PIXELS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        picture = Image.open(path)
    if picture.width * picture.height > MAX_PIXELS:
        picture.close()
        raise ValueError(f"{picture.width} × {picture.height} is more than {MAX_PIXELS:,} pixels")
    return picture
