"""A heal worker: jobs in from `crops.v1`, healed faces out, each once.

What is healed, what is dead, and how far the worker has come are one Kafka transaction. So whatever kills a worker,
wherever: either all of a batch has happened, or nothing has, and another worker does it again. Readers of the output
that read committed messages see each id once. What was forgotten is passed over, and becomes nothing at all.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from streamheal.cluster import crops
from streamheal.cluster.attempts import about_to_try, attempts_at, done
from streamheal.cluster.bounded import Result, bounded
from streamheal.cluster.clients import Clients
from streamheal.cluster.dead_letter import DeadLetter
from streamheal.cluster.seen import Seen
from streamheal.config import PipelineConfig
from streamheal.errors import SinkError, StreamhealError
from streamheal.forgotten import Forgotten
from streamheal.publish import event
from streamheal.publish.kafka import HOPELESS
from streamheal.publish.kafka_client import disconnect
from streamheal.records import HealedFace, HealJob
from streamheal.watch.counters import Counters
from streamheal.watch.pace import Pace

if TYPE_CHECKING:
    from streamheal.heal.healer import Healer

log = logging.getLogger(__name__)

POLL = 0.5  # seconds
PATIENCE = 30.0  # seconds for one answer of the brokers; then the worker connects anew
GOODBYE = 3.0  # seconds for the same after a stop
FAILURES_IN_A_ROW = 3
"""Jobs on which the healer fails, one after the other, before it is the worker that must be broken."""

Record = object  # kafka's ConsumerRecord
Batch = dict[TopicPartition, list[Record]]  # in order


@dataclass(frozen=True, slots=True)
class Membership:
    """A worker's place in the group, and what it publishes with."""

    consumer: KafkaConsumer
    producer: KafkaProducer
    seen: Seen


@dataclass(slots=True)
class Outcome:
    """What became of a batch."""

    healed: list[tuple[Record, HealedFace]] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    forgotten: int = 0
    ids: dict[TopicPartition, list[str]] = field(default_factory=dict)  # settled for good, once this is committed


