"""The whole program on one page: builds the stages from a pipeline file, runs them, stops them.

frames → detect (all cameras in one call) → track → gallery (what is hidden?) → heal (all tracks in one call) → sinks
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from streamheal.config import PipelineConfig
from streamheal.faces.detector import build_detector
from streamheal.forgotten import Forgotten
from streamheal.kept import Kept
from streamheal.pipeline.audited import audited
from streamheal.pipeline.live import LiveRun
from streamheal.pipeline.live_file import LiveFile
from streamheal.pipeline.patience import Patience
from streamheal.pipeline.recorded import heal_recordings
from streamheal.pipeline.shedding import SheddingSink
from streamheal.pipeline.stages import Progress, Stages, Summary, Teller
from streamheal.publish.folder import FolderSink
from streamheal.publish.report import write_report
from streamheal.publish.signing import signing
from streamheal.publish.sink import Sink
from streamheal.records import ModelUsed
from streamheal.retention import sweeping
from streamheal.vault import Vault
from streamheal.video.recordings import list_recordings
from streamheal.watch.counters import Counters

if TYPE_CHECKING:
    from streamheal.heal.healer import Healer
    from streamheal.heal.occlusion import OcclusionSegmenter

KAFKA_FLUSH = 1.0  # seconds that a stop waits for the broker; what is unsent stays in the outbox
RECORDED_FLUSH = 60.0  # the same at the end of a recording, where nobody waits


class Pipeline:
    """One run of a pipeline file."""

    def __init__(self, config: PipelineConfig, file: LiveFile | None = None):
        self.config, self._file = config, file
        self.counters = Counters()
        self._stop = threading.Event()
        self._wake = threading.Event()

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Pipeline":
        """A run that follows its file: cameras come and go with it. Raises PipelineFileError with all its problems."""
        file = LiveFile(path, overrides)
        return cls(file.running.config, file)

    def stop(self) -> None:
        """End the run soon: cameras in under 5 s with every confirmed track published. Safe from a signal handler."""
        self._stop.set()
        self._wake.set()

    def reload(self) -> None:
        """Look at the pipeline file now, and not only when it is next due. Safe from a signal handler."""
        if self._file is not None:
            self._file.look_now()

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
        segmenter = self._build_segmenter()
        healer = self._build_healer(detector.model, segmenter)
        with ExitStack() as stack:
            kept = Kept.by(self.config)
            stack.enter_context(sweeping(kept, self._retention))  # first: it may make room for the others
            patiently = Patience(self._stop, self.counters) if live else lambda begin: begin()
            audit = patiently(lambda: stack.enter_context(audited(kept.audit, self.config, self.counters)))
            forgotten = stack.enter_context(closing(patiently(lambda: Forgotten(kept.state))))
            sinks = [stack.enter_context(closing(patiently(open_sink))) for open_sink in self._sinks()]
            stages = Stages(
                self.config, self.counters, detector, healer, sinks, self._stop, self._wake, tell, summary.warnings,
                forgotten, segmenter.look,
            )  # fmt: skip
            if live:
                self._watch(stages, audit.note)
            else:
                heal_recordings(recordings, stages, self.config.state)
            patience = KAFKA_FLUSH if self._stop.is_set() else RECORDED_FLUSH
            for sink in sinks:
                if not sink.flush(patience):
                    summary.warnings.append(f"{sink.name}: not everything has arrived; it waits for the next start")
                for name, count in sink.counts().items():
                    self.counters.add(f"{sink.name}.{name}", count)
        summary.stopped = self._stop.is_set()
        summary.seconds = time.monotonic() - started
        summary.counts = self.counters.snapshot()
        if output and output.report and self.config.encryption is None:  # a page can't be sealed: only if asked for
            try:
                summary.report = write_report(output.path, title=self._title(), facts=_facts(summary))
            except OSError as error:  # what was healed is whole: `streamheal report` writes it when there is room
                summary.warnings.append(f"report.html can't be written: {error.strerror}")
        return summary

    def _build_segmenter(self) -> "OcclusionSegmenter":
        # Imports torch, which takes seconds: errors before come at once.
        from streamheal.heal.occlusion import OcclusionSegmenter

        return OcclusionSegmenter(self.config.occlusion.weights, self.config.restorer.device)

    def _build_healer(self, detector: ModelUsed, segmenter: "OcclusionSegmenter") -> "Healer":
        sign = signing(self.config.provenance.c2pa)
        from streamheal.heal.healer import Healer

        return sign(Healer(self.config, detector, segmenter))

    def _watch(self, stages: Stages, note: Callable[..., object]) -> None:
        LiveRun(stages, file=self._file, state=self.config.state, note=note).watch()

    def _recordings(self, tell: Teller) -> list[Path]:
        source = self.config.source
        if source.path is not None:
            return list_recordings(source.path)
        from streamheal.video.sample import render

        clip = self.config.state / "demo.mp4"
        tell("rendering the demo clip", now=True)
        return [render(clip, **source.rendered.model_dump())]

    def _sinks(self) -> Iterator[Callable[[], Sink]]:
        """What opens each. Kafka first: an event that the folder lists has then been taken by every sink."""
        config, live = self.config, self.config.source.live
        vault = Vault.from_config(config.encryption)
        outlives = SheddingSink if live else lambda sink: sink
        if config.kafka is not None:
            from streamheal.publish.kafka import KafkaSink

            yield lambda: outlives(KafkaSink(config.kafka, config.outbox, require=not live, vault=vault))
        if config.output is not None:
            yield lambda: outlives(FolderSink(config.output.path, vault=vault, remember=not live))

    def _retention(self) -> timedelta | None:
        """As the pipeline file says now."""
        return (self.config if self._file is None else self._file.running.config).retention

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
