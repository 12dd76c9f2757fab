"""Faces behind sunglasses, among those that are taken for bare: `labels/sunglasses.json` names them.

Nobody outlined the glasses. But the eyes are hidden, nose and mouth are seen: so much is known, and the rest is left
open.
"""

import json
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from streamheal.train.data import LABELS, Faces
from streamheal.train.samples.worn_masks import HIDDEN, marked
from streamheal.train.task import Batch

_LABELS = LABELS / "sunglasses.json"
"""Shard → "hidden", "doubtful" → file names: eyes that can't be seen, and those that a tint lets through or may."""
_EYE = 7  # px about its centre that glasses hide for sure


@dataclass(frozen=True, slots=True, eq=False)
class Sunglasses:
    """Which of some faces wear them."""

    hidden: np.ndarray  # rows of faces whose eyes can't be seen
    doubtful: np.ndarray  # rows of those of whom nothing is said

    @classmethod
    def among(cls, faces: Faces) -> "Sunglasses":
        listed = json.loads(_LABELS.read_text())
        shards = np.repeat([path.stem for path in faces.shards], [len(part) for part in faces.parts])

        def rows(kind: str) -> np.ndarray:
            found = [(shards == shard) & np.isin(faces.names, names[kind]) for shard, names in listed.items()]
            return np.flatnonzero(np.any(found, 0))

        return cls(rows("hidden"), rows("doubtful"))

    def bare(self, batch: Batch) -> Batch:
        """`batch` without them: what hides nothing but what is drawn over it."""
        return batch.rows(~np.isin(batch.indices, np.concatenate([self.hidden, self.doubtful])))

    def draw(self, faces: Faces, count: int, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`(count, 3, 128, 128)` in [0, 1], half of them mirrored, and what is known, `(count, 1, 128, 128)`."""
        chosen = torch.randint(len(self.hidden), (count,), generator=gen, device=gen.device).cpu().numpy()
        batch = Batch.of(faces, self.hidden[chosen], gen, mirror=True)
        known = torch.from_numpy(np.stack([shaded(points) for points in batch.landmarks.cpu().numpy()]))
        return batch.pictures, known[:, None].to(gen.device)


def shaded(points: np.ndarray) -> np.ndarray:
    """What is known of a face behind sunglasses `(128, 128)` uint8, by its landmarks (68, 2) px."""
    eyes = [points[36:42].mean(0), points[42:48].mean(0)]
    known = marked(np.stack([*eyes, points[30], points[48], points[54]]), masked=False, covered=["eyes"])
    for x, y in np.round(eyes).astype(int).tolist():
        cv2.circle(known, (x, y), _EYE, HIDDEN, -1)
    return known
