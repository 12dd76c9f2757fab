"""Healed faces through a real Kafka broker that is killed, frozen, and picky."""

import base64
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaConsumer

from streamheal.config import Kafka
from streamheal.errors import SinkError
from streamheal.publish import event
from streamheal.publish.kafka import KafkaSink
from streamheal.publish.outbox import Outbox
from streamheal.publish.pictures import mark
from tests.integration.kafka import PASSWORD, USER
from tests.publish.sample import healed_face

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]


PATIENCE = 8  # seconds for a refusal: a wrong password is told only after it, and a busy broker takes its time


def plain(bootstrap: str, topic: str, **more) -> Kafka:
    return Kafka(bootstrap_servers=[bootstrap], topic=topic, **more)


def sasl(broker, topic: str, **more) -> Kafka:
    settings = {
        "bootstrap_servers": [broker.sasl],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "username": USER,
        "password": PASSWORD,
        "ssl_cafile": broker.ca,
    }
    return Kafka(topic=topic, **(settings | more))


@pytest.fixture
def open_sink(tmp_path):
    """Opens sinks on one outbox file, with a short backoff, and closes them at the end."""
    opened = []

    def open_sink(settings: Kafka, **more) -> KafkaSink:
        opened.append(
            KafkaSink(settings, tmp_path / "outbox.sqlite", **({"backoff": (0.1, 1.0), "connect_timeout": 30} | more))
        )
        return opened[-1]

    yield open_sink
    for sink in opened:
        sink.close()


def read(bootstrap: str, topic: str, wanted: int, timeout: float = 60, **more) -> list:
    """Records of `topic` from its beginning, until `wanted` different events are there, and what follows at once."""
    consumer = KafkaConsumer(topic, bootstrap_servers=[bootstrap], auto_offset_reset="earliest", group_id=None, **more)
    records, ids = [], set()
    deadline = time.monotonic() + timeout
    try:
        while time.monotonic() < deadline:
            got = [record for batch in consumer.poll(500).values() for record in batch]
            records += got
            ids |= {header(record, "ce_id") for record in got}
            if len(ids) >= wanted and not got:
                break
    finally:
        consumer.close()
    return records


def header(record, name: str) -> str:
    return dict(record.headers)[name].decode()


def ids(records) -> set[str]:
    return {header(record, "ce_id") for record in records}


def test_crops_and_embeddings_arrive_bit_for_bit(kafka_bootstrap, kafka_topic, open_sink):
    rng = np.random.default_rng(0)
    sent = [healed_face(track=n, side=side, noise=True) for n, side in enumerate((16, 19, 64, 128))]
    for face in sent:
        face.embedding_original[:] = rng.standard_normal(8)
    sink = open_sink(plain(kafka_bootstrap, kafka_topic), require=True)
    for face in sent:
        sink.add(face)
    assert sink.flush(60)

    records = read(kafka_bootstrap, kafka_topic, len(sent))
    assert len(records) == len(sent)
    got = {header(record, "ce_id"): event.decode(record.value) for record in records}
    for face in sent:
        back = got[face.id]
        np.testing.assert_array_equal(back.original, face.original)
        assert back.embedding_original.tobytes() == face.embedding_original.tobytes()
        assert back.embedding_restored.tobytes() == face.embedding_restored.tobytes()
        np.testing.assert_array_equal(back.restored, mark(face.restored))
        np.testing.assert_array_equal(back.visible, face.visible)


def test_records_are_cloudevents_keyed_by_camera_and_in_order(kafka_bootstrap, kafka_topic, open_sink):
    sink = open_sink(plain(kafka_bootstrap, kafka_topic), require=True)
    for revision in range(1, 21):
        for camera in ("door", "gate", "hall"):
            sink.add(healed_face(camera=camera, revision=revision))
    assert sink.flush(60)

    records = read(kafka_bootstrap, kafka_topic, 60)
    assert len(records) == 60
    for camera in ("door", "gate", "hall"):
        mine = [record for record in records if record.key == camera.encode()]
        assert len({record.partition for record in mine}) == 1
        assert [event.decode(record.value).job.revision for record in mine] == list(range(1, 21))
    expected = dict(event.attributes(healed_face(camera="gate", revision=20)))
    assert dict([r for r in records if r.key == b"gate"][-1].headers) == expected
    assert expected["ce_specversion"] == b"1.0"
    assert expected["ce_id"] == b"run-1/gate/1/7/20"


def test_the_same_face_twice_while_it_waits_is_sent_once(kafka_broker, kafka_topic, open_sink):
    kafka_broker.freeze()
    sink = open_sink(plain(kafka_broker.plain, kafka_topic), connect_timeout=2)
    for _ in range(3):
        sink.add(healed_face())
    assert (sink.waiting, sink.stats.added) == (1, 1)
    kafka_broker.thaw()
    assert sink.flush(60)
    assert len(read(kafka_broker.plain, kafka_topic, 1)) == 1


