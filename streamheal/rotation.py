"""A change of keys: everything that is kept is sealed anew under the key in use, after which older keys can go.

It may be killed at any moment and started again: each value names its own key, a picture is put in its place whole,
and a plain picture goes only when its event names the sealed one. A run may be at work meanwhile; one that began with
the older key goes on sealing with that, and `seals` shows it.
"""

import base64
import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from streamheal.errors import ConfigError, SinkError, VaultError
from streamheal.kept import Kept
from streamheal.publish.event_file import change_events, events_in
from streamheal.publish.folder import (
    EMBEDDINGS,
    SEALED,
    about,
    embedding_in,
    picture_path,
    read_embedding,
    seal_embedding,
)
from streamheal.publish.outbox import Outbox
from streamheal.publish.report import NAME as REPORT
from streamheal.vault import HEAD_BYTES, Vault, sealed_under


@dataclass(slots=True)
class Resealed:
    """What was sealed anew."""

    events: int = 0
    pictures: int = 0
    outbox: int = 0
    report: bool = False
    """A report lay there, which can't be sealed, and was deleted."""
    failed: list[str] = field(default_factory=list)
    """What doesn't open: a key is missing, or it was changed."""

    def counts(self) -> dict[str, int]:
        return {
            "events": self.events,
            "pictures": self.pictures,
            "outbox": self.outbox,
            "report": int(self.report),
            "failed": len(self.failed),
        }

    def add(self, other: "Resealed") -> None:
        """Take in what another place had."""
        self.events += other.events
        self.pictures += other.pictures
        self.outbox += other.outbox
        self.report |= other.report
        self.failed += other.failed


def rotate(kept: Kept, vault: Vault) -> Resealed:
    """Seal everything under the key in use, also what was kept plain until now.

    Raises ConfigError if the vault has no key, SinkError where something can't be read or written; then the same call
    again goes on.
    """
    if vault.key_id is None:
        raise ConfigError("there is no key to seal with; give encryption.use and encryption.keys (docs/privacy.md)")
    done = Resealed()
    try:
        with kept.upkeep():
            if kept.has_events:
                done.events = change_events(kept.folder, lambda event: _reseal(kept.folder, event, vault, done))
                _clear(kept.folder)
                done.report = (kept.folder / REPORT).exists()
                (kept.folder / REPORT).unlink(missing_ok=True)
            if kept.outbox is not None and kept.outbox.exists():
                with closing(Outbox(kept.outbox, create=False, vault=vault)) as outbox:
                    done.outbox, failed = outbox.reseal()
                    done.failed += failed
    except OSError as error:
        raise SinkError(f"{error.filename}: {error.strerror}; mend that, and do the same again") from error
    return done


def seals(kept: Kept) -> Counter[str | None]:
    """How many pictures, embeddings and rows of the outbox lie under which key; None: plain."""
    count: Counter[str | None] = Counter()
    if kept.has_events:
        for event in events_in(kept.folder):
            for of in EMBEDDINGS:
                if (said := embedding_in(event, of)) is not None:
                    count[sealed_under(base64.b64decode(said)) if isinstance(said, str) else None] += 1
        for path in kept.folder.glob("faces/*/*"):
            with path.open("rb") as file:
                count[sealed_under(file.read(HEAD_BYTES))] += 1
    if kept.outbox is not None and kept.outbox.exists():
        with closing(Outbox(kept.outbox, create=False)) as outbox:
            count += outbox.seals()
    return count


def _reseal(folder: Path, event: dict, vault: Vault, done: Resealed) -> dict:
    """The event with its embeddings sealed anew; its pictures are, when this returns. The same object if all was."""
    new = {**event, "pictures": {k: _reseal_picture(folder, event, k, vault, done) for k in event["pictures"]}}
    try:
        for of in EMBEDDINGS:
            values = read_embedding(event, of, vault)
            if values is not None and not _under(event[of]["embedding"], vault):
                new[of] = {**event[of], "embedding": seal_embedding(values, event["id"], of, vault)}
        new["sealed"] = vault.key_id
    except VaultError:
        done.failed.append(f"{event['id']} embedding")
    return event if new == event else new


def _under(embedding: list | str, vault: Vault) -> bool:
    return isinstance(embedding, str) and sealed_under(base64.b64decode(embedding)) == vault.key_id


def _reseal_picture(folder: Path, event: dict, kind: str, vault: Vault, done: Resealed) -> str:
    """The picture's name once it is sealed; the name that it has if it can't be."""
    name = event["pictures"][kind]
    path = picture_path(folder, name)
    if not path.exists():
        return name
    data, where = path.read_bytes(), about(event["id"], kind)
    if sealed_under(data) == vault.key_id:
        return name
    try:
        again = vault.seal(vault.open(data, where), where)
    except VaultError:
        done.failed.append(name)
        return name
    target = path if name.endswith(SEALED) else path.with_name(path.name + SEALED)
    part = target.with_name(target.name + ".part")
    with part.open("wb") as file:
        file.write(again)
        file.flush()
        os.fsync(file.fileno())
    part.replace(target)
    done.pictures += 1
    return name.removesuffix(SEALED) + SEALED


def _clear(folder: Path) -> None:
    """Plain pictures that lie sealed beside, and what a kill left half written."""
    told = {name for event in events_in(folder) for name in event["pictures"].values()}
    for path in folder.glob("faces/*/*"):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".part" or (name not in told and name + SEALED in told):
            path.unlink(missing_ok=True)
