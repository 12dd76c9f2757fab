"""What it would mean for a live run if its pipeline file said something else. Pure: two configurations in, words out.

Cameras come and go, and limits and retention move, while a run goes on. Everything else is built into its networks,
trackers and sinks, keys that seal faces included, and waits for the run to be started again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, SecretStr

from streamheal.config import Camera, PipelineConfig
from streamheal.errors import redact, redact_url

RUNNING = "running.yaml"
"""In a live run's state folder: its pipeline file as it stands in force, overrides and all."""

AT_ONCE = ("limits", "retention")

Effect = Literal["camera added", "camera removed", "camera restarted", "applied at once", "needs a restart of the run"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, and what comes of it."""

    effect: Effect
    subject: str  # a camera's name, or a dotted key
    detail: str  # what is different, without secrets; empty where the effect says it all

    def __str__(self) -> str:
        return f"{self.effect}: {self.subject}" + (f" ({self.detail})" if self.detail else "")


def compare(old: PipelineConfig, new: PipelineConfig) -> list[Change]:
    """What changes for a run of `old` when its file says `new`: cameras first, then keys in the order of the file."""
    found = []
    both_live = old.source.live and new.source.live
    if both_live:
        found += _cameras(old.source.cameras, new.source.cameras)
    for name in PipelineConfig.model_fields:
        if name == "source" and both_live:
            continue
        effect: Effect = "applied at once" if name in AT_ONCE else "needs a restart of the run"
        for key, before, after in _differences(getattr(old, name), getattr(new, name), name):
            found.append(Change(effect, key, _words(before, after)))
    return found


def file_at(path: Path) -> Path:
    """`path`; for the output folder of a live run, the file in which it keeps what it does now."""
    return path / "state" / RUNNING if path.is_dir() else path


def running(old: PipelineConfig, new: PipelineConfig) -> PipelineConfig:
    """What a run of `old` does once it has taken from `new` what it can take while it goes on."""
    return old.model_copy(update={name: getattr(new, name) for name in taken(old, new)})


def taken(old: PipelineConfig, new: PipelineConfig) -> set[str]:
    """The sections that a run of `old` takes from `new` while it goes on."""
    return {*AT_ONCE, "source"} if old.source.live and new.source.live else {*AT_ONCE}


def _cameras(old: Sequence[Camera], new: Sequence[Camera]) -> Iterator[Change]:
    before, after = ({camera.name: camera for camera in cameras} for cameras in (old, new))
    for name in before:
        if name not in after:
            yield Change("camera removed", name, "its confirmed tracks are published")
        elif before[name] != after[name]:
            yield Change("camera restarted", name, _camera_words(before[name], after[name]))
    for name in after:
        if name not in before:
            yield Change("camera added", name, redact_url(after[name].url.get_secret_value()))


def _camera_words(old: Camera, new: Camera) -> str:
    words = []
    for key, before, after in _differences(old, new, ""):
        if key == "url":
            shown = [redact_url(url.get_secret_value()) for url in (before, after)]
            words.append("url changed in its credentials or query" if shown[0] == shown[1] else "url " + _arrow(*shown))
        else:
            words.append(f"{key} {_words(before, after)}")
    return ", ".join(words)


def _differences(old: Any, new: Any, at: str) -> Iterator[tuple[str, Any, Any]]:
    """The innermost keys whose values differ, with both values; None where a key isn't there."""
    if isinstance(old, BaseModel) and type(old) is type(new):
        for name in type(old).model_fields:
            yield from _differences(getattr(old, name), getattr(new, name), f"{at}.{name}" if at else name)
    elif isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}, key=str):
            yield from _differences(old.get(name), new.get(name), f"{at}.{name}")
    elif old != new:
        yield at, old, new


def _words(old: Any, new: Any) -> str:
    if isinstance(old, SecretStr) or isinstance(new, SecretStr):
        return "a secret, changed"
    return _arrow(_shown(old), _shown(new))


def _arrow(old: str, new: str) -> str:
    return f"{old} → {new}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, BaseModel | dict):
        return "given"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, timedelta):
        return f"{value.total_seconds() / 3600:g}h"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_shown(item) for item in value)}]"
    return redact(value)
