"""A trouble that comes a hundred times in a row, told once as it begins and once as it ends."""

import logging
import time
from collections.abc import Callable

QUIET = 60.0  # seconds without the trouble after which it counts as over


class Spell:
    """Logs the first of a row of troubles to `log` and counts the rest; `over`, with one %d for their number, is told
    at the end. `clock`: seconds."""

    def __init__(self, log: logging.Logger, over: str, clock: Callable[[], float] = time.monotonic):
        self._log = log
        self._over = over
        self._clock = clock
        self._last: float | None = None  # None: there is no spell
        self._times = 0

    def trouble(self, text: str, times: int = 1) -> None:
        """It happened; `text` is told if it is the first time in `QUIET` seconds."""
        self.well()
        if self._last is None:
            self._log.warning("%s", text)
            self._times = 0
        self._last = self._clock()
        self._times += times

    def well(self) -> None:
        """It did not happen; if that has been so for long enough, the spell is told to be over."""
        if self._last is not None and self._clock() - self._last > QUIET:
            self._log.warning(self._over, self._times)
            self._last = None
