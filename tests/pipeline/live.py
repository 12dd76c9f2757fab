"""A live run with real readers and without networks: every picture shows one face, which is healed at once."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import yaml

from streamheal.forgotten import Forgotten
from streamheal.pipeline.live import LiveRun
from streamheal.pipeline.live_file import LiveFile
from streamheal.pipeline.stages import Stages, Teller
from streamheal.records import Face, HealJob
from streamheal.watch.counters import Counters

FACE = Face(
    box=np.array([60, 20, 110, 80], np.float32),
    landmarks=np.array([[75, 42], [95, 42], [85, 53], [77, 64], [93, 64]], np.float32),
    score=0.9,
)


class Sink:
    """Keeps the jobs whose faces came out at the end."""

    name = "list"

    def __init__(self) -> None:
        self.jobs: list[HealJob] = []

    def add(self, face: SimpleNamespace) -> None:
        self.jobs.append(face.job)


class Run:
    """A live run of the pipeline file at `path`, in a thread."""

    def __init__(self, path: Path, overrides: Sequence[str] = (), seconds_a_frame: float = 0.0):
        self.file = LiveFile(path, overrides)
        self.counters, self.sink, self.notes = Counters(), Sink(), []
        self.seconds_a_frame = seconds_a_frame
        self.stages = Stages(
            self.file.running.config,
            self.counters,
            SimpleNamespace(detect=self._detect),
            SimpleNamespace(heal=lambda jobs, **_: [SimpleNamespace(job=job, abstained=False) for job in jobs]),
            [self.sink],
            threading.Event(),
            threading.Event(),
            Teller(self.counters, lambda progress: setattr(self, "doing", progress.doing)),
            [],
            Forgotten(path.parent / "state"),
        )
        self.doing = ""
        note = lambda what, **facts: self.notes.append((what, facts))  # noqa: E731
        self.live = LiveRun(self.stages, file=self.file, state=path.parent / "state", note=note)
        self._thread = threading.Thread(target=self.live.watch, daemon=True)

    def _detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        time.sleep(self.seconds_a_frame * len(images))
        return [[FACE] for _ in images]

    @property
    def readers(self) -> dict:
        return {name: watched.reader for name, watched in list(self.live._cameras._watched.items())}

    def state(self, camera: str) -> str | None:
        return self.readers[camera].status.state if camera in self.readers else None

    def __enter__(self) -> "Run":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stages.stop.set()
        self.stages.wake.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def write(path: Path, cameras: dict[str, str | dict], **sections) -> Path:
    """A pipeline file, replaced in one step as editors do it. `cameras`: name → URL, or name → all settings."""
    listed = [{"name": n, **(c if isinstance(c, dict) else {"url": c})} for n, c in cameras.items()]
    fresh = path.with_suffix(".new")
    fresh.write_text(yaml.safe_dump({"source": {"cameras": listed}, "output": {"path": "healed"}, **sections}))
    fresh.replace(path)
    return path
