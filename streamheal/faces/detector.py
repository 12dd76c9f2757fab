"""Finds faces with five landmarks: one interface, three networks behind it, all cameras in one call."""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from streamheal import config, weights
from streamheal.errors import ConfigError
from streamheal.records import Face, ModelUsed

STRIDE = 32  # networks take sides that are multiples of it; pictures are padded right and below
PADDING = 114  # grey of the padding, ultralytics' choice; CenterFace and YuNet don't mind


class Raw(NamedTuple):
    """What a network found in one picture, in that picture's pixels."""

    boxes: np.ndarray  # (n, 4) xyxy
    landmarks: np.ndarray  # (n, 5, 2) eyes, nose, mouth corners; picture left first
    scores: np.ndarray  # (n,) in [0, 1]

    @classmethod
    def none(cls) -> "Raw":
        return cls(np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32))


class FaceDetector(ABC):
    """Finds faces in pictures of any sizes.

    Every picture is magnified by `scale`, then shrunk if its longer side would pass `max_side`. Cost and memory grow
    with the area: scale 2 takes four times as long as 1, and finds faces of half the size. A 1920 × 1080 frame at
    scale 2 under `max_side` 1920 gains nothing; raise both together. Pictures are not tiled: the networks are fully
    convolutional, and a tile's border would cut faces.

    Pictures of equal (padded) size share a forward pass, so several like cameras cost little more than the pixels
    they bring; a picture's result doesn't depend on what else is in the call.
    """

    pixels_per_pass = 4_000_000  # bounds the memory of one forward pass

    def __init__(self, name: str, sha256: str, *, min_score: float, scale: float = 1.0, max_side: int = 1920) -> None:
        self.model = ModelUsed("detector", name, sha256)
        self.min_score = min_score
        self.scale = scale
        self.max_side = max_side

    @abstractmethod
    def forward(self, batch: np.ndarray) -> list[Raw]:
        """Faces with at least `min_score` in each of `(B, h, w, 3)` uint8 RGB, overlaps removed."""

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """Faces of each `(H, W, 3)` uint8 RGB picture, best score first, boxes within the picture."""
        by_size: dict[tuple[int, int], list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
        for index, image in enumerate(images):
            prepared, factors = self._prepare(image)
            by_size[prepared.shape[:2]].append((index, prepared, factors))

        found: list[list[Face]] = [[] for _ in images]
        for (height, width), entries in by_size.items():
            for part in chunks(entries, max(1, self.pixels_per_pass // (height * width))):
                raws = self.forward(np.stack([prepared for _, prepared, _ in part]))
                for (index, _, factors), raw in zip(part, raws, strict=True):
                    found[index] = _faces(raw, factors, images[index].shape)
        return found

    def _prepare(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture as the network gets it, and the factors (x, y) by which it grew."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(f"a picture must be uint8 RGB (H, W, 3), got {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        factor = min(self.scale, self.max_side / max(height, width))
        new_w, new_h = max(1, round(width * factor)), max(1, round(height * factor))
        if (new_w, new_h) != (width, height):
            image = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        padded = np.full((-(-new_h // STRIDE) * STRIDE, -(-new_w // STRIDE) * STRIDE, 3), PADDING, np.uint8)
        padded[:new_h, :new_w] = image
        return padded, np.array([new_w / width, new_h / height])


def _faces(raw: Raw, factors: np.ndarray, shape: tuple[int, ...]) -> list[Face]:
    height, width = shape[:2]
    boxes = raw.boxes / np.tile(factors, 2)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
    landmarks = raw.landmarks / factors
    sides = np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return [
        Face(boxes[i].astype(np.float32), landmarks[i].astype(np.float32), float(raw.scores[i]))
        for i in np.argsort(-raw.scores, kind="stable")
        if sides[i] >= 1  # what lay in the padding is no face
    ]


def chunks(items: Sequence, size: int) -> Iterator[Sequence]:
    """`items` in runs of at most `size`."""
    return (items[i : i + size] for i in range(0, len(items), size))


def non_maximum_suppression(boxes: np.ndarray, scores: np.ndarray, iou: float) -> np.ndarray:
    """Indices of the xyxy boxes to keep, best first: none overlaps a better one by more than `iou`."""
    if not len(boxes):
        return np.empty(0, int)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return np.asarray(cv2.dnn.NMSBoxes(xywh.tolist(), scores.tolist(), 0.0, iou), int).reshape(-1)


def build_detector(settings: config.Detector) -> FaceDetector:
    """The detector that a pipeline file asks for.

    `auto` is CenterFace: the best measured recall at 16 px of what a fresh machine has (models/centerface.md).
    Raises WeightsError for weights that are missing, empty or not the pinned ones, ConfigError for settings that
    contradict each other.
    """
    common = {"min_score": settings.min_score, "scale": settings.scale, "max_side": settings.max_side}
    name = "centerface" if settings.name == "auto" else settings.name
    if settings.name == "auto" and settings.weights is not None:
        raise ConfigError("detector.weights is given but detector.name is auto; name the detector that they are for")

    if name == "ultralytics":
        from streamheal.faces.detectors.yolo import build_yolo

        return build_yolo(settings.weights, settings.sha256, device=settings.device, **common)

    if settings.device not in ("auto", "cpu"):
        raise ConfigError(
            f"detector {name} runs on the CPU through OpenCV, device is {settings.device!r}; "
            "set device: auto, or name: ultralytics for a GPU"
        )
    if name == "centerface":
        from streamheal.faces.detectors.centerface import CENTERFACE_SHA256, CenterFace, centerface_path

        path = settings.weights or centerface_path()
        sha256 = settings.sha256 or (None if settings.weights else CENTERFACE_SHA256)
        return CenterFace(path, weights.check(path, sha256), **common)

    from streamheal.faces.detectors.yunet import YuNet

    if settings.weights is None:
        raise ConfigError("detector yunet needs detector.weights: the path of a YuNet ONNX file (OpenCV zoo)")
    return YuNet(settings.weights, weights.check(settings.weights, settings.sha256), **common)
