"""The thread that keeps a source read: one attempt after the other, as long as it makes sense."""

import logging
import threading
from collections.abc import Callable

from streamheal.video.attempt import Attempt, Outcome, kill
from streamheal.video.backoff import Backoff
from streamheal.video.exchange import Exchange
from streamheal.video.link import OpenOptions

log = logging.getLogger("streamheal.video")

STOP_GRACE = 0.3
"""Seconds a reader process is given to say goodbye to its server."""
MAX_RESTARTS = 2
"""Times that a reader of a recording is started anew without having got further; then the recording has failed."""


class Supervisor(threading.Thread):
    """A camera is tried for ever, with a backoff between attempts. A recording is read on where its process died.

    `wait`: seconds → True if it was cut short by a stop.
    """

    def __init__(
        self,
        options: OpenOptions,
        exchange: Exchange,
        *,
        stopping: threading.Event,
        backoff: Backoff,
        wait: Callable[[float], bool],
    ):
        super().__init__(name=f"reader-{exchange.name}", daemon=True)
        self._options, self._exchange = options, exchange
        self._stopping, self._backoff, self._wait = stopping, backoff, wait

    def run(self) -> None:
        try:
            if self._options.live:
                self._watch()
            else:
                self._read_through()
        finally:
            self._say_goodbye()

    def _watch(self) -> None:
        while not self._stopping.is_set():
            outcome = self._attempt()
            if not self._stopping.is_set():
                self._back_off(outcome)

    def _read_through(self) -> None:
        restarts, got_to = 0, self._exchange.expected
        while not self._stopping.is_set():
            outcome = self._attempt()
            if self._stopping.is_set():
                return
            progressed, got_to = self._exchange.expected > got_to, self._exchange.expected
            restarts = 0 if progressed else restarts + 1
            if outcome.error_class not in ("hung", "crashed") or restarts > MAX_RESTARTS:
                self._finish(outcome)
                return
            self._exchange.failed_in_passing(outcome.error_class)
            log.warning("%s: %s; reading on from frame %d", self._exchange.name, outcome.text, got_to)

    def _attempt(self) -> Outcome:
        self._exchange.enter("connecting")
        try:
            return Attempt(self._options, self._exchange, self._stopping).run()
        except Exception as error:  # no process could be started, or it sent nonsense
            log.exception("%s: an attempt to read failed", self._exchange.name)
            process = self._exchange.process
            if process is not None:
                kill(self._exchange, process)
            return Outcome("crashed", f"its reader failed: {type(error).__name__}")

    def _back_off(self, outcome: Outcome) -> None:
        error = outcome.error_class or "lost"
        delay = self._backoff.failed(error, outcome.streamed_for)
        log.log(
            logging.WARNING if self._exchange.failed(error, outcome.text) else logging.DEBUG,
            "%s: %s (%s, %s); trying again in %.1f s, and so on until it is back",
            self._exchange.name, outcome.text, error, self._exchange.shown, delay,
        )  # fmt: skip
        self._exchange.enter("backing-off")
        self._wait(delay)

    def _finish(self, outcome: Outcome) -> None:
        if outcome.error_class is None and outcome.text:
            log.warning("%s: %s", self._exchange.shown, outcome.text)
        self._exchange.failed(outcome.error_class, outcome.text)
        self._exchange.enter("ended" if outcome.error_class is None else "failed")

    def _say_goodbye(self) -> None:
        process = self._exchange.process
        if process is not None:
            self._exchange.process = None
            process.link.send("stop")
            process.ended_within(STOP_GRACE)
            process.kill()
