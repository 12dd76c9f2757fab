"""Which jobs a worker's partitions have seen lately, so that a job that was sent twice is healed once.

An ingest node that is killed between the broker's answer and its outbox sends a job again, with the same id and so into
the same partition. A worker remembers the ids of its partitions; when it takes one over, it first reads again what lies
just behind the group's place. So the memory outlives every worker, and is kept nowhere but in the topic itself.
"""

from collections.abc import Collection, Iterable, Sequence

from kafka import KafkaConsumer, TopicPartition

from streamheal.cluster import crops

LOOK_BACK = 256  # messages; an outbox sends at most 64 twice
MOST = 4096  # ids of one partition


class Seen:
    """The memory of one consumer."""

    def __init__(self, consumer: KafkaConsumer):
        self._consumer = consumer
        self._ids: dict[TopicPartition, dict[str, None]] = {}  # in the order they came
        self._place: dict[TopicPartition, int] = {}  # offsets below are looked at, not healed

    def own(self, places: Collection[TopicPartition]) -> None:
        """These are the consumer's partitions from now on."""
        for gone in self._ids.keys() - set(places):
            del self._ids[gone]
            self._place.pop(gone, None)

    def fresh(self, place: TopicPartition, records: Sequence) -> list:
        """Those of `records` that are to be healed. On the first of a new partition the consumer is sent back."""
        if place not in self._ids:
            self._ids[place] = {}
            self._place[place] = first = records[0].offset
            if first > 0:
                self._consumer.seek(place, max(0, first - LOOK_BACK))
                return []
        place_at = self._place[place]
        self.add(place, (id for r in records if r.offset < place_at and (id := crops.job_id(r.value)) is not None))
        return [record for record in records if record.offset >= place_at]

    def begins(self, place: TopicPartition, record) -> bool:
        """Whether `record` is the first after whoever had the partition before."""
        return record.offset == self._place[place]

    def has(self, place: TopicPartition, id: str) -> bool:
        return id in self._ids.get(place, ())

    def add(self, place: TopicPartition, ids: Iterable[str]) -> None:
        known = self._ids.setdefault(place, {})
        known.update(dict.fromkeys(ids))
        while len(known) > MOST:
            del known[next(iter(known))]
