"""Calls that may hang, given up in time: kafka-python waits for the end of a transaction for as long as it takes."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from streamheal.errors import SinkError

STEP = 0.1  # seconds
Result = TypeVar("Result")


def bounded(
    work: Callable[[], Result], seconds: float, stop: threading.Event | None = None, goodbye: float = 0
) -> Result:
    """What `work` returns, done in a thread of its own; raises what it raises, and SinkError after `seconds`, or
    `goodbye` seconds after `stop`. The thread is left to itself then."""
    result: list[Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
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
    return result[0]
