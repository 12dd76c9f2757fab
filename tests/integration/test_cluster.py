"""Ingest nodes and heal workers on a real Kafka: killed, poisoned, taken over."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from unittest import mock

import av
import numpy as np
import pytest
import yaml
from kafka import KafkaConsumer, KafkaProducer

from streamheal import audit
from streamheal.cluster import clients, crops
from streamheal.cluster.leases import Leases, share
from streamheal.cluster.worker import HealWorker
from streamheal.config import Camera, PipelineConfig
from streamheal.errors import StreamhealError
from streamheal.forgotten import Forgotten
from streamheal.publish import event
from streamheal.publish.outbox import Outbox
from streamheal.records import HealedFace, HealJob
from streamheal.watch.counters import Counters
from tests.faces.portrait import astronaut
from tests.integration.kafka import PASSWORD, USER
from tests.publish.sample import healed_face

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
PATIENCE = 240  # seconds; machines may be ten times slower than this needs


@pytest.fixture
def cluster(kafka_bootstrap, tmp_path) -> dict:
    """A pipeline file's content: topics and groups that no other test has."""
    name = uuid.uuid4().hex[:8]
    return {
        "source": {"path": str(tmp_path)},
        "output": {"path": str(tmp_path / "out")},
        "kafka": {"bootstrap_servers": [kafka_bootstrap], "topic": f"faces-{name}"},
        "cluster": {
            "crops_topic": f"crops-{name}",
            "cameras_topic": f"cameras-{name}",
            "dead_letter_topic": f"dead-{name}",
            "ingest_group": f"ingest-{name}",
            "heal_group": f"heal-{name}",
            "partitions": 4,
            "lease": 6,
        },
    }


def job(camera: str = "door", track: int = 1, revision: int = 1) -> HealJob:
    return healed_face(camera=camera, track=track, revision=revision).job


class Mirror:
    """A healer that takes no time: `on` may make it fail."""

    def __init__(self, on: Callable[[HealJob], None] = lambda job: None):
        self.healed: Counter[str] = Counter()
        self._on = on

    def heal(self, jobs: list[HealJob], *, restoring: bool = True) -> list[HealedFace]:
        for one in jobs:
            self._on(one)
        self.healed.update(one.id for one in jobs)
        return [dataclasses.replace(healed_face(), job=one) for one in jobs]


@contextmanager
def working(content: dict, healer: Mirror, counters: Counters | None = None) -> Iterator[threading.Thread]:
    """A heal worker in a thread of this process."""
    stop, config = threading.Event(), PipelineConfig.model_validate(content)
    worker = HealWorker(config, counters or Counters(), stop)
    with closing(Forgotten(config.state)) as forgotten:
        thread = threading.Thread(target=worker.run, args=(healer, forgotten), daemon=True)
        thread.start()
        try:
            yield thread
        finally:
            stop.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()


class Topic:
    """All that is committed in a topic, read as a consumer does that wants each event once."""

    def __init__(self, bootstrap: str, name: str):
        self._consumer = KafkaConsumer(
            name,
            bootstrap_servers=[bootstrap],
            group_id=None,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            metadata_max_age_ms=1000,  # it may be there before its topic
        )
        self.records: list = []

    def until(self, enough: Callable[[list], bool], settle: float = 0) -> list:
        """The records, once `enough` says so of them, and what comes within `settle` seconds more."""
        deadline = time.monotonic() + PATIENCE
        while not enough(self.records):
            assert time.monotonic() < deadline, f"only {len(self.records)} records came"
            self._read()
        ends = time.monotonic() + settle
        while time.monotonic() < ends:
            self._read()
        return self.records

    def look(self) -> list:
        """The records so far."""
        self._read()
        return self.records

    def _read(self) -> None:
        self.records += [record for batch in self._consumer.poll(300).values() for record in batch]

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def topic(kafka_bootstrap):
    opened = []

    def open_(name: str) -> Topic:
        opened.append(Topic(kafka_bootstrap, name))
        return opened[-1]

    yield open_
    for one in opened:
        one.close()


@pytest.fixture
def send(kafka_bootstrap, cluster):
    """Sends jobs, or anything, to the crops topic."""
    producer = KafkaProducer(bootstrap_servers=[kafka_bootstrap])
    codec = crops.CropsCodec(1 << 20)

    def send(*things: HealJob | bytes | None, headers: list | None = None) -> None:
        name = cluster["cluster"]["crops_topic"]
        for thing in things:
            if isinstance(thing, HealJob):
                producer.send(name, codec.encode(thing), codec.key(thing), codec.attributes(thing))
            else:
                producer.send(name, thing, b"door", headers or [("ce_type", crops.TYPE.encode())])
        producer.flush(60)

    yield send
    producer.close()


