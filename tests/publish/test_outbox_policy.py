"""What an outbox gives up when it is full, deletes when it is told to, and takes over from before."""

import os
import sqlite3

import pytest

from streamheal.errors import SinkError
from streamheal.publish.outbox import Accounts, Outbox
from streamheal.vault import Vault, sealed

PAYLOAD = 50_000
ROOM = 1 << 20  # for about 17 of them
FACE = b"the face of somebody "


@pytest.fixture
def open_box(tmp_path):
    """Opens outboxes on one file, small and shedding unless told otherwise, and closes them at the end."""
    opened = []

    def open_box(**options) -> Outbox:
        options = {"max_bytes": ROOM, "shedding": True, "ballast": 0} | options
        opened.append(Outbox(tmp_path / "outbox.sqlite", **options))
        return opened[-1]

    yield open_box
    for box in opened:
        box.close()


def add(box: Outbox, *ids: str, payload: bytes = bytes(PAYLOAD), last: bool = False) -> None:
    for id in ids:
        assert box.add(id, b"gate", [], payload, last=last)


def tracks(*numbers: int, camera: str = "gate", revision: int = 1) -> list[str]:
    return [f"run/{camera}/0/{number}/{revision}" for number in numbers]


def waiting(box: Outbox) -> list[str]:
    return [entry.id for entry in box.entries(dead=False)]


def shed(box: Outbox, before: list[str]) -> list[str]:
    return [id for id in before if id not in waiting(box)]


def fill(box: Outbox, *, last: bool = False) -> list[str]:
    """Tracks from 1000 on, until one more would not fit."""
    number = 1000
    while box.used + PAYLOAD + 10_000 < ROOM:
        add(box, *tracks(number), last=last)
        number += 1
    assert box.accounts().shed == 0
    return waiting(box)


def test_older_revisions_of_a_track_that_has_a_newer_one_are_shed_first(open_box):
    box = open_box()
    add(box, *tracks(1, 2), *tracks(2, revision=2), *tracks(1, revision=2))
    before = fill(box)
    add(box, *tracks(5000))
    assert shed(box, before) == tracks(1)
    add(box, *tracks(5001))
    assert shed(box, before) == tracks(1, 2)


def test_a_new_revision_takes_the_place_of_the_one_before(open_box):
    box = open_box()
    add(box, *tracks(1, 2))
    before = fill(box)
    add(box, *tracks(2, revision=2))
    assert shed(box, before) == tracks(2)


def test_then_dead_letters_then_the_oldest_events_and_a_tracks_last_ones_at_the_very_end(open_box):
    box = open_box()
    add(box, *tracks(1), last=True)
    add(box, *tracks(2, 3))
    box.bury(box.pending()[2], "refused")
    before = fill(box)
    add(box, *tracks(5000))
    assert box.dead() == [] and shed(box, before) == []
    add(box, *tracks(5001))
    assert shed(box, before) == tracks(2)
    while len(waiting(box)) > 1 and waiting(box)[1] in before:
        add(box, *tracks(6000 + box.accounts().added))
    assert waiting(box)[0] == tracks(1)[0], "the last event of a track outlives every other"


def test_an_event_that_matters_less_than_all_that_wait_is_shed_itself_and_no_other(open_box):
    box = open_box()
    before = fill(box, last=True)
    add(box, *tracks(5000))
    assert waiting(box) == before
    assert box.accounts().shed == 1


def test_among_last_events_the_oldest_goes(open_box):
    box = open_box()
    before = fill(box, last=True)
    add(box, *tracks(5000), last=True)
    assert shed(box, before) == before[:1]


def test_an_event_larger_than_the_outbox_costs_no_other(open_box):
    box = open_box()
    before = fill(box)
    add(box, *tracks(5000), payload=bytes(ROOM))
    assert waiting(box) == before


def test_the_file_never_grows_beyond_its_bound(open_box, tmp_path):
    box = open_box()
    for number in range(100):
        add(box, *tracks(number), payload=os.urandom(1000 * (1 + number % 90)))
        assert (tmp_path / "outbox.sqlite").stat().st_size <= ROOM
    accounts = box.accounts()
    assert accounts.balanced and accounts.shed > 50 and accounts.waiting > 10


