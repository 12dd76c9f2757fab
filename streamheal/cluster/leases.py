"""Which cameras an ingest node watches: those of the partitions of `cameras.v1` that the consumer group gives it.

The topic holds nothing. Its partitions are shares of the camera list; the group sees that each share has one node, and
gives a node's shares to the others when it has given no sign of life for the lease. A node that the brokers can't reach
goes on with what it has: a camera that two nodes watch for a while is better than one that nobody watches.
"""

import contextlib
import logging
import threading
import zlib
from collections.abc import Callable, Collection, Sequence

from kafka import ConsumerRebalanceListener
from kafka.errors import KafkaError

from streamheal.cluster.clients import Clients
from streamheal.config import Camera, Cluster
from streamheal.errors import SinkError

log = logging.getLogger(__name__)

POLL = 0.5  # seconds


def share(camera: str, shares: int) -> int:
    """The share of a camera, 0 to `shares` - 1: the same on every node, whatever other cameras there are."""
    return zlib.crc32(camera.encode()) % shares


class Leases:
    """Keeps a node in the ingest group, in a thread of its own, which calls `changed` when the node's shares change."""

    def __init__(self, cluster: Cluster, clients: Clients, stop: threading.Event, changed: Callable[[], None]):
        self._cluster, self._clients = cluster, clients
        self._stop, self._changed = stop, changed
        self._held: tuple[frozenset[int], int] = (frozenset(), 1)  # this node's shares, and how many there are
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def of(self, cameras: Sequence[Camera]) -> list[Camera]:
        """Those of `cameras` that this node is to watch now."""
        mine, shares = self._held
        return [camera for camera in cameras if share(camera.name, shares) in mine]

    def close(self) -> None:
        """Leave the group, so that others take over at once. `stop` must be set."""
        self._thread.join(3.0)

    def _run(self) -> None:
        self._clients.patiently(self._clients.create_topics)
        while not self._stop.is_set():
            consumer = self._clients.patiently(lambda: self._clients.consumer(self._cluster.ingest_group))
            if consumer is None:
                break
            try:
                assigned = _Assigned()
                consumer.subscribe([self._cluster.cameras_topic], listener=assigned)
                while not self._stop.is_set():
                    consumer.poll(int(POLL * 1000))
                    self._take(assigned.partitions, consumer.partitions_for_topic(self._cluster.cameras_topic))
            except (KafkaError, SinkError) as error:
                log.warning("leases: %s; joining the group anew", error or type(error).__name__)
                self._stop.wait(1.0)
            finally:
                with contextlib.suppress(KafkaError):  # brokers that are away miss a goodbye
                    consumer.close(autocommit=False, timeout_ms=1000)

    def _take(self, partitions: frozenset[int] | None, shares: Collection[int]) -> None:
        if partitions is None or not shares:  # nobody has said yet; or this client doesn't know the topic yet
            return
        if (partitions, len(shares)) != self._held:
            self._held = (partitions, len(shares))
            log.info("leases: %d of %d shares of the cameras are this node's", len(partitions), len(shares))
            self._changed()


class _Assigned(ConsumerRebalanceListener):
    """Notes what the group gave. Called by the client's own thread, where nothing may wait for the brokers."""

    partitions: frozenset[int] | None = None

    def on_partitions_revoked(self, revoked) -> None:
        pass  # what is kept goes on undisturbed; what is lost ends when it is said who has it

    def on_partitions_assigned(self, assigned) -> None:
        self.partitions = frozenset(partition for _, partition in assigned)
