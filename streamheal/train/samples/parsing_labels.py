"""What the face parser learns from: CelebAMask-HQ's labels, brought to our eleven classes, and outlines that 68
landmarks draw where nobody labelled anything."""

import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from streamheal.errors import ConfigError
from streamheal.heal.networks.face_parser import CLASSES
from streamheal.train.data import read_index

UNKNOWN = 255
"""The label of a pixel whose class nobody knows: no loss looks at it."""

# CelebAMask-HQ's 19 → ours. What glasses cover is skin, brow and eye at once: not known. Ears are background, as the
# 68 points' outline ends at the jaw and a face seen from the front has none; so are hat, jewellery, neck and clothes.
FROM_CELEBAMASK = np.full(256, UNKNOWN, np.uint8)
FROM_CELEBAMASK[:19] = [0, 1, 6, UNKNOWN, 4, 5, 2, 3, 0, 0, 8, 7, 9, 10, 0, 0, 0, 0, 0]

_BROW = 0.1  # a brow's thickness, of the distance between the eyes

FLIP11 = torch.tensor([0, 1, 3, 2, 5, 4, 6, 7, 8, 9, 10])
"""What each class becomes in a mirrored face: the person's left is on the other side."""


def read(shards: list[Path], size: int) -> dict[int, np.ndarray]:
    """Row among the faces of all `shards` in a row → its label `(size, size)` uint8 of our classes.

    `size`: the pictures' side. Only labelled pictures are in it. Raises ConfigError on a label of another size or with
    a class beyond the 19.
    """
    labels, start = {}, 0
    for shard in shards:
        rows = read_index(shard)
        with zipfile.ZipFile(shard) as archive:
            for i, row in enumerate(rows):
                if not row.get("parsing"):
                    continue
                label = np.asarray(Image.open(io.BytesIO(archive.read(row["parsing"]))))
                if label.shape != (size, size) or label.max() > 18:
                    raise ConfigError(
                        f"{shard.name}: {row['parsing']}: shape {label.shape}, highest class {label.max()}; "
                        f"a CelebAMask-HQ label is ({size}, {size}) with classes 0 to 18"
                    )
                labels[start + i] = FROM_CELEBAMASK[label]
        start += len(rows)
    return labels


def outlines(landmarks: np.ndarray, side: int, size: int) -> np.ndarray:
    """Landmarks `(68, 2)` in px of a picture of `side` px → label `(size, size)` uint8.

    Known is what lies within the jaw and the brows; all beyond may be hair, hat or background and is UNKNOWN.
    """
    points = (np.asarray(landmarks, np.float64) + 0.5) * size / side - 0.5
    label = np.full((size, size), UNKNOWN, np.uint8)
    across = points[42:48].mean(0) - points[36:42].mean(0)
    down = _BROW * np.array([-across[1], across[0]])  # a brow's points run along its upper edge
    shapes = {
        "skin": np.concatenate([points[0:17], points[26:16:-1]]),
        "right brow": np.concatenate([points[17:22], points[21:16:-1] + down]),
        "left brow": np.concatenate([points[22:27], points[26:21:-1] + down]),
        "right eye": points[36:42],
        "left eye": points[42:48],
        "nose": np.concatenate([points[27:28], points[31:36]]),
        "inner mouth": points[60:68],  # before the lips: where it is shut, they meet over it
        "upper lip": np.concatenate([points[48:55], points[64:59:-1]]),
        "lower lip": np.concatenate([points[54:60], points[48:49], points[60:61], points[67:63:-1]]),
    }
    for name, shape in shapes.items():
        cv2.fillPoly(label, [(shape * 16).round().astype(np.int32)], CLASSES.index(name), shift=4)
    return label


def shares(labels: torch.Tensor) -> torch.Tensor:
    """Labels `(B, h, w)` uint8 → `(B, 11, h, w)` float, one channel a class; all are 0 where it isn't known."""
    classes = torch.arange(len(CLASSES), device=labels.device).view(1, -1, 1, 1)
    return (labels.unsqueeze(1) == classes).float()


def strongest(shares: torch.Tensor, size: int) -> torch.Tensor:
    """Shares `(B, 11, h, w)` in [0, 1] → labels `(B, size, size)` int64: the class with most of each cell's area,
    UNKNOWN where more than half of it isn't known."""
    shares = F.interpolate(shares, (size, size), mode="area")
    return shares.argmax(1).masked_fill(shares.sum(1) < 0.5, UNKNOWN)
