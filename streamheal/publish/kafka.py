"""The Kafka sink: an outbox, and a thread that empties it into a topic.

`add` only writes to the outbox, so the pipeline never waits for a broker. The thread takes the oldest events, sends
them with an idempotent producer (`acks=all`), and removes those that the broker acknowledged. While the broker is
away it tries again with exponential backoff and jitter, and says so once. Events wait on disk meanwhile, and are sent
at the next start if this run ends first.

Delivery is at least once: where an answer was lost the event goes out again, with the same `ce_id`.
"""

import logging
import queue
import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from kafka import errors as kafka_errors

from streamheal.config import Kafka
from streamheal.errors import SinkError
from streamheal.publish import event
from streamheal.publish.kafka_client import connect, disconnect, tls
from streamheal.publish.outbox import Event, Outbox
from streamheal.records import HealedFace
from streamheal.vault import Vault

log = logging.getLogger(__name__)

BATCH = 64
"""Events that are sent before the answers are waited for: what a crash may send twice, at most."""

IDLE = 2.0
"""Seconds between looks into an empty outbox: dead letters that somebody lets wait again are found so."""

# What no further try can cure, because it is about the record itself.
HOPELESS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidRecordError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.PolicyViolationError,
)


@dataclass(slots=True)
class KafkaStats:
    """What happened since the sink was opened; for metrics and the summary."""

    added: int = 0
    acknowledged: int = 0
    dead: int = 0
    failures: int = 0  # rounds that ended without a connection or an acknowledgement, each followed by a backoff


class Codec(Protocol):
    """How a record becomes a message; `publish.event` is the one of healed faces."""

    def key(self, record) -> bytes: ...
    def attributes(self, record) -> list[tuple[str, bytes]]: ...
    def encode(self, record) -> bytes: ...
    def last(self, record) -> bool: ...


