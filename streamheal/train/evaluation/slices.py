"""Which pictures of a test have what in common: a mean over all hides whom a restorer fails."""

from collections.abc import Iterable

import numpy as np

FEWEST = 5  # pictures; an interval over fewer means little, and such slices are left out

# Individual typology angle of the skin in degrees, from below which each group begins (Chardon 1991; del Bino 2013).
TONES = ((-np.inf, "dark"), (-30, "brown"), (10, "tan"), (28, "intermediate"), (41, "light"), (55, "very light"))
NATIVE = ((8, 16), (17, 24), (25, 36), (37, 72), (73, 256))  # px, both included
HIDDEN = ((0.0, 0.0), (0.0, 0.1), (0.1, 0.2), (0.2, 1.0))  # share of the picture: above the first, up to the second


def by_kind(kinds: Iterable[str]) -> dict[str, np.ndarray]:
    """Rows of each occluder; nothing where there is but one."""
    kinds = np.array(list(kinds))
    names = sorted(set(kinds.tolist()))
    return _named("occluder", {name: kinds == name for name in names} if len(names) > 1 else {})


def by_native(sizes: Iterable[int]) -> dict[str, np.ndarray]:
    """Rows of each range of sizes in the camera's own pixels; nothing where all have one."""
    sizes = np.array(list(sizes))
    if len(set(sizes.tolist())) == 1:
        return {}
    return _named("native size", {f"{low}–{high} px": (sizes >= low) & (sizes <= high) for low, high in NATIVE})


def by_hidden(shares: np.ndarray) -> dict[str, np.ndarray]:
    """Rows by how much of the picture is hidden; nothing where all lie in one range."""
    found = {}
    for low, high in HIDDEN:
        name = "nothing" if high == 0 else f"{low:.0%} to {high:.0%}".replace("20% to 100%", "over 20%")
        found[name] = (shares == 0) if high == 0 else (shares > low) & (shares <= high)
    return _named("hidden", found if sum(rows.any() for rows in found.values()) > 1 else {})


def by_tone(angles: np.ndarray) -> dict[str, np.ndarray]:
    """Rows of each skin tone by `angles`, the ITA in degrees; NaN (no skin to measure) belongs to none."""
    starts = [start for start, _ in TONES]
    group = np.searchsorted(starts, angles, side="right") - 1
    return _named("skin", {name: (group == i) & ~np.isnan(angles) for i, (_, name) in enumerate(TONES)})


def _named(what: str, masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    rows = {f"{what}: {name}": np.flatnonzero(mask) for name, mask in masks.items()}
    return {name: found for name, found in rows.items() if len(found) >= FEWEST}