def ids(records: list) -> Counter[str]:
    return Counter(header(record, "ce_id") for record in records)


def header(record, name: str) -> str:
    return dict(record.headers)[name].decode()


def test_poisoned_messages_become_dead_letters_and_the_worker_goes_on(cluster, send, topic):
    whole = crops.encode(job())
    no_pixels = crops.schema.HealJob.FromString(whole)
    no_pixels.crops[0].side = 0
    poison = [b"\xff not protobuf", None, no_pixels.SerializeToString(), whole[:-20]]
    send(job(track=1), *poison, job(track=2))
    send(whole, headers=[("ce_type", b"streamheal.face.crops.v9")])
    send(job(track=3))
    with working(cluster, Mirror()):
        dead = topic(cluster["cluster"]["dead_letter_topic"]).until(lambda records: len(records) >= 5)
        faces = topic(cluster["kafka"]["topic"]).until(lambda records: len(records) >= 3)
    assert [record.value for record in dead] == [*poison, whole]
    reasons = [header(record, "dead_reason") for record in dead]
    for reason, said in zip(reasons, ["not a streamheal", "is empty", "0 px", "streamheal", "crops.v9"], strict=True):
        assert said in reason
    assert {header(record, "dead_topic") for record in dead} == {cluster["cluster"]["crops_topic"]}
    assert [int(header(record, "dead_offset")) for record in dead] == [1, 2, 3, 4, 6]
    assert len({header(record, "dead_partition") for record in dead}) == 1
    assert ids(faces) == Counter([job(track=n).id for n in (1, 2, 3)])
    assert event.decode(faces[0].value).job.crops[0].image.shape == (19, 19, 3)


def test_a_job_that_was_sent_twice_is_healed_once_even_by_two_workers(cluster, send, topic):
    jobs = [job(track=n) for n in range(5)]
    healer, counters = Mirror(), Counters()
    send(*jobs, jobs[3])
    with working(cluster, healer, counters):
        topic(cluster["kafka"]["topic"]).until(lambda records: len(records) >= 5)
    send(jobs[4], jobs[0], job(track=9))
    other = Mirror()
    with working(cluster, other, counters):
        faces = topic(cluster["kafka"]["topic"]).until(lambda records: job(track=9).id in ids(records), settle=1)
    assert ids(faces) == Counter([*(j.id for j in jobs), job(track=9).id])
    assert other.healed == Counter([job(track=9).id])
    assert counters["duplicates"] == 3


def test_a_job_on_which_the_healer_fails_is_dead_and_its_neighbours_are_healed(cluster, send, topic):
    def fail(one: HealJob) -> None:
        if one.track == 2:
            raise RuntimeError("a picture like no other")

    send(*(job(track=n) for n in range(5)))
    with working(cluster, Mirror(fail)):
        faces = topic(cluster["kafka"]["topic"]).until(lambda records: len(records) >= 4)
        dead = topic(cluster["cluster"]["dead_letter_topic"]).until(lambda records: len(records) >= 1)
    assert ids(faces) == Counter(job(track=n).id for n in (0, 1, 3, 4))
    assert ids(dead) == Counter([job(track=2).id]) and "a picture like no other" in header(dead[0], "dead_reason")


def test_a_worker_on_which_everything_fails_ends_with_an_error_and_leaves_the_rest_to_others(cluster, send, topic):
    def fail(one: HealJob) -> None:
        raise RuntimeError("the device is gone")

    send(*(job(track=n) for n in range(6)))
    config = PipelineConfig.model_validate(cluster)
    with closing(Forgotten(config.state)) as forgotten:
        worker = HealWorker(config, Counters(), threading.Event())
        with pytest.raises(StreamhealError, match=r"3 times in a row.*the device is gone"):
            worker.run(Mirror(fail), forgotten)
    with working(cluster, Mirror()):
        faces = topic(cluster["kafka"]["topic"]).until(lambda records: len(records) >= 4)
    dead = topic(cluster["cluster"]["dead_letter_topic"]).until(lambda records: len(records) >= 2)
    assert ids(faces) + ids(dead) == Counter(job(track=n).id for n in range(6))


