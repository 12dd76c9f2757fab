"""What a training leaves behind beside its weights: curves, and the wish to stop."""

import csv
import signal
import threading
from pathlib import Path


class Curves:
    """A CSV with one row a look. Stages lose different things: new columns join at the right."""

    def __init__(self, path: Path, *, keep: bool):
        self.path, self.rows = path, []
        if keep and path.is_file():
            with path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))

    def add(self, row: dict[str, float | str]) -> None:
        self.rows.append({key: value if isinstance(value, str) else f"{value:.6g}" for key, value in row.items()})
        columns = list(dict.fromkeys(key for one in self.rows for key in one))
        part = self.path.with_suffix(".part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        part.replace(self.path)


class StopSignals:
    """`set` turns true on SIGTERM or SIGINT; the handlers of before are put back at the end."""

    def __init__(self):
        self.set = False

    def __enter__(self) -> "StopSignals":
        self.before = {}
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGTERM, signal.SIGINT):
                self.before[number] = signal.signal(number, self._stop)
        return self

    def _stop(self, *_) -> None:
        self.set = True

    def __exit__(self, *_) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
