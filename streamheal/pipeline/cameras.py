"""The cameras of a live run: who is watched, who comes, who goes, who has to wait."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from streamheal.config import Camera, Limits
from streamheal.pipeline.follower import Follower
from streamheal.records import Frame, HealJob
from streamheal.video.reader import Reader, stop_all
from streamheal.watch.counters import Counters
from streamheal.watch.headroom import WINDOW, Headroom

log = logging.getLogger(__name__)

ADMIT_EVERY = 1.0  # seconds between looks at whether a camera that waits may come in


@dataclass(slots=True)
class Watched:
    """A camera with all that follows it."""

    settings: Camera
    reader: Reader
    follower: Follower
    since: float  # seconds of our clock
    away: bool = True  # until it streams


class Cameras:
    """Readers and followers by camera name. `reader(camera, epoch)` and `follower(name)` make new ones."""

    def __init__(
        self,
        reader: Callable[[Camera, int], Reader],
        follower: Callable[[str], Follower],
        headroom: Headroom,
        counters: Counters,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._make_reader, self._make_follower = reader, follower
        self._headroom, self._counters, self._clock = headroom, counters, clock
        self._limits = Limits()
        self._watched: dict[str, Watched] = {}
        self._waiting: dict[str, Camera] = {}  # not admitted, in the order of the file
        self._leaving: list[Watched] = []
        self._epochs: dict[str, int] = {}  # of cameras that went: they go on counting if they come back
        self._looked_at = 0.0
        self.refused: dict[str, str] = {}  # why a camera waits

    # -- who is watched --------------------------------------------------------------------------------------------

    def begin(self, cameras: Sequence[Camera], limits: Limits) -> None:
        """Start with all cameras, up to `limits.cameras`: nothing is measured yet."""
        self._limits = limits
        for camera in cameras:
            if why := self._over_count():
                self._refuse(camera, why)
            else:
                self._start(camera)

    def become(self, cameras: Sequence[Camera], limits: Limits) -> list[HealJob]:
        """Watch these instead. Those that stay as they were notice nothing; returns the tracks of those that went."""
        self._limits = limits
        wanted = {camera.name: camera for camera in cameras}
        jobs = []
        for name in [name for name in self._waiting if name not in wanted]:
            del self._waiting[name]
            self.refused.pop(name, None)
        for name, watched in list(self._watched.items()):
            if wanted.get(name) != watched.settings:
                jobs += self._remove(name)
                if name in wanted:
                    self._start(wanted[name])
        for name, camera in wanted.items():
            if name not in self._watched:
                self._waiting[name] = camera
        self._looked_at = 0.0
        self.tend()
        return jobs

    def tend(self) -> None:
        """Let in who waits, where there is room, and let go of readers that have ended. Call it often."""
        for watched in [w for w in self._leaving if not w.reader.running]:
            self._leaving.remove(watched)
            watched.reader.stop()
            self._count(watched)
        if not self._waiting or self._clock() - self._looked_at < ADMIT_EVERY:
            return
        self._looked_at = self._clock()
        for camera in list(self._waiting.values()):
            if why := self._over_count() or self._over_load():
                self._refuse(camera, why)
            else:
                del self._waiting[camera.name]
                if self.refused.pop(camera.name, None):
                    log.warning("camera %s is admitted now: there is room again", camera.name)
                self._start(camera)

    # -- what they see ---------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._watched)

    @property
    def here(self) -> int:
        """How many of them stream."""
        return len(self._watched) - sum(watched.away for watched in self._watched.values())

    @property
    def followers(self) -> list[Follower]:
        return [watched.follower for watched in self._watched.values()]

    def follower(self, camera: str) -> Follower:
        return self._watched[camera].follower

    def frames(self) -> list[Frame]:
        """The newest frame of each camera that has one."""
        read = (watched.reader.read(0) for watched in self._watched.values())
        return [frame for frame in read if frame is not None]

    def lost(self) -> Iterator[HealJob]:
        """A lost camera's tracks end now: a face that was healed must not wait for the camera's return."""
        for watched in self._watched.values():
            away = watched.reader.status.state != "streaming"
            if away and not watched.away:
                yield from watched.follower.finish()
            watched.away = away

    def finish(self) -> tuple[list[HealJob], list[str]]:
        """Stop all; returns the tracks that end by it, and what should be said of single cameras."""
        everyone = [*self._watched.values(), *self._leaving]
        stop_all(watched.reader for watched in everyone)
        jobs = [job for watched in self._watched.values() for job in watched.follower.finish()]
        warnings = []
        for watched in everyone:
            self._count(watched)
        for name, watched in self._watched.items():
            if watched.reader.status.error_class is not None:
                warnings.append(f"camera {name} was away at the end: {watched.reader.status.last_error}")
        warnings += [f"camera {name} was not admitted: {why}" for name, why in self.refused.items()]
        self._watched, self._leaving = {}, []
        return jobs, warnings

    # -- one camera ------------------------------------------------------------------------------------------------

    def _start(self, camera: Camera) -> None:
        reader = self._make_reader(camera, self._epochs.pop(camera.name, 0))
        self._watched[camera.name] = Watched(camera, reader, self._make_follower(camera.name), self._clock())
        reader.start()

    def _remove(self, name: str) -> list[HealJob]:
        """The reader ends by itself, however its process hangs; nobody waits for it."""
        watched = self._watched.pop(name)
        watched.reader.request_stop()
        self._leaving.append(watched)
        self._epochs[name] = watched.reader.status.epoch + 1
        return watched.follower.finish()

    def _refuse(self, camera: Camera, why: str) -> None:
        if camera.name not in self.refused:
            self._counters.add("cameras.refused")
            log.warning("camera %s is not admitted: %s; it is tried again when there is room", camera.name, why)
        self._waiting[camera.name] = camera
        self.refused[camera.name] = why

    def _over_count(self) -> str | None:
        most = self._limits.cameras
        return f"limits.cameras is {most}" if most is not None and len(self._watched) >= most else None

    def _over_load(self) -> str | None:
        added = sum(self._clock() - watched.since < WINDOW for watched in self._watched.values())
        why = self._headroom.refusal(self._limits.load, streaming=self.here, added=added)
        if why is None:
            return None
        seen = [watched.reader.status for watched in self._watched.values()]
        came = sum(status.frames + status.dropped for status in seen)
        dropped = sum(status.dropped for status in seen)
        return why + (f"; {dropped / came:.0%} of the frames so far were dropped" if dropped else "")

    def _count(self, watched: Watched) -> None:
        status, add = watched.reader.status, self._counters.add
        for cause, count in status.drops.items():
            add(f"dropped.reader.{cause}", count)
            add(f"camera.{status.name}.dropped.{cause}", count)
        for error, count in status.errors.items():
            add(f"camera.{status.name}.errors.{error}", count)
        add(f"camera.{status.name}.frames", status.frames)
        add(f"camera.{status.name}.reconnects", status.reconnects)
        add("reconnects", status.reconnects)
