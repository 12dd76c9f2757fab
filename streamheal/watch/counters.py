"""Counts what happens, above all what is lost: every drop by stage and cause."""

import threading
from collections import Counter


class Counters:
    """Named counts, safe from several threads. Names are dotted: `frames`, `dropped.reader.newer-frame`."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def add(self, name: str, by: int = 1) -> None:
        with self._lock:
            self._counts[name] += by

    def __getitem__(self, name: str) -> int:
        with self._lock:
            return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(sorted(self._counts.items()))
