"""What was found in a recording and what was published of it, kept on disk, so that a killed run goes on.

Everything after detection follows from the pictures and the detections alone. So a run that starts again decodes from
the beginning (fast), takes the logged detections instead of detecting (slow), and arrives at exactly the tracks,
galleries and event ids that it had, without a snapshot of anybody's inner state. What the log says was published is
not healed again.

The file is a header line, then checked records. A record that a kill cut short, or that doesn't check, and all behind
it, are dropped when the file is opened. One process at a time has it open.
"""

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from streamheal.errors import SinkError
from streamheal.records import Face

_HEAD = struct.Struct("<BII")  # kind and two numbers
_FRAME, _PUBLISHED, _END = range(3)  # (sequence, faces) and the faces; (track, revision); (0, 0)
_CHECK = struct.Struct("<I")  # CRC-32 of all before it in the record
_FACE = 4 + 10 + 1  # box, landmarks, score as float32
_MAX_FACES = 10_000


class RunLog:
    """The memory of one run over one recording. Raises SinkError where the file can't be written."""

    def __init__(self, path: Path, run: str):
        self._faces: dict[int, list[Face]] = {}
        self.published: set[tuple[int, int]] = set()  # (track, revision)
        self.complete = False
        header = json.dumps({"streamheal": "run log", "version": 1, "run": run}).encode() + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_alone(path)
            data = self._file.read()
            whole = self._read(data, len(header)) if data.startswith(header) else 0
            self._file.truncate(whole)
            self._file.seek(whole)
            if whole == 0:
                self._file.write(header)
                self._file.flush()
        except BlockingIOError as error:
            raise SinkError(
                f"another process is healing this recording: it holds {path}; wait until it ends"
            ) from error
        except OSError as error:
            raise SinkError(f"progress can't be kept in {path}: {error.strerror}; name another output.path") from error
        self.resumed = len(self._faces)

    def _read(self, data: bytes, at: int) -> int:
        """Take in the records from `at` on; returns where the last whole one ends."""
        for kind, first, second, body, end in _records(data, at):
            if kind == _FRAME:
                values = np.frombuffer(body, "<f4").reshape(second, _FACE)
                self._faces[first] = [Face(v[:4].copy(), v[4:14].reshape(5, 2).copy(), float(v[14])) for v in values]
            elif kind == _PUBLISHED:
                self.published.add((first, second))
            else:
                self.complete = True
            at = end
        return at

    def faces(self, sequence: int) -> list[Face] | None:
        """The faces found in the frame, or None if it was not looked at yet. Each is handed out once."""
        return self._faces.pop(sequence, None)

    def found(self, sequence: int, faces: Sequence[Face]) -> None:
        rows = [np.concatenate([f.box, f.landmarks.ravel(), [f.score]]).astype("<f4").tobytes() for f in faces]
        self._write(_FRAME, sequence, len(rows), b"".join(rows))

    def publish(self, track: int, revision: int) -> None:
        """Note that every sink has taken this revision."""
        self.published.add((track, revision))
        self._write(_PUBLISHED, track, revision)

    def finish(self) -> None:
        """Note that the recording was followed to its end and all its events are published."""
        if not self.complete:
            self._write(_END, 0, 0)
            self.complete = True

    def _write(self, kind: int, first: int, second: int, body: bytes = b"") -> None:
        try:
            self._file.write(_record(kind, first, second, body))
            self._file.flush()
        except OSError as error:
            raise SinkError(f"progress can't be kept: {error.strerror}; what was healed is whole") from error

    def close(self) -> None:
        self._file.close()


def has_faces(path: Path) -> bool:
    """Whether boxes and landmarks are in the log at `path`. Raises OSError where it can't be read."""
    data = path.read_bytes()
    return any(kind == _FRAME and count for kind, _, count, _, _ in _records(data, data.find(b"\n") + 1))


def drop_faces(path: Path) -> bool:
    """Delete what was found from the log at `path`, and keep what was published: faces are gone, and still nothing is
    published twice. A run that was cut short detects anew. False, and nothing changes, if a process has the log open.

    Raises OSError where it can't be done; then the log is what it was.
    """
    try:
        file = _open_alone(path)
    except BlockingIOError:
        return False
    with file:
        data = file.read()
        at = data.find(b"\n") + 1
        part = path.with_suffix(".part")
        kept = [_record(kind, first, second) for kind, first, second, _, _ in _records(data, at) if kind != _FRAME]
        with part.open("wb") as new:
            new.write(data[:at] + b"".join(kept))
            new.flush()
            os.fsync(new.fileno())
        part.replace(path)
    return True


def _records(data: bytes, at: int) -> Iterator[tuple[int, int, int, bytes, int]]:
    """(kind, first, second, body, where it ends) of the whole records from `at` on."""
    while at + _HEAD.size <= len(data):
        kind, first, second = _HEAD.unpack_from(data, at)
        count = second if kind == _FRAME else 0
        end = at + _HEAD.size + 4 * _FACE * count
        if kind > _END or count > _MAX_FACES or end + _CHECK.size > len(data):
            return
        if _CHECK.unpack_from(data, end)[0] != zlib.crc32(data[at:end]):
            return
        yield kind, first, second, data[at + _HEAD.size : end], end + _CHECK.size
        at = end + _CHECK.size


def _record(kind: int, first: int, second: int, body: bytes = b"") -> bytes:
    record = _HEAD.pack(kind, first, second) + body
    return record + _CHECK.pack(zlib.crc32(record))


def _open_alone(path: Path) -> BinaryIO:
    """The file at `path`, made if there is none, for this process alone. BlockingIOError if another has it."""
    while True:
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        except FileNotFoundError:
            pass
        except OSError:
            file.close()
            raise
        file.close()  # `drop_faces` put another in its place meanwhile
