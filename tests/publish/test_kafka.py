"""The Kafka sink where no broker answers. With one: tests/integration/test_kafka.py."""

import io
import logging
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from streamheal.config import Kafka
from streamheal.errors import SinkError
from streamheal.publish.kafka import KafkaSink
from streamheal.publish.outbox import Outbox
from streamheal.publish.sink import Sink
from tests.publish.sample import healed_face

ROOT = Path(__file__).parents[2]
SECRET = "pa55w0rd-that-nobody-may-see"


@pytest.fixture
def nobody():
    """An address where nobody listens, kept so for the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def box(tmp_path):
    return tmp_path / "outbox.sqlite"


def patient(address: str, box, **more) -> KafkaSink:
    """A sink that tries again quickly and for ever."""
    settings = Kafka(bootstrap_servers=[address], **more)
    return KafkaSink(settings, box, connect_timeout=0.3, backoff=(0.01, 0.05))


def until(true, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_a_recording_stops_at_once_where_no_broker_answers_and_keeps_what_waits(nobody, box):
    earlier = patient(nobody, box)
    earlier.add(healed_face())
    earlier.close()
    settings = Kafka(bootstrap_servers=[nobody])
    with pytest.raises(SinkError, match=rf"no connection to {nobody} within 0\.2 s: .*check kafka\.bootstrap_servers"):
        KafkaSink(settings, box, require=True, connect_timeout=0.2)
    with pytest.raises(SinkError, match=r"the 1 events that wait in .*outbox\.sqlite are kept"):
        KafkaSink(settings, box, require=True, connect_timeout=0.2)
    assert Outbox(box).counts().waiting == 1


def test_live_an_unreachable_broker_is_tried_again_counted_and_logged_once(nobody, box, caplog):
    sink = patient(nobody, box)
    for track in range(5):
        sink.add(healed_face(track=track))
    assert until(lambda: sink.stats.failures >= 4)
    assert not sink.flush(0.1)
    assert sink.waiting == 5
    sink.close()

    warnings = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith("stream")]
    assert len(warnings) == 2, warnings
    assert "no connection" in warnings[0]
    assert "tried again" in warnings[0]
    assert "5 events wait" in warnings[1]


AWAY = """
import gc, os, sys
from streamheal.config import Kafka
from streamheal.errors import SinkError
from streamheal.publish.kafka_client import connect

gc.disable()  # what is let go must not need luck
for _ in range(12):
    try:
        connect(Kafka(bootstrap_servers=[sys.argv[1]]), None, 0.1)
    except SinkError:
        print(len(os.listdir("/proc/self/fd")))
"""


def test_an_unreachable_broker_costs_no_files_however_long_it_is_away(nobody):
    """In a process of its own, because pytest's log capture keeps what kafka-python logs, sockets included."""
    done = subprocess.run(
        [sys.executable, "-c", AWAY, nobody], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    files = [int(line) for line in done.stdout.split()]
    assert len(files) == 12
    assert max(files[2:]) <= files[1] + 1, files


def test_a_sink_that_is_closed_leaves_no_thread_and_may_be_closed_again(nobody, box):
    sink = patient(nobody, box)
    sink.add(healed_face())
    sink.close()
    sink.close()
    assert until(lambda: "kafka-sink" not in {thread.name for thread in threading.enumerate()})


def test_nothing_to_send_is_durable_at_once(nobody, box):
    sink = patient(nobody, box)
    assert sink.flush(0)
    sink.close()


def test_it_is_a_sink(nobody, box):
    sink = patient(nobody, box)
    assert isinstance(sink, Sink)
    assert sink.name == "kafka"
    sink.close()


def test_waits_grow_exponentially_with_jitter_up_to_a_bound(nobody, box):
    sink = KafkaSink(Kafka(bootstrap_servers=[nobody]), box, backoff=(0.5, 30))
    for failed, longest in [(1, 0.5), (2, 1.0), (5, 8.0), (7, 30), (5000, 30)]:
        waits = {sink._delay(failed) for _ in range(50)}
        assert len(waits) > 10
        assert longest / 2 <= min(waits)
        assert max(waits) <= longest
    sink.close()


@pytest.mark.parametrize("option", ["ssl_cafile", "ssl_certfile"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cant_be_read_is_one_clear_error(nobody, box, tmp_path, option, content):
    path = tmp_path / "given.pem"
    if content:
        path.write_text(content)
    settings = Kafka(bootstrap_servers=[nobody], security_protocol="SSL", **{option: path})
    with pytest.raises(SinkError, match=r"can't read the TLS files .*given\.pem.*PEM"):
        KafkaSink(settings, box)


@pytest.fixture
def program_log():
    """What the program's own log shows at DEBUG (pytest's would listen to kafka-python's loggers as well)."""
    out, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(out), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield out
    root.removeHandler(handler)
    root.setLevel(level)


def test_the_password_is_in_no_message(nobody, box, program_log):
    settings = Kafka(
        bootstrap_servers=[nobody],
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        username="me",
        password=SECRET,
    )
    with pytest.raises(SinkError) as refused:
        KafkaSink(settings, box, require=True, connect_timeout=0.2)
    sink = KafkaSink(settings, box, connect_timeout=0.2)
    logging.getLogger("kafka.net.manager").error("connecting with %s", SECRET)  # should a later version slip
    said = f"{program_log.getvalue()} {refused.value} {refused.getrepr()} {sink!r} {settings!r}"
    sink.close()
    assert "unencrypted" in said
    assert "connecting with ***" in said
    assert SECRET not in said


def test_a_recording_stops_where_the_disk_refuses(nobody, box, monkeypatch):
    monkeypatch.setattr("streamheal.publish.kafka.connect", lambda *_: None)  # the broker of a recording must answer
    sink = KafkaSink(Kafka(bootstrap_servers=[nobody]), box, require=True)
    sink._outbox._file._db.execute("PRAGMA max_page_count=1")  # SQLite's own way to say the disk is full
    with pytest.raises(SinkError, match="free space"):
        sink.add(healed_face(side=300, noise=True))
    sink.close()


def test_a_live_run_goes_on_where_the_disk_refuses_and_counts_what_it_shed(nobody, box):
    sink = patient(nobody, box)
    sink.add(healed_face(track=1))
    sink._outbox._file._db.execute("PRAGMA max_page_count=1")
    sink.add(healed_face(track=2, side=300, noise=True))
    assert sink.counts() == {"added": 2, "acknowledged": 0, "waiting": 1, "dead": 0, "shed": 1, "forgotten": 0}
    sink.close()
