"""Scenes and clips for the detector: their split, their boxes, and YuNet as the teacher for what is not labelled.

The folder of data has `scenes.zip` (`fmd/` with VOC boxes, `rwmfd/`, `afw/`) and `videos/`; the teacher lies beside it,
in `../weights/yunet_n.onnx`.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from PIL import Image

from streamheal import config
from streamheal.errors import ConfigError
from streamheal.faces.detector import FaceDetector, build_detector, non_maximum_suppression

SURE = 0.6  # the teacher's faces above are labels
UNSURE = 0.45  # those between are neither face nor background
TEST_CLIPS = {"mot20_08_960x366.h264": 5, "times_square_crowd_1280x720.mp4": 20}  # name: every n-th frame
TRAIN_CLIPS = {  # crowds and shops; the one-person clips are other models' test material
    "cctv_retail_1920x1080.mp4": 30,
    "street_dance_1280x720.avi": 15,
    "three_people_selfie_480x848.mp4": 30,
    "short_hamilton_clip_640x360.mp4": 20,
    "tv_mask_dos_and_donts_1280x720.mp4": 40,
}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and what is known of its faces."""

    name: str
    image: np.ndarray  # (H, W, 3) uint8 RGB
    boxes: np.ndarray  # (n, 4) float32 xyxy
    landmarks: np.ndarray  # (n, 5, 2) float32; picture left first
    seen: np.ndarray  # (n,) bool: the landmarks are known
    ignore: np.ndarray  # (m, 4) float32: perhaps faces; neither asked for nor counted as false

    def shrunk(self, factor: float) -> "Scene":
        """The scene at `factor` of its size: tiny faces with known truth."""
        height, width = self.image.shape[:2]
        size = max(1, round(width * factor)), max(1, round(height * factor))
        grew = np.array([size[0] / width, size[1] / height], np.float32)
        image = cv2.resize(self.image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        twice = np.tile(grew, 2)
        return Scene(self.name, image, self.boxes * twice, self.landmarks * grew, self.seen, self.ignore * twice)


@cache
def split() -> dict[str, str]:
    """Scene or clip name → "test" or "tune", as `labels/detection_split.txt` says; the rest is for training."""
    text = files("streamheal.train").joinpath("labels/detection_split.txt").read_text()
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return {name: part for part, name in lines}


def part_of(name: str) -> str:
    """ "train", "tune" or "test"."""
    return split().get(name, "train")


class Teacher:
    """YuNet at one and two times the size, united. Sure of what it finds above SURE."""

    @staticmethod
    def file(data: Path) -> Path:
        return data.parent / "weights" / "yunet_n.onnx"

    def __init__(self, data: Path) -> None:
        path = self.file(data)
        if not path.is_file():
            raise ConfigError(f"no teacher at {path}; put a YuNet ONNX file (OpenCV zoo) there")
        self._detectors: list[FaceDetector] = [
            build_detector(config.Detector(name="yunet", weights=path, min_score=UNSURE, scale=scale, max_side=4096))
            for scale in (1.0, 2.0)
        ]

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes `(n, 4)`, landmarks `(n, 5, 2)` and scores `(n,)`, best first."""
        found = [face for detector in self._detectors for face in detector.detect([image])[0]]
        if not found:
            return np.empty((0, 4), np.float32), np.empty((0, 5, 2), np.float32), np.empty(0, np.float32)
        boxes, landmarks = np.stack([f.box for f in found]), np.stack([f.landmarks for f in found])
        scores = np.array([f.score for f in found], np.float32)
        keep = non_maximum_suppression(boxes, scores, 0.4)
        return boxes[keep], landmarks[keep], scores[keep]


def label(name: str, image: np.ndarray, teacher: Teacher, own: np.ndarray | None = None) -> Scene:
    """The teacher's faces; or the data set's `own` boxes, with the teacher's landmarks where both agree."""
    boxes, landmarks, scores = teacher(image)
    if own is None:
        sure = scores >= SURE
        return Scene(name, image, boxes[sure], landmarks[sure], np.ones(sure.sum(), bool), boxes[~sure])
    same = overlap(own, boxes)
    best = same.argmax(1) if len(boxes) else np.zeros(len(own), int)
    seen = (same.max(1, initial=0) >= 0.4) & (scores[best] >= SURE if len(boxes) else False)
    points = np.zeros((len(own), 5, 2), np.float32)
    points[seen] = landmarks[best[seen]]
    return Scene(name, image, own, points, seen, boxes[same.max(0, initial=0) < 0.3])  # they left out some faces


def overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU of each of `(n, 4)` xyxy boxes with each of `(m, 4)`: `(n, m)`."""
    a, b = one.reshape(-1, 1, 4).astype(float), other.reshape(1, -1, 4).astype(float)
    common = (np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])).clip(0).prod(-1)
    areas = [(x[..., 2:] - x[..., :2]).prod(-1) for x in (a, b)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)


def voc_boxes(xml: bytes) -> np.ndarray:
    """`(n, 4)` float32 xyxy boxes of a Pascal VOC annotation."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    found = [[float(b.findtext(c)) for c in corners] for b in ElementTree.fromstring(xml).iter("bndbox")]
    return np.array(found, np.float32).reshape(-1, 4)


def scenes(data: Path, part: str, teacher: Teacher, cache_file: Path | None = None) -> Iterator[Scene]:
    """Labelled photographs of a part ("train", "tune", "test"). Labels are kept in `cache_file`, if one is named."""
    path = data / "scenes.zip"
    if not path.is_file():
        raise ConfigError(f"no scenes at {path}; --data must name the folder that has scenes.zip and videos/")
    known = json.loads(cache_file.read_text()) if cache_file and cache_file.is_file() else {}
    with zipfile.ZipFile(path) as archive:
        inside = set(archive.namelist())
        for name in sorted(n for n in inside if n.endswith(".jpg") and part_of(n) == part):
            image = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
            if name in known:
                yield _from_json(name, image, known[name])
                continue
            boxes = name.removesuffix(".jpg") + ".xml"
            scene = label(name, image, teacher, voc_boxes(archive.read(boxes)) if boxes in inside else None)
            known[name] = _to_json(scene)
            yield scene
    if cache_file:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        cache_file.write_text(json.dumps(known))


def _to_json(scene: Scene) -> dict:
    known = {k: np.round(getattr(scene, k), 2).tolist() for k in ("boxes", "landmarks", "ignore")}
    return known | {"seen": scene.seen.tolist()}


def _from_json(name: str, image: np.ndarray, known: dict) -> Scene:
    return Scene(
        name,
        image,
        np.array(known["boxes"], np.float32).reshape(-1, 4),
        np.array(known["landmarks"], np.float32).reshape(-1, 5, 2),
        np.array(known["seen"], bool),
        np.array(known["ignore"], np.float32).reshape(-1, 4),
    )


def clip_frames(data: Path, clips: dict[str, int], teacher: Teacher) -> Iterator[Scene]:
    """Every n-th frame of each clip, labelled by the teacher."""
    for name, every in clips.items():
        path = data / "videos" / name
        if not path.is_file():
            raise ConfigError(f"no clip at {path}; --data must name the folder that has scenes.zip and videos/")
        video = cv2.VideoCapture(str(path))
        index = 0
        while video.grab():
            if index % every == 0:
                _, frame = video.retrieve()
                yield label(f"{name}#{index}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), teacher)
            index += 1
        video.release()
