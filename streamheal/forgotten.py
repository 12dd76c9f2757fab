"""What may not be published (again): the memory of deletions, and the gate between publishing and deleting.

A recording that is healed again would bring back what was deleted, and a track that is still in the picture would go
on being published. So a deletion first writes down what it deletes: hashes of event ids (`run/camera/epoch/track/
revision`) and of tracks (`run/camera/epoch/track`), one a line. Who publishes passes `publishing`, where a lock makes
sure that nothing is on its way to a sink while it is written down: what passed before can be found and deleted, what
comes later is held back.

What waits in Kafka can't be searched. So a deletion also writes down what was asked for (a camera, a track of any run,
or everything) and until when, and a heal worker holds back what was sent before then.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streamheal.errors import SinkError, not_written
from streamheal.records import HealJob

EVERYTHING = "*"  # no camera's name


class Forgotten:
    """The list in the folder `state`. Use it from one thread. Raises SinkError where it can't be read or written."""

    def __init__(self, state: Path):
        self._path = path = state / "forgotten"
        try:
            state.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b", buffering=0)
        except OSError as error:
            text = f"{path} can't be used: {error.strerror}; check the folder and its permissions"
            raise not_written(text, error) from error
        self._known: set[bytes] = set()
        self._until: dict[bytes, float] = {}  # UTC seconds
        self._read = 0  # bytes

    def add(self, names: Iterable[str], *, until: tuple[str, float] | None = None) -> None:
        """From now on nothing of these events and tracks is published. On disk when this returns.

        `until`: and nothing of this camera, of this track (`camera/epoch/track`, or with its run before it), or of
        EVERYTHING, that was sent before a moment (UTC seconds).
        """
        lines = b"".join(_hash(name) + b"\n" for name in sorted(set(names)))
        if until is not None:
            lines += b"%s %.3f\n" % (_hash(until[0]), until[1])
        if not lines:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                if self._ends_within_a_line():
                    lines = b"\n" + lines  # a crash cut the last one short
                while lines:
                    lines = lines[self._file.write(lines) :]
                os.fsync(self._file.fileno())
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}; nothing was deleted") from error

    def __contains__(self, job: HealJob) -> bool:
        return self.holds(job.id)

    def holds(self, id: str, sent_at: float = float("inf")) -> bool:
        """Whether the event `run/camera/epoch/track/revision`, sent at that moment (UTC seconds), is held back."""
        self._look()
        track = id.rpartition("/")[0]
        if _hash(id) in self._known or _hash(track) in self._known:
            return True
        of_any_run = track.partition("/")[2]
        camera = of_any_run.rsplit("/", 2)[0]
        names = (EVERYTHING, camera, of_any_run, track) if self._until else ()
        return any(sent_at < self._until.get(_hash(name), 0.0) for name in names)

    @contextmanager
    def publishing(self, job: HealJob) -> Iterator[bool]:
        """While the sinks are given what came of `job`: False if they must not be."""
        with self.unchanged():
            yield job not in self

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """While inside, nothing is added: what `holds` says stays so."""
        fcntl.flock(self._file, fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        self._file.close()

    def _look(self) -> None:
        """Take in what was added since."""
        size = os.fstat(self._file.fileno()).st_size
        if size > self._read:
            new = os.pread(self._file.fileno(), size - self._read, self._read)
            whole = new[: new.rfind(b"\n") + 1]
            for line in whole.splitlines():
                name, _, until = line.partition(b" ")
                if until:
                    self._until[name] = max(self._until.get(name, 0.0), _seconds(until))
                else:
                    self._known.add(name)
            self._read += len(whole)

    def _ends_within_a_line(self) -> bool:
        size = os.fstat(self._file.fileno()).st_size
        return size > 0 and os.pread(self._file.fileno(), 1, size - 1) != b"\n"


def _seconds(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:  # a crash cut the line short
        return 0.0


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).hexdigest()[:32].encode()
