"""Who meets whom: gallery and probe pictures of test people, chosen by seed."""

import json
from dataclasses import dataclass

import numpy as np

from streamheal.train.data import LABELS, Faces


def pairs_of_people(faces: Faces, most: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one gallery and one probe picture for each of up to `most` people with two or more pictures."""
    rng = np.random.default_rng(seed)
    names, counts = np.unique(faces.identities[faces.identities != ""], return_counts=True)
    chosen = rng.permutation(names[counts >= 2])[:most]
    pairs = [rng.choice(np.flatnonzero(faces.identities == name), 2, replace=False) for name in chosen]
    gallery, probes = np.array(pairs).T
    return gallery, probes


@dataclass(frozen=True, slots=True, eq=False)
class MaskedPeople:
    """P really masked people with two or more open pictures each."""

    gallery: list[np.ndarray]  # per person, rows of the open pictures but one
    open: np.ndarray  # (P,) row of that one: what recognition reaches without a mask
    masked: np.ndarray  # (M,) rows of all masked pictures
    owner: np.ndarray  # (M,) person of each

    def templates(self, embeddings: np.ndarray) -> np.ndarray:
        """`(N, D)` embeddings of all pictures → `(P, D)`: the mean of each person's gallery, L2-normalised."""
        means = np.stack([embeddings[rows].mean(0) for rows in self.gallery])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def masked_people(faces: Faces) -> MaskedPeople | None:
    """Which pictures are masked is in `labels/rmfrd_masked.json`, sorted by eye. None without it, or without people."""
    path = LABELS / "rmfrd_masked.json"
    if not path.is_file():
        return None
    listed = json.loads(path.read_text())
    masked, left_out = np.isin(faces.names, listed["masked"]), np.isin(faces.names, listed["left_out"])
    gallery, open_rows, hidden, owner = [], [], [], []
    for name in sorted(set(faces.identities) - {""}):
        own = faces.identities == name
        bare, covered = np.flatnonzero(own & ~masked & ~left_out), np.flatnonzero(own & masked)
        if len(bare) >= 2 and len(covered):
            owner += [len(gallery)] * len(covered)
            gallery.append(bare[:-1])
            open_rows.append(bare[-1])
            hidden += covered.tolist()
    return MaskedPeople(gallery, np.array(open_rows), np.array(hidden), np.array(owner)) if gallery else None
