"""Faces of photographed crowds, of which somebody said whether they wear a mask, as FMD's boxes do.

Nobody outlined the masks. But one that is worn hides mouth and nose, and leaves the eyes: so much of each face is
known, and the rest is left open. The teacher's landmarks say where they are.
"""

import io
import json
import zipfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import torch
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.train.data import SIZE
from streamheal.train.samples.degradation import uniform

WORN = {"con_mascarilla": True, "with_mask": True, "sin_mascarilla": False, "without_mask": False}
"""FMD's kinds, in both languages that it is passed on in; of masks worn wrongly nothing is known."""
HIDDEN, VISIBLE, OPEN = 0, 1, 255


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

        Raises ConfigError where there are no scenes, or no teacher.
        """
        file = kept / f"worn-masks-{part}.npz" if kept else None
        if file is None or not file.is_file():
            found = cls._found(data, part)
            if file is None:
                return found
            file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(file, **{name: getattr(found, name) for name in cls.__slots__})
        with np.load(file) as arrays:
            return cls(**arrays)

    @classmethod
    def _found(cls, data: Path, part: str) -> "WornMasks":
        # Not above: training asks for few packages, and a detector's settings want more.
        from streamheal.faces import alignment
        from streamheal.train.detector.scenes import Teacher, label, part_of, voc_boxes

        path = data / "scenes.zip"
        if not path.is_file():
            raise ConfigError(f"no scenes at {path}: masks that people wear are learned from it; or set `worn: 0`")
        teacher, rows = Teacher(data), []
        with zipfile.ZipFile(path) as archive:
            labelled = {name.removesuffix(".xml") for name in archive.namelist() if name.endswith(".xml")}
            for name in sorted(f"{stem}.jpg" for stem in labelled):
                if part_of(name) != part:
                    continue
                image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                xml = archive.read(name.removesuffix(".jpg") + ".xml")
                scene = label(name, image, teacher, voc_boxes(xml))
                kinds = [kind.findtext("name") for kind in ElementTree.fromstring(xml).iter("object")]
                for i, kind in enumerate(kinds):
                    if kind not in WORN or not scene.seen[i]:
                        continue
                    crop = alignment.cut(image, scene.landmarks[i], max_side=SIZE)
                    if crop is None:
                        continue
                    side = crop.image.shape[0]
                    points = crop.landmarks * (SIZE / side) - 0.5
                    covered = [what for what, boxes in _covered().get(name, {}).items() if i in boxes]
                    known = marked(points, WORN[kind], covered)
                    rows.append((alignment.resample(crop.image, SIZE), known, WORN[kind], side))
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


@cache
def _covered() -> dict[str, dict[str, list[int]]]:
    """Photograph → "eyes", "mouth" → which of its boxes have them covered, not by a mask, or in another place."""
    return json.loads(files("streamheal.train").joinpath("labels/fmd_covered.json").read_text())
