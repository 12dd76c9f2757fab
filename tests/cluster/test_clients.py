"""A node asks its brokers until they let it in, and says what it waits for without repeating itself."""

import threading

from streamheal.cluster.clients import Clients
from streamheal.config import PipelineConfig
from streamheal.errors import SinkError

CONFIG = PipelineConfig.model_validate({"source": {"path": "hall.mp4"}, "kafka": {"bootstrap_servers": ["kafka:9092"]}})


def test_each_cause_is_told_once_whatever_numbers_stand_in_it(caplog):
    says = ["timed out after 73 ms", "timed out after 80 ms", "check kafka.password", "timed out after 9 ms", None]
    waiting = iter(says)

    def make() -> str:
        if (said := next(waiting)) is not None:
            raise SinkError(said)
        return "made"

    stop = threading.Event()
    stop.wait = lambda seconds: False
    assert Clients(CONFIG, stop).patiently(make) == "made"
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2 and says[0] in told[0] and says[2] in told[1]


def test_a_stop_ends_the_asking():
    stop = threading.Event()

    def make() -> None:
        stop.set()
        raise SinkError("nobody answers")

    assert Clients(CONFIG, stop).patiently(make) is None
