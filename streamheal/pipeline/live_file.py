"""The pipeline file of a live run, watched while it runs."""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from streamheal import changes, pipeline_file
from streamheal.changes import RUNNING
from streamheal.errors import ConfigError, redact
from streamheal.pipeline_file import PipelineFile
from streamheal.watch.counters import Counters
from streamheal.watch.file_watch import FileWatch

log = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds


class LiveFile:
    """Loads the file at `path`, and again whenever it says something else, always with `overrides` laid over it.

    Reading and checking happen in a thread of their own: no camera waits for it.
    """

    def __init__(self, path: str | Path, overrides: Sequence[str] = ()):
        self.path, self._overrides = Path(path), tuple(overrides)
        self._watch = FileWatch(path)
        self._asked, self._closed = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._new: PipelineFile | None = None
        self.running = pipeline_file.read(path, overrides)  # what the run does, as `ran` was told

    def look_now(self) -> None:
        """Take the file as it is at once, without waiting for it to settle. Safe from a signal handler."""
        self._asked.set()

    @contextmanager
    def watched(self, counters: Counters, wake: threading.Event) -> Iterator[None]:
        """While inside, changes are found; `wake` is set when there is one to take."""
        thread = threading.Thread(target=self._follow, args=(counters, wake), name="pipeline-file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._closed.set()
            self._asked.set()
            thread.join(1.0)

    def take(self) -> PipelineFile | None:
        """The newest valid content that was not taken yet."""
        with self._lock:
            new, self._new = self._new, None
        return new

    def ran(self, new: PipelineFile, state: Path) -> None:
        """The run has taken from `new` what it can. Keeps a copy in `state`, for `streamheal validate --diff`.

        `${NAME}` stays as it is in the copy; it may hold secrets that the file itself spells out, so nobody else may
        read it.
        """
        old = self.running
        taken = changes.taken(old.config, new.config)
        data = {k: v for k, v in old.data.items() if k not in taken}
        data |= {k: v for k, v in new.data.items() if k in taken}
        self.running = PipelineFile(changes.running(old.config, new.config), data)
        try:
            state.mkdir(parents=True, exist_ok=True)
            fresh = state / f".{RUNNING}.new"
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as copy:
                copy.write("# What the live run does now; written by it, for streamheal validate --diff.\n")
                yaml.safe_dump(data, copy, sort_keys=False, allow_unicode=True)
            fresh.replace(state / RUNNING)
        except OSError as error:
            log.warning("%s can't be written: %s", state / RUNNING, error.strerror)

    def _follow(self, counters: Counters, wake: threading.Event) -> None:
        while not self._closed.is_set():
            asked = self._asked.wait(LOOK_EVERY)
            self._asked.clear()
            if self._closed.is_set() or not self._watch.changed(settled=not asked):
                continue
            try:
                new = pipeline_file.read(self.path, self._overrides)
            except ConfigError as error:
                counters.add("reloads.refused")
                log.error("%s was changed and is not valid; the run goes on as it was:\n%s", self.path, redact(error))
                continue
            with self._lock:
                self._new = new
            wake.set()
