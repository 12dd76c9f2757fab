"""Trains the detector: YOLO with five landmarks, ultralytics' network and loss, in a loop that fits on one page.

Time-boxed: it ends within its minutes, with a checkpoint, the weights and a sample picture, and goes on from there
when it is started again.
"""

import csv
import time
from copy import deepcopy
from dataclasses import dataclass, fields
from math import cos, exp, pi
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from streamheal.errors import ConfigError
from streamheal.faces.detectors import yolo
from streamheal.train.detector.mosaic import mosaic
from streamheal.train.detector.recall import Count
from streamheal.train.detector.scenes import TRAIN_CLIPS, Scene, Teacher, clip_frames, scenes


@dataclass(frozen=True, slots=True)
class Recipe:
    """What `configs/yolo11n-face.yaml` says; see the comments there."""

    name: str
    task: str
    network: str
    mosaic: int
    faces: tuple[float, float]
    batch: int
    learning_rate: float
    weight_decay: float
    gains: dict[str, float]
    checkpoint_minutes: float
    seed: int

    @classmethod
    def read(cls, path: Path) -> "Recipe":
        given = yaml.safe_load(path.read_text())
        known = {f.name for f in fields(cls)}
        if not isinstance(given, dict) or set(given) != known:
            wrong = sorted(set(given) ^ known) if isinstance(given, dict) else "no mapping"
            raise ConfigError(f"{path}: unknown or missing keys {wrong}; a detector's recipe has {sorted(known)}")
        return cls(**given)


def train(recipe_file: Path, data: Path, out: Path, minutes: float) -> Path:
    """Train for at most `minutes` and write `{name}.safetensors` into `out`; returns its path.

    `data` has scenes.zip and videos/, the teacher's weights lie in `../weights`. `out` keeps labels, checkpoint, log.
    """
    recipe = Recipe.read(recipe_file)
    ends = time.monotonic() + minutes * 60
    out.mkdir(parents=True, exist_ok=True)
    teacher = Teacher(data)
    lessons = list(scenes(data, "train", teacher, out / "labels-train.json"))
    lessons += clip_frames(data, TRAIN_CLIPS, teacher)
    tuning = list(scenes(data, "tune", teacher, out / "labels-tune.json"))
    print(f"{len(lessons)} scenes, {sum(len(s.boxes) for s in lessons)} faces")

    run = _Run(recipe, out / "checkpoint.pt")
    start = time.monotonic()
    saved = start
    losses: list[dict[str, float]] = []
    while (now := time.monotonic()) < ends - 20:  # the last step, the last look and the writing need a while
        losses.append(run.step(lessons, progress=(now - start) / (ends - start)))
        if now - saved > recipe.checkpoint_minutes * 60:
            saved = now
            run.save()
            _log(out / "log.csv", run, losses, tuning)
            losses = []
    run.save()
    if losses:
        _log(out / "log.csv", run, losses, tuning)
    path = out / f"{recipe.name}.safetensors"
    yolo.save_network(run.averaged, path, {"steps": run.steps, "pictures": run.steps * recipe.batch})
    _sample(run, tuning, out / "samples.png")
    return path


