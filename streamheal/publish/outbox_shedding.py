"""What an outbox gives up where there is no room: what matters least first, in each class the oldest.

Revisions of a track of which a newer one came after; dead letters; other events; a track's last ones.
"""

import sqlite3
from collections.abc import Callable, Iterable

SUPERSEDED, DEAD, ORDINARY, LAST = 0, 1, 2, 3
"""Ranks. Dead letters have theirs whatever they were before, so it stands in no row."""


def make_room(db: sqlite3.Connection, id: str, rank: int, enough: Callable[[], bool]) -> tuple[int, int] | None:
    """Shed until there is `enough` room for the event `id`. Its rank, which is not `rank` where a newer revision is
    here, and how many were shed; None if it matters least itself, and then all others stay as they were."""
    db.execute("SAVEPOINT shedding")
    older, newer = _other_revisions(db, id)
    db.executemany(f"UPDATE outbox SET rank = {SUPERSEDED} WHERE seq = ?", older)
    shed, rank = 0, SUPERSEDED if newer else rank
    while not enough():
        victim = _least(db)
        if victim is None or victim[0] > rank:
            db.execute("ROLLBACK TO shedding")
            return None
        shed += delete(db, [victim[1]], "shed")
    return rank, shed


def delete(db: sqlite3.Connection, places: Iterable[int], counted_as: str) -> int:
    """Delete these rows, and count them in the totals. How many they were."""
    gone = max(0, db.executemany("DELETE FROM outbox WHERE seq = ?", [(seq,) for seq in places]).rowcount)
    db.execute(f"UPDATE totals SET {counted_as} = {counted_as} + ?", (gone,))
    return gone


def parts(id: str) -> tuple[str, int]:
    """Track (`run/camera/epoch/track`) and revision of an event's id. An id of another form is a track of its own."""
    track, _, revision = id.rpartition("/")
    return (track, int(revision)) if track and revision.isdecimal() else (id, 0)


def _other_revisions(db: sqlite3.Connection, id: str) -> tuple[list[tuple[int]], bool]:
    """The places of the older revisions of the same track, and whether a newer one is here."""
    track, revision = parts(id)
    # "0" is the character after "/": all ids that begin with "track/", by the index on ids.
    rows = db.execute("SELECT seq, id FROM outbox WHERE id > ? AND id < ?", (f"{track}/", f"{track}0")).fetchall()
    known = [(seq, parts(other)[1]) for seq, other in rows if parts(other)[0] == track]
    return [(seq,) for seq, other in known if other < revision], any(other > revision for _, other in known)


def _least(db: sqlite3.Connection) -> tuple[int, int] | None:
    """Rank and place of what matters least."""
    waits = db.execute("SELECT rank, seq FROM outbox WHERE dead IS NULL ORDER BY rank, seq LIMIT 1").fetchone()
    dead = db.execute(f"SELECT {DEAD}, seq FROM outbox WHERE dead IS NOT NULL ORDER BY seq LIMIT 1").fetchone()
    return min((row for row in (waits, dead) if row is not None), default=None)