def test_nothing_is_missing_after_the_broker_was_killed_and_came_back(kafka_broker, kafka_topic, open_sink):
    settings = plain(kafka_broker.plain, kafka_topic, delivery_timeout=4)
    sink = open_sink(settings, require=True, connect_timeout=5)
    sent = [healed_face(track=n, camera=f"camera-{n % 4}") for n in range(150)]

    def outage():
        while sink.stats.acknowledged < 10:
            time.sleep(0.01)
        kafka_broker.kill()
        time.sleep(6)  # longer than the delivery timeout
        kafka_broker.start()

    trouble = threading.Thread(target=outage)
    trouble.start()
    for face in sent:
        sink.add(face)
        time.sleep(0.02)
    trouble.join()
    assert sink.flush(90)
    assert sink.stats.acknowledged == 150
    assert sink.stats.failures > 0, "the outage was not noticed: the test tests nothing"

    records = read(kafka_broker.plain, kafka_topic, len(sent))
    assert ids(records) == {face.id for face in sent}
    assert {event.decode(record.value).id for record in records} == ids(records)


def test_a_frozen_broker_stops_neither_the_pipeline_nor_the_end(kafka_broker, kafka_topic, open_sink):
    threads = set(threading.enumerate())
    sink = open_sink(plain(kafka_broker.plain, kafka_topic), require=True)
    sink.add(healed_face(track=0))
    assert sink.flush(30)
    kafka_broker.freeze()
    for n in range(1, 40):
        sink.add(healed_face(track=n))
    assert not sink.flush(1)
    sink.close()
    deadline = time.monotonic() + 15
    while (left := set(threading.enumerate()) - threads) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left, "the client's threads and sockets outlive the sink"
    kafka_broker.thaw()

    later = open_sink(plain(kafka_broker.plain, kafka_topic), require=True)
    assert later.flush(60)
    assert ids(read(kafka_broker.plain, kafka_topic, 40)) == {healed_face(track=n).id for n in range(40)}


SENDER = """
import sys
from pathlib import Path
from streamheal.config import Kafka
from streamheal.publish.kafka import KafkaSink
from tests.publish.sample import healed_face

sink = KafkaSink(Kafka(bootstrap_servers=[sys.argv[1]], topic=sys.argv[2]), Path(sys.argv[3]), require=True)
for n in range(20):
    sink.add(healed_face(track=n))
print("sent" if sink.flush(60) else "not sent", flush=True)
sys.stdin.readline()
for n in range(20, 40):
    sink.add(healed_face(track=n))
print("added", flush=True)
sys.stdin.readline()
"""


