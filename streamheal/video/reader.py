"""Frames from one camera or recording: the reader process, watched, restarted, and never waited for."""

import logging
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from streamheal.errors import SourceError, redact, redact_url
from streamheal.records import Frame
from streamheal.video.backoff import Backoff, ErrorClass
from streamheal.video.link import OpenOptions
from streamheal.video.process import ReaderProcess
from streamheal.video.recordings import check_recording
from streamheal.video.ring import Ring
from streamheal.video.status import ReaderStatus, State

log = logging.getLogger("streamheal.video")

MAX_PIXELS = 8192 * 8192
START_TIMEOUT = 30.0
"""Seconds in which the reader process must have started: it imports PyAV in 0.3 s, but machines can be busy."""
GRACE = 2.0
"""Seconds beyond FFmpeg's own timeouts before the watchdog kills: FFmpeg should have the first word."""
STOP_GRACE = 0.3
"""Seconds a reader process is given to say goodbye to its server."""
MAX_RESTARTS = 2
"""Times that a reader of a recording is started anew without having got further; then the recording has failed."""


@dataclass(slots=True)
class _Outcome:
    """How one attempt to read ended. `error_class` None = the recording was read to its end."""

    error_class: ErrorClass | None
    text: str | None
    streamed_for: float = 0.0


