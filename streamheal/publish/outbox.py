"""The outbox: where events wait on disk, in order, until the broker has acknowledged them.

When `add` returns, the event outlives a killed process and a power cut. Rows leave when they are acknowledged; those
that can never be delivered stay as dead letters, with the reason. Delivery is at least once: an event acknowledged
just before a crash is sent again, with the same id.

Every event is accounted for, over all runs on the same file: added = acknowledged + waiting + dead + shed + forgotten.
The totals are counted in the transactions that move the rows.

Where there is no room, because the outbox has reached `max_bytes` or because the disk is full, events are shed: what
matters least first (`outbox_shedding.py`).
"""

import contextlib
import json
import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from streamheal.errors import NoRoom, SinkError, VaultError
from streamheal.publish.outbox_file import BALLAST, OutboxFile
from streamheal.publish.outbox_shedding import LAST, ORDINARY, delete, make_room, parts
from streamheal.publish.spell import Spell
from streamheal.vault import HEAD_BYTES, Vault, sealed_under

log = logging.getLogger(__name__)

MAX_BYTES = 10_000_000_000

_ROW_BYTES = 8192  # what a row takes beside its payload: its share of the tree's, the indexes' and the freed pages


@dataclass(frozen=True, slots=True)
class Event:
    """One row on its way out."""

    seq: int
    id: str
    key: bytes
    headers: list[tuple[str, bytes]]
    payload: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as a person wants to see it."""

    id: str
    added_ns: int
    bytes: int
    """Of the payload."""
    reason: str | None
    """Why it can't be delivered; None while it waits."""


