"""How much of the machine a live run has left for more cameras, measured and not guessed."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WINDOW = 10.0
"""Seconds over which the load is measured, and after which a camera that was added shows in it."""


class Headroom:
    """The share of the last `WINDOW` seconds that detection and healing took. `clock`: seconds, monotonic."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._since = clock()
        self._busy: deque[tuple[float, float]] = deque()  # (began, ended), one after the other

    @contextmanager
    def busy(self) -> Iterator[None]:
        """The time spent inside counts."""
        began = self._clock()
        try:
            yield
        finally:
            self._busy.append((began, self._clock()))
            self._forget()

    @property
    def load(self) -> float:
        """In [0, 1]."""
        start = self._forget()
        span = self._clock() - start
        busy = sum(ended - max(began, start) for began, ended in self._busy)
        return min(1.0, busy / span) if span > 0 else 0.0

    def refusal(self, limit: float, *, streaming: int, added: int = 0) -> str | None:
        """Why one more camera would be too many, or None if it fits.

        `limit`: the load up to which cameras are taken; 1 takes all. `streaming`: cameras that the load comes from.
        `added`: cameras taken within the last `WINDOW` seconds, whose load doesn't show yet.
        """
        load = self.load
        expected = load + load / max(1, streaming) * (added + 1)
        if limit >= 1 or expected <= limit:
            return None
        return (
            f"detection and healing take {load:.0%} of the time, and with one more camera would take about "
            f"{expected:.0%}; limits.load allows {limit:.0%}"
        )

    def _forget(self) -> float:
        """Drop what is older than the window; returns when the window began."""
        start = max(self._since, self._clock() - WINDOW)
        while self._busy and self._busy[0][1] <= start:
            self._busy.popleft()
        return start