def test_what_a_killed_process_had_not_sent_goes_out_at_the_next_start(kafka_broker, kafka_topic, open_sink, tmp_path):
    sender = subprocess.Popen(
        [sys.executable, "-c", SENDER, kafka_broker.plain, kafka_topic, str(tmp_path / "outbox.sqlite")],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert sender.stdout.readline() == "sent\n"
        kafka_broker.freeze()
        print(file=sender.stdin, flush=True)
        assert sender.stdout.readline() == "added\n"
    finally:
        sender.kill()
        sender.wait()
        kafka_broker.thaw()
    waiting = Outbox(tmp_path / "outbox.sqlite")
    assert waiting.counts().waiting == 20
    waiting.close()

    sink = open_sink(plain(kafka_broker.plain, kafka_topic), require=True)
    assert sink.flush(60)
    assert ids(read(kafka_broker.plain, kafka_topic, 40)) == {healed_face(track=n).id for n in range(40)}


def test_an_event_too_large_for_the_client_is_a_dead_letter_and_the_others_pass(
    kafka_bootstrap, kafka_topic, open_sink
):
    sink = open_sink(plain(kafka_bootstrap, kafka_topic, max_message_bytes=60_000), require=True)
    big = healed_face(track=2, side=200, noise=True)
    for face in (healed_face(track=1), big, healed_face(track=3)):
        sink.add(face)
    assert sink.flush(60)
    assert (sink.stats.acknowledged, sink.stats.dead) == (2, 1)
    assert ids(read(kafka_bootstrap, kafka_topic, 2)) == {healed_face(track=1).id, healed_face(track=3).id}


def test_an_event_too_large_for_the_broker_is_a_dead_letter_with_the_reason(
    kafka_broker, kafka_topic, open_sink, tmp_path
):
    admin = KafkaAdminClient(bootstrap_servers=[kafka_broker.plain])
    admin.create_topics({kafka_topic: {"num_partitions": 1, "configs": {"max.message.bytes": "60000"}}})
    admin.close()
    sink = open_sink(plain(kafka_broker.plain, kafka_topic))
    small = [healed_face(track=n) for n in range(30)]  # together they are larger than the broker takes
    for face in (*small[:15], healed_face(track=99, side=200, noise=True), *small[15:]):
        sink.add(face)
    assert sink.flush(60)
    sink.close()
    assert (sink.stats.acknowledged, sink.stats.dead) == (30, 1)
    box = Outbox(tmp_path / "outbox.sqlite")
    [(dead, reason)] = box.dead()
    box.close()
    assert dead == healed_face(track=99).id
    assert "TooLarge" in reason
    assert ids(read(kafka_broker.plain, kafka_topic, 30)) == {face.id for face in small}


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_events_pass_over_tls_with_a_password(kafka_broker, kafka_topic, open_sink, mechanism):
    sink = open_sink(sasl(kafka_broker, kafka_topic, sasl_mechanism=mechanism), require=True)
    sink.add(healed_face())
    assert sink.flush(60)
    assert len(read(kafka_broker.plain, kafka_topic, 1)) == 1


def test_events_pass_over_tls_with_a_client_certificate(kafka_broker, kafka_topic, open_sink):
    settings = Kafka(
        bootstrap_servers=[kafka_broker.mutual],
        topic=kafka_topic,
        security_protocol="SSL",
        ssl_cafile=kafka_broker.ca,
        ssl_certfile=kafka_broker.client_cert,
        ssl_keyfile=kafka_broker.client_key,
    )
    sink = open_sink(settings, require=True)
    sink.add(healed_face())
    assert sink.flush(60)
    assert len(read(kafka_broker.plain, kafka_topic, 1)) == 1


def test_a_broker_whose_certificate_another_authority_signed_is_refused(kafka_broker, kafka_topic, open_sink):
    with pytest.raises(SinkError, match=r"CERTIFICATE_VERIFY_FAILED.*check kafka\.ssl_cafile"):
        open_sink(
            sasl(kafka_broker, kafka_topic, ssl_cafile=kafka_broker.other_ca), require=True, connect_timeout=PATIENCE
        )


def test_a_broker_whose_certificate_is_for_another_host_is_refused(kafka_broker, kafka_topic, open_sink):
    named = sasl(kafka_broker, kafka_topic, bootstrap_servers=[kafka_broker.sasl.replace("127.0.0.1", "localhost")])
    with pytest.raises(SinkError, match=r"CERTIFICATE_VERIFY_FAILED.*made out to the host's name"):
        open_sink(named, require=True, connect_timeout=PATIENCE)
    sink = open_sink(named.model_copy(update={"ssl_check_hostname": False}), require=True)
    sink.add(healed_face())
    assert sink.flush(60)


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
def test_a_wrong_password_is_one_clear_error(kafka_broker, kafka_topic, open_sink, mechanism):
    settings = sasl(kafka_broker, kafka_topic, password="wrong", sasl_mechanism=mechanism)
    with pytest.raises(SinkError, match=r"check kafka\.username, kafka\.password and kafka\.sasl_mechanism"):
        open_sink(settings, require=True, connect_timeout=PATIENCE)


def test_a_missing_client_certificate_is_one_clear_error(kafka_broker, kafka_topic, open_sink):
    settings = Kafka(
        bootstrap_servers=[kafka_broker.mutual],
        topic=kafka_topic,
        security_protocol="SSL",
        ssl_cafile=kafka_broker.ca,
    )
    with pytest.raises(SinkError, match=r"certificate.*kafka\.ssl_certfile"):
        open_sink(settings, require=True, connect_timeout=PATIENCE)


def test_a_port_that_speaks_no_tls_is_one_clear_error(kafka_broker, kafka_topic, open_sink):
    settings = sasl(kafka_broker, kafka_topic, bootstrap_servers=[kafka_broker.plain])
    with pytest.raises(SinkError, match=r"check kafka\.security_protocol"):
        open_sink(settings, require=True, connect_timeout=PATIENCE)


@pytest.mark.parametrize("password", [PASSWORD, "wrong-but-also-secret"])
def test_the_password_is_nowhere_in_logs_errors_or_files(
    kafka_broker, kafka_topic, open_sink, tmp_path, caplog, capfd, password
):
    caplog.set_level(logging.DEBUG)
    logging.getLogger("kafka").setLevel(logging.DEBUG)  # as `--log-level debug` might: the sink must undo it
    settings = sasl(kafka_broker, kafka_topic, sasl_mechanism="PLAIN", password=password)
    sink = open_sink(settings, connect_timeout=2)
    sink.add(healed_face())
    assert sink.flush(60 if password == PASSWORD else 3) == (password == PASSWORD)
    sink.close()

    kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    shown = caplog.text + "".join(capfd.readouterr()) + repr(sink) + repr(settings) + kept.decode(errors="replace")
    assert caplog.text
    for secret in (password, base64.b64encode(password.encode()).decode(), password.encode().hex()):
        assert secret not in shown
