"""What befalls brokers: away for an hour, slow, refusing, frozen again and again, a leader lost.

Events in = events out, and each camera's in order.
"""

import itertools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from streamheal.cli import app
from streamheal.publish.kafka import KafkaSink
from tests.integration.kafka import Node, SecondBroker
from tests.integration.test_kafka import header, open_sink, plain, read  # noqa: F401
from tests.publish.sample import healed_face

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PATIENCE = 200  # seconds; machines may be ten times slower than this needs


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def create(broker: Node, topic: str, **options) -> None:
    admin = KafkaAdminClient(bootstrap_servers=[broker.plain])
    try:
        admin.create_topics({topic: options}, wait_for_metadata=True)
    finally:
        admin.close()


@pytest.fixture(scope="module")
def second(kafka_session_broker, tmp_path_factory):
    broker = SecondBroker(kafka_session_broker, tmp_path_factory.mktemp("second"))
    yield broker
    broker.stop()


@pytest.fixture
def second_broker(kafka_broker, second):
    """A second broker in the cluster, up and answering; 2 by its number."""
    if not second.running:
        second.start()
    return second


def create_on_the_first(broker: Node, topic: str) -> None:
    """Of a topic that creates itself, the second broker, if it is still up, leads partitions too, and goes on taking
    events while the first one is away."""
    create(broker, topic, assignments={number: [1] for number in range(3)})


class Cameras:
    """Adds faces of three cameras in turn, for as long as a test likes."""

    def __init__(self, sink: KafkaSink):
        self._sink = sink
        self._revisions = itertools.count(1)
        self.ids: list[str] = []

    def add(self, times: int) -> None:
        for revision in itertools.islice(self._revisions, times):
            for camera in ("door", "gate", "hall"):
                face = healed_face(camera=camera, revision=revision)
                self._sink.add(face)
                self.ids.append(face.id)


def accounted_for(sink: KafkaSink, added: int) -> None:
    """healed = acknowledged + waiting + dead + shed, and nothing but the first here."""
    assert sink.counts() == {
        "added": added, "acknowledged": added, "waiting": 0, "dead": 0, "shed": 0, "forgotten": 0,
    }  # fmt: skip


def arrived(bootstrap: str, topic: str, wanted: list[str]) -> None:
    """All that went in came out, and by the first arrival of each in the order in which it went in."""
    order = defaultdict(list)
    for record in read(bootstrap, topic, len(wanted), timeout=PATIENCE):
        if header(record, "ce_id") not in order[record.key]:
            order[record.key].append(header(record, "ce_id"))
    assert {id for ids in order.values() for id in ids} == set(wanted)
    for camera, ids in order.items():
        assert ids == [id for id in wanted if f"/{camera.decode()}/" in id]


@pytest.mark.timeout(600)  # it asks about 160 times
def test_a_broker_that_is_away_for_an_hour_gets_everything_when_it_is_back(kafka_broker, kafka_topic, open_sink):  # noqa: F811
    create_on_the_first(kafka_broker, kafka_topic)
    slept = []

    def rest(event: threading.Event, seconds: float) -> None:
        slept.append(seconds)
        event.wait(0.001)

    sink = open_sink(plain(kafka_broker.plain, kafka_topic), backoff=(0.5, 30.0), rest=rest)
    cameras = Cameras(sink)
    cameras.add(2)
    assert sink.flush(PATIENCE)
    kafka_broker.kill()
    sink._connect_timeout = 0.01  # nobody listens: what matters is how often it asks, not how long
    while sum(slept) < 3600:
        cameras.add(1)
        tries = len(slept)
        until(lambda tries=tries: len(slept) >= tries + 4, "the sink gave up")
    sink._connect_timeout = 60
    kafka_broker.start()
    assert sink.flush(PATIENCE)
    assert len(slept) > 100 and max(slept) <= 30, "it asks at least twice a minute"
    accounted_for(sink, len(cameras.ids))
    arrived(kafka_broker.plain, kafka_topic, cameras.ids)


def test_a_slow_broker_loses_nothing_and_keeps_the_order(kafka_broker, kafka_topic, open_sink):  # noqa: F811
    sink = open_sink(plain(kafka_broker.plain, kafka_topic, delivery_timeout=2), require=True)
    cameras, over = Cameras(sink), threading.Event()

    def stutter():
        while not over.is_set():
            kafka_broker.freeze()
            over.wait(0.7)
            kafka_broker.thaw()
            over.wait(0.1)

    trouble = threading.Thread(target=stutter)
    trouble.start()
    try:
        for _ in range(30):
            cameras.add(1)
            time.sleep(0.1)
    finally:
        over.set()
        trouble.join()
    assert sink.flush(PATIENCE)
    accounted_for(sink, 90)
    arrived(kafka_broker.plain, kafka_topic, cameras.ids)


