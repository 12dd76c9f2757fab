"""Training, top to bottom: faces → pairs → loss → step, until the time is up. It leaves weights, curves, a picture.

    train(Path("configs/lr-trunk-16.yaml"), data_dir, out_dir, minutes=30)

`out_dir` gets NAME.safetensors (EMA, fp16), checkpoint.pt (to go on from), curves.csv, sheet.png.
"""

import csv
import math
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data, recipe, tasks, teacher
from streamheal.train.bank import Bank


def train(
    recipe_path: Path,
    data_dir: Path,
    out_dir: Path,
    minutes: float,
    device: str = "cpu",
    threads: int | None = None,
    resume: bool = True,
    *,
    start_from: Path | None = None,
    cache: Path | None = None,
    report: Callable[[dict], None] = lambda row: None,
    tick: Callable[[float, float, float], None] = lambda seconds, per_second, loss: None,
) -> Path:
    """Train for `minutes`, then save; SIGTERM and SIGINT save and end earlier. Returns the path of the EMA weights.

    resume: go on from `out_dir`/checkpoint.pt where there is one. start_from: exported weights to begin with instead (a
    warm-up spares them from the empty optimiser). cache: folder for decoded pictures, `out_dir`/cache by default.
    report: called with each row of the curves; tick: at each step, with seconds of this run, pictures/s and loss.

    The learning rate follows one cosine over all minutes, those of earlier runs included. Raises ConfigError on a bad
    recipe or data that may not be trained on.
    """
    plan = recipe.read(recipe_path)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(plan.seed)
    out_dir.mkdir(parents=True, exist_ok=True)
    cache = cache or out_dir / "cache"

    faces = data.load(data.training_shards(data_dir, plan.shards), cache)
    val_shards = data.shards(data_dir, [plan.val])
    if data.role(val_shards[0]) == "test":
        raise ConfigError(f"{recipe_path}: val: {plan.val} judges, it must not choose or tune")
    val = data.load(val_shards, cache)
    occluders = data_dir / "occluders.zip"
    bank = Bank.draw(plan.seed, per_kind=160, archive=occluders)
    val_bank = Bank.draw(plan.seed + 1, per_kind=16, archive=occluders, held_out=True)

    network = networks.build(plan.system, plan.network).to(device, memory_format=torch.channels_last)
    task = tasks.build(plan.task, plan.options, faces, bank)
    val_task = tasks.build(plan.task, plan.options, val, val_bank)
    task.extra.to(device)
    if plan.start:
        network.load_state_dict(teacher.student_weights(data_dir.resolve().parent / "weights" / plan.start, task.mean))
    ema = networks.build(plan.system, plan.network).to(device, memory_format=torch.channels_last).eval()
    ema.load_state_dict(network.state_dict())
    parameters = [*network.parameters(), *task.extra.parameters()]
    optimizer = torch.optim.AdamW(
        parameters, plan.learning_rate, betas=tuple(plan.betas), weight_decay=plan.weight_decay, fused=True
    )

    step, spent, seen, warm_from = 0, 0.0, 0, 0
    checkpoint = out_dir / "checkpoint.pt"
    if resume and checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        network.load_state_dict(state["network"])
        ema.load_state_dict(state["ema"])
        task.extra.load_state_dict(state["extra"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, seen, warm_from = (state[key] for key in ("step", "spent", "seen", "warm_from"))
    elif start_from:
        tensors, _ = weights.load(start_from)
        network.load_state_dict(tensors)
        ema.load_state_dict(tensors)

    gen = torch.Generator(device).manual_seed(plan.seed + step)
    shuffle = np.random.default_rng(plan.seed + step)
    order = np.empty(0, np.int64)
    curves = Curves(out_dir / "curves.csv", keep=step > 0)
    weights_path = out_dir / f"{plan.name}.safetensors"
    total = spent + minutes * 60
    began = looked = time.monotonic()

    def save() -> None:
        nonlocal looked
        networks.save(
            weights_path, plan.system, ema, {"recipe": plan.name, "seen": seen, "minutes": round(now / 60, 1)}
        )
        part = checkpoint.with_suffix(".part")
        state = {"network": network.state_dict(), "ema": ema.state_dict(), "extra": task.extra.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "step": step, "spent": now, "seen": seen, "warm_from": warm_from}
        torch.save(state, part)
        part.replace(checkpoint)
        figures, sheet = look(val_task, ema, val, device)
        row = {"step": step, "minutes": now / 60, "seen": seen, "per_second": seen_here / max(now - spent, 1e-9)}
        row |= {"learning_rate": optimizer.param_groups[0]["lr"], **parts, **figures}
        curves.add(row)
        report(row)
        save_picture(sheet, out_dir / "sheet.png")
        looked = time.monotonic()

    network.train()
    parts, seen_here, now = {}, 0, spent
    with StopSignals() as stop:
        while now < total and not stop.set:
            if len(order) < plan.batch:
                order = np.concatenate([order, shuffle.permutation(len(faces))])
            rows, order = order[: plan.batch], order[plan.batch :]

            rate = plan.learning_rate * min(1.0, (step - warm_from + 1) / plan.warmup)
            rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(now / total, 1.0)))
            for group in optimizer.param_groups:
                group["lr"] = rate

            batch = tasks.Batch.of(faces, rows, gen, mirror=True)
            loss, parts = task.loss(network, batch, gen)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, plan.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            step, seen, seen_here = step + 1, seen + len(rows), seen_here + len(rows)
            follow(ema, network, min(plan.ema, (1 + step) / (10 + step)))  # short memory first, or it keeps the start

            now = spent + time.monotonic() - began
            tick(now - spent, seen_here / max(now - spent, 1e-9), sum(parts.values()))
            if time.monotonic() - looked > plan.save_every * 60:
                save()
        save()
    return weights_path


@torch.no_grad()
def follow(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running mean of weights (and of BatchNorm's statistics) towards the network's."""
    for slow, fast in zip(ema.state_dict().values(), network.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)
        else:
            slow.copy_(fast)


@torch.inference_mode()
def look(task: tasks.Task, network: nn.Module, val: data.Faces, device: str) -> tuple[dict[str, float], torch.Tensor]:
    """The same 96 held-out faces and the same draws each time."""
    rows = np.random.default_rng(0).permutation(len(val))[:96]
    gen = torch.Generator(device).manual_seed(0)
    return task.look(network, tasks.Batch.of(val, rows, gen, mirror=False), gen)


def save_picture(picture: torch.Tensor, path: Path) -> None:
    """`(3, H, W)` in [0, 1] → PNG."""
    Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).cpu().numpy()).save(path)


class Curves:
    """A CSV with one row a look; its columns are those of the first row."""

    def __init__(self, path: Path, *, keep: bool):
        self.path = path
        if not keep:
            path.unlink(missing_ok=True)

    def add(self, row: dict) -> None:
        new = not self.path.is_file()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow({key: f"{value:.6g}" for key, value in row.items()})


class StopSignals:
    """`set` turns true on SIGTERM or SIGINT; the handlers of before are put back at the end."""

    def __init__(self):
        self.set = False

    def __enter__(self) -> "StopSignals":
        self.before = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._stop)
        return self

    def _stop(self, *_) -> None:
        self.set = True

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
