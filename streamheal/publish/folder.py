"""The folder sink: pictures that a person can open, and one line of JSON per event.

    DIR/events.jsonl
    DIR/faces/RUN/CAMERA-eEPOCH-tTRACK-rREVISION-original.png, -occlusion.png, -evidence.png, -restored.png,
        -hallucinated.png

An event's line is written after its pictures, so a line always has its pictures beside it. Lines are the memory of
what was published: the same id again adds nothing, also after a crash.

With a key the pictures are sealed (`…-original.png.sealed`), and so are the embeddings in the lines (base64 of the
sealed bytes); `"sealed"` names the key. The rest of a line stays readable: when, where, how good.
"""

import base64
import contextlib
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamheal.errors import SinkError, not_written
from streamheal.publish import event
from streamheal.publish.cloud_event import iso_time
from streamheal.publish.event_file import EventFile, events_in
from streamheal.publish.face_pictures import pictures_of
from streamheal.records import HealedFace
from streamheal.vault import Vault

KINDS = ("original", "occlusion", "evidence", "restored", "hallucinated")
EMBEDDINGS = ("original", "track_mean", "restored")
"""Where in a line an embedding stands."""
SEALED = ".sealed"


class FolderSink:
    """Writes healed faces below `path`, sealed if `vault` has a key. Raises SinkError where nothing can be written.

    `clock` gives UTC seconds: an event says when it was healed, and its time to be kept counts from there.
    `remember=False` where no id comes twice, as in a live run: memory then doesn't grow with the events.
    """

    name = "folder"

    def __init__(
        self,
        path: Path,
        *,
        vault: Vault | None = None,
        clock: Callable[[], float] = time.time,
        remember: bool = True,
    ):
        self.path = path
        self._remember = remember
        self._vault = vault or Vault()
        self._clock = clock
        try:
            (path / "faces").mkdir(parents=True, exist_ok=True)
            self._events = EventFile(path)
            there = self._events.recover()
            self._published = set(there) if remember else set()
        except OSError as error:
            text = f"output.path {path} can't be written: {error.strerror}; choose another folder"
            raise not_written(text, error) from error

    def add(self, face: HealedFace) -> None:
        if face.id in self._published:
            return
        pictures = pictures_of(face)
        ending = SEALED if self._vault.key_id else ""
        names = {kind: picture_name(face, kind) + ending for kind in pictures}
        line = {**event.to_json(face), "pictures": names, "healed_at": iso_time(self._clock())}
        if self._vault.key_id:
            _seal_embeddings(line, face, self._vault)
        try:
            for kind, name in names.items():
                target = self.path / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(self._vault.seal(pictures[kind], about(face.id, kind)))
            self._events.append(line)
        except OSError as error:
            for name in names.values():
                with contextlib.suppress(OSError):
                    (self.path / name).unlink(missing_ok=True)
            raise SinkError(f"output.path {self.path}: {error.strerror}; what was written before is whole") from error
        if self._remember:
            self._published.add(face.id)

    def flush(self, timeout: float) -> bool:
        return True  # add() has already brought it to the disk

    def counts(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self._events.close()


def picture_name(face: HealedFace, kind: str) -> str:
    """Where a picture lies below the output folder: `faces/RUN/gate-e0-t00012-r01-original.png`."""
    job = face.job
    camera = re.sub(r"[^A-Za-z0-9_.-]", "_", job.camera)
    run = re.sub(r"[^A-Za-z0-9_.-]", "_", job.run)
    return f"faces/{run}/{camera}-e{job.epoch}-t{job.track:05d}-r{job.revision:02d}-{kind}.png"


def picture_path(folder: Path, name: str) -> Path:
    """Where the picture `name` of an event lies. Raises SinkError for a name that leads out of `folder`/faces: then
    somebody else wrote that line."""
    path = folder / name
    if not path.resolve().is_relative_to((folder / "faces").resolve()):
        raise SinkError(
            f"{folder / 'events.jsonl'} names the picture {name!r}, which is not below faces/; mend the line"
        )
    return path


def read_events(folder: Path) -> list[dict]:
    """The events in `folder`, in the order of publication."""
    return list(events_in(folder))


def read_picture(folder: Path, event: dict, kind: str, vault: Vault) -> bytes:
    """The PNG of an event's picture. Raises VaultError if it doesn't open, OSError if it is not there."""
    data = picture_path(folder, event["pictures"][kind]).read_bytes()
    return vault.open(data, about(event["id"], kind))


def read_embedding(event: dict, of: str, vault: Vault) -> np.ndarray | None:
    """One of the EMBEDDINGS of an event, `(D,)` float32, L2-normalised; None where it has none.

    Raises VaultError if it doesn't open."""
    said = embedding_in(event, of)
    if isinstance(said, str):
        return np.frombuffer(vault.open(base64.b64decode(said), about(event["id"], f"{of} embedding")), "<f4")
    return None if said is None else np.array(said, np.float32)


def embedding_in(event: dict, of: str) -> list[float] | str | None:
    """As it stands in the line: sealed (str), plain, or None where there is none, as in lines of older versions."""
    return (event.get(of) or {}).get("embedding")


def seal_embedding(values: np.ndarray, id: str, of: str, vault: Vault) -> str:
    """An embedding as it stands in a line: base64 of sealed little-endian float32."""
    return base64.b64encode(vault.seal(values.astype("<f4").tobytes(), about(id, f"{of} embedding"))).decode()


def about(id: str, what: str) -> str:
    """Where a sealed value of the folder belongs."""
    return f"folder {id} {what}"


def _seal_embeddings(line: dict, face: HealedFace, vault: Vault) -> None:
    line["sealed"] = vault.key_id
    of_face = (face.embedding_original, face.embedding_track, face.embedding_restored)
    for of, values in zip(EMBEDDINGS, of_face, strict=True):
        if embedding_in(line, of) is not None:
            line[of]["embedding"] = seal_embedding(values, face.id, of, vault)