def test_a_lost_leader_is_followed_to_the_next_one(kafka_broker, second_broker, kafka_topic, open_sink):  # noqa: F811
    create(kafka_broker, kafka_topic, assignments={number: [2, 1] for number in range(3)})  # led by the second
    sink = open_sink(plain(kafka_broker.plain, kafka_topic, delivery_timeout=5), require=True)
    cameras = Cameras(sink)
    cameras.add(5)
    until(lambda: sink.stats.acknowledged >= 6, "nothing is delivered")
    second_broker.kill()
    for _ in range(20):
        cameras.add(1)
        time.sleep(0.05)
    assert sink.flush(PATIENCE)
    accounted_for(sink, 75)
    arrived(kafka_broker.plain, kafka_topic, cameras.ids)


def test_a_broker_that_rejects_for_a_while_gets_everything_when_it_takes_again(
    kafka_broker,
    second_broker,
    kafka_topic,
    open_sink,  # noqa: F811
):
    replicated = {"assignments": {0: [1, 2], 1: [1, 2]}, "configs": {"min.insync.replicas": "2"}}
    create(kafka_broker, kafka_topic, **replicated)
    sink = open_sink(plain(kafka_broker.plain, kafka_topic, delivery_timeout=1), require=True)
    cameras = Cameras(sink)
    cameras.add(2)
    assert sink.flush(PATIENCE)
    second_broker.kill()  # the first one is there, and refuses: too few replicas are in sync
    cameras.add(8)
    until(lambda: sink.stats.failures >= 2, "the refusal was not noticed: the test tests nothing")
    cameras.add(5)
    counts = sink.counts()
    assert counts["waiting"] > 0 and counts["dead"] == 0, "a refusal that passes makes no dead letters"
    second_broker.start()
    assert sink.flush(PATIENCE)
    accounted_for(sink, 45)
    arrived(kafka_broker.plain, kafka_topic, cameras.ids)


def test_a_dead_letter_that_somebody_sends_again_arrives_when_its_cause_is_mended(
    kafka_broker,
    kafka_topic,
    open_sink,  # noqa: F811
    tmp_path,
):
    create(kafka_broker, kafka_topic, num_partitions=1, configs={"max.message.bytes": "60000"})
    sink = open_sink(plain(kafka_broker.plain, kafka_topic), require=True)
    face = healed_face(side=200, noise=True)
    sink.add(face)
    until(lambda: sink.counts()["dead"] == 1, "the broker has taken what is too large for it")
    admin = KafkaAdminClient(bootstrap_servers=[kafka_broker.plain])
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, kafka_topic, {"max.message.bytes": "1000000"})])
    admin.close()
    said = CliRunner().invoke(app, ["outbox", "resend", str(tmp_path / "outbox.sqlite"), face.id])  # while it runs
    assert said.exit_code == 0, said.output
    until(lambda: sink.counts()["acknowledged"] == 1, "the sink did not notice that it waits again")
    accounted_for(sink, 1)
    arrived(kafka_broker.plain, kafka_topic, [face.id])


def test_outages_leave_no_threads_and_no_sockets_behind(kafka_broker, kafka_topic, open_sink):  # noqa: F811
    create_on_the_first(kafka_broker, kafka_topic)
    sink = open_sink(plain(kafka_broker.plain, kafka_topic, delivery_timeout=0.5), require=True)
    cameras, seen = Cameras(sink), []
    for _ in range(6):
        kafka_broker.freeze()
        failures = sink.stats.failures  # before: a slow disk gives the first failure time while events are added
        cameras.add(1)
        until(lambda failures=failures: sink.stats.failures > failures, "the outage was not noticed")
        kafka_broker.thaw()
        assert sink.flush(PATIENCE)
        seen.append((threading.active_count(), len(os.listdir("/proc/self/fd"))))
    accounted_for(sink, 18)
    threads, files = zip(*seen, strict=True)
    assert max(threads[2:]) <= threads[1] + 1, seen
    assert max(files[2:]) <= files[1] + 2, seen
    arrived(kafka_broker.plain, kafka_topic, cameras.ids)