def test_a_job_that_takes_its_worker_down_each_time_is_dead_in_the_end_and_its_neighbours_are_healed(
    cluster, send, topic, tmp_path
):
    cluster["cluster"]["attempts"] = 2
    send(*(job(track=n) for n in range(5)))
    dead, faces = topic(cluster["cluster"]["dead_letter_topic"]), topic(cluster["kafka"]["topic"])
    deaths = 0
    command = [sys.executable, "-m", "tests.integration.mortal_worker", json.dumps(cluster), "2"]
    worker = subprocess.Popen(command, cwd=ROOT)
    deadline = time.monotonic() + PATIENCE
    try:
        while not dead.look() or len(faces.look()) < 4:
            assert time.monotonic() < deadline, f"after {deaths} deaths {len(faces.records)} are healed"
            if worker.poll() is not None:  # its supervisor starts it again
                assert worker.returncode == -signal.SIGKILL
                deaths += 1
                worker = subprocess.Popen(command, cwd=ROOT)
    finally:
        worker.kill()
        worker.wait()
    assert ids(dead.records) == Counter([job(track=2).id])
    assert "2 times a worker took it" in header(dead.records[0], "dead_reason")
    assert ids(faces.records) == Counter(job(track=n).id for n in (0, 1, 3, 4))
    assert deaths <= 3, "once with its neighbours, then alone"


def test_what_was_forgotten_is_not_healed_and_leaves_no_dead_letter(cluster, send, topic):
    def fail(one: HealJob) -> None:
        assert one.camera == "gate" and one.track != 7, "its pictures must not be looked at"
        if one.track == 2:
            with closing(Forgotten(state)) as another:
                another.add([one.id])  # while it is being healed

    state, counters = PipelineConfig.model_validate(cluster).state, Counters()
    broken = crops.schema.HealJob.FromString(crops.encode(job("door", track=8)))
    broken.crops[0].side = 0
    send(job("door", track=1), job("gate", track=7), broken.SerializeToString())
    time.sleep(0.01)
    with closing(Forgotten(state)) as forgotten:
        forgotten.add([job("gate", track=7).id.rpartition("/")[0]], until=("door", time.time()))
    send(*(job("gate", track=n) for n in (1, 2, 3)), job("gate", track=7, revision=2))
    with working(cluster, Mirror(fail), counters):
        faces = topic(cluster["kafka"]["topic"]).until(lambda records: len(records) >= 2, settle=1)
    assert ids(faces) == Counter(job("gate", track=n).id for n in (1, 3))
    assert not topic(cluster["cluster"]["dead_letter_topic"]).look()
    assert (counters["forgotten"], counters["events"], counters["dead"]) == (5, 2, 0)


def test_a_node_that_is_in_the_group_before_its_topic_is_watches_once_the_topic_is_there(cluster, caplog):
    """As one does whose brokers know the topic later than the one that made it."""
    stop, config = threading.Event(), PipelineConfig.model_validate(cluster)
    made = clients.Clients(config, stop)
    early = mock.Mock(wraps=made, create_topics=lambda: None)
    cameras = [Camera(name=f"camera-{n}", url="rtsp://127.0.0.1/") for n in range(8)]
    with closing(Leases(config.cluster, early, stop, changed=lambda: None)) as leases:
        try:
            time.sleep(3)
            made.create_topics()  # unless the brokers did, when they were asked for it
            until(lambda: leases.of(cameras) == cameras, "the only node watches all cameras")
        finally:
            stop.set()
    assert "anew" not in caplog.text


def test_both_kinds_of_nodes_work_over_tls_with_a_password_and_a_wrong_one_opens_nothing(
    cluster, kafka_broker, rtsp_camera, topic, tmp_path, monkeypatch, caplog
):
    """Every client that they make: of groups, of topics, of transactions, and of the outbox."""
    clip = write_passers_by(tmp_path / "passers-by.mp4")
    cluster["source"] = {"cameras": [{"name": "gate", "url": rtsp_camera(clip).url()}]}
    cluster["gallery"], cluster["tracker"] = {"size": 1}, {"confirm_after": 0}
    cluster["kafka"] |= {
        "bootstrap_servers": [kafka_broker.sasl],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "username": USER,
        "ssl_cafile": str(kafka_broker.ca),
    }
    monkeypatch.setattr(clients, "CONNECT_TIMEOUT", 30.0)  # a busy broker takes its time to refuse
    stranger = {**cluster, "kafka": cluster["kafka"] | {"password": "wrong-but-also-secret"}}
    with working(stranger, Mirror()):
        until(lambda: "check kafka.username, kafka.password" in caplog.text, "it says what is wrong")
    assert "wrong-but-also-secret" not in caplog.text
    monkeypatch.setenv("CLUSTER_PASSWORD", PASSWORD)
    cluster["kafka"]["password"] = "${CLUSTER_PASSWORD}"
    nodes: list[Node] = []
    try:
        nodes += [Node(kind, cluster, tmp_path / kind) for kind in ("heal", "ingest")]
        faces = topic(cluster["kafka"]["topic"]).until(lambda records: len(records) >= 1)
        assert event.decode(faces[0].value).job.camera == "gate"
        for node in nodes:
            node.stop()
            assert PASSWORD not in node.log.read_text()
            started, stopped = audit.read(tmp_path / node.kind / node.kind / "state" / "audit.jsonl")
            assert (started["what"], stopped["what"]) == ("start", "stop")
            assert stopped["facts"]["events"] > 0
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()
            print(f"--- {node.folder.name}\n{node.log.read_text()}")


