"""How long to wait before a camera is tried again: exponential backoff with full jitter, by class of error.

Full jitter (a delay drawn evenly between the floor and an exponentially growing cap) spreads the load best when many
cameras come back from one power cut at once (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog,
2015).
"""

import random
from dataclasses import dataclass
from typing import Literal, get_args

ErrorClass = Literal["auth", "not-found", "unreachable", "timeout", "lost", "invalid", "hung", "crashed"]
"""Why a stream is not there: refused credentials; no such stream; no route, refused, or no such host; silence; a stream
that ended or was reset; not a video that can be decoded; a reader process that had to be killed; one that died."""

ERROR_CLASSES: tuple[ErrorClass, ...] = get_args(ErrorClass)


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds: never less than `least`; the cap starts at `first`, doubles with each failure, and ends at `most`."""

    least: float
    first: float
    most: float


DELAYS: dict[ErrorClass, Delays] = {
    # Cameras lock an account after a handful of wrong passwords, and only a person can mend this one.
    "auth": Delays(15, 60, 900),
    "not-found": Delays(5, 15, 300),
    "invalid": Delays(5, 15, 300),
    "unreachable": Delays(0.5, 2, 60),
    "timeout": Delays(0.5, 2, 60),
    "hung": Delays(0.5, 2, 60),
    "crashed": Delays(0.5, 2, 60),
    # A stream that was just there is most likely back at once.
    "lost": Delays(0.2, 1, 30),
}

SETTLED_AFTER = 10.0
"""Seconds a connection must have streamed before its loss counts as the first again: a camera that delivers one frame
and falls over keeps backing off."""


class Backoff:
    """Counts failures and draws the delays. Pure: no clock, no sleep; `rng` decides the jitter."""

    def __init__(self, delays: dict[ErrorClass, Delays] | None = None, rng: random.Random | None = None):
        self._delays = delays or DELAYS
        self._rng = rng or random.Random()
        self._class: ErrorClass | None = None
        self.failures = 0  # in a row, of the class last seen

    def cap(self, error: ErrorClass, failures: int) -> float:
        """Upper end of the delay after so many failures of one class in a row, seconds."""
        delays = self._delays[error]
        return min(delays.most, delays.first * 2.0 ** min(failures - 1, 60))

    def failed(self, error: ErrorClass, streamed_for: float = 0.0) -> float:
        """Seconds to wait after a failure of class `error`, on a connection that had streamed for so many seconds."""
        fresh = error != self._class or streamed_for >= SETTLED_AFTER
        self._class = error
        self.failures = 1 if fresh else self.failures + 1
        return self._rng.uniform(self._delays[error].least, self.cap(error, self.failures))
