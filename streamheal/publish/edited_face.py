"""A face with edited landmarks as it may be shown: beside what it was made of, marked, with its landmarks told."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

import streamheal
from streamheal.errors import SinkError
from streamheal.publish.pictures import mark, png
from streamheal.publish.provenance import provenance_of_edit
from streamheal.publish.provenance_xmp import to_xmp
from streamheal.records import PARTLY_MADE, ModelUsed


def write(
    path: Path,
    original: np.ndarray,
    restored: np.ndarray,
    edited: np.ndarray,
    *,
    landmarks: np.ndarray,
    edited_landmarks: np.ndarray,
    model: ModelUsed,
) -> Path:
    """The three faces side by side as PNG, and what was changed as JSON beside it, whose path is returned.

    original: uint8 `(s, s, 3)`; restored, edited: `(128, 128, 3)`, shown with their marks. Landmarks `(68, 2)` in
    pixels of these. Raises SinkError where nothing can be written.
    """
    side = len(restored)
    kernel = Image.Resampling.NEAREST if len(original) <= side else Image.Resampling.LANCZOS
    seen = np.asarray(Image.fromarray(original).resize((side, side), kernel))
    sheet = np.concatenate([seen, mark(restored), mark(edited, "EDITED")], 1)
    told = {
        "side": side,
        "restored": _rounded(landmarks),
        "edited": _rounded(edited_landmarks),
        "model": {"name": model.name, "sha256": model.sha256},
        "digital_source_type": PARTLY_MADE,
    }
    said = provenance_of_edit(f"streamheal {streamheal.__version__}", model)
    beside = path.with_suffix(".json")
    try:
        path.write_bytes(png(sheet, xmp=to_xmp(said)))
        beside.write_text(json.dumps(told) + "\n")
    except OSError as error:
        raise SinkError(f"{path} can't be written: {error.strerror}; choose another place with --out") from error
    return beside


def _rounded(points: np.ndarray) -> list[list[float]]:
    return [[round(float(x), 3), round(float(y), 3)] for x, y in points]