def test_shedding_is_told_once_a_spell(open_box, caplog):
    box = open_box()
    fill(box)
    for number in range(30):
        add(box, *tracks(5000 + number))
    [told] = [record.getMessage() for record in caplog.records]
    assert "has no room (1048576 bytes are its most): what matters least is shed, and kafka.shed counts it" in told


def test_a_recording_is_told_that_the_outbox_is_full_and_nothing_is_shed(open_box):
    box = open_box(shedding=False)
    before = fill(box)
    with pytest.raises(SinkError, match=r"is full: kafka\.outbox_max_bytes is 1048576; .* see that the broker runs"):
        add(box, *tracks(5000))
    assert waiting(box) == before
    assert box.accounts() == Accounts(len(before), 0, len(before), 0, 0, 0)


def test_the_totals_outlive_the_process(open_box):
    box = open_box()
    before = fill(box)
    add(box, *tracks(5000))
    box.acknowledge(box.pending(limit=3))
    box.bury(box.pending()[0], "refused")
    told = box.accounts()
    box.close()
    assert open_box().accounts() == told
    assert told == Accounts(
        added=len(before) + 1, acknowledged=3, waiting=len(before) - 4, dead=1, shed=1, forgotten=0
    )  # fmt: skip


def test_what_was_shed_or_forgotten_meanwhile_is_not_counted_as_acknowledged_too(open_box):
    box = open_box()
    add(box, *tracks(1, 2))
    on_their_way = box.pending()
    box.forget(camera="gate", track="gate/0/1")
    box.acknowledge(on_their_way)
    assert box.accounts() == Accounts(added=2, acknowledged=1, waiting=0, dead=0, shed=0, forgotten=1)


def test_an_outage_that_is_over_leaves_a_small_file(open_box, tmp_path):
    box = open_box(max_bytes=1 << 30)
    add(box, *tracks(*range(200)))
    largest = (tmp_path / "outbox.sqlite").stat().st_size
    while events := box.pending():
        box.acknowledge(events)
    box.close()  # the log goes into the file
    assert largest > 150 * PAYLOAD
    assert (tmp_path / "outbox.sqlite").stat().st_size < 1 << 20


