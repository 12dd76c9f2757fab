"""The pictures of a healed face, each with what it says of itself: the same bytes in the folder and in the event.

A restored face is marked twice: for people by a small label in the picture (unless turned off), for machines in the
PNG's XMP, which stays even where the label is off.
"""

import numpy as np

from streamheal.publish.pictures import grey, mark, png
from streamheal.publish.provenance import Kind, provenance_of
from streamheal.publish.provenance_xmp import to_xmp
from streamheal.records import HealedFace


def pictures_of(face: HealedFace) -> dict[Kind, bytes]:
    """Every picture that there is of a face, as PNG: the original first, untouched."""
    maps = {"occlusion": face.visible, "evidence": face.evidence, "hallucinated": face.hallucinated}
    pictures = {"original": original_png(face)}
    pictures |= {kind: _described(face, kind, grey(values)) for kind, values in maps.items() if values is not None}
    if face.restored is not None:
        pictures["restored"] = face.signed or restored_png(face)
    return pictures


def original_png(face: HealedFace) -> bytes:
    """The best crop, untouched."""
    return _described(face, "original", face.original)


def restored_png(face: HealedFace) -> bytes:
    """The restored face as it may be shown: with its marks, not signed. The face must have one."""
    return _described(face, "restored", mark(face.restored) if face.marked else face.restored)


def _described(face: HealedFace, kind: Kind, picture: np.ndarray) -> bytes:
    return png(picture, xmp=to_xmp(provenance_of(face, kind)))