class HealWorker:
    """One member of the heal group. Raises ConfigError without a `kafka` section."""

    def __init__(self, config: PipelineConfig, counters: Counters, stop: threading.Event):
        self._kafka, self._cluster = config.kafka, config.cluster
        self._counters, self._stop = counters, stop
        self._clients = Clients(config, stop)
        self._pace = Pace(config.restorer.batch)
        self._excused: set[tuple[TopicPartition, int]] = set()  # attempts that the brokers ended, not the job
        self._failed_in_a_row = 0

    def run(self, healer: "Healer", forgotten: Forgotten) -> None:
        """Heal until `stop`, but for what was forgotten. Raises StreamhealError if the healer fails on everything."""
        self._healer, self._forgotten = healer, forgotten
        self._clients.patiently(self._clients.create_topics)
        while not self._stop.is_set():
            if (producer := self._clients.patiently(self._clients.producer)) is None:
                break
            consumer = None
            try:
                consumer = self._clients.patiently(self._join)
                if consumer is not None:
                    self._consume(consumer, producer)
            except (KafkaError, SinkError) as error:
                self._counters.add("heal.reconnects")
                log.warning("heal: %s; what was not committed is healed again", error or type(error).__name__)
                self._stop.wait(1.0)
            finally:
                disconnect(producer)
                if consumer is not None:
                    self._leave(consumer)

    def _join(self) -> KafkaConsumer:
        return self._clients.consumer(self._cluster.heal_group)

    def _leave(self, consumer: KafkaConsumer) -> None:
        try:
            bounded(lambda: consumer.close(autocommit=False, timeout_ms=1000), GOODBYE)
        except (KafkaError, SinkError) as error:
            log.info("heal: left without a goodbye: %s", error)

    def _consume(self, consumer: KafkaConsumer, producer: KafkaProducer) -> None:
        seen = Seen(consumer)
        member = Membership(consumer, producer, seen)
        consumer.subscribe([self._cluster.crops_topic], listener=_Rebalanced(seen))
        while not self._stop.is_set():
            batch = consumer.poll(int(POLL * 1000), max_records=self._pace.items)
            batch = {place: fresh for place, records in batch.items() if (fresh := seen.fresh(place, records))}
            if not batch:
                continue
            before = {
                place: self._attempts(consumer, place, records[0].offset) if seen.begins(place, records[0]) else 0
                for place, records in batch.items()
            }
            # Where something went wrong before, each job goes alone: only the one to blame shall come to harm.
            careful = any(before.values())
            alone = [{place: [record]} for place, records in batch.items() for record in records]
            for part in alone if careful else [batch]:
                tries = {place: before.pop(place, 0) for place in part}
                self._settle(part, tries, member)

    def _attempts(self, consumer: KafkaConsumer, place: TopicPartition, offset: int) -> int:
        noted = self._within(lambda: consumer.committed(place, metadata=True))
        return max(0, attempts_at(offset, noted) - ((place, offset) in self._excused))

    def _settle(self, batch: Batch, tries: dict[TopicPartition, int], member: Membership) -> None:
        """Heal a batch and commit what became of it."""
        notes = {place: about_to_try(records[0].offset, tries[place]) for place, records in batch.items()}
        self._within(lambda: member.consumer.commit(notes))
        outcome = self._heal(batch, tries, member.seen)
        offsets = {place: done(records[-1].offset) for place, records in batch.items()}
        try:
            with self._forgotten.unchanged():
                self._pass_over_forgotten(outcome)
                self._within(lambda: self._publish(member, outcome, offsets))
        except HOPELESS as error:
            raise SinkError(f"the brokers refuse what was healed: {error}") from error
        except (KafkaError, SinkError):
            self._excused |= {(place, note.offset) for place, note in notes.items()}
            raise
        self._excused.clear()
        for place, ids in outcome.ids.items():
            member.seen.add(place, ids)
        for _, face in outcome.healed:
            self._counters.add("events")
            self._counters.add("abstained" if face.abstained else "healed")
        self._counters.add("forgotten", outcome.forgotten)
        self._counters.add("dead", len(outcome.dead))
        for letter in outcome.dead:
            record = letter.record
            log.error("heal: %s/%d@%d is dead: %s", record.topic, record.partition, record.offset, letter.reason)

    def _heal(self, batch: Batch, tries: dict[TopicPartition, int], seen: Seen) -> Outcome:
        outcome, jobs, sources = Outcome(), [], []
        for place, records in batch.items():
            ids = outcome.ids.setdefault(place, [])
            for record in records:
                if self._is_forgotten(record):
                    outcome.forgotten += 1
                    continue
                try:
                    if tries[place] >= self._cluster.attempts:
                        raise ValueError(f"{tries[place]} times a worker took it and did not come back")
                    job = _read(record)
                except ValueError as error:
                    outcome.dead.append(DeadLetter(record, str(error)))
                    continue
                if job.id in ids or seen.has(place, job.id):
                    self._counters.add("duplicates")
                    continue
                ids.append(job.id)
                jobs.append(job)
                sources.append(record)
        with self._pace.measure(len(jobs)):
            results = self._try(jobs) if jobs else []
        most = self._kafka.max_message_bytes
        for record, face in zip(sources, results, strict=True):
            if isinstance(face, str):
                outcome.dead.append(DeadLetter(record, face))
            elif (size := len(event.encode(face)) + 2048) > most:
                outcome.dead.append(DeadLetter(record, f"healed, its event has {size} bytes; {most} are allowed"))
            else:
                outcome.healed.append((record, face))
        return outcome

    def _is_forgotten(self, record: Record) -> bool:
        """By its id alone, before anything looks at its pictures."""
        id = crops.job_id(record.value)
        return id is not None and self._forgotten.holds(id, record.timestamp / 1000)

    def _pass_over_forgotten(self, outcome: Outcome) -> None:
        """Somebody may have asked while it was healed."""
        before = len(outcome.healed) + len(outcome.dead)
        outcome.healed = [made for made in outcome.healed if not self._is_forgotten(made[0])]
        outcome.dead = [letter for letter in outcome.dead if not self._is_forgotten(letter.record)]
        outcome.forgotten += before - len(outcome.healed) - len(outcome.dead)

    def _try(self, jobs: Sequence[HealJob]) -> list[HealedFace | str]:
        """Each job healed, or why it can't be."""
        try:
            faces = self._healer.heal(jobs)
        except Exception as error:  # whatever a picture can make a network do
            if len(jobs) > 1:
                return [result for job in jobs for result in self._try([job])]
            self._failed_in_a_row += 1
            if self._failed_in_a_row >= FAILURES_IN_A_ROW:
                raise StreamhealError(
                    f"healing failed {FAILURES_IN_A_ROW} times in a row, the last time with {error!r}; this worker "
                    "stops, so that no more jobs are wasted on it: run streamheal doctor on this machine"
                ) from error
            log.exception("heal: the healer failed on %s", jobs[0].id)
            return [f"the healer failed: {error!r}"]
        self._failed_in_a_row = 0
        return faces

    def _publish(self, member: Membership, outcome: Outcome, offsets: dict) -> None:
        """All or nothing."""
        producer = member.producer
        producer.begin_transaction()
        topic, most = self._cluster.dead_letter_topic, self._kafka.max_message_bytes
        sent = [
            producer.send(self._kafka.topic, event.encode(face), event.key(face), event.attributes(face))
            for _, face in outcome.healed
        ]
        sent += [
            producer.send(topic, letter.value(most), letter.record.key, letter.headers()) for letter in outcome.dead
        ]
        producer.flush(timeout=PATIENCE)
        for future in sent:
            future.get(timeout=PATIENCE)
        producer.send_offsets_to_transaction(offsets, member.consumer.group_metadata())
        producer.commit_transaction()

    def _within(self, work: Callable[[], Result]) -> Result:
        return bounded(work, PATIENCE, self._stop, GOODBYE)


class _Rebalanced(ConsumerRebalanceListener):
    def __init__(self, seen: Seen):
        self._seen = seen

    def on_partitions_revoked(self, revoked) -> None:
        pass  # nothing is in flight between two polls

    def on_partitions_assigned(self, assigned) -> None:
        self._seen.own(assigned)


def _read(record) -> HealJob:
    """The job in a record. Raises ValueError with what is wrong with it."""
    kind = (dict(record.headers).get("ce_type") or b"").decode(errors="replace")
    if kind != crops.TYPE:
        raise ValueError(f"ce_type is {kind[:80]!r}; {crops.TYPE!r} is what this version heals")
    return crops.decode(record.value)
