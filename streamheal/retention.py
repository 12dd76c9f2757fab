"""Deletion: of what has been kept for long enough, and of what somebody asks to forget.

Age counts from when a face was healed and came onto this disk, by this machine's clock: seconds after it was seen for
cameras. The times of cameras themselves don't decide: one whose clock is wrong would keep faces for years, or lose
them at once; nor those of recordings, which often name none.

What is deleted, in this order, so that a deletion killed at any moment is completed by the next one:
1. it is written down that these events are not to be published again (`forgotten`),
2. pictures, 3. lines of events.jsonl, 4. the report, if it may show them, 5. rows of the outbox, 6. boxes and landmarks
in the logs of recordings. A run may be at work meanwhile. What has left through Kafka is with its consumers.
"""

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streamheal.errors import SinkError, StreamhealError
from streamheal.faces.run_log import drop_faces, has_faces
from streamheal.forgotten import EVERYTHING, Forgotten
from streamheal.kept import Kept
from streamheal.publish.cloud_event import iso_time
from streamheal.publish.event_file import change_events, events_in, sync_folder
from streamheal.publish.folder import picture_path
from streamheal.publish.outbox import Outbox
from streamheal.publish.report import NAME as REPORT

log = logging.getLogger(__name__)

SWEEP_EVERY = 300.0  # seconds: so much later than its time a face may go
_HEALED_AT = re.compile(rb'"healed_at":"([^"]+)"')
STOP_WITHIN = 1.0  # seconds that the end of a run waits for a sweep


@dataclass(frozen=True, slots=True)
class Which:
    """Which faces are meant: those that meet all that is given."""

    camera: str | None = None
    track: str | None = None
    """`camera/epoch/track`, of every run; or `run/camera/epoch/track`."""
    before: float | None = None
    """UTC seconds: healed before then."""

    def meets(self, id: str, healed_at: float) -> bool:
        """Whether the event `run/camera/epoch/track/revision` is meant."""
        track = track_of(id)
        return (
            (self.camera is None or track.split("/")[-3:-2] == [self.camera])
            and (self.track is None or f"/{track}".endswith(f"/{self.track}"))
            and (self.before is None or healed_at < self.before)
        )

    def until(self, now: float) -> tuple[str, float] | None:
        """The same of what can't be searched: a track, a camera, or EVERYTHING, and the moment before which it was
        sent; not later than `now` (UTC seconds), since another run gives other people the same tracks. None if nothing
        is meant."""
        if self.track and self.camera and self.track.split("/")[-3] != self.camera:
            return None
        return self.track or self.camera or EVERYTHING, now if self.before is None else min(now, self.before)

    def meets_event(self, event: dict) -> bool:
        """The same of a line of events.jsonl."""
        return self.meets(event["id"], healed_at(event))

    def may_meet(self, line: bytes) -> bool:
        """A quick look at a line that may spare parsing it: False only if it can't be meant."""
        if self.camera is not None and json.dumps(self.camera).encode() not in line:
            return False
        found = None if self.before is None else _HEALED_AT.search(line)
        # In one format, so letters sort as times do; a second more, as lines hold microseconds.
        return found is None or found[1] < iso_time(self.before + 1).encode()


@dataclass(slots=True)
class Found:
    """What is meant and there; after `delete`, what was deleted."""

    events: list[str] = field(default_factory=list)
    """Ids, in the folder."""
    pictures: list[Path] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    """Ids, in the outbox: what waits, and dead letters."""
    logs: list[Path] = field(default_factory=list)
    """Logs of recordings whose boxes and landmarks go."""
    busy: list[Path] = field(default_factory=list)
    """Logs that a run holds: theirs stay until it has ended."""
    report: Path | None = None
    """It may show them."""

    def __bool__(self) -> bool:
        return bool(self.events or self.pictures or self.waiting or self.logs or self.report)

    def add(self, other: "Found") -> None:
        """Take in what another place had."""
        for name in ("events", "pictures", "waiting", "logs", "busy"):
            getattr(self, name).extend(getattr(other, name))
        self.report = self.report or other.report

    @property
    def ids(self) -> list[str]:
        return sorted({*self.events, *self.waiting})

    def counts(self) -> dict[str, int]:
        return {
            "events": len(self.events),
            "pictures": len(self.pictures),
            "outbox": len(self.waiting),
            "logs": len(self.logs),
            "report": int(self.report is not None),
        }


def find(kept: Kept, which: Which) -> Found:
    """What `which` means, and where it is kept. Changes nothing. Raises SinkError where that can't be read."""
    found = Found()
    if kept.has_events:
        for event in events_in(kept.folder, which.may_meet):
            if which.meets_event(event):
                found.events.append(event["id"])
                paths = (picture_path(kept.folder, name) for name in event["pictures"].values())
                found.pictures += [path for path in paths if path.exists()]
        if found.events and (kept.folder / REPORT).exists():
            found.report = kept.folder / REPORT
    if kept.outbox is not None and kept.outbox.exists():
        with closing(Outbox(kept.outbox, create=False)) as outbox:
            rows = outbox.entries(dead=False) + outbox.entries(dead=True)
        found.waiting = [row.id for row in rows if which.meets(row.id, row.added_ns / 1e9)]
    found.logs = _logs(kept, which, found.ids)
    return found


