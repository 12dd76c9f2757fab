"""One attempt to read a source: a process is told to open it, and is listened to until it ends, fails, or hangs."""

import logging
import threading
import time
from dataclasses import asdict, dataclass, replace

from streamheal.errors import redact
from streamheal.video.backoff import ErrorClass
from streamheal.video.exchange import Exchange
from streamheal.video.link import OpenOptions
from streamheal.video.process import ReaderProcess

log = logging.getLogger("streamheal.video")

START_TIMEOUT = 30.0
"""Seconds in which the reader process must have started: it imports PyAV in 0.3 s, but machines can be busy."""
GRACE = 2.0
"""Seconds beyond FFmpeg's own timeouts before the watchdog kills: FFmpeg should have the first word."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended. `error_class` None = the recording was read to its end, or somebody stopped it."""

    error_class: ErrorClass | None
    text: str | None
    streamed_for: float = 0.0  # seconds


class Attempt:
    """Opens the source of `options` once. The process is that of the last attempt, where it lives."""

    def __init__(self, options: OpenOptions, exchange: Exchange, stopping: threading.Event):
        self._options, self._exchange, self._stopping = options, exchange, stopping
        self._opened_at: float | None = None

    def run(self) -> Outcome:
        process = self._running_process()
        if process is None:
            return self._ended("crashed", "its reader process does not start")
        options, exchange = self._options, self._exchange
        if not options.live:
            options = replace(options, skip=exchange.expected)
        exchange.open(asdict(options))
        patience = options.open_timeout
        heard = framed = time.monotonic()  # last sign of life, last frame
        while not self._stopping.is_set():
            now = time.monotonic()
            if not options.live and exchange.full:
                heard = now  # it waits for the consumer
            if now - heard > patience + GRACE:
                doing = "opening" if self._opened_at is None else "reading"
                kill(exchange, process)
                return self._ended("hung", f"its reader process hung while {doing}, and was killed")
            if options.live and now - framed > patience + GRACE:
                kill(exchange, process)
                return self._ended("timeout", f"it sends, but no picture for {patience:g} s")
            if not process.link.waiting(0.5):
                continue
            message = process.link.receive()
            if message is None:
                return self._ended("crashed", f"its reader process {kill(exchange, process)}")
            heard = time.monotonic()
            match message["kind"]:
                case "opened":
                    self._opened(message["description"])
                case "frame":
                    framed, patience = heard, options.stall_timeout
                    exchange.put(message)
                case "note":
                    log.warning("%s: %s", self._exchange.name, redact(message["text"]))
                case "dropped":
                    framed = heard
                    exchange.dropped(message["cause"], message["count"])
                case "failed":
                    if message["error_class"] == "crashed":  # it lives, but who knows in what state
                        kill(exchange, process)
                    return self._ended(message["error_class"], redact(message["text"]))
                case "ended":
                    return self._ended(None, message["warning"])
        return Outcome(None, None)

    def _opened(self, description: str) -> None:
        self._opened_at = time.monotonic()
        epoch, failures = self._exchange.opened(description)
        if self._options.live:
            how = "is connected" if epoch is None else f"is back, epoch {epoch}"
            after = "" if failures is None else f" (after: {failures})"
            log.info("%s: %s: %s%s", self._exchange.name, how, description, after)

    def _ended(self, error_class: ErrorClass | None, text: str | None) -> Outcome:
        streamed_for = 0.0 if self._opened_at is None else time.monotonic() - self._opened_at
        return Outcome(error_class, text, streamed_for)

    def _running_process(self) -> ReaderProcess | None:
        exchange = self._exchange
        if exchange.process is not None:
            return exchange.process
        if self._stopping.is_set():
            return None
        process = exchange.process = ReaderProcess(exchange.ring)
        deadline = time.monotonic() + START_TIMEOUT
        while not process.link.waiting(0.2):
            if self._stopping.is_set() or time.monotonic() > deadline:
                kill(exchange, process)
                return None
        if process.link.receive() is None:
            log.error("%s: its reader process %s", exchange.name, kill(exchange, process))
            return None
        return process


def kill(exchange: Exchange, process: ReaderProcess) -> str:
    """End the process at once; says how it had ended if it was dead already."""
    exchange.process = None
    process.ended_within(0.1)  # the link breaks a moment before the process is gone
    return process.kill()
