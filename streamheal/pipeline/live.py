"""Cameras: the newest frame of each, for as long as nobody stops it; then every confirmed track is published."""

import time
from collections.abc import Iterable

from streamheal.config import Camera
from streamheal.pipeline.follower import Follower
from streamheal.pipeline.stages import Stages
from streamheal.records import HealJob
from streamheal.runs import live_run_id
from streamheal.video.reader import Reader, stop_all
from streamheal.watch.pace import Pace

STOP_HEALING_AFTER = 2.0  # seconds after a stop during which tracks are still restored; later ones leave as they are


class LiveRun:
    """Watches all cameras of a pipeline file until it is stopped."""

    def __init__(self, stages: Stages):
        self._stages = stages
        self._run = live_run_id()
        self._readers: dict[str, Reader] = {}
        self._followers: dict[str, Follower] = {}
        self._away: set[str] = set()
        self._waiting: dict[tuple, HealJob] = {}  # due, and not healed yet
        self._detect_pace = Pace(stages.config.detector.batch)
        self._heal_pace = Pace(stages.config.restorer.batch)
        for camera in stages.config.source.cameras:
            self._readers[camera.name] = self._reader(camera)
            self._followers[camera.name] = Follower(camera.name, self._run, stages.config)

    def watch(self) -> None:
        """Returns once `stages.stop` is set and what was confirmed by then is published."""
        stages = self._stages
        try:
            for reader in self._readers.values():
                reader.start()
            while not stages.stop.is_set():
                stages.wake.clear()
                idle = not self._look()
                self._end_lost()
                self._heal_some()
                here = len(self._readers) - len(self._away)
                stages.tell(f"{here} of {len(self._readers)} cameras")
                if idle and not self._waiting:
                    stages.wake.wait(0.1)
        finally:
            self._finish()

    def _reader(self, camera: Camera) -> Reader:
        return Reader(
            camera.name,
            camera.url.get_secret_value(),
            live=True,
            transport=camera.transport,
            open_timeout=camera.open_timeout,
            stall_timeout=camera.stall_timeout,
            notify=self._stages.wake.set,
        )

    def _look(self) -> bool:
        """Find and follow the faces in each camera's newest frame. False if there is none."""
        stages = self._stages
        frames = [frame for reader in self._readers.values() if (frame := reader.read(0)) is not None]
        some = bool(frames)
        while frames and not stages.stop.is_set():
            part, frames = frames[: self._detect_pace.items], frames[self._detect_pace.items :]
            with self._detect_pace.measure(len(part)):
                found = stages.detector.detect([frame.image for frame in part])
            for frame, faces in zip(part, found, strict=True):
                self._queue(self._followers[frame.camera].add(frame, faces))
            stages.count(part, self._followers.values())
        return some

    def _end_lost(self) -> None:
        """A lost camera's tracks end now: a face that was healed must not wait for the camera's return."""
        for name, reader in self._readers.items():
            if reader.status.state == "streaming":
                self._away.discard(name)
            elif name not in self._away:
                self._away.add(name)
                self._queue(self._followers[name].finish())

    def _queue(self, jobs: Iterable[HealJob]) -> None:
        """A newer revision of a track takes the place of one that still waits: its gallery is the better one."""
        for job in jobs:
            key = (job.camera, job.epoch, job.track)
            if self._waiting.pop(key, None) is not None:
                self._stages.counters.add("superseded.heal.newer-revision")
            self._waiting[key] = job

    def _heal_some(self, *, restoring: bool = True) -> None:
        keys = list(self._waiting)[: self._heal_pace.items]
        with self._heal_pace.measure(len(keys)):
            self._stages.heal([self._waiting.pop(key) for key in keys], restoring=restoring)

    def _finish(self) -> None:
        stages = self._stages
        deadline = time.monotonic() + STOP_HEALING_AFTER
        stop_all(self._readers.values())
        for name, reader in self._readers.items():
            self._queue(self._followers[name].finish())
            for cause, count in reader.status.drops.items():
                stages.counters.add(f"dropped.reader.{cause}", count)
            stages.counters.add("reconnects", reader.status.reconnects)
            if reader.status.error_class is not None:
                stages.warnings.append(f"camera {name} was away at the end: {reader.status.last_error}")
        while self._waiting:
            self._heal_some(restoring=time.monotonic() < deadline)
