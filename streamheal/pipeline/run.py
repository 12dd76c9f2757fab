"""The whole program on one page: builds the stages from a pipeline file, runs them, stops them.

frames → detect (all cameras in one call) → track → gallery → heal (all tracks in one call) → sinks
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from streamheal import pipeline_file
from streamheal.config import PipelineConfig
from streamheal.faces.detector import build_detector
from streamheal.pipeline.live import LiveRun
from streamheal.pipeline.recorded import heal_recordings
from streamheal.pipeline.shedding import SheddingSink
from streamheal.pipeline.stages import Progress, Stages, Summary, Teller
from streamheal.publish.folder import FolderSink
from streamheal.publish.report import write_report
from streamheal.publish.sink import Sink
from streamheal.vault import Vault
from streamheal.video.recordings import list_recordings
from streamheal.watch.counters import Counters

KAFKA_FLUSH = 1.0  # seconds that a stop waits for the broker; what is unsent stays in the outbox
RECORDED_FLUSH = 60.0  # the same at the end of a recording, where nobody waits


class Pipeline:
    """One run of a pipeline file."""

    def __init__(self, config: PipelineConfig):
        self.config = config
        self.counters = Counters()
        self._stop = threading.Event()
        self._wake = threading.Event()

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Pipeline":
        """Raises PipelineFileError with every problem of the file."""
        return cls(pipeline_file.load(path, overrides))

    def stop(self) -> None:
        """End the run soon: cameras in under 5 s with every confirmed track published. Safe from a signal handler."""
        self._stop.set()
        self._wake.set()

    def run(self, on_progress: Callable[[Progress], None] = lambda progress: None) -> Summary:
        """Run to the end of the recordings, or until `stop`. Raises StreamhealError where it can't begin or go on."""
        started = time.monotonic()
        output, live = self.config.output, self.config.source.live
        summary = Summary(output=output.path if output else None)
        tell = Teller(self.counters, on_progress)
        _use_threads(self.config.threads)
        recordings = [] if live else self._recordings(tell)
        tell("loading the networks", now=True)
        detector = build_detector(self.config.detector)
        from streamheal.heal.healer import Healer  # imports torch, which takes seconds: errors above come at once

        healer = Healer(self.config, detector.model)
        with ExitStack() as stack:
            sinks = [stack.enter_context(closing(sink)) for sink in self._open_sinks()]
            stages = Stages(
                self.config, self.counters, detector, healer, sinks, self._stop, self._wake, tell, summary.warnings
            )
            if live:
                LiveRun(stages).watch()
            else:
                heal_recordings(recordings, stages, self._state_folder())
            patience = KAFKA_FLUSH if self._stop.is_set() else RECORDED_FLUSH
            for sink in sinks:
                if not sink.flush(patience):
                    summary.warnings.append(f"{sink.name}: not everything has arrived; it waits for the next start")
                for name, count in sink.counts().items():
                    self.counters.add(f"{sink.name}.{name}", count)
        summary.stopped = self._stop.is_set()
        summary.seconds = time.monotonic() - started
        summary.counts = self.counters.snapshot()
        if output and output.report:
            summary.report = write_report(output.path, title=self._title(), facts=_facts(summary))
        return summary

    def _recordings(self, tell: Teller) -> list[Path]:
        source = self.config.source
        if source.path is not None:
            return list_recordings(source.path)
        from streamheal.video.sample import render

        clip = self._state_folder() / "demo.mp4"
        tell("rendering the demo clip", now=True)
        return [render(clip, **source.rendered.model_dump())]

    def _open_sinks(self) -> list[Sink]:
        """Kafka first: an event that the folder lists has then been taken by every sink."""
        sinks: list[Sink] = []
        if (kafka := self.config.kafka) is not None:
            from streamheal.publish.kafka import KafkaSink

            vault = Vault.from_config(self.config.encryption)
            sinks.append(KafkaSink(kafka, self.config.outbox, require=not self.config.source.live, vault=vault))
        if self.config.output is not None:
            sinks.append(FolderSink(self.config.output.path))
        return [SheddingSink(sink) for sink in sinks] if self.config.source.live else sinks

    def _state_folder(self) -> Path:
        """Where a run keeps what it needs to go on."""
        if self.config.output is not None:
            return self.config.output.path / "state"
        return self.config.kafka.outbox.parent / "state"

    def _title(self) -> str:
        if self.config.source.rendered is not None:
            return "streamheal demo: a composite that was rendered for this report"
        return "streamheal report"


def _facts(summary: Summary) -> dict[str, str]:
    counts = summary.counts
    return {
        "frames": f"{counts.get('frames', 0)} in {summary.seconds:.0f} s ({summary.fps:.1f} a second)",
        "tracks": str(counts.get("tracks", 0)),
        "events": f"{counts.get('events', 0)}, of which {counts.get('abstained', 0)} without a restored face",
        **({"warnings": "; ".join(summary.warnings)} if summary.warnings else {}),
    }


def _use_threads(count: int | None) -> None:
    if count is not None:
        import cv2
        import torch

        cv2.setNumThreads(count)
        torch.set_num_threads(count)
