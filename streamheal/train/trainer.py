"""Training, top to bottom: faces → pairs → losses → step, stage after stage, until the time is up.

    train(Path("configs/lr-trunk-16.yaml"), data_dir, out_dir, minutes=30)

`out_dir` gets NAME.safetensors (EMA, fp16), NAME.md (a card), checkpoint.pt (to go on from), curves.csv, sheet.png.
"""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from streamheal import weights
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.train import data, draft_card, recipe, tasks, teacher
from streamheal.train.criteria.priors import Priors
from streamheal.train.muon import MuonAndAdamW, is_matrix
from streamheal.train.recipe import Recipe, Stage
from streamheal.train.run_folder import Curves, StopSignals
from streamheal.train.samples.bank import Bank
from streamheal.train.sheets import save_picture
from streamheal.train.task import Batch, Context, Task, weights_of


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

    resume: go on from `out_dir`/checkpoint.pt where there is one. start_from: exported weights to begin with instead,
    at the widths that they have (a warm-up spares them from the empty optimiser). cache: folder for decoded pictures,
    `out_dir`/cache by default.
    report: called with each row of the curves; tick: now and then, with seconds of this run, pictures/s and loss.

    Each stage has its share of all minutes, those of earlier runs included, and one cosine of the learning rate.
    Raises ConfigError on a bad recipe or data that may not be trained on.
    """
    plan = recipe.read(recipe_path)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(plan.seed)
    out_dir.mkdir(parents=True, exist_ok=True)
    cache = cache or out_dir / "cache"
    on_gpu = torch.device(device).type == "cuda"

    faces, val = _faces(plan, data_dir, cache, recipe_path)
    occluders = data_dir / "occluders.zip"
    bank = Bank.draw(plan.seed, per_kind=160, archive=occluders)
    bank = dataclasses.replace(bank, layers=bank.layers.to(device))  # all occlusion and degradation happens there
    val_bank = Bank.draw(plan.seed + 1, per_kind=16, archive=occluders, held_out=True)
    resident = torch.from_numpy(faces.pictures(np.arange(len(faces)))).to(device) if on_gpu else None

    priors = Priors(data_dir, device)
    task = tasks.build(plan.task, plan.options, Context(bank, faces, priors, cache))
    val_task = tasks.build(plan.task, plan.options, Context(val_bank, val, priors, cache))
    task.extra.to(device)
    task.critics.to(device).requires_grad_(False)  # but for their own step
    build = _builder(plan, start_from, recipe_path)
    network = build().to(device, memory_format=torch.channels_last)
    if plan.start:
        network.load_state_dict(teacher.student_weights(data_dir.resolve().parent / "weights" / plan.start, task.mean))
    for part, name in plan.parts.items():
        _part(network, part, recipe_path).load_state_dict(_shipped(name))
    ema = build().to(device, memory_format=torch.channels_last).eval()
    ema.load_state_dict(network.state_dict())
    optimizer = _optimizer(network, task.extra, plan)
    against = list(task.critics.parameters())
    critic_optimizer = torch.optim.AdamW(against, plan.critic_rate, betas=tuple(plan.critic_betas)) if against else None

    own_weights = task.weights
    step, spent, seen, warm_from, number = 0, 0.0, 0, 0, -1
    checkpoint, weights_path = out_dir / "checkpoint.pt", out_dir / f"{plan.name}.safetensors"
    if resume and checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if (used := state.get("optimizer_name", plan.optimizer)) != plan.optimizer:
            raise ConfigError(
                f"{checkpoint} remembers {used}'s steps, {recipe_path} asks for {plan.optimizer}: train into another "
                f"--out, with --from {weights_path}"
            )
        network.load_state_dict(state["network"])
        ema.load_state_dict(state["ema"])
        task.extra.load_state_dict(state["extra"])
        task.critics.load_state_dict(state["critics"])
        optimizer.load_state_dict(state["optimizer"])
        if critic_optimizer:
            critic_optimizer.load_state_dict(state["critic_optimizer"])
        step, spent, seen, warm_from, number = (
            state[key] for key in ("step", "spent", "seen", "warm_from", "stage")
        )  # fmt: skip
        enter(plan.stages[number], network, recipe_path)
        task.weights = weights_of(own_weights, plan.stages[number].weights)
    elif start_from:
        tensors, _ = weights.load(start_from)
        network.load_state_dict(tensors)
        ema.load_state_dict(tensors)
    if on_gpu:
        for part in network.children():  # losses call them one by one
            part.compile()

    gen = torch.Generator(device).manual_seed(plan.seed + step)
    shuffle = np.random.default_rng(plan.seed + step)
    order = np.empty(0, np.int64)
    curves = Curves(out_dir / "curves.csv", keep=step > 0)
    total = spent + minutes * 60
    began = looked = ticked = time.monotonic()

    def save() -> None:
        nonlocal looked
        said = {"recipe": plan.name, "seen": seen, "minutes": round(now / 60, 1), "stage": plan.stages[number].name}
        networks.save(weights_path, plan.system, ema, said)
        part = checkpoint.with_suffix(".part")
        state = {"network": network.state_dict(), "ema": ema.state_dict(), "extra": task.extra.state_dict()}
        state |= {"critics": task.critics.state_dict(), "optimizer": optimizer.state_dict()}
        state |= {"optimizer_name": plan.optimizer}
        state |= {"critic_optimizer": critic_optimizer.state_dict() if critic_optimizer else None}
        state |= {"step": step, "spent": now, "seen": seen, "warm_from": warm_from, "stage": number}
        torch.save(state, part)
        part.replace(checkpoint)
        figures, sheet = look(val_task, ema, val, device)
        row = {"step": step, "stage": plan.stages[number].name, "minutes": now / 60, "seen": seen}
        row |= {"per_second": seen_here / max(now - spent, 1e-9), "learning_rate": rate}
        row |= {name: float(part) for name, part in lost.items()} | figures
        curves.add(row)
        report(row)
        save_picture(sheet, out_dir / "sheet.png")
        draft_card.write(out_dir / f"{plan.name}.md", plan, recipe_path, ema, weights_path, said, figures)
        looked = time.monotonic()

    lost, seen_here, now, rate = {}, 0, spent, 0.0
    with StopSignals() as stop:
        while True:
            on, done = recipe.stage_at(plan.stages, now / total if total else 1.0, max(number, 0))
            if on != number:
                number, warm_from = on, step
                enter(plan.stages[number], network, recipe_path)
                task.weights = weights_of(own_weights, plan.stages[number].weights)
            if now >= total or stop.set:
                break
            stage = plan.stages[number]
            # On a slow machine a stage may be shorter than its warm-up: a twentieth of it is enough.
            warm = min(1.0, max((step - warm_from + 1) / plan.warmup, done * 20))
            rate = plan.learning_rate * stage.rate * warm * cosine(done)
            for group in optimizer.param_groups:
                group["lr"] = rate * stage.rates.get(group["part"], 1.0)

            if len(order) < plan.batch:
                order = np.concatenate([order, shuffle.permutation(len(faces))])
            rows, order = order[: plan.batch], order[plan.batch :]
            batch = Batch.of(faces, rows, gen, mirror=True, resident=resident)

            losses = task.losses(network, batch, gen, stage)
            loss = sum(losses.parts.values())
            loss.backward()
            norm = nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], plan.clip)
            if norm.isfinite():  # one bad batch must not end a night's training
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            lost = {name: part.detach() for name, part in losses.parts.items()}
            if losses.critics:
                lost |= {
                    name: part.detach() for name, part in criticise(losses.critics, task, critic_optimizer).items()
                }
            step, seen, seen_here = step + 1, seen + len(rows), seen_here + len(rows)
            of_stage = step - warm_from
            follow(ema, network, min(plan.ema, (1 + of_stage) / (10 + of_stage)))  # short memory at first, or it lags

            now = spent + time.monotonic() - began
            if time.monotonic() - ticked > 0.5:
                tick(now - spent, seen_here / max(now - spent, 1e-9), float(loss.detach()))
                ticked = time.monotonic()
            if time.monotonic() - looked > plan.save_every * 60:
                save()
        save()
    return weights_path


def enter(stage: Stage, network: nn.Module, recipe_path: Path) -> None:
    """Set what learns in `stage`; frozen parts get no gradient and stay in eval mode, so that no statistics move."""
    for part in stage.train:
        _part(network, part, recipe_path)
    network.train()
    for name, part in network.named_children():
        learns = not stage.train or name in stage.train
        part.requires_grad_(learns).train(learns)


def criticise(losses: Callable[[], dict], task: Task, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """One step of the critics."""
    task.critics.requires_grad_(True)
    parts = losses()
    sum(parts.values()).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    task.critics.requires_grad_(False)
    return parts


def cosine(done: float) -> float:
    """From 1 to 0.01 as `done` goes from 0 to 1."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def follow(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the running mean of weights (and of BatchNorm's statistics) towards the network's."""
    for slow, fast in zip(ema.state_dict().values(), network.state_dict().values(), strict=True):
        if slow.is_floating_point():
            slow.lerp_(fast, 1 - decay)
        else:
            slow.copy_(fast)


