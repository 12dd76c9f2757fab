"""How many items fit into a slice of time, learned from how long the last ones took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

SLICE = 0.5  # seconds: what a stop may have to wait for; a GPU fills whole batches in it, a slow CPU does one at a time


class Pace:
    """Sizes the next call so that it takes about `SLICE` seconds: 1 to `most` items."""

    def __init__(self, most: int):
        self._most = most
        self._per_item = SLICE  # the first call is one item: nobody knows yet

    @property
    def items(self) -> int:
        return max(1, min(self._most, int(SLICE / self._per_item)))

    @contextmanager
    def measure(self, items: int) -> Iterator[None]:
        began = time.monotonic()
        yield
        if items:
            took = max(1e-6, (time.monotonic() - began) / items)
            # Slower is believed at once, faster only by and by: a stop must not wait on an optimist.
            self._per_item = took if took > self._per_item else 0.7 * self._per_item + 0.3 * took
