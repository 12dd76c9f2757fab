"""What `streamheal edit` is given: pictures, landmarks, and changes of them, checked and turned into arrays."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.heal.editing import LANDMARKS, change


def read_face(path: Path) -> np.ndarray:
    """An aligned face, uint8 RGB `(s, s, 3)`. Raises ConfigError unless it is a square picture."""
    face = _read(path, "RGB")
    if face.shape[0] != face.shape[1] or len(face) < 8:
        raise ConfigError(
            f"{path} has {face.shape[1]} x {face.shape[0]} px; an aligned face is wanted, square, of 8 px at least, as "
            "`streamheal run` writes them (faces/RUN/…-original.png)"
        )
    return face


def read_visible(path: Path, side: int) -> np.ndarray:
    """A map `(side, side)` in [0, 1] from a grey picture, white = visible. Raises ConfigError on another size."""
    visible = _read(path, "L")
    if visible.shape != (side, side):
        raise ConfigError(f"{path} has {visible.shape[1]} x {visible.shape[0]} px; the face has {side} x {side}")
    return visible.astype(np.float32) / 255


def read_landmarks(path: Path) -> np.ndarray:
    """68 points `(68, 2)` from a JSON file: a list of [x, y], or what `streamheal edit` wrote (its edited ones).

    Raises ConfigError on anything else.
    """
    try:
        said = json.loads(path.read_text())
        points = np.array(said["edited"] if isinstance(said, dict) else said, np.float32)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path} doesn't hold landmarks: a JSON list of {LANDMARKS} [x, y] in pixels of the 128 px face, or an "
            f'object with such a list under "edited" ({error!r})'
        ) from error
    if points.shape != (LANDMARKS, 2) or not np.isfinite(points).all():
        raise ConfigError(f"{path} holds numbers of shape {points.shape}; {LANDMARKS} [x, y] are wanted, all finite")
    return points


def changes(move: Sequence[str], scale: Sequence[str], open: Sequence[str]) -> dict[str, dict]:
    """`GROUP=NUMBER,…`, each → the keyword arguments of `editing.change`. Raises ConfigError on what it can't be."""
    said = {
        "move": {group: (right, down) for group, (right, down) in _parsed(move, "move", "mouth=0,3", 2).items()},
        "scale": {group: factor for group, (factor,) in _parsed(scale, "scale", "eyes=1.2", 1).items()},
        "open": {group: pixels for group, (pixels,) in _parsed(open, "open", "mouth=4", 1).items()},
    }
    try:
        change(np.zeros((LANDMARKS, 2), np.float32), **said)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return said


def _parsed(said: Sequence[str], option: str, example: str, count: int) -> dict[str, tuple[float, ...]]:
    out = {}
    for one in said:
        group, _, values = one.partition("=")
        try:
            out[group] = tuple(float(value) for value in values.split(","))
        except ValueError:
            out[group] = ()
        if len(out[group]) != count:
            raise ConfigError(f"--{option} {one}: a group of landmarks and {count} to change it by, such as {example}")
    return out


def _read(path: Path, mode: str) -> np.ndarray:
    try:
        with Image.open(path) as picture:
            return np.array(picture.convert(mode))
    except OSError as error:
        raise ConfigError(f"{path} can't be read as a picture: {error}") from error
