"""What recordings and cameras have in common: the stages after the frames, and what a run says of itself."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamheal.config import PipelineConfig
from streamheal.faces.detector import FaceDetector
from streamheal.faces.gallery import Look
from streamheal.faces.run_log import RunLog
from streamheal.forgotten import Forgotten
from streamheal.pipeline.follower import Follower
from streamheal.publish.sink import Sink
from streamheal.records import Frame, HealJob
from streamheal.watch.counters import Counters

if TYPE_CHECKING:
    from streamheal.heal.healer import Healer

PROGRESS_EVERY = 0.2  # seconds


@dataclass(slots=True)
class Summary:
    """What a run did."""

    output: Path | None
    report: Path | None = None
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def fps(self) -> float:
        """Frames a second over the whole run, the start included."""
        return self.counts.get("frames", 0) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    frames: int
    total: int | None  # frames in all, as the recordings' headers say; None where nobody knows
    tracks: int
    healed: int
    doing: str


@dataclass(slots=True)
class Teller:
    """Says how far the run is, but not at every frame."""

    counters: Counters
    on_progress: Callable[[Progress], None] = lambda progress: None
    total: int | None = None
    _told: float = 0.0

    def __call__(self, doing: str, *, now: bool = False) -> None:
        if now or time.monotonic() - self._told >= PROGRESS_EVERY:
            self._told = time.monotonic()
            count = self.counters
            self.on_progress(Progress(count["frames"], self.total, count["tracks"], count["healed"], doing))


@dataclass(slots=True)
class Stages:
    """What a run works with, whatever its frames come from."""

    config: PipelineConfig
    counters: Counters
    detector: FaceDetector
    healer: "Healer"
    sinks: Sequence[Sink]
    stop: threading.Event
    wake: threading.Event  # set when there may be something to do: a frame, a change, a stop
    tell: Teller
    warnings: list[str]
    forgotten: Forgotten
    look: Look | None = None  # finds what is visible on a crop, before the gallery chooses

    def heal(self, jobs: Sequence[HealJob], memory: RunLog | None = None, *, restoring: bool = True) -> None:
        """Heal `jobs` and hand them to every sink, but for those that somebody has asked to forget."""
        jobs = [job for job in jobs if job not in self.forgotten]
        batch = self.config.restorer.batch
        for start in range(0, len(jobs), batch):
            for face in self.healer.heal(jobs[start : start + batch], restoring=restoring):
                with self.forgotten.publishing(face.job) as wanted:
                    for sink in self.sinks if wanted else ():
                        sink.add(face)
                if memory is not None:
                    memory.publish(face.job.track, face.job.revision)
                self.counters.add("events")
                self.counters.add("abstained" if face.abstained else "healed")

    def count(self, frames: Sequence[Frame], followers: Iterable[Follower]) -> None:
        self.counters.add("frames", len(frames))
        self.counters.add("frames.corrupt", sum(frame.corrupt for frame in frames))
        for follower in followers:
            for name, count in follower.take_counts().items():
                self.counters.add(name, count)
