"""Recall by face size: what a detector finds of known faces, on pictures that no training has seen.

Scenes are judged at their own size and shrunk, which makes tiny faces whose place is known; clips by the teacher's
labels, which favour the teacher.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamheal import config, weights
from streamheal.faces.detector import FaceDetector, build_detector
from streamheal.records import Face
from streamheal.train.detection_data import TEST_CLIPS, Scene, Teacher, clip_frames, overlap, scenes

SIZES = ((8, 12), (12, 16), (16, 24), (24, 32), (32, 64), (64, 10_000))  # shorter side of the true box, pixels
SHRINK = (1.0, 0.6, 0.35, 0.2)
MATCH = 0.5  # IoU


@dataclass(slots=True)
class Count:
    """Faces asked for and found, by size; false alarms; how far landmarks are off."""

    asked: np.ndarray = field(default_factory=lambda: np.zeros(len(SIZES), int))
    found: np.ndarray = field(default_factory=lambda: np.zeros(len(SIZES), int))
    right: int = 0
    false: int = 0
    pictures: int = 0
    seconds: float = 0.0
    landmark_errors: list[float] = field(default_factory=list)  # mean distance ÷ side of the true box

    def add(self, scene: Scene, faces: list[Face]) -> None:
        """Match detections, best first, to the truth at IoU ≥ 0.5, one to one."""
        self.pictures += 1
        truth = scene.boxes
        sides = (truth[:, 2:] - truth[:, :2]).min(1) if len(truth) else np.empty(0)
        boxes = np.array([f.box for f in faces], np.float32).reshape(-1, 4)
        same = overlap(boxes, truth)
        taken = np.zeros(len(truth), bool)
        for index in np.argsort([-f.score for f in faces], kind="stable"):
            fit = np.where(taken, 0, same[index])
            best = int(fit.argmax()) if len(fit) else -1
            if best >= 0 and fit[best] >= MATCH:
                taken[best] = True
                self.right += 1
                if scene.seen[best]:
                    off = np.linalg.norm(faces[index].landmarks - scene.landmarks[best], axis=1).mean()
                    self.landmark_errors.append(float(off / sides[best]))
            elif not _excused(boxes[index], scene, sides):
                self.false += 1
        for i, (low, high) in enumerate(SIZES):
            here = (sides >= low) & (sides < high)
            self.asked[i] += here.sum()
            self.found[i] += (here & taken).sum()

    @property
    def recall(self) -> float:
        return float(self.found.sum() / max(1, self.asked.sum()))

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.false)

    def as_dict(self) -> dict:
        return {
            "recall": {
                _name(size): {"faces": int(a), "recall": round(float(f / a), 4) if a else None}
                for size, a, f in zip(SIZES, self.asked, self.found, strict=True)
            },
            "recall_all": round(self.recall, 4),
            "precision": round(self.precision, 4),
            "false_per_picture": round(self.false / max(1, self.pictures), 3),
            "landmark_error": round(float(np.mean(self.landmark_errors)), 4) if self.landmark_errors else None,
            "pictures": self.pictures,
            "ms_per_picture": round(1000 * self.seconds / max(1, self.pictures), 1),
        }


def _excused(box: np.ndarray, scene: Scene, sides: np.ndarray) -> bool:
    """A find that is no false alarm: mostly within a region of doubt, or a true face too small to be asked for."""
    regions = np.concatenate([scene.ignore, scene.boxes[sides < SIZES[0][0]]])
    inner = (np.minimum(box[2:], regions[:, 2:]) - np.maximum(box[:2], regions[:, :2])).clip(0).prod(1)
    return bool((inner >= 0.5 * (box[2:] - box[:2]).prod()).any())


def _name(size: tuple[int, int]) -> str:
    return f"{size[0]}–{size[1]}" if size[1] < 10_000 else f">{size[0]}"


def settings_of(name: str, data: Path) -> config.Detector:
    """The pipeline settings under which a detector is judged: the defaults, with its weights."""
    if name == "yunet":
        return config.Detector(name="yunet", weights=data.parent / "weights" / "yunet_n.onnx")
    if name == "centerface":
        return config.Detector(name="centerface")
    return config.Detector(name="ultralytics", weights=weights.find(name).path)


def evaluate(name: str, data: Path, out: Path, scales: tuple[float, ...] = (1.0, 2.0)) -> dict:
    """Judge "centerface", "yunet" or a shipped network on the detection test split.

    Writes `{name}-recall.json` and `{name}-recall.md` (the table for the card) into `out`, and returns what the JSON
    holds.
    """
    teacher = Teacher(data)
    pictures = {
        "scenes": list(shrunk(scenes(data, "test", teacher))),
        "clips": list(clip_frames(data, TEST_CLIPS, teacher)),
    }
    settings = settings_of(name, data)
    results = {"detector": name, "min_score": settings.min_score, "parts": {}}
    for scale in scales:
        detector = build_detector(settings.model_copy(update={"scale": scale, "max_side": 4096}))
        results["sha256"] = detector.model.sha256
        results["parts"] |= {f"{part}, scale {scale:g}": judge(detector, of).as_dict() for part, of in pictures.items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}-recall.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    (out / f"{name}-recall.md").write_text(table(results))
    return results


def shrunk(whole: Iterable[Scene]) -> Iterator[Scene]:
    """Each scene at its own size and at each of SHRINK."""
    return (scene if factor == 1 else scene.shrunk(factor) for scene in whole for factor in SHRINK)


def judge(detector: FaceDetector, pictures: Iterable[Scene]) -> Count:
    """What the detector finds in labelled pictures."""
    count = Count()
    for scene in pictures:
        began = time.perf_counter()
        faces = detector.detect([scene.image])[0]
        count.seconds += time.perf_counter() - began
        count.add(scene, faces)
    return count


def table(results: dict) -> str:
    """The figures as Markdown, one row for each part."""
    names = [_name(size) for size in SIZES]
    head = ["part", *[f"{n} px" for n in names], "precision", "false / picture", "landmark error", "ms / picture"]
    lines = [head, ["---"] * len(head)]
    for part, r in results["parts"].items():
        sizes = [f"{e['recall']:.3f} ({e['faces']})" if e["recall"] is not None else "–" for e in r["recall"].values()]
        error = "–" if r["landmark_error"] is None else f"{r['landmark_error']:.3f}"
        rest = [f"{r['precision']:.3f}", f"{r['false_per_picture']:.2f}", error, f"{r['ms_per_picture']:.0f}"]
        lines.append([part, *sizes, *rest])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
