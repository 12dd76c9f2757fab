import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamheal.errors import SinkError
from streamheal.publish.outbox import Counts, Outbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outbox(tmp_path):
    box = Outbox(tmp_path / "made" / "outbox.sqlite")
    yield box
    box.close()


def add(box: Outbox, id: str, payload: bytes = b"\x00\xff payload") -> bool:
    return box.add(id, b"door", [("ce_id", id.encode()), ("ce_subject", "Tür".encode())], payload)


def ids(box: Outbox) -> list[str]:
    return [event.id for event in box.pending()]


def test_what_was_added_comes_back_whole_and_in_order(outbox):
    for id in ("c", "a", "b"):
        assert add(outbox, id)
    first = outbox.pending()[0]
    assert ids(outbox) == ["c", "a", "b"]
    assert (first.key, first.payload) == (b"door", b"\x00\xff payload")
    assert first.headers == [("ce_id", b"c"), ("ce_subject", "Tür".encode())]


def test_the_same_id_twice_is_one_event_and_the_first_one(outbox):
    assert add(outbox, "a", b"first")
    assert not add(outbox, "a", b"second")
    assert [e.payload for e in outbox.pending()] == [b"first"]


def test_an_acknowledged_event_is_gone_and_the_others_wait(outbox):
    for id in "abc":
        add(outbox, id)
    outbox.acknowledge(outbox.pending()[:2])
    assert ids(outbox) == ["c"]
    assert outbox.counts() == Counts(waiting=1, dead=0)


def test_an_event_sent_again_goes_to_the_end_of_the_order(outbox):
    add(outbox, "a")
    outbox.acknowledge(outbox.pending())
    add(outbox, "b")
    add(outbox, "a")
    assert ids(outbox) == ["b", "a"]


def test_a_dead_letter_keeps_its_reason_and_is_not_sent_again(outbox):
    add(outbox, "big")
    add(outbox, "small")
    outbox.bury(outbox.pending()[0], "too large: 3 MB, the broker takes 1 MB")
    assert ids(outbox) == ["small"]
    assert outbox.dead() == [("big", "too large: 3 MB, the broker takes 1 MB")]
    assert outbox.counts() == Counts(waiting=1, dead=1)
    assert not add(outbox, "big")


def test_a_batch_is_bounded_in_number_and_bytes_but_never_empty(outbox):
    for id in "abcd":
        add(outbox, id, b"x" * 100)
    assert len(outbox.pending(limit=3)) == 3
    assert len(outbox.pending(max_bytes=250)) == 2
    assert len(outbox.pending(max_bytes=1)) == 1


def test_every_added_event_outlives_kill_minus_9(tmp_path):
    path = tmp_path / "o.sqlite"
    writer = (
        "import sys; from pathlib import Path; from streamheal.publish.outbox import Outbox\n"
        "box = Outbox(Path(sys.argv[1]))\n"
        "for i in range(100000):\n"
        "    box.add(str(i), b'k', [], b'x' * 5000); print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", writer, str(path)], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    promised = [int(process.stdout.readline()) for _ in range(40)][-1]
    os.kill(process.pid, signal.SIGKILL)
    promised = max([promised, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.wait()

    kept = [int(event.id) for event in Outbox(path).pending(limit=1_000_000, max_bytes=1 << 40)]
    assert kept[: promised + 1] == list(range(promised + 1))
    assert len(kept) <= promised + 2


def test_threads_may_add_and_acknowledge_at_once(outbox):
    seen, stop = set(), threading.Event()

    def drain():
        while not stop.is_set() or outbox.counts().waiting:
            events = outbox.pending(limit=7)
            seen.update(e.id for e in events)
            outbox.acknowledge(events)

    drainer = threading.Thread(target=drain)
    drainer.start()
    adders = [threading.Thread(target=lambda n=n: [add(outbox, f"{n}-{i}") for i in range(25)]) for n in range(3)]
    for thread in adders:
        thread.start()
    for thread in adders:
        thread.join()
    stop.set()
    drainer.join(30)
    assert seen == {f"{n}-{i}" for n in range(3) for i in range(25)}


def test_a_file_that_is_no_outbox_is_one_clear_error(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 1000)
    with pytest.raises(SinkError, match=r"notes\.txt: .*not a database.*name another file"):
        Outbox(path)
    assert path.read_text().startswith("dear diary")


def test_a_folder_in_the_way_is_one_clear_error(tmp_path):
    with pytest.raises(SinkError, match=r"outbox .* can't be opened"):
        Outbox(tmp_path)


def test_a_full_disk_is_a_sink_error_and_what_was_kept_stays(outbox):
    add(outbox, "a")
    pages = outbox._file._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._file._db.execute(f"PRAGMA max_page_count={pages + 2}")  # SQLite's own way to say the disk is full
    with pytest.raises(SinkError, match=r"full.*free space"):
        add(outbox, "b", b"x" * 100_000)
    assert ids(outbox) == ["a"]


def test_the_file_is_in_wal_mode_and_synced_fully(outbox):
    assert outbox._file._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert sqlite3.connect(outbox.path).execute("PRAGMA journal_mode").fetchone() == ("wal",)
