"""Kafka clients of a node. Each is made patiently: a node may start before its brokers do."""

import contextlib
import logging
import random
import re
import ssl
import threading
import uuid
from collections.abc import Callable
from typing import TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from kafka.errors import KafkaError, TopicAlreadyExistsError

from streamheal.config import PipelineConfig
from streamheal.errors import ConfigError, SinkError
from streamheal.publish.kafka_client import build, connect, disconnect, tls

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0  # seconds; short, so that a stop need not wait for a broker that is away
FETCH_BYTES = 16 << 20  # of one answer; a larger message comes alone

NO_BROKERS = "a cluster needs brokers: give the pipeline file a section kafka with bootstrap_servers"

Made = TypeVar("Made")


class Clients:
    """Makes the clients of one node. Raises ConfigError without brokers, SinkError if a certificate can't be read."""

    def __init__(self, config: PipelineConfig, stop: threading.Event):
        if config.kafka is None:
            raise ConfigError(NO_BROKERS)
        self._kafka, self._cluster, self._stop = config.kafka, config.cluster, stop
        self._tls: ssl.SSLContext | None = tls(config.kafka)

    def consumer(self, group: str) -> KafkaConsumer:
        """A member of `group` that counts as gone after the lease, and commits nothing by itself."""
        lease = int(self._cluster.lease * 1000)
        return self._build(
            KafkaConsumer,
            group_id=group,
            session_timeout_ms=lease,
            heartbeat_interval_ms=lease // 4,
            partition_assignment_strategy=[StickyPartitionAssignor],  # what works is left where it is
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",  # and waits for a dead worker's transaction before it takes over
            fetch_max_bytes=FETCH_BYTES,
            metrics_enabled=False,
        )

    def producer(self) -> KafkaProducer:
        """A producer of transactions. Its name is new each time: who may commit is settled by the consumer group."""
        producer = connect(
            self._kafka,
            self._tls,
            CONNECT_TIMEOUT,
            transactional_id=f"{self._cluster.heal_group}-{uuid.uuid4()}",
            transaction_timeout_ms=int(self._cluster.lease * 1000),
        )
        try:
            producer.init_transactions()
        except KafkaError:
            disconnect(producer)
            raise
        return producer

    def create_topics(self) -> None:
        """The cluster's own topics, those that are not there yet. The one of the healed faces is others', too."""
        cluster = self._cluster
        names = {cluster.crops_topic, cluster.cameras_topic, cluster.dead_letter_topic}
        options = {"num_partitions": self._cluster.partitions, "replication_factor": self._cluster.replication or -1}
        admin = self._build(KafkaAdminClient)
        try:
            for name in names - set(admin.list_topics()):
                with contextlib.suppress(TopicAlreadyExistsError):  # another node was quicker
                    admin.create_topics({name: options}, wait_for_metadata=True)
        finally:
            admin.close()

    def patiently(self, make: Callable[[], Made]) -> Made | None:
        """What `make` makes, tried until the brokers let it; None after a stop. Says once of each cause what it is."""
        told, wait = set(), 0.5
        while not self._stop.is_set():
            try:
                return make()
            except (KafkaError, SinkError, OSError) as error:
                said = str(error) or type(error).__name__
                if (cause := re.sub(r"\d+", "", said)) not in told:  # but for ports and milliseconds
                    told.add(cause)
                    log.warning("no connection to Kafka yet: %s; it is tried again", said)
            self._stop.wait(wait * random.uniform(0.5, 1.0))
            wait = min(10.0, 2 * wait)
        return None

    def _build(self, kind: type, **more):
        return build(kind, self._kafka, self._tls, CONNECT_TIMEOUT, **more)
