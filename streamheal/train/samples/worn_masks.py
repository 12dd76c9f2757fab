"""Faces of photographed crowds, of which somebody said whether they wear a mask, as FMD's boxes do.

Nobody outlined the masks. But one that is worn hides mouth and nose, and leaves the eyes: so much of each face is
known, and the rest is left open. The teacher's landmarks say where they are.
"""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import torch
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.train.data import LABELS, SIZE
from streamheal.train.samples.degradation import uniform

WORN = {"con_mascarilla": True, "with_mask": True, "sin_mascarilla": False, "without_mask": False}
"""FMD's kinds, in both languages that it is passed on in; of masks worn wrongly nothing is known."""
HIDDEN, VISIBLE, OPEN = 0, 1, 255
_LABELS = LABELS / "fmd_covered.json"
"""Photograph → "eyes", "mouth" → which of its boxes have them covered, not by a mask, or in another place."""


@dataclass(frozen=True, slots=True, eq=False)
class WornMasks:
    """N faces, and what is known of them."""

    pictures: np.ndarray  # (N, 128, 128, 3) uint8 RGB, aligned
    known: np.ndarray  # (N, 128, 128) uint8: HIDDEN, VISIBLE or OPEN
    masked: np.ndarray  # (N,) bool
    sides: np.ndarray  # (N,) px that the crop has in its photograph

    def __len__(self) -> int:
        return len(self.masked)

    @classmethod
    def load(cls, data: Path, part: str, kept: Path | None = None) -> "WornMasks":
        """The faces of a part of the scenes ("train", "tune", "test"). `kept`: folder where they are found again.

        Raises ConfigError where there are no scenes with such boxes, or no teacher.
        """
        path = data / "scenes.zip"
        if not path.is_file():
            raise ConfigError(f"no scenes at {path}: masks that people wear are learned from them; or set `worn: 0`")
        if kept is None:
            return cls._of(_faces(data, path, part), path)
        # Known by what it was made of, so that nothing old is taken for it.
        target = kept / f"worn-masks-{part}-{path.stat().st_size}-{zlib.crc32(_LABELS.read_bytes()):08x}.npz"
        if not target.is_file():
            found = cls._of(_faces(data, path, part), path)
            kept.mkdir(parents=True, exist_ok=True)
            written = target.with_suffix(f".{os.getpid()}.part.npz")  # several trainings may look at once
            np.savez(written, **{name: getattr(found, name) for name in cls.__slots__})
            written.replace(target)
        with np.load(target) as arrays:
            return cls(**arrays)

    @classmethod
    def _of(cls, faces: Iterable[tuple[np.ndarray, np.ndarray, bool, int]], path: Path) -> "WornMasks":
        rows = list(faces)
        if not rows:
            raise ConfigError(f"{path}: none of its faces has a box that says {', '.join(WORN)}")
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    def draw(self, count: int, gen: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """`(count, 3, 128, 128)` in [0, 1], half of them mirrored, and what is known, `(count, 1, 128, 128)`; as many
        with a mask as without."""
        rows = []
        for of_kind, some in ((self.masked, count - count // 2), (~self.masked, count // 2)):
            there = np.flatnonzero(of_kind)
            rows.append(there[torch.randint(len(there), (some,), generator=gen, device=gen.device).cpu().numpy()])
        rows = np.concatenate(rows)
        pictures = torch.from_numpy(self.pictures[rows]).to(gen.device).permute(0, 3, 1, 2).float() / 255
        known = torch.from_numpy(self.known[rows]).to(gen.device)[:, None]
        flip = uniform((count, 1, 1, 1), 0, 1, gen) < 0.5
        return torch.where(flip, pictures.flip(3), pictures), torch.where(flip, known.flip(3), known)


def _faces(data: Path, path: Path, part: str) -> Iterator[tuple[np.ndarray, np.ndarray, bool, int]]:
    """The fields of `WornMasks`, face by face."""
    # Not above: training asks for few packages, and a detector's settings want more.
    from streamheal.faces import alignment
    from streamheal.train.detector.scenes import Teacher, label, part_of, voc_boxes

    teacher, others = Teacher(data), json.loads(_LABELS.read_text())
    with zipfile.ZipFile(path) as archive:
        stems = sorted(name.removesuffix(".xml") for name in archive.namelist() if name.endswith(".xml"))
        for name in (f"{stem}.jpg" for stem in stems if part_of(f"{stem}.jpg") == part):
            image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            xml = archive.read(name.replace(".jpg", ".xml"))
            scene = label(name, image, teacher, voc_boxes(xml))
            kinds = [kind.findtext("name") for kind in ElementTree.fromstring(xml).iter("object")]
            for i in [i for i, kind in enumerate(kinds) if kind in WORN and scene.seen[i]]:
                crop = alignment.cut(image, scene.landmarks[i], max_side=SIZE)
                if crop is not None:
                    side, masked = crop.image.shape[0], WORN[kinds[i]]
                    covered = [what for what, boxes in others.get(name, {}).items() if i in boxes]
                    points = crop.landmarks * (SIZE / side) - 0.5
                    yield alignment.resample(crop.image, SIZE), marked(points, masked, covered), masked, side


def marked(points: np.ndarray, masked: bool, covered: list[str]) -> np.ndarray:
    """What is known of a face `(128, 128)` uint8 by its five landmarks (5, 2) px: the eyes are seen; nose and mouth are
    hidden by a mask or seen; what something else covers ("eyes", "mouth") is open."""
    known = np.full((SIZE, SIZE), OPEN, np.uint8)
    if masked or "mouth" not in covered:
        nose, corners = points[2], points[3:]
        below = corners + 0.35 * (corners.mean(0) - nose)
        outline = cv2.convexHull(np.round(np.vstack([nose, corners, below])).astype(np.int32))
        cv2.fillConvexPoly(known, outline, HIDDEN if masked else VISIBLE)
    if "eyes" not in covered:
        for eye in points[:2]:
            cv2.circle(known, (round(float(eye[0])), round(float(eye[1]))), 7, VISIBLE, -1)
    return known