class Reader:
    """Reads one camera (`live=True`) or one recording, in a process of its own.

    Live: the newest frame wins, what nobody fetched in time is dropped and counted; a lost or unreachable camera is
    retried for ever, and each reconnect begins a new epoch. Recorded: every frame is handed out in order, the process
    waits for its consumer; the end, or an error, is final.

    `read` hands out frames that own their pixels. `notify`, if given, is called from the reader's thread whenever a
    frame or a change of state is there, so that one consumer can wait for many readers; it must return at once.

    `open_timeout`: seconds to the first frame; `stall_timeout`: seconds without a frame (recordings: without a sign of
    life) before the attempt is given up; by default 10 for cameras and 60 for recordings, which may lie on slow disks.
    `skip`: number of frames at the start of a recording that are not delivered (their sequence numbers are left out),
    to resume after an interruption. `max_height`: taller pictures are scaled down. `max_pixels`: larger ones are
    refused.

    Raises SourceError if a recording is missing or empty.
    """

    def __init__(
        self,
        name: str,
        source: str | os.PathLike[str],
        *,
        live: bool,
        transport: Literal["tcp", "udp"] = "tcp",
        open_timeout: float | None = None,
        stall_timeout: float | None = None,
        max_height: int | None = None,
        max_pixels: int = MAX_PIXELS,
        skip: int = 0,
        notify: Callable[[], None] | None = None,
        backoff: Backoff | None = None,
        wait: Callable[[float], bool] | None = None,
    ):
        self.name, self.live = name, live
        source = os.fspath(source)
        is_url = "://" in source
        if not is_url and not live:
            check_recording(Path(source))
            source = str(Path(source).expanduser().resolve())
        self._shown = redact_url(source) if is_url else source
        self._options = OpenOptions(
            url=source,
            live=live,
            transport=transport,
            open_timeout=open_timeout or (10.0 if live else 60.0),
            stall_timeout=stall_timeout or (10.0 if live else 60.0),
            max_height=max_height,
            max_pixels=max_pixels,
            skip=skip,
        )
        self._notify = notify or (lambda: None)
        self._backoff = backoff or Backoff(rng=random.Random())
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait    # seconds → True if it was cut short by a stop
        self._ring = Ring.create(3 if live else 4, max_pixels)
        self._process: ReaderProcess | None = None
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        # All below is guarded by `_changed`.
        self._unread: deque[tuple[int, dict[str, Any]]] = deque()     # (epoch, frame message); at most one when live
        self._held: set[int] = set()            # slots that are ours until they are freed
        self._state: State = "connecting"
        self._epoch = 0
        self._connected_before = False
        self._frames = self._corrupt = self._reconnects = 0
        self._delivered_up_to = skip            # recordings: the sequence number expected next
        self._drops: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._error_class: ErrorClass | None = None
        self._last_error: str | None = None
        self._description: str | None = None

    # -- for the consumer ------------------------------------------------------------------------------------------

    def start(self) -> "Reader":
        """Begin to read. Returns at once; a camera that is not there delays nobody."""
        self._thread = threading.Thread(target=self._supervise, name=f"reader-{self.name}", daemon=True)
        self._thread.start()
        return self

    def read(self, timeout: float | None = None) -> Frame | None:
        """The next frame (live: the newest), or None if there is none within `timeout` seconds, or none any more.

        Raises SourceError if a recording has failed, after its readable frames were handed out.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._state in ("ended", "failed", "stopped"), timeout)
            if not self._unread:
                if self._state == "failed":
                    raise SourceError(f"{self._shown}: {self._last_error}")
                return None
            epoch, message = self._unread.popleft()
        slot = message["slot"]
        image = np.empty((message["height"], message["width"], 3), np.uint8)
        try:
            np.copyto(image, self._ring.view(slot, *image.shape[:2]))
        finally:
            self._free(slot)
        with self._changed:
            self._frames += 1
            self._corrupt += message["corrupt"]
        return Frame(
            camera=self.name,
            epoch=epoch,
            sequence=message["sequence"],
            pts=message["pts"],
            captured_at=message["captured_at"],
            clock=message["clock"],
            clock_uncertainty=message["uncertainty"],
            image=image,
            corrupt=message["corrupt"],
        )

    @property
    def ended(self) -> bool:
        """True once no more frames will come: the recording was read and handed out to its end, failed, or stopped."""
        with self._changed:
            return not self._unread and self._state in ("ended", "failed", "stopped")

    @property
    def status(self) -> ReaderStatus:
        with self._changed:
            process = self._process
            return ReaderStatus(
                name=self.name,
                source=self._shown,
                state=self._state,
                epoch=self._epoch,
                frames=self._frames,
                corrupt=self._corrupt,
                dropped=self._drops.total(),
                drops=MappingProxyType(dict(self._drops)),
                reconnects=self._reconnects,
                errors=MappingProxyType(dict(self._errors)),
                error_class=self._error_class,
                last_error=self._last_error,
                description=self._description,
                pid=process.pid if process else None,
            )

    def request_stop(self) -> None:
        """Ask for the end without waiting for it."""
        self._stopping.set()
        with self._changed:
            if self._process is not None:
                self._process.link.send("stop")

    def stop(self) -> None:
        """End the reader and its process, in well under a second even where it hangs. Unread frames are gone."""
        self.request_stop()
        with self._changed:
            process = self._process
        if process is not None and not process.ended_within(STOP_GRACE):
            process.kill()
        if self._thread is not None:
            self._thread.join(5.0)
            self._thread = None
        self._ring.close()
        with self._changed:
            self._unread.clear()
            if self._state not in ("ended", "failed"):
                self._state = "stopped"
            self._changed.notify_all()
        self._notify()

    def __enter__(self) -> "Reader":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- the reader's thread ---------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        restarts, got_to = 0, self._delivered_up_to
        try:
            while not self._stopping.is_set():
                self._enter("connecting")
                try:
                    outcome = self._attempt()
                except Exception as error:      # no process could be started, or it sent nonsense
                    log.exception("%s: an attempt to read failed", self.name)
                    with self._changed:
                        process = self._process
                    if process is not None:
                        self._kill(process)
                    outcome = _Outcome("crashed", f"its reader failed: {type(error).__name__}")
                if self._stopping.is_set():
                    return
                if self.live:
                    self._back_off(outcome)
                    continue
                with self._changed:
                    progressed, got_to = self._delivered_up_to > got_to, self._delivered_up_to
                restarts = 0 if progressed else restarts + 1
                if outcome.error_class in ("hung", "crashed") and restarts <= MAX_RESTARTS:
                    self._errors[outcome.error_class] += 1
                    log.warning("%s: %s; reading on from frame %d", self.name, outcome.text, got_to)
                    continue
                self._finish(outcome)
                return
        finally:
            with self._changed:
                process, self._process = self._process, None
            if process is not None:
                process.link.send("stop")
                process.ended_within(STOP_GRACE)
                process.kill()

    def _finish(self, outcome: _Outcome) -> None:
        if outcome.error_class is None and outcome.text:
            log.warning("%s: %s", self._shown, outcome.text)
        with self._changed:
            self._last_error, self._error_class = outcome.text, outcome.error_class
            if outcome.error_class:
                self._errors[outcome.error_class] += 1
        self._enter("ended" if outcome.error_class is None else "failed")

    def _back_off(self, outcome: _Outcome) -> None:
        error = outcome.error_class or "lost"
        delay = self._backoff.failed(error, outcome.streamed_for)
        with self._changed:
            news = error != self._error_class
            self._error_class, self._last_error = error, outcome.text
            self._errors[error] += 1
        log.log(
            logging.WARNING if news else logging.DEBUG,
            "%s: %s (%s, %s); trying again in %.1f s, and so on until it is back",
            self.name, outcome.text, error, self._shown, delay,
        )  # fmt: skip
        self._enter("backing-off")
        self._wait(delay)

    def _attempt(self) -> _Outcome:
        """Open the source once and read until it ends, fails, or hangs."""
        process = self._running_process()
        if process is None:
            return _Outcome("crashed", "its reader process does not start")
        options = self._options
        with self._changed:
            if not self.live:
                options = OpenOptions(**{**asdict(options), "skip": self._delivered_up_to})
            slots = [s for s in range(self._ring.slots) if s not in self._held]
            process.link.send("open", options=asdict(options), slots=slots)
        opened_at: float | None = None
        patience = options.open_timeout
        heard = framed = time.monotonic()       # last sign of life, last frame
        while not self._stopping.is_set():
            now = time.monotonic()
            if not self.live and len(self._held) == self._ring.slots:
                heard = now         # it waits for the consumer
            if now - heard > patience + GRACE:
                doing = "opening" if opened_at is None else "reading"
                self._kill(process)
                return _Outcome("hung", f"its reader process hung while {doing}, and was killed", _since(opened_at))
            if self.live and now - framed > patience + GRACE:
                self._kill(process)
                return _Outcome("timeout", f"it sends, but no picture for {patience:g} s", _since(opened_at))
            if not process.link.waiting(0.5):
                continue
            message = process.link.receive()
            if message is None:
                how = self._kill(process)
                return _Outcome("crashed", f"its reader process {how}", _since(opened_at))
            heard = time.monotonic()
            match message["kind"]:
                case "opened":
                    opened_at = time.monotonic()
                    self._opened(message["description"])
                case "frame":
                    framed, patience = heard, options.stall_timeout
                    self._take(message)
                case "note":
                    log.warning("%s: %s", self.name, redact(message["text"]))
                case "dropped":
                    framed = heard
                    with self._changed:
                        self._drops["no-slot"] += message["count"]
                case "failed":
                    return _Outcome(message["error_class"], redact(message["text"]), _since(opened_at))
                case "ended":
                    return _Outcome(None, message["warning"], _since(opened_at))
        return _Outcome(None, None)

    def _running_process(self) -> ReaderProcess | None:
        with self._changed:
            if self._process is not None:
                return self._process
            if self._stopping.is_set():
                return None
            process = self._process = ReaderProcess(self._ring)
        deadline = time.monotonic() + START_TIMEOUT
        while not process.link.waiting(0.2):
            if self._stopping.is_set() or time.monotonic() > deadline:
                self._kill(process)
                return None
        if process.link.receive() is None:
            log.error("%s: its reader process %s", self.name, self._kill(process))
            return None
        return process

    def _kill(self, process: ReaderProcess) -> str:
        with self._changed:
            self._process = None
        process.ended_within(0.1)       # the link breaks a moment before the process is gone
        return process.kill()

    def _opened(self, description: str) -> None:
        with self._changed:
            if self._connected_before and self.live:
                self._epoch += 1
                self._reconnects += 1
            back = self._connected_before and self.live
            self._connected_before = True
            self._description = description
            failures, self._error_class = self._error_class, None
        if self.live:
            how = f"is back, epoch {self._epoch}" if back else "is connected"
            log.info("%s: %s: %s%s", self.name, how, description, "" if failures is None else f" (after: {failures})")
        self._enter("streaming")

    def _take(self, message: dict[str, Any]) -> None:
        """A frame lies in a slot: it is ours now. Raises ValueError for a slot or size that can't be."""
        self._ring.view(message["slot"], message["height"], message["width"])
        superseded = None
        with self._changed:
            self._held.add(message["slot"])
            if self.live and self._unread:
                superseded = self._unread.popleft()[1]["slot"]
                self._drops["superseded"] += 1
            self._unread.append((self._epoch, message))
            self._delivered_up_to = message["sequence"] + 1
            self._changed.notify_all()
        if superseded is not None:
            self._free(superseded)
        self._notify()

    def _free(self, slot: int) -> None:
        with self._changed:
            self._held.discard(slot)
            if self._process is not None:
                self._process.link.send("free", slot=slot)

    def _enter(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
        self._notify()


def stop_all(readers: Iterable[Reader]) -> None:
    """Stop many readers in the time that one takes."""
    readers = list(readers)
    for reader in readers:
        reader.request_stop()
    for reader in readers:
        reader.stop()


def _since(moment: float | None) -> float:
    return 0.0 if moment is None else time.monotonic() - moment
