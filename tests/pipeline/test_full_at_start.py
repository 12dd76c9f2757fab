"""A disk that is full when a run begins: cameras wait for room, a recording says so."""

import signal
import threading
import time

import pytest

from streamheal import audit
from streamheal.config import Camera, Kafka, Output, PipelineConfig, Source
from streamheal.errors import NoRoom, SinkError
from streamheal.pipeline.patience import Patience
from streamheal.publish.outbox import Outbox
from streamheal.watch.counters import Counters
from tests import targets
from tests.publish.full_disk import small_disk  # noqa: F401
from tests.video.clips import write_clip


def begin(config: PipelineConfig, tell) -> None:
    """A run until SIGTERM; `tell` is told when it waits for room, and its counts at the end."""
    pipeline = targets.with_stand_ins(targets.NumberedFaces(every=10))(config)
    signal.signal(signal.SIGTERM, lambda *_: pipeline.stop())

    def look() -> None:
        while not pipeline.counters["start.no-room"]:
            time.sleep(0.05)
        tell.send("waits")

    threading.Thread(target=look, daemon=True).start()
    tell.send(pipeline.run().counts)


def test_a_live_run_waits_for_room_and_then_begins(small_disk):  # noqa: F811
    config = PipelineConfig(
        source=Source(cameras=[Camera(name="gate", url="rtsp://127.0.0.1:9/nobody")]),
        output=Output(path=small_disk.path / "out", report=False),
        kafka=Kafka(bootstrap_servers=["127.0.0.1:9"]),
    )
    small_disk.fill()
    heard, told = targets._context.Pipe(duplex=False)
    process = targets.start(begin, config, told)
    try:
        assert heard.poll(120) and heard.recv() == "waits"
        small_disk.clear()
        running = config.state / "running.yaml"
        deadline = time.monotonic() + 120
        while not config.outbox.exists() and not running.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        assert heard.poll(120) and heard.recv()["start.no-room"] > 0
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()
    assert [line["what"] for line in audit.read(config.state / "audit.jsonl")] == ["start", "stop"]


def test_a_recording_says_so_and_begins_nothing(small_disk, tmp_path):  # noqa: F811
    clip = write_clip(tmp_path / "hall.mp4", 10)
    small_disk.fill()
    process = targets.start(targets.heal_recording, clip, small_disk.path / "out")
    process.join(120)
    assert process.exitcode == 1
    assert not (small_disk.path / "out" / "faces").exists()


def test_an_outbox_that_finds_no_room_says_that_this_is_why(small_disk):  # noqa: F811
    small_disk.fill()
    with pytest.raises(NoRoom, match="free space"):
        Outbox(small_disk.path / "outbox.sqlite")


def test_it_is_told_once_and_a_stop_ends_the_waiting(caplog):
    stop, counters, tries = threading.Event(), Counters(), []

    def full() -> None:
        tries.append(1)
        if len(tries) == 3:
            stop.set()
        raise NoRoom("the disk is full")

    with pytest.raises(NoRoom):
        Patience(stop, counters)(full)
    assert counters["start.no-room"] == len(tries) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "the disk is full; this run begins when there is room"
    ]


def test_what_waiting_does_not_mend_is_an_error_at_once():
    def forbidden() -> None:
        raise SinkError("no permission")

    with pytest.raises(SinkError, match="no permission"):
        Patience(threading.Event(), Counters())(forbidden)