def remains(box: Outbox, tmp_path) -> bool:
    """Whether the face is anywhere in the outbox's files."""
    return any(FACE in file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


def test_what_is_forgotten_is_nowhere_in_the_files(open_box, tmp_path):
    box = open_box()
    add(box, *tracks(1, 2, 3), payload=FACE * 1000)
    add(box, *tracks(4), payload=FACE)  # so small that it lies among others
    add(box, *tracks(5, camera="hall"))
    box.bury(box.pending()[0], "refused")
    assert remains(box, tmp_path)
    assert box.forget(camera="gate") == 4
    assert not remains(box, tmp_path)
    assert waiting(box) == tracks(5, camera="hall")
    assert box.accounts() == Accounts(added=5, acknowledged=0, waiting=1, dead=0, shed=0, forgotten=4)


def test_an_acknowledged_face_is_gone_from_the_files_when_what_is_old_expires(open_box, tmp_path):
    box = open_box()
    add(box, *tracks(1), payload=FACE * 1000)
    add(box, *tracks(2, 3))
    box.acknowledge(box.pending(limit=1))
    for number in range(4, 9):  # they lie where the face lay, and none fills its last page
        add(box, *tracks(number), payload=bytes(5000 + 100 * number))
    assert box.expire(before_ns=0) == 0
    assert not remains(box, tmp_path)


@pytest.mark.parametrize(
    ("what", "gone"),
    [
        ({"track": "gate/0/1"}, ["run/gate/0/1/1", "run/gate/0/1/2"]),
        ({"track": "run/gate/0/1"}, ["run/gate/0/1/1", "run/gate/0/1/2"]),
        ({"camera": "gate"}, ["run/gate/0/1/1", "run/gate/0/1/2", "run/gate/0/11/1"]),
        ({"camera": "gate", "before_ns": 2_000_000_000}, ["run/gate/0/1/1"]),
        ({"before_ns": 3_000_000_000}, ["run/gate/0/1/1", "run/gate/0/1/2"]),
        ({"camera": "ate"}, []),
        ({"track": "gate/0"}, []),
    ],
)
def test_forgetting_means_exactly_that_camera_that_track_that_time(open_box, what, gone):
    now = [0]
    box = open_box(clock=lambda: now[0])
    every = ["run/gate/0/1/1", "run/gate/0/1/2", "run/gate/0/11/1", "run/investigate/0/1/1"]
    for id in every:
        now[0] += 1
        add(box, id)
    assert box.forget(**what) == len(gone)
    assert waiting(box) == [id for id in every if id not in gone]


def test_forgetting_everything_by_accident_is_refused(open_box):
    with pytest.raises(ValueError, match="forget what"):
        open_box().forget()


def test_payloads_lie_sealed_and_leave_opened(open_box, tmp_path):
    box = open_box(vault=Vault("k1", {"k1": bytes(32)}))
    add(box, *tracks(1), payload=FACE)
    [(raw,)] = sqlite3.connect(tmp_path / "outbox.sqlite").execute("SELECT payload FROM outbox").fetchall()
    assert sealed(raw) and not remains(box, tmp_path)
    assert [event.payload for event in box.pending()] == [FACE]


def test_what_an_older_key_sealed_leaves_after_a_new_one_took_over(open_box):
    old, new = bytes(32), bytes(range(32))
    add(open_box(vault=Vault("old", {"old": old})), *tracks(1), payload=FACE)
    box = open_box(vault=Vault("new", {"old": old, "new": new}))
    add(box, *tracks(2), payload=FACE)
    assert [event.payload for event in box.pending()] == [FACE, FACE]


def test_an_event_whose_key_is_gone_is_a_dead_letter_and_holds_up_no_other(open_box):
    add(open_box(vault=Vault("old", {"old": bytes(32)})), *tracks(1))
    box = open_box()
    add(box, *tracks(2))
    assert [event.id for event in box.pending()] == tracks(2)
    [(id, reason)] = box.dead()
    assert id == tracks(1)[0] and "sealed under key 'old'" in reason and "encryption.keys" in reason
    again = open_box(vault=Vault("old", {"old": bytes(32)}))
    assert again.resend() == 1, "with the key it goes out after all"
    assert [event.id for event in again.pending()] == tracks(1, 2)


VERSION_1 = """
CREATE TABLE outbox (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT NOT NULL UNIQUE,
    key      BLOB NOT NULL,
    headers  TEXT NOT NULL,
    payload  BLOB NOT NULL,
    added_ns INTEGER NOT NULL,
    dead     TEXT
);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE dead IS NULL;
"""


def test_an_outbox_of_the_first_version_is_taken_over(open_box, tmp_path):
    db = sqlite3.connect(tmp_path / "outbox.sqlite")
    db.execute("PRAGMA journal_mode=WAL")
    db.executescript(VERSION_1)
    for number, dead in ((1, None), (2, "refused"), (3, None)):
        row = (tracks(number)[0], b"gate", '[["ce_id", "a"]]', bytes(PAYLOAD), number, dead)
        db.execute("INSERT INTO outbox (id, key, headers, payload, added_ns, dead) VALUES (?, ?, ?, ?, ?, ?)", row)
    db.commit()
    db.close()

    box = open_box()
    assert box.accounts() == Accounts(added=3, acknowledged=0, waiting=2, dead=1, shed=0, forgotten=0)
    assert [(event.id, event.headers) for event in box.pending()] == [(i, [("ce_id", b"a")]) for i in tracks(1, 3)]
    add(box, *tracks(1, revision=2))
    before = fill(box)
    add(box, *tracks(5000))
    assert shed(box, before) == tracks(1)
    assert box.expire(before_ns=4) == 2
    assert (tmp_path / "outbox.sqlite").stat().st_size < ROOM
    assert box.accounts().balanced


def test_a_file_of_a_later_version_is_left_alone(open_box, tmp_path):
    open_box().close()
    db = sqlite3.connect(tmp_path / "outbox.sqlite")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(SinkError, match="made by a later version of streamheal"):
        open_box()


def test_nobody_else_may_read_the_file(open_box, tmp_path):
    add(open_box(), *tracks(1))
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}


@pytest.mark.parametrize("pages", [range(2, 4), range(4, 12), range(8, 40)])
def test_a_damaged_file_is_one_clear_error_that_says_what_to_do(open_box, tmp_path, pages):
    box = open_box()
    fill(box)
    box.close()
    with (tmp_path / "outbox.sqlite").open("r+b") as file:
        for page in pages:
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)
    with pytest.raises(
        SinkError, match=r"is damaged: .* move it away together with its -wal and -shm, and start again"
    ):
        open_box().check()
