"""Cameras: the newest frame of each, for as long as nobody stops it; then every confirmed track is published."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from streamheal import changes
from streamheal.config import Camera
from streamheal.errors import SinkError
from streamheal.pipeline.cameras import Cameras
from streamheal.pipeline.follower import Follower
from streamheal.pipeline.live_file import LiveFile
from streamheal.pipeline.stages import Stages
from streamheal.records import HealJob
from streamheal.runs import live_run_id
from streamheal.video.reader import Reader
from streamheal.watch.headroom import Headroom
from streamheal.watch.pace import Pace

log = logging.getLogger(__name__)

STOP_HEALING_AFTER = 2.0  # seconds after a stop during which tracks are still restored; later ones leave as they are


class LiveRun:
    """Watches all cameras of a pipeline file until it is stopped.

    `file`: followed while it runs, with a copy of what runs in the folder `state`; `note` is told of each change
    before it is made, and forbids it by a SinkError. `share`: those of the cameras that are to be watched here.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        file: LiveFile | None = None,
        state: Path | None = None,
        note: Callable[..., object] = lambda what, **facts: None,
        share: Callable[[Sequence[Camera]], Sequence[Camera]] = lambda cameras: cameras,
    ):
        self._stages, self._file, self._state, self._note = stages, file, state, note
        self._share, self._mine = share, list(share(stages.config.source.cameras))
        self._waiting: dict[tuple, HealJob] = {}  # due, and not healed yet
        self._detect_pace = Pace(stages.config.detector.batch)
        self._heal_pace = Pace(stages.config.restorer.batch)
        self._headroom = Headroom()
        run = live_run_id()
        self._cameras = Cameras(
            self._reader, lambda name: Follower(name, run, stages.config, stages.look), self._headroom, stages.counters
        )

    def watch(self) -> None:
        """Returns once `stages.stop` is set and what was confirmed by then is published."""
        stages, cameras, file = self._stages, self._cameras, self._file
        if file is not None:
            file.ran(file.running, self._state)
        try:
            with nullcontext() if file is None else file.watched(stages.counters, stages.wake):
                cameras.begin(self._mine, stages.config.limits)
                while not stages.stop.is_set():
                    stages.wake.clear()
                    self._follow_file()
                    self._follow_share()
                    cameras.tend()
                    idle = not self._look()
                    self._queue(cameras.lost())
                    self._heal_some()
                    refused = f", {len(cameras.refused)} not admitted" if cameras.refused else ""
                    stages.tell(f"{cameras.here} of {len(cameras)} cameras{refused}")
                    if idle and not self._waiting:
                        stages.wake.wait(0.1)
        finally:
            self._finish()

    def _reader(self, camera: Camera, epoch: int) -> Reader:
        return Reader(
            camera.name,
            camera.url.get_secret_value(),
            live=True,
            transport=camera.transport,
            open_timeout=camera.open_timeout,
            stall_timeout=camera.stall_timeout,
            max_fps=camera.max_fps,
            first_epoch=epoch,
            notify=self._stages.wake.set,
        )

    def _follow_file(self) -> None:
        """Take over what the pipeline file says now."""
        new = self._file.take() if self._file is not None else None
        if new is None:
            return
        found = changes.compare(self._file.running.config, new.config)
        try:
            if found:
                self._note("configuration changed", changes=[str(change) for change in found])
        except SinkError as error:
            self._stages.counters.add("reloads.refused")
            log.error("the pipeline file was changed, and the run goes on as it was: %s", error)
            return
        for change in found:
            log.warning("pipeline file: %s", change)
        self._file.ran(new, self._state)
        running = self._file.running.config
        self._mine = list(self._share(running.source.cameras))
        self._queue(self._cameras.become(self._mine, running.limits))
        if found:
            self._stages.counters.add("reloads.applied")

    def _follow_share(self) -> None:
        """Watch what is this node's share now: another node may have come, or gone."""
        running = self._stages.config if self._file is None else self._file.running.config
        mine = list(self._share(running.source.cameras))
        if mine != self._mine:
            log.warning("this node watches now: %s", ", ".join(camera.name for camera in mine) or "no camera")
            self._mine = mine
            # Nobody else watches them: too few frames of a camera are better than none.
            limits = running.limits.model_copy(update={"load": 1.0})
            self._queue(self._cameras.become(mine, limits))

    def _look(self) -> bool:
        """Find and follow the faces in each camera's newest frame. False if there is none."""
        stages = self._stages
        frames = self._cameras.frames()
        some = bool(frames)
        while frames and not stages.stop.is_set():
            part, frames = frames[: self._detect_pace.items], frames[self._detect_pace.items :]
            with self._headroom.busy(), self._detect_pace.measure(len(part)):
                found = stages.detector.detect([frame.image for frame in part])
                for frame, faces in zip(part, found, strict=True):
                    self._queue(self._cameras.follower(frame.camera).add(frame, faces))
            stages.count(part, self._cameras.followers)
        return some

    def _queue(self, jobs: Iterable[HealJob]) -> None:
        """A newer revision of a track takes the place of one that still waits: its gallery is the better one."""
        for job in jobs:
            key = (job.camera, job.epoch, job.track)
            if self._waiting.pop(key, None) is not None:
                self._stages.counters.add("superseded.heal.newer-revision")
            self._waiting[key] = job

    def _heal_some(self, *, restoring: bool = True) -> None:
        keys = list(self._waiting)[: self._heal_pace.items]
        if not keys:
            return
        with self._headroom.busy(), self._heal_pace.measure(len(keys)):
            self._stages.heal([self._waiting.pop(key) for key in keys], restoring=restoring)

    def _finish(self) -> None:
        deadline = time.monotonic() + STOP_HEALING_AFTER
        jobs, warnings = self._cameras.finish()
        self._queue(jobs)
        self._stages.warnings += warnings
        while self._waiting:
            self._heal_some(restoring=time.monotonic() < deadline)
