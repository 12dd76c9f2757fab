"""The audit log: lines are only added, tampering shows, and neither crashes nor company corrupt it."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamheal import audit
from streamheal.audit import Audit, verify
from streamheal.errors import SinkError

ROOT = Path(__file__).parent.parent


@pytest.fixture
def log(tmp_path) -> Path:
    path = tmp_path / "state" / "audit.jsonl"
    for number in range(5):
        Audit(path, clock=lambda: 1_790_000_000.5).note("start", number=number)
    return path


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def test_a_line_says_when_who_what_and_the_facts(log):
    last = list(audit.read(log))[-1]
    assert last["time"] == "2026-09-21T14:13:20.500+00:00"
    assert last["what"] == "start" and last["facts"] == {"number": 4} and last["user"]


def test_an_untouched_log_verifies(log):
    verdict = verify(log)
    assert (verdict.lines, verdict.cut, verdict.wrong) == (5, [], [])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda found: [found[0], found[1].replace(b'"number":1', b'"number":7'), *found[2:]],
        lambda found: [found[0], *found[2:]],
        lambda found: [found[0], found[2], found[1], *found[3:]],
        lambda found: [*found[:2], found[1], *found[2:]],
        lambda found: found[1:],
        lambda found: [*found[:2], b"{}\n", *found[2:]],
        lambda found: [*found[:2], b"garbage\n", *found[2:]],
    ],
    ids=["changed", "taken out", "swapped", "doubled", "first gone", "put in", "garbage put in"],
)
def test_tampering_shows(log, tamper):
    log.write_bytes(b"".join(tamper(lines(log))))
    assert verify(log).wrong


def test_a_log_cut_at_its_end_shows_to_who_kept_the_last_hash(log):
    last = verify(log).last
    assert not verify(log, holds=last).wrong
    log.write_bytes(b"".join(lines(log)[:-1]))
    assert not verify(log).wrong, "the chain itself can't show it"
    assert "cut or written anew" in verify(log, holds=last).wrong[0]


@pytest.mark.parametrize("lost", [1, 20, 60])
def test_a_line_cut_short_by_a_crash_is_noted_and_the_log_goes_on(log, lost):
    log.write_bytes(log.read_bytes()[:-lost])
    assert not verify(log).wrong, "a crash is no tampering"
    Audit(log).note("start", number=6)
    Audit(log).note("stop")
    verdict = verify(log)
    assert not verdict.wrong
    said = [line["what"] for line in audit.read(log)]
    assert said[-3:] == [audit.CUT_SHORT, "start", "stop"]


def test_a_log_whose_first_line_was_cut_short_goes_on(tmp_path):
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"time":"20')
    Audit(path).note("start")
    assert verify(path).cut == [1] and not verify(path).wrong


def test_secrets_do_not_reach_the_log(tmp_path):
    path = tmp_path / "audit.jsonl"
    Audit(path).note("start", cameras=["rtsp://admin:geheim@cam/1"], more={"url": "http://u:geheim@x"})
    assert b"geheim" not in path.read_bytes() and b"***@cam/1" in path.read_bytes()


def test_long_lines_chain_as_well(tmp_path):
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        Audit(path).note("start", long="x" * 20_000)
    assert not verify(path).wrong


def _write(path: Path, count: int) -> None:
    for number in range(count):
        Audit(path).note("start", process=os.getpid(), number=number)


def test_several_processes_write_one_chain(tmp_path):
    path = tmp_path / "audit.jsonl"
    processes = [multiprocessing.get_context("spawn").Process(target=_write, args=(path, 40)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (verify(path).lines, verify(path).wrong) == (160, [])
    for pid in {line["facts"]["process"] for line in audit.read(path)}:
        assert [x["facts"]["number"] for x in audit.read(path) if x["facts"]["process"] == pid] == list(range(40))


def test_killed_writers_leave_a_log_that_goes_on(tmp_path):
    path = tmp_path / "audit.jsonl"
    code = f"from tests.test_audit import _write; from pathlib import Path; _write(Path({str(path)!r}), 10**9)"
    for round in range(3):
        process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (path.exists() and len(lines(path)) > 30 * (round + 1)):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    Audit(path).note("stop")
    assert not verify(path).wrong and list(audit.read(path))[-1]["what"] == "stop"


def test_nobody_else_may_read_it(log):
    assert log.stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match=r"audit log .* can't be written"):
        Audit(tmp_path / "file" / "audit.jsonl").note("start")


def test_every_line_is_json(log):
    for line in lines(log):
        json.loads(line)