@torch.inference_mode()
def look(task: Task, network: nn.Module, val: data.Faces, device: str) -> tuple[dict[str, float], torch.Tensor]:
    """The same 96 held-out faces and the same draws each time."""
    rows = np.random.default_rng(0).permutation(len(val))[:96]
    gen = torch.Generator(device).manual_seed(0)
    return task.look(network, Batch.of(val, rows, gen, mirror=False), gen)


def _faces(plan: Recipe, data_dir: Path, cache: Path, recipe_path: Path) -> tuple[data.Faces, data.Faces]:
    faces = data.load(data.training_shards(data_dir, plan.shards), cache)
    val_shards = data.shards(data_dir, [plan.val])
    if data.role(val_shards[0]) == "test":
        raise ConfigError(f"{recipe_path}: val: {plan.val} judges, it must not choose or tune")
    return faces, data.load(val_shards, cache)


def _builder(plan: Recipe, start_from: Path | None, recipe_path: Path) -> Callable[[], nn.Module]:
    """What builds the recipe's network, or the one in `start_from`: slim widths may have changed since then."""
    if start_from is None:
        return lambda: networks.build(plan.system, plan.network, plan.variant)
    _, header = weights.load(start_from)
    if header.get("system") != plan.system:
        raise ConfigError(
            f"{recipe_path} trains {plan.system}; {start_from} holds {header.get('system', 'no network of ours')}"
        )
    return lambda: networks.build(plan.system, header["network"])


