"""Calls that may hang, given up in time: kafka-python waits for the end of a transaction for as long as it takes."""

import threading
import time
from collections.abc import Callable

from streamheal.errors import SinkError

STEP = 0.1  # seconds


def bounded(work: Callable[[], None], seconds: float, stop: threading.Event | None = None, goodbye: float = 0) -> None:
    """Do `work` in a thread of its own; raises what it raises, and SinkError after `seconds`, or `goodbye` seconds
    after `stop`. The thread is left to itself then."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="kafka-bounded", daemon=True)
    thread.start()
    deadline = time.monotonic() + seconds
    while thread.is_alive():
        thread.join(STEP)
        if stop is not None and stop.is_set():
            deadline, stop = min(deadline, time.monotonic() + goodbye), None
        if thread.is_alive() and time.monotonic() > deadline:
            raise SinkError("kafka: no answer in time")
    if failure:
        raise failure[0]
