"""A training recipe: one YAML file that holds every choice of one model."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from streamheal.errors import ConfigError

TASKS = ("restorer", "occlusion", "embedder")


@dataclass(frozen=True, slots=True)
class Recipe:
    """See `configs/*.yaml`, where each choice has its reason."""

    name: str  # of the weights: models/NAME.safetensors
    task: str  # one of TASKS
    system: str  # which network of heal/networks
    shards: list[str]  # training shards, without .zip
    val: str = "faces128-val"  # tuning shard: curves and contact sheet
    network: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # of the task
    start: str = ""  # embedder: the teacher's file in weights/ beside the data
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int = 200  # steps, also after resuming from weights without optimiser state
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
    try:
        recipe = Recipe(**said)
    except TypeError as error:
        raise ConfigError(f"{path}: {error}") from error
    if recipe.task not in TASKS:
        raise ConfigError(f"{path}: task: {recipe.task!r}; allowed: {', '.join(TASKS)}")
    if recipe.start and recipe.task != "embedder":
        raise ConfigError(f"{path}: start: only an embedder starts from its teacher; leave it out")
    return recipe
