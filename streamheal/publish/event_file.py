"""events.jsonl: one process adds lines, any process may take lines out or change them, and neither harms the other.

Who changes lines writes them into a second file and puts that in the place of the first, so a kill at any moment
leaves the one or the other, whole. A lock on the file itself keeps the moment of exchange and additions apart; who
finds after locking that the file was exchanged opens the new one.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

NAME = "events.jsonl"


class EventFile:
    """The events in `folder`, open for adding. Raises OSError where the file can't be read or written."""

    def __init__(self, folder: Path):
        self._path = folder / NAME
        self._file = self._open()

    def recover(self) -> list[str]:
        """The ids of the events that are there; a last line that a crash cut short is taken away."""
        ids, whole = [], 0
        with self._locked(), self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                ids.append(json.loads(line)["id"])
            self._file.truncate(whole)
        return ids

    def append(self, event: dict) -> None:
        """Add a line: all of it, on the disk; or nothing of it, and OSError."""
        line = to_line(event)
        with self._locked():
            end = os.fstat(self._file.fileno()).st_size
            try:
                while line:
                    line = line[self._file.write(line) :]
                os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(end)
                raise

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        while not _same(self._file, self._path):
            self._file.close()
            self._file = self._open()
            fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _open(self) -> BinaryIO:
        return self._path.open("ab", buffering=0)


def events_in(folder: Path, maybe: Callable[[bytes], bool] = lambda line: True) -> Iterator[dict]:
    """The events in `folder`, in the order of publication; without those whose line `maybe` says no to: a quick look
    that saves parsing most of a large file."""
    with (folder / NAME).open("rb") as file:
        yield from (json.loads(line) for line in _lines(file) if maybe(line))


def change_events(
    folder: Path, change: Callable[[dict], dict | None], maybe: Callable[[bytes], bool] = lambda line: True
) -> int:
    """Put what `change` makes of each event in its place; None takes the event out. How many were changed. Events
    whose line `maybe` says no to stay as they are.

    One process at a time may do this to a folder. Additions wait only while the last few lines are changed. What
    `change` does besides (deleting pictures) is done before the line goes: killed in between, all is done again.
    """
    path, part = folder / NAME, folder / f"{NAME}.part"
    changed = 0

    def copy(old: BinaryIO, new: BinaryIO) -> None:
        nonlocal changed
        for line in _lines(old):
            if maybe(line):
                event = json.loads(line)
                put = change(event)
                if put is not event:
                    changed += 1
                    line = b"" if put is None else to_line(put)
            new.write(line)

    try:
        with path.open("rb") as old, part.open("wb") as new:
            copy(old, new)
            fcntl.flock(old, fcntl.LOCK_EX)
            copy(old, new)  # what came meanwhile
            if changed:
                new.flush()
                os.fsync(new.fileno())
                part.replace(path)
                sync_folder(folder)
    finally:
        part.unlink(missing_ok=True)
    return changed


def to_line(event: dict) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def sync_folder(folder: Path) -> None:
    """Names that were given or taken away in `folder` outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The whole lines from where `file` is; leaves it before a line that is still being written."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(at)
            return
        yield line


def _same(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:  # somebody cleared the folder
        return False
