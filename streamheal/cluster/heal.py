"""A heal node: one worker with the networks of a pipeline file."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from streamheal import pipeline_file
from streamheal.cluster.worker import HealWorker
from streamheal.config import PipelineConfig
from streamheal.faces.detector import build_detector
from streamheal.forgotten import Forgotten
from streamheal.kept import Kept
from streamheal.pipeline.audited import audited
from streamheal.pipeline.patience import Patience
from streamheal.publish.signing import signing
from streamheal.watch.counters import Counters


class HealNode:
    """`streamheal heal`."""

    def __init__(self, config: PipelineConfig):
        self.config = config
        self.counters = Counters()
        self._stop = threading.Event()
        self._worker = HealWorker(config, self.counters, self._stop)

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> "HealNode":
        """Raises PipelineFileError with all problems of the file, ConfigError without a `kafka` section."""
        return cls(pipeline_file.load(path, overrides))

    def stop(self) -> None:
        """End after the batch that is being healed. Safe from a signal handler."""
        self._stop.set()

    def run(self) -> dict[str, int]:
        """Heal until `stop`; returns what was counted. Raises StreamhealError where nothing can be healed."""
        sign = signing(self.config.provenance.c2pa)
        from streamheal.heal.healer import Healer  # imports torch, which takes seconds: errors above come at once

        healer = sign(Healer(self.config, build_detector(self.config.detector).model))
        kept, patiently = Kept.of_heal(self.config), Patience(self._stop, self.counters)
        with ExitStack() as stack:
            patiently(lambda: stack.enter_context(audited(kept.audit, self.config, self.counters)))
            forgotten = stack.enter_context(closing(patiently(lambda: Forgotten(kept.state))))
            self._worker.run(healer, forgotten)
        return self.counters.snapshot()
