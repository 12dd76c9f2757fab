"""Recall by face size: what a detector finds of known faces, on pictures that no training has seen.

Scenes are judged at their own size and shrunk, which makes tiny faces whose place is known; clips by the teacher's
labels, which favour the teacher.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from streamheal import config, weights
from streamheal.faces.detector import FaceDetector, build_detector
from streamheal.records import Face
from streamheal.train.detector.scenes import TEST_CLIPS, Scene, Teacher, clip_frames, overlap, scenes
from streamheal.train.evaluation.report import Cell, Evaluation, Table, markdown

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
        return config.Detector(name="yunet", weights=Teacher.file(data))
    if name == "centerface":
        return config.Detector(name="centerface")
    return config.Detector(name="ultralytics", weights=weights.find(name).path)


def evaluate(name: str, data: Path, out: Path, scales: tuple[float, ...] = (1.0, 2.0)) -> Evaluation:
    """Judge "centerface", "yunet" or a shipped network on the detection test split, at the default threshold.

    Writes `{name}.json` and `{name}.md` into `out`. Nothing is drawn at random: the same figures each time.
    """
    teacher = Teacher(data)
    pictures = {
        "scenes": list(shrunk(scenes(data, "test", teacher))),
        "clips": list(clip_frames(data, TEST_CLIPS, teacher)),
    }
    settings = settings_of(name, data)
    sha256, rows = "", []
    for scale in scales:
        detector = build_detector(settings.model_copy(update={"scale": scale, "max_side": 4096}))
        sha256 = detector.model.sha256
        rows += [row(f"{part}, scale {scale:g}", judge(detector, of)) for part, of in pictures.items()]
    conditions = {
        "scenes": f"{len(pictures['scenes']) // len(SHRINK)} crowd scenes with their own boxes, at "
        + ", ".join(f"{factor:g}" for factor in SHRINK)
        + " of their size",
        "clips": f"{len(pictures['clips'])} frames of {' and '.join(TEST_CLIPS)}; truth is YuNet's at one and two "
        "times the size, which favours YuNet and counts faces that it missed as false alarms",
        "match": f"IoU ≥ {MATCH:g}, one to one, best score first; threshold {settings.min_score:g}",
        "columns": "recall (faces) by the shorter side of the true box; landmark error is the mean distance to the "
        "teacher's points as a share of that side",
    }
    columns = ["pictures", *[f"{_name(size)} px" for size in SIZES], "precision", "false alarms / picture"]
    table = Table("Recall by size", "", [*columns, "landmark error"], rows)
    found = Evaluation(name, "detector", sha256, _training(settings), conditions, [table])
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found.as_dict(), indent=2, ensure_ascii=False) + "\n")
    (out / f"{name}.md").write_text(markdown(found))
    return found


def _training(settings: config.Detector) -> dict:
    if settings.name != "ultralytics":
        return {"trained": "by others"}
    return weights.load(settings.weights)[1].get("training", {})


def shrunk(whole: Iterable[Scene]) -> Iterator[Scene]:
    """Each scene at its own size and at each of SHRINK."""
    return (scene if factor == 1 else scene.shrunk(factor) for scene in whole for factor in SHRINK)


def judge(detector: FaceDetector, pictures: Iterable[Scene]) -> Count:
    """What the detector finds in labelled pictures."""
    count = Count()
    for scene in pictures:
        count.add(scene, detector.detect([scene.image])[0])
    return count


def row(name: str, count: Count) -> list[Cell]:
    """A line of the table."""
    by_size = [f"{f / a:.3f} ({a})" if a else "–" for a, f in zip(count.asked, count.found, strict=True)]
    error = float(np.mean(count.landmark_errors)) if count.landmark_errors else "–"
    return [name, *by_size, count.precision, f"{count.false / max(1, count.pictures):.2f}", error]