def delete(
    kept: Kept,
    which: Which,
    *,
    remember: bool = True,
    waiting: bool = True,
    clock: Callable[[], float] = time.time,
) -> Found:
    """Delete what `which` means, for good. Says what was deleted.

    `remember`: nothing of it is published again, also not later revisions of a track that was named; with `waiting`
    nor what of it waits in Kafka for a heal worker that keeps its state here. `clock` gives UTC seconds.
    Raises SinkError where something can't be deleted; then the same call again goes on.
    """
    with kept.upkeep():
        found = find(kept, which)
        if remember:
            tracks = {track_of(id) for id in found.ids} if which.track else set()
            if which.track and which.track.count("/") == 3:
                tracks.add(which.track)  # it may go on, though nothing of it lies here now
            with closing(Forgotten(kept.state)) as forgotten:
                forgotten.add([*found.ids, *tracks], until=which.until(clock()) if waiting else None)
        try:
            _delete_pictures(found.pictures)
            if found.events:
                known = set(found.events)
                change_events(kept.folder, lambda event: _without(kept, which, event, known, found), which.may_meet)
            if found.report:
                found.report.unlink(missing_ok=True)
            if found.waiting:
                with closing(Outbox(kept.outbox, create=False)) as outbox:
                    before = None if which.before is None else round(which.before * 1e9)
                    outbox.forget(camera=which.camera, track=which.track, before_ns=before)
            found.busy = [path for path in found.logs if not drop_faces(path)]
            found.logs = [path for path in found.logs if path not in found.busy]
        except OSError as error:
            raise SinkError(
                f"{error.filename or kept.state}: {error.strerror}; mend that, and do the same again"
            ) from error
    return found


def expire(kept: Kept, before: float) -> Found:
    """Delete everything that was healed before `before` (UTC seconds), pictures that a crash left without their
    event, and an old report."""
    # An id of a camera's run never comes again: remembering those would only fill the disk.
    found = delete(kept, Which(before=before), remember=not kept.live, waiting=False)
    if kept.folder is None:
        return found
    with kept.upkeep():
        orphans = _orphans(kept, before)
        _delete_pictures(orphans)
        found.pictures += orphans
        report = kept.folder / REPORT
        if report.exists() and report.stat().st_mtime < before:
            report.unlink(missing_ok=True)
            found.report = report
    return found


@contextmanager
def sweeping(
    kept: Kept,
    retention: Callable[[], timedelta | None],
    *,
    clock: Callable[[], float] = time.time,
    every: float = SWEEP_EVERY,
) -> Iterator[None]:
    """Delete what is kept for longer than `retention` says: now, and every `every` seconds until the block ends.

    It is asked each time, as a live run's file may say something else by then; None deletes nothing. What fails is
    logged and tried again the next time: a run doesn't end for it.
    """
    stop = threading.Event()

    def sweep() -> None:
        if (longest := retention()) is None:
            return
        try:
            if found := expire(kept, clock() - longest.total_seconds()):
                kept.audit.note("deletion", why="retention", **found.counts())
        except (StreamhealError, OSError, ValueError) as error:  # ValueError: a line that is no event
            log.warning("retention: %s; it is tried again in %.0f s", error, every)

    def run() -> None:
        while not stop.wait(every):
            sweep()

    sweep()
    thread = threading.Thread(target=run, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_WITHIN)  # a sweep that is cut short is completed by the next one


def healed_at(event: dict) -> float:
    """UTC seconds."""
    return datetime.fromisoformat(event["healed_at"]).astimezone(UTC).timestamp()


def track_of(id: str) -> str:
    """`run/camera/epoch/track` of an event."""
    return id.rpartition("/")[0]


def _without(kept: Kept, which: Which, event: dict, known: set[str], found: Found) -> dict | None:
    """For `change_events`. What came since `find` goes with its pictures; those of the `known` are gone already."""
    if not which.meets_event(event):
        return event
    if event["id"] not in known:
        late = [picture_path(kept.folder, name) for name in event["pictures"].values()]
        _delete_pictures([path for path in late if path.exists()])
        found.events.append(event["id"])
    return None


def _delete_pictures(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in paths}:
        sync_folder(folder)


def _orphans(kept: Kept, before: float) -> list[Path]:
    """Old pictures of which no event tells: a run was killed between the two."""
    old = [path for path in kept.folder.glob("faces/*/*") if path.is_file() and path.stat().st_mtime < before]
    if not old or not kept.has_events:
        return old
    told = {kept.folder / name for event in events_in(kept.folder) for name in event["pictures"].values()}
    return [path for path in old if path not in told]


def _logs(kept: Kept, which: Which, ids: list[str]) -> list[Path]:
    """The logs of the recordings in which these events were found, and of those that are meant as a whole."""
    meant = {f"{camera}-{run}" for run, camera, *_ in (id.rsplit("/", 4) for id in ids)}

    def is_meant(path: Path) -> bool:
        if which.track is not None:
            return False
        of_camera = which.camera is None or path.stem.rpartition("-")[0] == which.camera
        return of_camera and (which.before is None or path.stat().st_mtime < which.before)

    return [path for path in kept.logs if (path.stem in meant or is_meant(path)) and has_faces(path)]
