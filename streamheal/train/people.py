"""Who meets whom: gallery and probe pictures of test people, chosen by seed."""

import json
from pathlib import Path

import numpy as np

from streamheal.train.data import Faces

LABELS = Path(__file__).parent / "labels"


def pairs_of_people(faces: Faces, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one gallery and one probe picture for each of up to `most` people with two or more pictures."""
    rng = np.random.default_rng(seed)
    names, counts = np.unique(faces.identities[faces.identities != ""], return_counts=True)
    chosen = rng.permutation(names[counts >= 2])[:most]
    pairs = [rng.choice(np.flatnonzero(faces.identities == name), 2, replace=False) for name in chosen]
    gallery, probes = np.array(pairs).T
    return gallery, probes


def masked_and_open(faces: Faces) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Really masked people: rows of one open picture a person, rows of one masked picture each, and whose it is.

    Which pictures are masked is in `labels/rmfrd_masked.json`, sorted by hand. Empty arrays without it.
    """
    path = LABELS / "rmfrd_masked.json"
    if not path.is_file():
        return np.array([], int), np.array([], int), np.array([], int)
    listed = json.loads(path.read_text())
    masked, left_out = set(listed["masked"]), set(listed["left_out"])
    gallery, probes = [], []
    for name in sorted(set(faces.identities)):
        rows = [row for row in np.flatnonzero(faces.identities == name) if faces.names[row] not in left_out]
        hidden = [row for row in rows if faces.names[row] in masked]
        open_rows = [row for row in rows if faces.names[row] not in masked]
        if hidden and open_rows:
            gallery.append(open_rows[0])
            probes.append(hidden[0])
    return np.array(gallery, int), np.array(probes, int), np.arange(len(probes))
