"""The folder sink: pictures that a person can open, and one line of JSON per event.

    DIR/events.jsonl
    DIR/faces/RUN/CAMERA-eEPOCH-tTRACK-rREVISION-original.png, -occlusion.png, -evidence.png, -restored.png

An event's line is written after its pictures, so a line always has its pictures beside it. Lines are the memory of
what was published: the same id again adds nothing, also after a crash.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from streamheal.errors import SinkError
from streamheal.publish import event
from streamheal.publish.pictures import grey, png, restored_png
from streamheal.records import HealedFace

KINDS = ("original", "occlusion", "evidence", "restored")


class FolderSink:
    """Writes healed faces below `path`. Raises SinkError where nothing can be written."""

    name = "folder"

    def __init__(self, path: Path):
        self.path = path
        try:
            (path / "faces").mkdir(parents=True, exist_ok=True)
            self._events = (path / "events.jsonl").open("a+b")
            self.published = {e["id"] for e in self._recover()}
        except OSError as error:
            raise SinkError(f"output.path {path} can't be written: {error.strerror}; choose another folder") from error

    def _recover(self) -> Iterator[dict]:
        """The events already there; a last line that a crash cut short is taken away."""
        self._events.seek(0)
        whole = 0
        for line in self._events:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            yield json.loads(line)
        self._events.truncate(whole)

    def add(self, face: HealedFace) -> None:
        if face.id in self.published:
            return
        pictures = {
            "original": png(face.original),
            "occlusion": png(grey(face.visible)),
            "evidence": png(grey(face.evidence)),
            "restored": restored_png(face),
        }
        names = {kind: picture_name(face, kind) for kind, data in pictures.items() if data is not None}
        line = json.dumps({**event.to_json(face), "pictures": names}, separators=(",", ":"))
        try:
            for kind, name in names.items():
                target = self.path / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(pictures[kind])
            self._events.write(line.encode() + b"\n")
            self._events.flush()
            os.fsync(self._events.fileno())
        except OSError as error:
            raise SinkError(f"output.path {self.path}: {error.strerror}; what was written before is whole") from error
        self.published.add(face.id)

    def flush(self, timeout: float) -> bool:
        return True  # add() has already brought it to the disk

    def close(self) -> None:
        self._events.close()


def picture_name(face: HealedFace, kind: str) -> str:
    """Where a picture lies below the output folder: `faces/RUN/gate-e0-t00012-r01-original.png`."""
    job = face.job
    camera = re.sub(r"[^A-Za-z0-9_.-]", "_", job.camera)
    run = re.sub(r"[^A-Za-z0-9_.-]", "_", job.run)
    return f"faces/{run}/{camera}-e{job.epoch}-t{job.track:05d}-r{job.revision:02d}-{kind}.png"


def read_events(path: Path) -> list[dict]:
    """The events in the folder at `path`, in the order of publication."""
    lines = (path / "events.jsonl").read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]