@dataclass(frozen=True, slots=True)
class Counts:
    waiting: int
    dead: int


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where every event that ever came into an outbox is."""

    added: int
    acknowledged: int
    waiting: int
    dead: int
    shed: int
    """Given up for want of room."""
    forgotten: int
    """Deleted because somebody asked, or because its time to be kept was over."""

    @property
    def balanced(self) -> bool:
        return self.added == self.acknowledged + self.waiting + self.dead + self.shed + self.forgotten


class Outbox:
    """Safe to use from several threads. Don't carry it across a fork.

    With `shedding` an `add` that finds no room gives up what matters least, says so once, and never raises for it:
    right for cameras. Without, it raises and keeps everything: right for a recording, which can be run again.

    Payloads are sealed by `vault` while they wait. `create`: make the file where there is none. `clock`: seconds.

    Raises SinkError, from every method, if the file can't be read or written (no permission, not an outbox, damaged).
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = MAX_BYTES,
        vault: Vault | None = None,
        shedding: bool = False,
        create: bool = True,
        ballast: int = BALLAST,
        clock: Callable[[], float] = time.time,
    ):
        self.path = path
        self._max_bytes = max_bytes
        self._vault = vault or Vault()
        self._shedding = shedding
        self._clock = clock
        self._spell = Spell(log, f"outbox {path} keeps every event again; %d were shed")
        self._counting = threading.Lock()
        self._unwritten = 0  # events shed while not even a number could be written
        self._file = OutboxFile(path, create=create, ballast=ballast)

    def add(self, id: str, key: bytes, headers: list[tuple[str, bytes]], payload: bytes, *, last: bool = False) -> bool:
        """Keep an event, durably. False if one with this id waits here already (or is dead): then nothing changes.

        `id` is `run/camera/epoch/track/revision`; `last`: no newer revision of the track will come.
        """
        said = json.dumps([[name, value.decode()] for name, value in headers], ensure_ascii=False)
        sealed = self._vault.seal(payload, _about(id))
        row = (id, int(self._clock() * 1e9), key, said, sealed)
        try:
            new, shed = self._file.write(lambda db: self._fit_in(db, row, LAST if last else ORDINARY))
        except SinkError as error:
            if not self._shedding:
                raise
            with self._counting:
                self._unwritten += 1
            new, shed = True, 1
            self._spell.trouble(f"{error}; until it can be written, healed faces are lost, and kafka.shed counts them")
        else:
            with contextlib.suppress(SinkError):  # this event is kept; there will be room for a number later
                self._write_down()
            if shed:
                full = "the disk is full" if self._file.tight else f"{self._max_bytes} bytes are its most"
                self._spell.trouble(
                    f"outbox {self.path} has no room ({full}): what matters least is shed, and kafka.shed counts it",
                    shed,
                )
        if not shed:
            self._spell.well()
        return new

    def pending(self, limit: int = 64, max_bytes: int = 4_000_000) -> list[Event]:
        """The oldest waiting events, in the order they were added: at most `limit`, and about `max_bytes`, but one.

        What its seal doesn't open becomes a dead letter.
        """
        events, size = [], 0
        sizes = self._file.read(
            "SELECT seq, length(payload) FROM outbox WHERE dead IS NULL ORDER BY seq LIMIT ?", (limit,)
        )
        for seq, length in sizes:
            size += length
            if events and size > max_bytes:
                break
            for row in self._file.read("SELECT seq, id, key, headers, payload FROM outbox WHERE seq = ?", (seq,)):
                event = self._opened(*row)
                if event is not None:
                    events.append(event)
        return events

    def acknowledge(self, events: Iterable[Event]) -> None:
        """The broker has these: forget them, all in one transaction."""
        places = [event.seq for event in events]
        self._file.write(lambda db: delete(db, places, "acknowledged"))
        self._file.give_back()

    def bury(self, event: Event, reason: str) -> None:
        """`event` can never be delivered: keep it as a dead letter with the reason, and don't try again."""
        self._bury(event.seq, reason)

    def dead(self) -> list[tuple[str, str]]:
        """Ids of the dead letters with the reason of each, oldest first."""
        return self._file.read("SELECT id, dead FROM outbox WHERE dead IS NOT NULL ORDER BY seq")

    def entries(self, *, dead: bool, limit: int | None = None) -> list[Entry]:
        """The dead letters, or the events that wait, oldest first."""
        rows = self._file.read(
            f"SELECT id, added_ns, length(payload), dead FROM outbox WHERE dead IS {'NOT ' if dead else ''}NULL "
            "ORDER BY seq LIMIT ?",
            (-1 if limit is None else limit,),
        )
        return [Entry(*row) for row in rows]

    def resend(self, ids: Iterable[str] | None = None) -> int:
        """Let these dead letters, or all, wait again in their old places. How many they are.

        Raises SinkError, and changes nothing, if one of `ids` is no dead letter here.
        """

        def work(db: sqlite3.Connection) -> int:
            found = _dead_letters(db, ids)
            db.executemany("UPDATE outbox SET dead = NULL WHERE seq = ?", [(seq,) for seq in found])
            return len(found)

        return self._file.write(work)

    def purge(self, ids: Iterable[str] | None = None, *, before_ns: int | None = None) -> int:
        """Delete these dead letters, or all, for good; only those added before `before_ns` (UTC) if given. How many
        they are; they count as forgotten.

        Raises SinkError, and changes nothing, if one of `ids` is no dead letter here.
        """

        def work(db: sqlite3.Connection) -> int:
            found = _dead_letters(db, ids)
            if before_ns is not None:
                old = {seq for (seq,) in db.execute("SELECT seq FROM outbox WHERE added_ns < ?", (before_ns,))}
                found = [seq for seq in found if seq in old]
            return delete(db, found, "forgotten")

        return self._erase(work)

    def forget(self, *, camera: str | None = None, track: str | None = None, before_ns: int | None = None) -> int:
        """Delete what waits or is dead of a camera, of a track, or added before a moment (UTC nanoseconds): what
        meets all that is given. How many events that were; nothing of them is left in the file.

        `track` is `camera/epoch/track`, as the event's subject, or `run/camera/epoch/track`. Raises ValueError if
        nothing is given.
        """
        if camera is None and track is None and before_ns is None:
            raise ValueError("forget what? give camera, track or before_ns")

        def meant(id: str, added_ns: int) -> bool:
            of, _ = parts(id)
            return (
                (camera is None or of.split("/")[-3:-2] == [camera])
                and (track is None or f"/{of}".endswith(f"/{track}"))
                and (before_ns is None or added_ns < before_ns)
            )

        def work(db: sqlite3.Connection) -> int:
            rows = db.execute("SELECT seq, id, added_ns FROM outbox").fetchall()
            return delete(db, [seq for seq, id, added_ns in rows if meant(id, added_ns)], "forgotten")

        return self._erase(work)

    def expire(self, before_ns: int) -> int:
        """Delete everything added before `before_ns` (UTC), as `forget` does."""
        return self.forget(before_ns=before_ns)

    def reseal(self) -> tuple[int, list[str]]:
        """Seal anew, under the vault's key, what lies here under another key or none. How many rows that were, and the
        ids of those whose seal doesn't open."""
        done, failed = 0, []
        for seq, id, head in self._heads():
            if sealed_under(head) == self._vault.key_id:
                continue
            for (payload,) in self._file.read("SELECT payload FROM outbox WHERE seq = ?", (seq,)):
                try:
                    row = (self._vault.seal(self._vault.open(payload, _about(id)), _about(id)), seq)
                except VaultError:
                    failed.append(id)
                    continue
                self._file.write(lambda db, row=row: db.execute("UPDATE outbox SET payload = ? WHERE seq = ?", row))
                done += 1
        if done:
            self._file.give_back(all=True)
        return done, failed

    def seals(self) -> Counter[str | None]:
        """How many rows lie here under which key; None: under none."""
        return Counter(sealed_under(head) for _, _, head in self._heads())

    def _heads(self) -> list[tuple[int, str, bytes]]:
        return self._file.read(f"SELECT seq, id, substr(payload, 1, {HEAD_BYTES}) FROM outbox ORDER BY seq")

    def counts(self) -> Counts:
        accounts = self.accounts()
        return Counts(accounts.waiting, accounts.dead)

    def accounts(self) -> Accounts:
        """All of one moment."""
        with self._counting:
            [(added, acknowledged, waiting, dead, shed, forgotten)] = self._file.read(
                "SELECT added, acknowledged, (SELECT count(*) FROM outbox WHERE dead IS NULL),"
                " (SELECT count(*) FROM outbox WHERE dead IS NOT NULL), shed, forgotten FROM totals"
            )
            lost = self._unwritten
        return Accounts(added + lost, acknowledged, waiting, dead, shed + lost, forgotten)

    @property
    def used(self) -> int:
        """Bytes in use in the file."""
        return self._file.used

    def check(self) -> None:
        """Read the whole file. Raises SinkError if it is damaged."""
        self._file.check()

    def close(self) -> None:
        try:
            self._write_down()
        except SinkError as error:
            log.error("%s; %d events that were shed are in no count", error, self._unwritten)
        self._file.close()

    def _fit_in(self, db: sqlite3.Connection, row: tuple, rank: int) -> tuple[bool, int]:
        """Whether the event is new, and how many were shed for it, itself included."""
        id, _, key, said, payload = row
        if db.execute("SELECT 1 FROM outbox WHERE id = ?", (id,)).fetchone():
            return False, 0
        need = len(key) + len(said) + len(payload) + _ROW_BYTES

        def enough() -> bool:
            return self._file.used + need <= self._most

        if not self._shedding and not enough():
            raise self._full()
        if (room := make_room(db, id, rank, enough)) is None:
            db.execute("UPDATE totals SET added = added + 1, shed = shed + 1")
            return True, 1
        rank, shed = room
        db.execute(
            "INSERT INTO outbox (id, added_ns, key, headers, payload, rank) VALUES (?, ?, ?, ?, ?, ?)", (*row, rank)
        )
        db.execute("UPDATE totals SET added = added + 1")
        return True, shed

    @property
    def _most(self) -> int:
        """Bytes that may be in use: a full disk is an outbox that may not grow."""
        return min(self._max_bytes, self._file.size) if self._file.tight else self._max_bytes

    def _full(self) -> SinkError:
        if self._file.tight:
            return NoRoom(f"outbox {self.path}: the disk is full; check its free space, and run again")
        return SinkError(
            f"outbox {self.path} is full: kafka.outbox_max_bytes is {self._max_bytes}; what waits in it must reach the "
            "broker first: see that the broker runs, and run again"
        )

    def _write_down(self) -> None:
        """Put what could only be counted in memory into the totals."""
        with self._counting:
            if self._unwritten:
                owed = (self._unwritten, self._unwritten)
                self._file.write(lambda db: db.execute("UPDATE totals SET added = added + ?, shed = shed + ?", owed))
                self._unwritten = 0

    def _opened(self, seq: int, id: str, key: bytes, headers: str, sealed: bytes) -> Event | None:
        try:
            payload = self._vault.open(sealed, _about(id))
        except VaultError as error:
            log.error("outbox %s: %s can't be opened and is kept as a dead letter: %s", self.path, id, error)
            self._bury(seq, str(error))
            return None
        return Event(seq, id, key, [(name, value.encode()) for name, value in json.loads(headers)], payload)

    def _bury(self, seq: int, reason: str) -> None:
        self._file.write(lambda db: db.execute("UPDATE outbox SET dead = ? WHERE seq = ?", (reason, seq)))

    def _erase(self, work: Callable[[sqlite3.Connection], int]) -> int:
        erased = self._file.write(work)
        self._file.give_back(all=True)
        return erased


def _about(id: str) -> str:
    """What a payload's seal is bound to."""
    return f"{id} payload"


def _dead_letters(db: sqlite3.Connection, ids: Iterable[str] | None) -> list[int]:
    found = dict(db.execute("SELECT id, seq FROM outbox WHERE dead IS NOT NULL ORDER BY seq"))
    if ids is None:
        return list(found.values())
    wanted = list(dict.fromkeys(ids))
    if missing := [id for id in wanted if id not in found]:
        raise SinkError(f"no dead letter has the id {', '.join(missing)}; `streamheal outbox list --dead` shows them")
    return [found[id] for id in wanted]
