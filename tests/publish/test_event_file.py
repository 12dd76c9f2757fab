"""events.jsonl is changed while it is written, and by processes that are killed, and stays whole."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from streamheal.publish.event_file import EventFile, change_events, events_in

ROOT = Path(__file__).parent.parent.parent


def event(number: int) -> dict:
    return {"id": f"run/gate/0/{number}/1", "number": number, "filler": "x" * 300}


def fill(folder: Path, count: int) -> None:
    file = EventFile(folder)
    for number in range(count):
        file.append(event(number))
    file.close()


def numbers(folder: Path) -> list[int]:
    return [e["number"] for e in events_in(folder)]


def without_odd(e: dict) -> dict | None:
    return None if e["number"] % 2 else e


def test_events_are_taken_out_and_the_others_keep_their_order(tmp_path):
    fill(tmp_path, 10)
    assert change_events(tmp_path, without_odd) == 5
    assert numbers(tmp_path) == [0, 2, 4, 6, 8]


def test_a_change_of_nothing_leaves_the_file_as_it_is(tmp_path):
    fill(tmp_path, 3)
    before = (tmp_path / "events.jsonl").stat()
    assert change_events(tmp_path, lambda e: e) == 0
    after = (tmp_path / "events.jsonl").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [p.name for p in tmp_path.iterdir()] == ["events.jsonl"]


def test_an_open_file_goes_on_in_the_one_that_took_its_place(tmp_path):
    file = EventFile(tmp_path)
    for number in range(4):
        file.append(event(number))
    change_events(tmp_path, without_odd)
    file.append(event(4))
    assert numbers(tmp_path) == [0, 2, 4]


def test_a_file_that_somebody_deleted_is_made_anew(tmp_path):
    file = EventFile(tmp_path)
    file.append(event(0))
    (tmp_path / "events.jsonl").unlink()
    file.append(event(1))
    assert numbers(tmp_path) == [1]


def test_no_line_is_lost_while_lines_are_added_and_taken_out_at_once(tmp_path):
    (tmp_path / "events.jsonl").touch()
    done = threading.Event()

    def add():
        fill(tmp_path, 300)
        done.set()

    thread = threading.Thread(target=add)
    thread.start()
    while not done.is_set():
        change_events(tmp_path, without_odd)
    thread.join()
    change_events(tmp_path, without_odd)
    assert numbers(tmp_path) == list(range(0, 300, 2))


def test_a_change_that_is_killed_leaves_the_old_file_or_the_new_one(tmp_path):
    fill(tmp_path, 400)
    code = (
        "from tests.publish.test_event_file import *\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "print('on', flush=True)\n"
        "while True:\n"
        "    change_events(folder, lambda e: {**e, 'round': e.get('round', 0) + 1})\n"
    )
    for pause in (0.0, 0.003, 0.01, 0.02, 0.05):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        events = list(events_in(tmp_path))
        assert [e["number"] for e in events] == list(range(400))
        assert len({e.get("round", 0) for e in events}) == 1, "all of one change or none of it"
    change_events(tmp_path, without_odd)
    assert numbers(tmp_path) == list(range(0, 400, 2))
    assert os.listdir(tmp_path) == ["events.jsonl"], "what a kill left lying there is gone"


def test_a_last_line_that_was_cut_short_is_taken_away(tmp_path):
    fill(tmp_path, 3)
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert EventFile(tmp_path).recover() == [event(0)["id"], event(1)["id"]]
    assert [json.loads(line)["number"] for line in path.read_bytes().splitlines()] == [0, 1]
