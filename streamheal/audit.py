"""The audit log: who started, stopped, changed, exported and deleted what, when. Lines are only ever added.

Each line holds the SHA-256 of the line before it, so a line that is changed, taken out or put in between shows
(`verify`). What a chain can't show is a log that was cut at its end or written anew from a point on; who fears that
keeps the last line's hash elsewhere: `streamheal audit` prints it, and `verify(path, holds=…)` asks for it.

Several processes may write at once: a file lock puts their lines in order. A line that a crash cut short stays where
it is, and the next writer notes it.
"""

import fcntl
import getpass
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from streamheal.errors import SinkError, not_written, redact

START = "0" * 64
CUT_SHORT = "a line was cut short"


class Audit:
    """Writes to the log at `path`, which is made with the first line. `clock` gives UTC seconds."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time):
        self.path = path
        self._clock = clock

    def note(self, what: str, /, **facts: object) -> None:
        """Add a line, on disk when this returns. Secrets in URLs are taken out of `facts`.

        Raises SinkError where it can't be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)  # goes with the handle, also in a process that is killed
                last, whole = _last_line(handle)
                lines = b""
                if not whole:
                    lines = b"\n" + (cut := self._line(CUT_SHORT, {"bytes": len(last)}, last))
                    last = cut.rstrip(b"\n")
                _write(handle, lines + self._line(what, facts, last))
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            text = f"audit log {self.path} can't be written: {error.strerror}"
            raise not_written(f"{text}; nothing that must be in it is done without", error) from error

    def _line(self, what: str, facts: dict[str, object], last: bytes | None) -> bytes:
        said = {
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds"),
            "user": _user(),
            "what": what,
            "facts": {name: _plain(value) for name, value in facts.items()},
            "before": START if last is None else _hash(last),
        }
        return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def hash_of(id: str) -> str:
    """How an event's id stands in the log: who has the id can find it, the log itself names nobody."""
    return hashlib.sha256(id.encode()).hexdigest()[:32]


@dataclass(slots=True)
class Verdict:
    """What `verify` found. The numbers of lines count from 1."""

    lines: int = 0
    cut: list[int] = field(default_factory=list)
    """Lines that a crash cut short: not whole, and no sign of tampering."""
    wrong: list[str] = field(default_factory=list)
    last: str = START
    """The hash of the last line."""


def verify(path: Path, *, holds: str | None = None) -> Verdict:
    """Follow the chain of the log at `path`. `holds`: the hash of a line that must be in it, from an earlier verdict.

    Raises SinkError if it can't be read.
    """
    verdict, unread = Verdict(), 0  # unread: the number of a line that was not JSON, until the next one explains it
    found = holds is None or holds == START
    for number, line, whole in _lines(path):
        said = _parsed(line)
        if said is None:
            if unread:
                verdict.wrong.append(f"line {unread} is no line of this log")
            unread = number
            if not whole:  # the last line: nobody has written since
                verdict.cut.append(number)
                unread = 0
        else:
            if unread and said["what"] == CUT_SHORT:
                verdict.cut.append(unread)
            elif unread:
                verdict.wrong.append(f"line {unread} is no line of this log")
            unread = 0
            if said["before"] != verdict.last:
                verdict.wrong.append(
                    f"line {number} doesn't follow from the line before it: one of them was changed,"
                    " taken out or put in"
                )
        verdict.lines, verdict.last = number, _hash(line)
        found = found or verdict.last == holds
    if unread:
        verdict.wrong.append(f"line {unread} is no line of this log")
    if not found:
        verdict.wrong.append(f"no line has the hash {holds}: the log was cut or written anew")
    return verdict


def read(path: Path) -> Iterator[dict]:
    """The whole lines of the log, oldest first. Raises SinkError if it can't be read."""
    for _, line, _ in _lines(path):
        if (said := _parsed(line)) is not None:
            yield said


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number from 1, line, whether it is whole)"""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.rstrip(b"\n"), line.endswith(b"\n")
    except OSError as error:
        raise SinkError(f"audit log {path} can't be read: {error.strerror}; a run of the pipeline makes it") from error


def _parsed(line: bytes) -> dict | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) and {"what", "before"} <= said.keys() else None


def _last_line(handle: int) -> tuple[bytes | None, bool]:
    """The last line without its end, None if there is none yet; and whether it is whole."""
    size, window = os.fstat(handle).st_size, 4096
    while True:
        tail = os.pread(handle, window, max(0, size - window))
        _, newline, line = tail.removesuffix(b"\n").rpartition(b"\n")
        if newline or window >= size:
            return (line, tail.endswith(b"\n")) if tail else (None, True)
        window *= 2


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _plain(value: object) -> object:
    """`value` as JSON can say it, without secrets."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(inner) for inner in value]
    return redact(value)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
