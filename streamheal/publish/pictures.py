"""Pictures as they leave: lossless PNG, maps as 8-bit grey, and the two marks that a restored face bears.

A restored face is marked twice: for people by a small label in the picture (unless turned off), for machines by the
IPTC digital source type in the PNG's XMP, which stays even where the label is off.
"""

import io
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, PngImagePlugin

from streamheal.records import HealedFace

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
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'Iptc4xmpExt:DigitalSourceType="{}"/></rdf:RDF></x:xmpmeta>'
)


@cache
def _label(word: str) -> np.ndarray:
    rows = [".".join(_LETTERS[c][y] for c in word) for y in range(7)]
    ink = np.array([[pixel == "#" for pixel in row] for row in rows])
    return np.pad(ink, 2)


def png(image: np.ndarray, *, xmp: str | None = None) -> bytes:
    """Lossless PNG of a uint8 picture, `(H, W, 3)` RGB or `(H, W)` grey, with `xmp` as its metadata if given."""
    info = PngImagePlugin.PngInfo()
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def from_png(data: bytes) -> np.ndarray:
    """The uint8 picture in `data`: `(H, W, 3)` RGB or `(H, W)` grey. Raises ValueError if it is not a whole PNG of one
    of these two kinds, or has a side beyond `MAX_SIDE`: then before memory is taken for its pixels."""
    try:
        # Not Image.open: it would take other formats, too.
        with PngImagePlugin.PngImageFile(io.BytesIO(data)) as image:
            if max(image.size) > MAX_SIDE:
                raise ValueError(f"a PNG of {image.size[0]} x {image.size[1]} is no face; at most {MAX_SIDE} a side")
            if image.mode not in ("RGB", "L"):
                raise ValueError(f"a PNG of the kind {image.mode}; 8-bit RGB or grey is taken")
            return np.array(image)
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


def restored_png(face: HealedFace) -> bytes | None:
    """The restored face as it may be shown: with its marks. None where the restorer abstained."""
    if face.restored is None:
        return None
    shown = mark(face.restored) if face.marked else face.restored
    return png(shown, xmp=source_xmp(face.provenance.digital_source_type))


def source_xmp(digital_source_type: str) -> str:
    """XMP that says how a picture came to be, for machines."""
    return _XMP.format(digital_source_type)
