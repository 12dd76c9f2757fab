"""What was found in a recording and what was published of it, kept on disk, so that a killed run goes on.

Everything after detection follows from the pictures and the detections alone. So a run that starts again decodes from
the beginning (fast), takes the logged detections instead of detecting (slow), and arrives at exactly the tracks,
galleries and event ids that it had, without a snapshot of anybody's inner state. What the log says was published is
not healed again.

The file is a header line, then checked records. A record that a kill cut short, or that doesn't check, and all behind
it, are dropped when the file is opened.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

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
            data = path.read_bytes() if path.exists() else b""
            whole = self._read(data, len(header)) if data.startswith(header) else 0
            self._file = path.open("r+b" if data else "w+b")
            self._file.truncate(whole)
            self._file.seek(whole)
            if whole == 0:
                self._file.write(header)
                self._file.flush()
        except OSError as error:
            raise SinkError(f"progress can't be kept in {path}: {error.strerror}; name another output.path") from error
        self.resumed = len(self._faces)

    def _read(self, data: bytes, at: int) -> int:
        """Take in the records from `at` on; returns where the last whole one ends."""
        while at + _HEAD.size <= len(data):
            kind, first, second = _HEAD.unpack_from(data, at)
            count = second if kind == _FRAME else 0
            end = at + _HEAD.size + 4 * _FACE * count
            if kind > _END or count > _MAX_FACES or end + _CHECK.size > len(data):
                break
            if _CHECK.unpack_from(data, end)[0] != zlib.crc32(data[at:end]):
                break
            if kind == _FRAME:
                values = np.frombuffer(data, "<f4", _FACE * count, at + _HEAD.size).reshape(count, _FACE)
                self._faces[first] = [Face(v[:4].copy(), v[4:14].reshape(5, 2).copy(), float(v[14])) for v in values]
            elif kind == _PUBLISHED:
                self.published.add((first, second))
            else:
                self.complete = True
            at = end + _CHECK.size
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
        record = _HEAD.pack(kind, first, second) + body
        try:
            self._file.write(record + _CHECK.pack(zlib.crc32(record)))
            self._file.flush()
        except OSError as error:
            raise SinkError(f"progress can't be kept: {error.strerror}; what was healed is whole") from error

    def close(self) -> None:
        self._file.close()