class _Run:
    """Network, its running average (what is judged and shipped), optimizer, and how far they are."""

    def __init__(self, recipe: Recipe, checkpoint: Path) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.checkpoint = recipe, checkpoint
        self.network = yolo.new_network(recipe.network)
        from ultralytics.cfg import get_cfg  # after new_network, which keeps ultralytics quiet

        self.network.args = get_cfg(overrides=recipe.gains)  # the loss reads its gains there
        self.averaged = deepcopy(self.network).eval().requires_grad_(False)
        decayed = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate)
        self.steps, self.first_step = 0, 0
        if checkpoint.is_file():
            kept = torch.load(checkpoint, weights_only=True)
            self.network.load_state_dict(kept["network"])
            self.averaged.load_state_dict(kept["averaged"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.steps = self.first_step = kept["steps"]
        self.rng = np.random.default_rng([recipe.seed, self.steps])
        self.network.train().to(memory_format=torch.channels_last)

    def step(self, lessons: list[Scene], progress: float) -> dict[str, float]:
        """One batch. `progress` in [0, 1] is the share of the time that has gone; it sets the learning rate."""
        warm = min(1.0, (self.steps - self.first_step + 1) / 200)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * warm * (0.02 + 0.98 * (1 + cos(pi * min(1.0, progress))) / 2)
        batch = self._batch(lessons)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = self.network(batch["img"])
        # boxes in bfloat16 would be off by a quarter of a cell
        predicted = {k: [x.float() for x in v] if isinstance(v, list) else v.float() for k, v in predicted.items()}
        loss, items = self.network.loss(batch, predicted)
        self.optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 10.0)
        self.optimizer.step()
        self.steps += 1
        keep = 0.999 * (1 - exp(-self.steps / 500))
        with torch.no_grad():
            for slow, fast in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
                if slow.is_floating_point():
                    slow.lerp_(fast, 1 - keep)
        return {name: float(value) for name, value in items.items()}

    def _batch(self, lessons: list[Scene]) -> dict[str, torch.Tensor]:
        size = self.recipe.mosaic
        made = [mosaic(lessons, self.rng, size=size, faces=self.recipe.faces) for _ in range(self.recipe.batch)]
        pictures = torch.from_numpy(np.stack([picture for picture, _, _ in made])).permute(0, 3, 1, 2)
        boxes = torch.from_numpy(np.concatenate([b for _, b, _ in made])).float() / size
        points = torch.from_numpy(np.concatenate([points for _, _, points in made])).float()
        points[..., :2] /= size
        return {
            "img": pictures.float().div_(255).contiguous(memory_format=torch.channels_last),
            "batch_idx": torch.cat([torch.full((len(b),), float(i)) for i, (_, b, _) in enumerate(made)]),
            "cls": torch.zeros(len(boxes), 1),
            "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1),
            "keypoints": points,
        }

    def detector(self) -> yolo.TorchYolo:
        """The averaged network as a detector, at its native scale."""
        network = deepcopy(self.averaged)
        return yolo.TorchYolo(self.recipe.name, network, "", device="cpu", min_score=0.25, scale=1.0, max_side=4096)

    def save(self) -> None:
        kept = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(kept, part)
        part.replace(self.checkpoint)


def _log(path: Path, run: _Run, losses: list[dict[str, float]], tuning: list[Scene]) -> None:
    """A line of means since the last, with recall on the tuning scenes at half their size."""
    count = Count()
    detector = run.detector()
    for scene in (scene.shrunk(0.5) for scene in tuning):
        count.add(scene, detector.detect([scene.image])[0])
    row = {"steps": run.steps} | {name: round(float(np.mean([x[name] for x in losses])), 4) for name in losses[0]}
    row |= {"recall": round(count.recall, 4), "precision": round(count.precision, 4)}
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)


def _sample(run: _Run, tuning: list[Scene], path: Path) -> None:
    """Four mosaics of tuning scenes with what was found in them."""
    rng = np.random.default_rng(0)
    pictures = [mosaic(tuning, rng, size=run.recipe.mosaic, faces=run.recipe.faces)[0] for _ in range(4)]
    for picture, faces in zip(pictures, run.detector().detect(pictures), strict=True):
        for face in faces:
            x0, y0, x1, y1 = (int(v) for v in face.box)
            cv2.rectangle(picture, (x0, y0), (x1, y1), (0, 255, 0))
            for x, y in face.landmarks:
                cv2.circle(picture, (int(x), int(y)), 1, (255, 255, 0), -1)
    rows = [np.hstack(pictures[:2]), np.hstack(pictures[2:])]
    cv2.imwrite(str(path), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))
