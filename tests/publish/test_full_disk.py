"""A disk without a byte left, a real one: recordings stop with a clear error, cameras go on and account for it."""

import itertools
import os
import signal

import pytest

from streamheal.errors import SinkError
from streamheal.pipeline.shedding import SheddingSink
from streamheal.publish import outbox_file
from streamheal.publish.folder import FolderSink, read_events
from streamheal.publish.outbox import Outbox
from tests.publish.full_disk import small_disk  # noqa: F401
from tests.publish.sample import healed_face

numbers = itertools.count()


def add(box: Outbox, count: int, *, camera: str = "gate", last: bool = False) -> list[str]:
    ids = [f"run/{camera}/0/{next(numbers)}/1" for _ in range(count)]
    for id in ids:
        box.add(id, b"gate", [], bytes(50 << 10), last=last)
    return ids


def waiting(box: Outbox) -> list[str]:
    return [entry.id for entry in box.entries(dead=False)]


@pytest.fixture
def open_box(small_disk):  # noqa: F811
    opened = []

    def open_box(**options) -> Outbox:
        opened.append(Outbox(small_disk.path / "outbox.sqlite", **options))
        return opened[-1]

    yield open_box
    for box in opened:
        box.close()


def test_cameras_shed_what_matters_least_and_keep_what_matters_most(small_disk, open_box, caplog):  # noqa: F811
    box = open_box(shedding=True)
    before = add(box, 100)
    small_disk.fill()
    ended = add(box, 60, last=True)
    accounts = box.accounts()
    assert accounts.balanced and accounts.added == 160
    assert 0 < accounts.shed <= 65, "at most one goes for each that comes; some still fit into the file and its log"
    assert waiting(box) == before[accounts.shed :] + ended, "the oldest went first"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1 and "has no room (the disk is full)" in told[0] and "kafka.shed" in told[0]


def test_what_the_broker_acknowledges_leaves_and_makes_room_also_on_a_full_disk(small_disk, open_box):  # noqa: F811
    box = open_box(shedding=True)
    add(box, 100)
    small_disk.fill()
    add(box, 60)
    shed = box.accounts().shed
    assert shed > 0
    while events := box.pending():
        box.acknowledge(events)
    add(box, 90)
    accounts = box.accounts()
    assert accounts.balanced and (accounts.waiting, accounts.shed) == (90, shed), "the file's own free pages are used"


def test_when_there_is_room_again_nothing_more_is_shed(small_disk, open_box, monkeypatch):  # noqa: F811
    monkeypatch.setattr(outbox_file, "_LOOK_AGAIN", 0.0)
    box = open_box(shedding=True)
    add(box, 50)
    small_disk.fill()
    add(box, 20)
    small_disk.clear()
    add(box, 1)  # it finds that there is room
    shed, before = box.accounts().shed, len(waiting(box))
    add(box, 100)
    assert (box.accounts().shed, len(waiting(box))) == (shed, before + 100)
    assert (small_disk.path / "outbox.sqlite-ballast").stat().st_size == outbox_file.BALLAST


def test_a_run_that_was_killed_on_a_full_disk_starts_again_there(small_disk, open_box):  # noqa: F811
    writer = os.fork()
    if writer == 0:
        add(Outbox(small_disk.path / "outbox.sqlite", shedding=True), 20, camera="hall")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(writer, 0)
    small_disk.fill()
    assert (small_disk.path / "outbox.sqlite-wal").stat().st_size > 20 * 50 << 10, "nobody said farewell"
    box = open_box(shedding=True)
    add(box, 100)
    accounts = box.accounts()
    assert accounts.balanced and (accounts.added, accounts.waiting) == (120, 120 - accounts.shed)
    assert accounts.waiting >= 15


def test_events_that_nothing_could_be_written_of_are_in_the_accounts_at_last(small_disk, open_box):  # noqa: F811
    box = open_box(shedding=True)
    add(box, 3)
    (small_disk.path / "outbox.sqlite-ballast").unlink()  # and the disk takes that room, too
    small_disk.fill()
    add(box, 40)
    accounts = box.accounts()
    assert accounts.balanced and accounts.added == 43 and accounts.shed >= 37
    small_disk.clear()
    box.close()
    assert open_box().accounts() == accounts


def test_an_event_is_counted_once_however_little_room_there_is(small_disk, open_box):  # noqa: F811
    """An event may find room and the number of those before it, which found none, may not."""
    box = open_box(shedding=True)
    add(box, 3)
    (small_disk.path / "outbox.sqlite-ballast").unlink()
    for pages in range(60):
        small_disk.fill()
        add(box, 1)
        small_disk.leave(pages * 4096)
        add(box, 1)
        accounts = box.accounts()
        assert accounts.balanced and accounts.added == 3 + 2 * (pages + 1), pages


def test_a_recording_stops_and_goes_on_where_it_was_when_there_is_room(small_disk, open_box):  # noqa: F811
    box = open_box()
    before = add(box, 20)
    small_disk.fill()
    with pytest.raises(SinkError, match=r"the disk is full; check its free space, and run again"):
        add(box, 300)
    accounts = box.accounts()
    assert accounts.balanced and accounts.shed == 0
    assert waiting(box)[:20] == before
    box.close()
    small_disk.clear()
    again = open_box()
    add(again, 20)
    assert again.accounts().waiting == accounts.waiting + 20


def test_the_folder_of_a_live_run_misses_faces_counts_them_and_goes_on(small_disk, caplog):  # noqa: F811
    now = [0.0]
    folder = small_disk.path / "out"
    sink = SheddingSink(FolderSink(folder), clock=lambda: now[0])
    sink.add(healed_face(track=1))
    small_disk.fill()
    for track in range(2, 30):
        sink.add(healed_face(track=track, noise=True, side=120))
        now[0] += 1
    small_disk.clear()
    now[0] += 60
    sink.add(healed_face(track=99))
    sink.close()

    kept = [event["track"] for event in read_events(folder)]
    assert kept == [1, 99], "whole lines only"
    assert sink.counts() == {"shed": 28}
    pictures = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png")}
    assert pictures == {name for event in read_events(folder) for name in event["pictures"].values()}
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and "No space left" in told[0] and "folder.shed counts them" in told[0]
    assert told[1] == "folder keeps faces again; 28 are missing there"


def test_the_folder_of_a_recording_stops_it_with_a_clear_error(small_disk):  # noqa: F811
    sink = FolderSink(small_disk.path / "out")
    small_disk.fill()
    with pytest.raises(SinkError, match=r"No space left on device; what was written before is whole"):
        sink.add(healed_face(noise=True, side=120))
    sink.close()


class Refusing:
    name = "folder"

    def __init__(self):
        self.tried = 0

    def add(self, face):
        self.tried += 1
        raise SinkError("no")


def test_a_sink_that_refuses_is_left_alone_for_longer_and_longer():
    now = [0.0]
    refusing = Refusing()
    sink = SheddingSink(refusing, clock=lambda: now[0])
    tried = []
    for _ in range(600):
        sink.add(None)
        tried.append(refusing.tried)
        now[0] += 0.1
    assert tried[5] == 2, "half a second, then again"
    assert 8 <= tried[-1] <= 11, "at last every ten seconds"