class KafkaSink:
    """Sends healed faces, or what else `codec` encodes, to a Kafka topic, by way of the outbox file `outbox`.

    One sink per outbox file.

    With `require` the broker must answer within `connect_timeout` seconds before anything is processed, else
    SinkError: right for a recording, which can be run again. Without it an unreachable broker is tried again for as
    long as the sink lives, and an outbox that is full, or whose disk is, sheds events (see `outbox.py`) where it would
    raise with `require`: right for cameras, whose footage comes only once.

    `vault` seals events while they wait. `rest(event, seconds)` waits out a backoff unless the event is set before.

    Raises SinkError also if the outbox can't be used or a certificate can't be read.
    """

    name = "kafka"

    def __init__(
        self,
        settings: Kafka,
        outbox: Path,
        *,
        require: bool = False,
        connect_timeout: float = 10.0,
        backoff: tuple[float, float] = (0.5, 30.0),
        codec: Codec = event,
        vault: Vault | None = None,
        rest: Callable[[threading.Event, float], object] = threading.Event.wait,
    ):
        self.stats = KafkaStats()
        self._settings = settings
        self._codec = codec
        self._connect_timeout = connect_timeout
        self._backoff = backoff  # first and longest wait, seconds
        self._rest = rest
        self._tls = tls(settings)
        self._producer = None
        if settings.security_protocol == "SASL_PLAINTEXT":
            log.warning("kafka: SASL_PLAINTEXT sends events, and with PLAIN the password, unencrypted")
        self._outbox = Outbox(outbox, max_bytes=settings.outbox_max_bytes, vault=vault, shedding=not require)
        if waiting := self.waiting:
            log.info("kafka: %d events of an earlier run wait in %s and are sent now", waiting, outbox)
        if require:
            try:
                self._producer = connect(settings, self._tls, connect_timeout)
            except SinkError as error:
                self._outbox.close()
                kept = f"; the {waiting} events that wait in {outbox} are kept" if waiting else ""
                raise SinkError(f"{error}{kept}") from None

        self._work = threading.Event()  # something was added
        self._hurry = threading.Event()  # don't sit out the backoff
        self._stop = threading.Event()
        self._settled = threading.Condition()  # notified after each round
        self._told: set[str] = set()  # the causes of this outage that were logged
        self._one_by_one = 0  # so many events are sent alone, to find the one that the broker refused
        self._thread = threading.Thread(target=self._run, name="kafka-sink", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events that are healed and not yet acknowledged."""
        return self._outbox.counts().waiting

    def counts(self) -> dict[str, int]:
        """Where every event that ever came into this outbox is, in this run and earlier ones: `added` is the sum of
        `acknowledged`, `waiting`, `dead`, `shed` and `forgotten`."""
        return asdict(self._outbox.accounts())

    def add(self, face: HealedFace) -> None:
        """Put the face into the outbox; it is durable when this returns, unless it was shed and counted as that.

        Raises SinkError, with `require`, if there is no room.
        """
        codec = self._codec
        headers, payload = codec.attributes(face), codec.encode(face)
        if self._outbox.add(face.id, codec.key(face), headers, payload, last=codec.last(face)):
            self.stats.added += 1
        self._work.set()

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds until the broker has acknowledged all that waits. True if it has."""
        deadline = time.monotonic() + timeout
        self._hurry.set()
        self._work.set()
        with self._settled:
            while self.waiting:
                left = deadline - time.monotonic()
                if left <= 0 or self._stop.is_set():
                    return False
                self._settled.wait(min(left, 0.2))
        return True

    def close(self) -> None:
        """Stop sending, within about two seconds. Says how many events stay in the outbox for the next start."""
        if self._stop.is_set():
            return
        self._stop.set()
        self._hurry.set()
        self._work.set()
        self._thread.join(2)  # longer only while a connection is being made; then the thread ends by itself
        try:
            counts, path = self._outbox.counts(), self._outbox.path
            if counts.waiting:
                log.warning("kafka: %d events wait in %s and are sent at the next start", counts.waiting, path)
            if counts.dead:
                log.warning(
                    "kafka: %d events in %s can't be delivered; `streamheal outbox list --dead %s` says why",
                    counts.dead, path, path,
                )  # fmt: skip
        finally:
            self._outbox.close()

    def __repr__(self) -> str:
        return f"KafkaSink({self._settings.topic!r} at {', '.join(self._settings.bootstrap_servers)})"

    # The sender thread.

    def _run(self) -> None:
        failed = 0  # rounds in a row
        try:
            while not self._stop.is_set():
                try:
                    self._work.clear()
                    events = self._outbox.pending(limit=1 if self._one_by_one else BATCH)
                    if not events:
                        self._work.wait(IDLE)
                        continue
                    self._deliver(events)
                    if failed:
                        log.info("kafka: delivering again after %d failed tries; %d events wait", failed, self.waiting)
                    failed = 0
                    self._told.clear()
                except Exception as error:  # this thread must outlive whatever a broker, a disk or the client does
                    if self._stop.is_set():
                        return
                    failed += 1
                    self.stats.failures += 1
                    self._complain(error)
                    self._let_go()
                    self._hurry.clear()
                    if not self._stop.is_set():
                        self._rest(self._hurry, self._delay(failed))
                finally:
                    with self._settled:
                        self._settled.notify_all()
        finally:
            self._let_go()

    def _deliver(self, events: list[Event]) -> None:
        """Send `events` in order, wait for the answers, and settle each. Raises what kept any of them from arriving."""
        if self._producer is None:
            self._producer = connect(self._settings, self._tls, self._connect_timeout)
        answers: queue.SimpleQueue = queue.SimpleQueue()
        asked = 0
        for item in events:
            asked += 1
            try:
                future = self._producer.send(self._settings.topic, item.payload, item.key, item.headers)
            except kafka_errors.MessageSizeTooLargeError as error:  # by our own limit: it was not sent at all
                self._bury(item, error)
                asked -= 1
                continue
            except kafka_errors.KafkaError as error:
                answers.put((item, error))
                break
            future.add_callback(lambda _, item=item: answers.put((item, None)))
            future.add_errback(lambda error, item=item: answers.put((item, error)))

        arrived, hopeless, failure = [], [], None
        deadline = time.monotonic() + self._settings.delivery_timeout + 5  # the client's own timeout comes first
        while len(arrived) + len(hopeless) < asked and failure is None:
            try:
                item, error = answers.get(timeout=0.1)
            except queue.Empty:
                if self._stop.is_set() or time.monotonic() > deadline:
                    failure = SinkError("kafka: no acknowledgement in time")
                continue
            if error is None:
                arrived.append(item)
            elif isinstance(error, HOPELESS):
                hopeless.append((item, error))
            else:
                failure = error
        while not answers.empty():  # what else arrived before the failure
            item, error = answers.get()
            if error is None:
                arrived.append(item)

        self._outbox.acknowledge(arrived)
        self.stats.acknowledged += len(arrived)
        self._one_by_one = max(0, self._one_by_one - 1)
        if hopeless:
            # After a refusal the idempotent producer fails whatever else is on its way with the same error. So only
            # what was refused alone is dead; the rest is sent once more, one at a time, with a fresh producer.
            self._let_go()
            if len(events) == 1:
                self._bury(*hopeless[0])
            else:
                self._one_by_one = len(events) - len(arrived)
        if failure is not None:
            raise failure

    def _bury(self, item: Event, error: Exception) -> None:
        size = len(item.payload)
        log.error("kafka: %s (%d bytes) can't be delivered and is kept as a dead letter: %s", item.id, size, error)
        self._outbox.bury(item, str(error))
        self.stats.dead += 1

    def _let_go(self) -> None:
        if self._producer is not None:
            producer, self._producer = self._producer, None
            disconnect(producer)

    def _delay(self, failed: int) -> float:
        first, longest = self._backoff
        return min(longest, first * 2 ** min(failed - 1, 20)) * random.uniform(0.5, 1.0)

    def _complain(self, error: Exception) -> None:
        """Log each cause of an outage once."""
        text = str(error) if isinstance(error, SinkError) else f"kafka: {error!r}"
        kind = re.sub(r"[0-9]+", "#", text)
        if kind not in self._told:
            self._told.add(kind)
            known = isinstance(error, (SinkError, kafka_errors.KafkaError))
            log.warning("%s; healed faces wait in the outbox, and it is tried again", text, exc_info=not known)
