"""A training recipe: one YAML file that holds every choice of one model."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from streamheal.errors import ConfigError

Optimizer = Literal["muon", "adamw"]
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of the training: which parts of the network learn, and how fast."""

    name: str = "all"
    share: float = 1.0  # of all minutes; the shares of a recipe are taken relative to their sum
    train: tuple[str, ...] = ()  # parts (children of the network) that learn, the others are frozen; empty = all
    rate: float = 1.0  # times the recipe's learning rate
    rates: dict[str, float] = field(default_factory=dict)  # part → times that again
    adversarial: bool = False  # whether the critics take part
    weights: dict[str, float] = field(default_factory=dict)  # of losses, in place of the task's; 0 saves its work too


@dataclass(frozen=True, slots=True)
class Recipe:
    """See `configs/*.yaml`, where each choice has its reason."""

    name: str  # of the weights: models/NAME.safetensors
    task: str  # what is learned: a key of train.tasks.TASKS
    system: str  # which network of heal/networks
    shards: list[str]  # training shards, without .zip
    val: str = "faces128-val"  # tuning shard: curves and contact sheet
    variant: str = "slim"  # or "paper": the widths of the system's paper
    network: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # of the task
    parts: dict[str, str] = field(
        default_factory=dict
    )  # part of the network → shipped NAME or NAME:PART it starts from
    start: str = ""  # embedder: the teacher's file in weights/ beside the data
    stages: tuple[Stage, ...] = (Stage(),)
    optimizer: Optimizer = "muon"  # of the network; critics have AdamW
    batch: int = 32
    learning_rate: float = 1e-3
    critic_rate: float = 2e-4
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    critic_betas: tuple[float, float] = (0.5, 0.999)
    warmup: int = 200  # steps, at the start of each stage and after resuming from weights without optimiser state
    clip: float = 1.0  # gradient norm
    ema: float = 0.999
    seed: int = 0
    save_every: float = 2.0  # minutes between checkpoints


def read(path: Path) -> Recipe:
    """Raises ConfigError with file and key on what a recipe may not say."""
    if not path.is_file():
        raise ConfigError(f"no recipe at {path}; see configs/")
    try:
        said = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    allowed = [entry.name for entry in fields(Recipe)]
    if not isinstance(said, dict):
        raise ConfigError(f"{path}: a recipe is a mapping with the keys {', '.join(allowed)}")
    if unknown := sorted(set(said) - set(allowed)):
        raise ConfigError(f"{path}: unknown key {', '.join(unknown)}; allowed: {', '.join(allowed)}")
    if "stages" in said:
        said["stages"] = _stages(path, said["stages"])
    try:
        recipe = Recipe(**said)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if recipe.optimizer not in OPTIMIZERS:
        raise ConfigError(f"{path}: optimizer {recipe.optimizer!r}; allowed: {', '.join(OPTIMIZERS)}")
    if recipe.start and recipe.task != "embedder":
        raise ConfigError(f"{path}: start: only an embedder starts from its teacher; leave it out")
    return recipe


def _stages(path: Path, said: Any) -> tuple[Stage, ...]:
    allowed = [entry.name for entry in fields(Stage)]
    if not isinstance(said, list) or not said or not all(isinstance(one, dict) for one in said):
        raise ConfigError(f"{path}: stages: a list of mappings with the keys {', '.join(allowed)}")
    for one in said:
        if unknown := sorted(set(one) - set(allowed)):
            raise ConfigError(f"{path}: stages: unknown key {', '.join(unknown)}; allowed: {', '.join(allowed)}")
        if not one.get("share", 1.0) > 0:
            raise ConfigError(f"{path}: stages: share {one['share']} of the minutes; it must be above 0")
    return tuple(Stage(**one | {"train": tuple(one.get("train", ()))}) for one in said)


def stage_at(stages: tuple[Stage, ...], progress: float, least: int = 0) -> tuple[int, float]:
    """Which stage (at least number `least`) is on at `progress` (0 to 1) of the minutes, and how much of it is over.

    A training that goes on with more minutes is at a smaller share of them than before; it never goes back.
    """
    whole = sum(stage.share for stage in stages)
    begin = 0.0
    for number, stage in enumerate(stages):
        end = begin + stage.share / whole
        if number >= least and (progress < end or number == len(stages) - 1):
            return number, min(max((progress - begin) / (end - begin), 0.0), 1.0)
        begin = end
    raise ValueError(f"no stage {least} among {len(stages)}")