def _part(network: nn.Module, name: str, recipe_path: Path) -> nn.Module:
    parts = dict(network.named_children())
    if name not in parts:
        raise ConfigError(f"{recipe_path}: the network has no part {name!r}; allowed: {', '.join(parts)}")
    return parts[name]


def _shipped(name: str) -> dict[str, torch.Tensor]:
    """Tensors of the shipped weights `name`, or of one of their parts: `name:part`."""
    name, _, part = name.partition(":")
    tensors, _ = weights.load(weights.find(name).path)
    prefix = f"{part}." if part else ""
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def _optimizer(network: nn.Module, extra: nn.Module, plan: Recipe) -> torch.optim.Optimizer | MuonAndAdamW:
    """One or two groups a part, as stages give each part its own rate."""
    groups = []
    parts = [(name, list(part.parameters())) for name, part in network.named_children()]
    parts.append(("", [*network.parameters(recurse=False), *extra.parameters()]))
    for name, params in parts:
        for by_muon in (True, False):
            chosen = [p for p in params if (plan.optimizer == "muon" and is_matrix(p)) is by_muon]
            groups.append({"part": name, "muon": by_muon, "params": chosen})
    groups = [group for group in groups if group["params"]]
    return MuonAndAdamW(groups, plan.learning_rate, tuple(plan.betas), plan.weight_decay)
