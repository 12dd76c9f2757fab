"""Pictures as they leave: lossless PNG with XMP, maps as 8-bit grey, and the mark that a restored face bears."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin

MAX_SIDE = 4096  # pixels; no crop is larger (faces/alignment.py)

# 5 x 7 letters: drawn by hand, so that the mark is the same with every version of every library.
_LETTERS = {
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "E": ("#####", "#....", "#....", "####.", "#....", "#....", "#####"),
    "S": (".####", "#....", "#....", ".###.", "....#", "....#", "####."),
    "T": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
    "I": ("#####", "..#..", "..#..", "..#..", "..#..", "..#..", "#####"),
    "D": ("####.", "#...#", "#...#", "#...#", "#...#", "#...#", "####."),
}
_XMP_CHUNK = "XML:com.adobe.xmp"  # XMP specification, part 3, 1.1.5


@cache
def _label(word: str) -> np.ndarray:
    rows = [".".join(_LETTERS[c][y] for c in word) for y in range(7)]
    ink = np.array([[pixel == "#" for pixel in row] for row in rows])
    return np.pad(ink, 2)


def png(image: np.ndarray, *, xmp: str | None = None) -> bytes:
    """Lossless PNG of a uint8 picture, `(H, W, 3)` RGB or `(H, W)` grey, with `xmp` as its metadata if given."""
    info = PngImagePlugin.PngInfo()
    if xmp:
        info.add_itxt(_XMP_CHUNK, xmp)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def from_png(data: bytes) -> np.ndarray:
    """The uint8 picture in `data`: `(H, W, 3)` RGB or `(H, W)` grey. Raises ValueError if it is not a whole PNG of one
    of these two kinds, or has a side beyond `MAX_SIDE`: then before memory is taken for its pixels."""
    with _opened(data) as image:
        if image.mode not in ("RGB", "L"):
            raise ValueError(f"a PNG of the kind {image.mode}; 8-bit RGB or grey is taken")
        return np.array(image)


def xmp_in(data: bytes) -> str | None:
    """The XMP in the PNG `data`, None if it has none. Raises ValueError as `from_png`."""
    with _opened(data) as image:
        packet = image.text.get(_XMP_CHUNK)  # reads on behind the pixels, where other programs put it
    return None if packet is None else str(packet)


@contextmanager
def _opened(data: bytes) -> Iterator[PngImagePlugin.PngImageFile]:
    try:
        # Not Image.open: it would take other formats, too.
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError(f"a PNG of {image.size[0]} x {image.size[1]} is no face; at most {MAX_SIDE} a side")
            yield image
    except (OSError, SyntaxError) as error:
        raise ValueError(f"not a PNG picture: {error}") from error


def grey(values: np.ndarray) -> np.ndarray:
    """A map in [0, 1], `(H, W)` float, as 8-bit grey: 255 = 1.0. What lies outside is clipped, NaN is 0."""
    return np.rint(np.nan_to_num(np.clip(values, 0.0, 1.0)) * 255.0).astype(np.uint8)


def ungrey(values: np.ndarray) -> np.ndarray:
    """The float32 map in [0, 1] of an 8-bit grey one."""
    return values.astype(np.float32) / np.float32(255)


def mark(image: np.ndarray, word: Literal["RESTORED", "EDITED"] = "RESTORED") -> np.ndarray:
    """A copy of a face `(H, W, 3)` that says `word` in its lower left corner."""
    marked, label = image.copy(), _label(word)
    height, width = label.shape
    corner = marked[-height:, :width]  # smaller pictures show what fits
    ink = label[-corner.shape[0] :, : corner.shape[1]]
    corner[:] = np.where(ink[..., None], 255, corner // 4)
    return marked