class Node:
    """`streamheal ingest` or `streamheal heal` as a process; `log` is what it said."""

    def __init__(self, kind: str, content: dict, folder: Path):
        self.kind, self.folder = kind, folder
        folder.mkdir(exist_ok=True)
        self.log = folder / f"{time.time_ns()}.log"
        file = folder / "pipeline.yaml"
        file.write_text(yaml.safe_dump({**content, "output": {"path": str(folder)}}))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", "from streamheal.cli import main; main()", "-v", kind, str(file)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )

    @property
    def watches(self) -> str:
        """The cameras that an ingest node watches, as it last said."""
        said = re.findall(r"this node watches now: (.*)", self.log.read_text())
        return said[-1] if said else "no camera"

    @property
    def outbox(self) -> Path:
        return self.folder / "ingest" / "outbox.sqlite"

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """SIGTERM; returns the seconds that it took to end well."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()
        return time.monotonic() - began


def write_passers_by(path: Path, minutes: int = 5) -> Path:
    """Somebody looks in for two seconds of every six: 5 small pictures a second, cheap to look at."""
    face, _ = astronaut(size=48, centre=(128, 96), shape=(192, 256))
    nobody = np.full_like(face, 96)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=5, options={"preset": "ultrafast", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = 256, 192, "yuv420p"
        stream.gop_size = 5
        for number in range(minutes * 300):
            picture = np.roll(face, number % 10, axis=1) if number % 30 < 10 else nobody
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_one_ingest_node_and_one_heal_worker_are_killed_and_nothing_is_lost_or_healed_twice(
    cluster, rtsp_camera, topic, tmp_path, record_property
):
    clip = write_passers_by(tmp_path / "passers-by.mp4")
    cameras = {"gate": rtsp_camera(clip), "lobby": rtsp_camera(clip)}
    assert {share(name, 2) for name in cameras} == {0, 1}, "one camera a node"
    cluster["cluster"]["partitions"] = 2
    cluster["source"] = {"cameras": [{"name": name, "url": camera.url()} for name, camera in cameras.items()]}
    cluster["gallery"] = {"size": 1}
    cluster["tracker"] = {"confirm_after": 0}  # however few frames a busy machine finds the time to look at
    nodes: list[Node] = []

    def start(kind: str, name: str) -> Node:
        nodes.append(Node(kind, cluster, tmp_path / name))
        return nodes[-1]

    crops_in, faces_out = None, None
    try:
        workers = [start("heal", f"heal-{n}") for n in (1, 2)]
        ingests = [start("ingest", f"ingest-{n}") for n in (1, 2)]
        until(lambda: {node.watches for node in ingests} == set(cameras), "each node watches one camera")
        crops_in, faces_out = topic(cluster["cluster"]["crops_topic"]), topic(cluster["kafka"]["topic"])
        crops_in.until(lambda records: {record.key for record in records} == {b"gate", b"lobby"})
        faces_out.until(lambda records: {record.key for record in records} == {b"gate", b"lobby"})

        victim, survivor = ingests
        orphan = victim.watches
        victim.kill()
        workers[0].kill()
        killed = time.monotonic()
        until(lambda: orphan in survivor.watches, f"{orphan} is taken over")
        record_property("camera_taken_over_s", taken_over := time.monotonic() - killed)
        assert taken_over < cluster["cluster"]["lease"] + PATIENCE
        before = {
            header(record, "ce_id").partition("/")[0] for record in crops_in.records if record.key == orphan.encode()
        }
        crops_in.until(lambda records: any(
            record.key == orphan.encode() and header(record, "ce_id").partition("/")[0] not in before
            for record in records
        ))  # fmt: skip
        record_property("its_first_crops_s", time.monotonic() - killed)

        restarted = start("ingest", "ingest-1")  # what waited in its outbox leaves now
        until(lambda: "shares of the cameras" in restarted.log.read_text(), "it is back in the group")
        record_property("stop_s", max(survivor.stop(), restarted.stop()))
        for node in (survivor, restarted):
            with closing(Outbox(node.outbox)) as outbox:
                assert outbox.counts().waiting == outbox.counts().dead == 0
        sent = ids(crops_in.until(lambda records: True, settle=2))
        faces = ids(faces_out.until(lambda records: ids(records).keys() >= sent.keys(), settle=1))
        assert faces == Counter(sent.keys()), "each id is healed once, and read once"
        record_property("jobs", len(sent))
        record_property("sent_twice", sent.total() - len(sent))
        workers[1].stop()
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()
            print(f"--- {node.folder.name}\n{node.log.read_text()}")
