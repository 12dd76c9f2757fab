"""A message that can't be healed, on its way to the dead-letter topic: as it was, with what is wrong with it."""

from dataclasses import dataclass

from streamheal.errors import redact


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record as it came in, and why it is dead."""

    record: object  # kafka's ConsumerRecord
    reason: str

    def headers(self) -> list[tuple[str, bytes]]:
        """The record's own, with reason, topic, partition and offset before them."""
        record = self.record
        said = {
            "dead_reason": redact(self.reason)[:1000],
            "dead_topic": record.topic,
            "dead_partition": str(record.partition),
            "dead_offset": str(record.offset),
        }
        own = [(name, value) for name, value in record.headers if isinstance(value, bytes)]
        return [(name, value.encode()) for name, value in said.items()] + own

    def value(self, max_bytes: int) -> bytes | None:
        """The payload; None where it would not fit into a message of `max_bytes`: the source topic still has it."""
        record = self.record
        size = len(record.key or b"") + sum(len(name) + len(value) for name, value in self.headers())
        fits = record.value is not None and len(record.value) + size + 1024 <= max_bytes
        return record.value if fits else None
