"""A live run that finds the disk full as it begins waits for room: whoever looks after it may be asleep."""

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

from streamheal.errors import NoRoom
from streamheal.watch.counters import Counters

log = logging.getLogger(__name__)

FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0  # seconds; it doubles each time

Begun = TypeVar("Begun")


class Patience:
    """Call it with what is to be begun: it is tried again, counted and told once, for as long as the disk is full.

    Raises NoRoom if `stop` is set meanwhile, and any other error at once.
    """

    def __init__(self, stop: threading.Event, counters: Counters):
        self._stop, self._counters = stop, counters

    def __call__(self, begin: Callable[[], Begun]) -> Begun:
        wait, waited = FIRST_WAIT, False
        while True:
            try:
                begun = begin()
            except NoRoom as error:
                self._counters.add("start.no-room")
                if not waited:
                    log.warning("%s; this run begins when there is room", error)
                waited = True
                if self._stop.wait(wait):
                    raise
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                if waited:
                    log.warning("there is room again: this run goes on")
                return begun
