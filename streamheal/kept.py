"""Where a pipeline keeps faces on disk, and the lock under which they are deleted and sealed anew."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamheal.audit import Audit
from streamheal.config import PipelineConfig
from streamheal.errors import SinkError

PATIENCE = 10.0  # seconds
INGEST, HEAL = "ingest", "heal"
"""Folders of a cluster's nodes, below that of a run: what is theirs is not that of a run beside them."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The places of one pipeline file. Those that don't exist yet hold nothing."""

    folder: Path | None
    outbox: Path | None
    state: Path
    live: bool

    @classmethod
    def by(cls, config: PipelineConfig) -> "Kept":
        folder = config.output.path if config.output else None
        return cls(folder, config.outbox, config.state, config.source.live)

    @classmethod
    def of_ingest(cls, config: PipelineConfig) -> "Kept":
        """Those of `streamheal ingest`: crops that wait for Kafka."""
        folder = config.state.parent / INGEST
        return cls(folder, folder / "outbox.sqlite", folder / "state", config.source.live)

    @classmethod
    def of_heal(cls, config: PipelineConfig) -> "Kept":
        """Those of `streamheal heal`, which keeps no faces: its audit log, and what it may not publish."""
        return cls(None, None, config.state.parent / HEAL / "state", live=True)

    @classmethod
    def all(cls, config: PipelineConfig) -> "list[Kept]":
        """A run's, and those of the cluster's nodes on this machine."""
        own = cls.by(config)
        return [own] if config.kafka is None else [own, cls.of_ingest(config), cls.of_heal(config)]

    @property
    def audit(self) -> Audit:
        return Audit(self.state / "audit.jsonl")

    @property
    def used(self) -> bool:
        """Whether a run was ever here."""
        return self.state.exists() or self.has_events or (self.outbox is not None and self.outbox.exists())

    @property
    def logs(self) -> list[Path]:
        """What was found in recordings, and published of it: `CAMERA-RUN.log`."""
        return sorted(self.state.glob("*.log"))

    @property
    def has_events(self) -> bool:
        return self.folder is not None and (self.folder / "events.jsonl").exists()

    @contextmanager
    def upkeep(self) -> Iterator[None]:
        """One deletion or sealing at a time. A killed one lets go. Raises SinkError if another takes long."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.state / "upkeep.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise SinkError(f"{self.state} can't be written: {error.strerror}; check its permissions") from error
        try:
            deadline = time.monotonic() + PATIENCE
            while not _locked(handle):
                if time.monotonic() > deadline:
                    raise SinkError(
                        f"another deletion or sealing is at work in {self.state}; try again when it is done"
                    )
                time.sleep(0.05)
            yield
        finally:
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
