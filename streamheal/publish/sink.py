"""What every sink is: the one interface between the pipeline and wherever healed faces go."""

from typing import Protocol, runtime_checkable

from streamheal.records import HealedFace


@runtime_checkable
class Sink(Protocol):
    """Takes healed faces and keeps them. Called from one thread; `add` may be called twice with the same id.

    `add` is quick and never waits for a remote party: a sink that sends over a network keeps what it was given in its
    outbox first. It raises SinkError only where the sink can keep nothing at all (a full disk, a folder gone).
    """

    name: str
    """Shown in logs, metrics and the summary: "folder", "kafka"."""

    def add(self, face: HealedFace) -> None:
        """Take one healed face. The same id again replaces nothing and adds nothing."""
        ...

    def flush(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; True when everything that was added has arrived where it should."""
        ...

    def counts(self) -> dict[str, int]:
        """What the summary says of this sink, by name; `kafka.` or `folder.` is put before each."""
        ...

    def close(self) -> None:
        """Let go of files, threads and connections. What has not arrived yet stays in the outbox for the next start."""
        ...
