"""The outbox: where events wait on disk, in order, until the broker has acknowledged them.

One SQLite file in WAL mode with `synchronous=FULL`: when `add` returns, the event outlives a killed process and a
power cut. Rows leave when they are acknowledged; those that can never be delivered stay as dead letters, with the
reason. Delivery is at least once: an event acknowledged just before a crash is sent again, with the same id.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from streamheal.errors import SinkError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,     -- the order of sending
    id       TEXT NOT NULL UNIQUE,
    key      BLOB NOT NULL,
    headers  TEXT NOT NULL,                         -- JSON: [[name, value], …]
    payload  BLOB NOT NULL,
    added_ns INTEGER NOT NULL,
    dead     TEXT                                   -- why it will never be delivered; NULL while it waits
);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (seq) WHERE dead IS NULL;
"""


@dataclass(frozen=True, slots=True)
class Event:
    """One row on its way out."""

    seq: int
    id: str
    key: bytes
    headers: list[tuple[str, bytes]]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    waiting: int
    dead: int


class Outbox:
    """Safe to use from several threads. Don't carry it across a fork.

    Raises SinkError, from every method, if the file can't be read or written (a full disk, no permission, not an
    outbox).
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise SinkError(f"outbox {path} can't be opened: {error}; check the folder and its permissions") from error
        try:
            self._run("PRAGMA journal_mode=WAL")
            self._run("PRAGMA synchronous=FULL")
            with self._lock:
                self._db.executescript(_SCHEMA)
        except (SinkError, sqlite3.Error) as error:
            self._db.close()
            raise SinkError(
                f"outbox {path} can't be used: {error.__cause__ or error}; if it is not an outbox of streamheal, "
                "name another file"
            ) from error

    def add(self, id: str, key: bytes, headers: list[tuple[str, bytes]], payload: bytes) -> bool:
        """Keep an event, durably. False if one with this id waits here already (or is dead): then nothing changes."""
        said = json.dumps([[name, value.decode()] for name, value in headers], ensure_ascii=False)
        row = (id, key, said, payload, time.time_ns())
        done = self._run(
            "INSERT OR IGNORE INTO outbox (id, key, headers, payload, added_ns) VALUES (?, ?, ?, ?, ?)", row
        )
        return done.rowcount == 1

    def pending(self, limit: int = 64, max_bytes: int = 4_000_000) -> list[Event]:
        """The oldest waiting events, in the order they were added: at most `limit`, and about `max_bytes`, but one."""
        events, size = [], 0
        with self._lock:
            rows = self._run(
                "SELECT seq, id, key, headers, payload FROM outbox WHERE dead IS NULL ORDER BY seq LIMIT ?",
                (limit,),
            )
            for seq, id, key, headers, payload in rows:
                size += len(payload)
                if events and size > max_bytes:
                    break
                pairs = [(name, value.encode()) for name, value in json.loads(headers)]
                events.append(Event(seq, id, key, pairs, payload))
            rows.close()
        return events

    def acknowledge(self, events: Iterable[Event]) -> None:
        """The broker has these: forget them, all in one transaction."""
        self._run_many("DELETE FROM outbox WHERE seq = ?", [(e.seq,) for e in events])

    def bury(self, event: Event, reason: str) -> None:
        """`event` can never be delivered: keep it as a dead letter with the reason, and don't try again."""
        self._run("UPDATE outbox SET dead = ? WHERE seq = ?", (reason, event.seq))

    def dead(self) -> list[tuple[str, str]]:
        """Ids of the dead letters with the reason of each, oldest first."""
        with self._lock:
            return self._run("SELECT id, dead FROM outbox WHERE dead IS NOT NULL ORDER BY seq").fetchall()

    def counts(self) -> Counts:
        with self._lock:
            row = self._run("SELECT count(*) FILTER (WHERE dead IS NULL), count(dead) FROM outbox").fetchone()
        return Counts(*row)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _run(self, sql: str, values: tuple = ()) -> sqlite3.Cursor:
        try:
            with self._lock:
                return self._db.execute(sql, values)
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _run_many(self, sql: str, rows: list[tuple]) -> None:
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    self._db.executemany(sql, rows)
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def _broken(self, error: sqlite3.Error) -> SinkError:
        return SinkError(f"outbox {self.path}: {error}; check the disk's free space and the file's permissions")
