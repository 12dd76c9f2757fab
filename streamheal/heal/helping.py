"""Which of a track's crops may help to restore its best one."""

from collections.abc import Sequence

import numpy as np

from streamheal.records import FaceCrop

MAX_TURN = 25.0
"""Degrees of yaw, and of pitch, between two crops. A head turned further shows other pixels, and not the same ones
shifted: nothing brings them together. Wide, as pose from five landmarks is good to 10 to 15 degrees."""
STRANGER = 0.0
"""Cosine to the best crop's embedding below which a crop is taken for somebody else's: the tracker has switched. Finds
clear strangers only: tiny, hidden crops of one person may be as far apart as clear ones of two."""


def of_one_person(embeddings: np.ndarray) -> np.ndarray:
    """(K,) bool: which of a track's crops show the person that the first does. `embeddings` (K, D), L2-normalised."""
    same = embeddings @ embeddings[0] >= STRANGER
    same[0] = True
    return same


def may_help(crops: Sequence[FaceCrop], same_person: Sequence[bool]) -> list[FaceCrop]:
    """The first crop, then those of the same person in about the same pose."""
    first = crops[0]
    return [
        crop for crop, same in zip(crops, same_person, strict=True) if crop is first or (same and _alike(crop, first))
    ]


def _alike(crop: FaceCrop, other: FaceCrop) -> bool:
    one, two = crop.quality, other.quality
    return abs(one.yaw - two.yaw) <= MAX_TURN and abs(one.pitch - two.pitch) <= MAX_TURN
