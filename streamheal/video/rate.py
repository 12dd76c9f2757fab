"""How many frames of a stream are let through: a token bucket, so that frames which come in bursts still pass."""

import time
from collections.abc import Callable

BURST = 10.0
"""Frames that may pass at once after a pause: what a network or an encoder holds back for a moment."""


class RateLimit:
    """Lets `per_second` frames through in the long run. `clock`: seconds, monotonic."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic):
        self._per_second, self._clock = per_second, clock
        self._tokens, self._last = BURST, clock()

    def allows(self) -> bool:
        """Whether the frame that is here now passes."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._last) * self._per_second)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
