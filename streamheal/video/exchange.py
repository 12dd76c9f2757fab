"""What a reader's thread and its consumer share, under one lock: unread frames, slots, state, counts."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from streamheal.errors import SourceError
from streamheal.video.backoff import ErrorClass
from streamheal.video.process import ReaderProcess
from streamheal.video.ring import Ring
from streamheal.video.status import ReaderStatus, State

FINAL: tuple[State, ...] = ("ended", "failed", "stopped")


class Exchange:
    """The thread puts frames in, the consumer takes them out; a slot of the ring belongs to whoever was told of it.

    `shown`: the source, without secrets. `notify` is called, outside the lock, whenever a frame or a change of state is
    there.
    """

    def __init__(
        self, name: str, shown: str, ring: Ring, *, live: bool, skip: int, first_epoch: int, notify: Callable[[], None]
    ):
        self.name, self.shown, self.ring = name, shown, ring
        self._live, self._notify = live, notify
        self._changed = threading.Condition()
        # All below is guarded by `_changed`.
        self._process: ReaderProcess | None = None
        self._unread: deque[tuple[int, dict[str, Any]]] = deque()  # (epoch, frame message); at most one when live
        self._held: set[int] = set()  # slots that are ours until they are freed
        self._state: State = "connecting"
        self._epoch = first_epoch
        self._connected_before = False
        self._frames = self._corrupt = self._reconnects = 0
        self._expected = skip  # recordings: the sequence number that comes next
        self._drops: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._error_class: ErrorClass | None = None
        self._last_error: str | None = None
        self._description: str | None = None

    # -- the thread's side -----------------------------------------------------------------------------------------

    @property
    def process(self) -> ReaderProcess | None:
        """The reader process that slots are given back to."""
        with self._changed:
            return self._process

    @process.setter
    def process(self, process: ReaderProcess | None) -> None:
        with self._changed:
            self._process = process

    @property
    def expected(self) -> int:
        with self._changed:
            return self._expected

    @property
    def full(self) -> bool:
        """True while every slot is with the consumer."""
        with self._changed:
            return len(self._held) == self.ring.slots

    def open(self, options: dict[str, Any]) -> None:
        """Tell the process to open its source, and which slots are free."""
        with self._changed:
            slots = [slot for slot in range(self.ring.slots) if slot not in self._held]
            self._process.link.send("open", options=options, slots=slots)

    def opened(self, description: str) -> tuple[int | None, ErrorClass | None]:
        """A source was opened. Returns its epoch where a camera is back, and the error that went before."""
        with self._changed:
            back = self._connected_before and self._live
            if back:
                self._epoch += 1
                self._reconnects += 1
            self._connected_before = True
            self._description = description
            failures, self._error_class = self._error_class, None
            epoch = self._epoch if back else None
        self.enter("streaming")
        return epoch, failures

    def put(self, message: dict[str, Any]) -> None:
        """A frame lies in a slot: it is ours now. Raises ValueError for a slot or size that can't be."""
        self.ring.view(message["slot"], message["height"], message["width"])
        superseded = None
        with self._changed:
            self._held.add(message["slot"])
            if self._live and self._unread:
                superseded = self._unread.popleft()[1]["slot"]
                self._drops["superseded"] += 1
            self._unread.append((self._epoch, message))
            self._expected = message["sequence"] + 1
            self._changed.notify_all()
        if superseded is not None:
            self.free(superseded)
        self._notify()

    def dropped(self, cause: str, count: int) -> None:
        with self._changed:
            self._drops[cause] += count

    def failed(self, error: ErrorClass | None, text: str | None) -> bool:
        """Note how an attempt ended; True if that is news: the last error was of another class."""
        with self._changed:
            news = error != self._error_class
            self._error_class, self._last_error = error, text
            if error is not None:
                self._errors[error] += 1
        return news

    def failed_in_passing(self, error: ErrorClass) -> None:
        """Count an error that is mended without anyone's notice."""
        with self._changed:
            self._errors[error] += 1

    def enter(self, state: State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()
        self._notify()

    # -- the consumer's side ---------------------------------------------------------------------------------------

    def take(self, timeout: float | None) -> tuple[int, dict[str, Any]] | None:
        """The next (epoch, frame message), waiting for it; None if there is none in time, or none any more.

        Raises SourceError once all frames of a recording that failed were taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._unread or self._state in FINAL, timeout)
            if self._unread:
                return self._unread.popleft()
            if self._state == "failed":
                raise SourceError(f"{self.shown}: {self._last_error}")
            return None

    def free(self, slot: int) -> None:
        """Give a slot back to the process."""
        with self._changed:
            self._held.discard(slot)
            if self._process is not None:
                self._process.link.send("free", slot=slot)

    def count(self, *, corrupt: bool) -> None:
        """One frame was handed out."""
        with self._changed:
            self._frames += 1
            self._corrupt += corrupt

    @property
    def ended(self) -> bool:
        with self._changed:
            return not self._unread and self._state in FINAL

    def stop(self) -> None:
        """Unread frames are gone; how a recording had ended stays."""
        with self._changed:
            self._unread.clear()
            state = self._state
        self.enter(state if state in FINAL else "stopped")

    @property
    def status(self) -> ReaderStatus:
        with self._changed:
            return ReaderStatus(
                name=self.name,
                source=self.shown,
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
                pid=self._process.pid if self._process else None,
            )
