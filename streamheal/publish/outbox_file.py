"""The file under the outbox: SQLite in WAL mode with `synchronous=FULL`, and what a full disk does to it.

What a transaction wrote outlives a killed process and a power cut. On a full disk even a deletion needs room, for the
log that is written first; so a ballast file lies beside it, which is thrown overboard when SQLite finds no room, and
laid down again when there is plenty. Freed pages go back to the disk by `PRAGMA incremental_vacuum`, so the file of a
long outage does not stay large.
"""

import contextlib
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from streamheal.errors import NoRoom, SinkError, not_written

BALLAST = 4 << 20
"""Bytes kept in reserve: more than the write-ahead log holds between two checkpoints (1000 pages of 4 KiB)."""

_VACUUM_AT_ONCE = 4096  # pages, 16 MiB: how long others wait for the lock
_REBUILD_BELOW = 64 << 20  # bytes: an older file that can't shrink is rebuilt when it is small

_LOOK_AGAIN = 5.0  # seconds between looks at a disk that was full

_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,     -- the order of sending
    id       TEXT NOT NULL UNIQUE,
    rank     INTEGER NOT NULL DEFAULT 2,            -- what is shed first where there is no room
    added_ns INTEGER NOT NULL,
    dead     TEXT,                                  -- why it will never be delivered; NULL while it waits
    key      BLOB NOT NULL,
    headers  TEXT NOT NULL,                         -- JSON: [[name, value], …]
    payload  BLOB NOT NULL                          -- last: what stands before it is read without it
);
CREATE TABLE IF NOT EXISTS totals (
    only         INTEGER PRIMARY KEY CHECK (only = 1),
    added        INTEGER NOT NULL,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    shed         INTEGER NOT NULL DEFAULT 0,
    forgotten    INTEGER NOT NULL DEFAULT 0
);
INSERT OR IGNORE INTO totals (only, added) SELECT 1, count(*) FROM outbox;
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (seq) WHERE dead IS NULL;
CREATE INDEX IF NOT EXISTS outbox_rank ON outbox (rank, seq) WHERE dead IS NULL;
CREATE INDEX IF NOT EXISTS outbox_dead ON outbox (seq) WHERE dead IS NOT NULL;
CREATE INDEX IF NOT EXISTS outbox_age ON outbox (added_ns);
"""

T = TypeVar("T")


class OutboxFile:
    """One connection, safe to use from several threads, not across a fork. `create`: make the file where there is none.

    Raises SinkError, from every method, if the file can't be read or written; NoRoom if that is for want of room.
    """

    def __init__(self, path: Path, *, create: bool = True, ballast: int = BALLAST):
        self.path = path
        self._ballast_bytes = ballast
        self._ballast = path.with_name(path.name + "-ballast")
        self.tight = False  # the disk was found full: the file may not grow
        self._look_again = 0.0
        self._lock = threading.RLock()
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # faces are nobody else's business
            elif not path.is_file():
                raise FileNotFoundError("there is no such file")
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        except OSError as error:
            text = f"outbox {path} can't be opened: {error}; check the folder and its permissions"
            raise not_written(text, error) from error
        except sqlite3.Error as error:
            raise self._error(error) from error
        try:
            try:
                self._open()
            except sqlite3.Error as error:
                if not isinstance(problem := self._error(error), NoRoom) or not self._ballast.exists():
                    raise problem from error
                self._make_room()  # a run that was killed has left its ballast
                self._open()
        except (SinkError, sqlite3.Error) as error:
            self._db.close()
            raise (error if isinstance(error, SinkError) else self._error(error)) from error
        self._keep_ballast()

    def read(self, sql: str, values: tuple = ()) -> list[tuple]:
        """All rows of one SELECT."""
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise self._error(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work` in one transaction: when this returns all of it lasts; if it raises, nothing of it does.

        `work` may be called twice: where the disk was full, the second time with the ballast overboard.
        """
        with self._lock:
            try:
                done = self._transact(work)
            except NoRoom:
                self._make_room()
                done = self._transact(work)
            self._keep_ballast()
            return done

    @property
    def used(self) -> int:
        """Bytes of the file that hold something; the free pages in it are not counted."""
        [(pages, free, size)] = self.read("SELECT * FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
        return (pages - free) * size

    @property
    def size(self) -> int:
        """Bytes of the file, free pages included."""
        [(pages, size)] = self.read("SELECT * FROM pragma_page_count, pragma_page_size")
        return pages * size

    def give_back(self, *, all: bool = False) -> None:
        """Return free pages to the disk: some where over half of the file is free; all of them, with what the log and
        the pages' gaps still hold of deleted rows, with `all`."""
        [(pages, free)] = self.read("SELECT * FROM pragma_page_count, pragma_freelist_count")
        with self._lock, contextlib.suppress(sqlite3.Error):  # a disk that is full now has its next turn later
            if all or (free > pages // 2 and free > 64 and not self.tight):
                # Each step frees one page, and only executescript takes all steps.
                self._db.executescript(f"PRAGMA incremental_vacuum({free if all else min(free, _VACUUM_AT_ONCE)})")
            if all:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def check(self) -> None:
        """Read the whole file. Raises SinkError if it is damaged."""
        found = self.read("PRAGMA quick_check(3)")
        if found != [("ok",)]:
            raise self._damaged("; ".join(" ".join(row[0].split()) for row in found))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _open(self) -> None:
        run = self._db.execute
        run("PRAGMA auto_vacuum=INCREMENTAL")  # of a new file; an older one is rebuilt below
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA secure_delete=FAST")  # what is deleted is overwritten where that costs no more writing
        run(f"PRAGMA journal_size_limit={4 * BALLAST}")
        [(version,)] = run("PRAGMA user_version").fetchall()
        if version > _VERSION:
            raise SinkError(f"outbox {self.path} was made by a later version of streamheal; use that one")
        if version < _VERSION:
            self.write(self._migrate)
        [(vacuum,)] = run("PRAGMA auto_vacuum").fetchall()
        if not vacuum and self.used < _REBUILD_BELOW:
            run("PRAGMA auto_vacuum=INCREMENTAL")
            run("VACUUM")

    @staticmethod
    def _migrate(db: sqlite3.Connection) -> None:
        """From nothing, or from version 1, which had neither ranks nor totals."""
        columns = {row[1] for row in db.execute("PRAGMA table_info(outbox)")}
        if columns and "rank" not in columns:
            db.execute("ALTER TABLE outbox ADD COLUMN rank INTEGER NOT NULL DEFAULT 2")
        for statement in _SCHEMA.split(";\n"):  # not executescript, which would commit first
            db.execute(statement)
        db.execute(f"PRAGMA user_version={_VERSION}")

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                done = work(self._db)
                self._db.execute("COMMIT")
                return done
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise self._error(error) from error

    def _make_room(self) -> None:
        """Drop the ballast, and empty the log into the file, so that the log's own room is used again."""
        self.tight = True
        self._look_again = time.monotonic() + _LOOK_AGAIN
        with contextlib.suppress(OSError):
            self._ballast.unlink()
        with contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _keep_ballast(self) -> None:
        """Lay the ballast down where it is missing and there is room for it; then the file may grow again, too."""
        if not (self.tight or self._ballast_bytes) or time.monotonic() < self._look_again:
            return
        if not self.tight and self._ballast.exists():
            return
        self._look_again = time.monotonic() + _LOOK_AGAIN
        part = self._ballast.with_suffix(".part")
        try:
            if shutil.disk_usage(self.path.parent).free > 4 * self._ballast_bytes:
                part.write_bytes(os.urandom(self._ballast_bytes))  # zeros might be compressed to nothing
                part.replace(self._ballast)
                self.tight = False
        except OSError:  # still full
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def _error(self, error: sqlite3.Error) -> SinkError:
        kind = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the class
        if kind in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return NoRoom(f"outbox {self.path}: {error}; check the disk's free space and the file's permissions")
        if kind == sqlite3.SQLITE_CORRUPT:
            return self._damaged(error)
        if kind == sqlite3.SQLITE_NOTADB:
            return SinkError(f"outbox {self.path}: {error}; if it is no outbox of streamheal, name another file")
        if kind == sqlite3.SQLITE_BUSY:
            return SinkError(f"outbox {self.path}: {error}; another process holds it; end that, or name another file")
        return SinkError(f"outbox {self.path}: {error}; check the disk's free space and the file's permissions")

    def _damaged(self, what: object) -> SinkError:
        return SinkError(
            f"outbox {self.path} is damaged: {what}; stop what uses it, move it away together with its -wal and -shm, "
            f"and start again with a new one; `sqlite3 {self.path.name} .recover` may save what waits in it"
        )
