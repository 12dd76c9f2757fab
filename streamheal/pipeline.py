"""The whole program on one page: builds the stages from a pipeline file, runs them, stops them.

    frames → detect (all cameras in one call) → track → gallery → heal (all tracks in one call) → sinks

Recordings are read to the last frame and remembered, so that a killed run goes on. Cameras give their newest frame and
run until stopped; then every confirmed track is published.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from streamheal import pipeline_file
from streamheal.config import PipelineConfig
from streamheal.errors import SourceError
from streamheal.faces.detector import FaceDetector, build_detector
from streamheal.faces.gallery import Galleries
from streamheal.faces.run_log import RunLog
from streamheal.faces.tracker import Tracker
from streamheal.publish.folder import FolderSink
from streamheal.publish.report import write_report
from streamheal.publish.sink import Sink
from streamheal.records import Face, Frame, HealJob
from streamheal.runs import camera_names, live_run_id, recorded_run_id
from streamheal.video.reader import Reader, stop_all
from streamheal.video.recordings import list_recordings
from streamheal.watch.counters import Counters
from streamheal.watch.pace import Pace

log = logging.getLogger(__name__)

STOP_HEALING_AFTER = 2.0  # seconds after a stop during which tracks are still restored; later ones leave as they are
KAFKA_FLUSH = 1.0  # seconds that a stop waits for the broker; what is unsent stays in the outbox
RECORDED_FLUSH = 60.0  # the same at the end of a recording, where nobody waits
PROGRESS_EVERY = 0.2  # seconds


@dataclass(slots=True)
class Summary:
    """What a run did."""

    output: Path | None
    report: Path | None = None
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    stopped: bool = False

    @property
    def fps(self) -> float:
        """Frames a second over the whole run, the start included."""
        return self.counts.get("frames", 0) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    frames: int
    total: int | None  # frames in all, as the recordings' headers say; None where nobody knows
    tracks: int
    healed: int
    doing: str


class Follower:
    """Tracker and galleries of one camera."""

    def __init__(self, camera: str, run: str, config: PipelineConfig):
        self.camera = camera
        self._tracker = Tracker.from_config(config.tracker)
        self._galleries = Galleries.from_config(run, camera, config.gallery)
        self._epoch: int | None = None
        self.confirmed = 0

    def add(self, frame: Frame, faces: Sequence[Face]) -> list[HealJob]:
        """The jobs that are due with this frame."""
        jobs = self.finish() if self._epoch not in (None, frame.epoch) else []
        self._epoch = frame.epoch
        update = self._tracker.update(frame.captured_at, faces)
        self.confirmed += len(update.confirmed)
        return jobs + self._galleries.add(frame, update)

    def finish(self) -> list[HealJob]:
        """End all tracks: at the end, and after a reconnect, when nobody knows how much time was lost."""
        self._tracker.reset()
        return self._galleries.finish()


class Pipeline:
    """One run of a pipeline file."""

    def __init__(self, config: PipelineConfig):
        self.config = config
        self.counters = Counters()
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._on_progress: Callable[[Progress], None] = lambda progress: None
        self._told = 0.0
        self._total: int | None = None

    @classmethod
    def from_file(cls, path: str | Path, overrides: Sequence[str] = ()) -> "Pipeline":
        """Raises PipelineFileError with every problem of the file."""
        return cls(pipeline_file.load(path, overrides))

    def stop(self) -> None:
        """End the run soon: cameras in under 5 s with every confirmed track published. Safe from a signal handler."""
        self._stop.set()
        self._wake.set()

    def run(self, on_progress: Callable[[Progress], None] | None = None) -> Summary:
        """Run to the end of the recordings, or until `stop`. Raises StreamhealError where it can't begin or go on."""
        started = time.monotonic()
        self._on_progress = on_progress or self._on_progress
        output = self.config.output
        summary = Summary(output=output.path if output else None)
        _use_threads(self.config.threads)
        recordings = [] if self.config.source.live else self._recordings()
        self._tell("loading the networks", now=True)
        detector = build_detector(self.config.detector)
        from streamheal.heal.healer import Healer  # imports torch, which takes seconds: errors above come at once

        healer = Healer(self.config, detector.model)
        with ExitStack() as stack:
            sinks = [stack.enter_context(closing(sink)) for sink in self._open_sinks()]
            if self.config.source.live:
                self._run_live(detector, healer, sinks, summary)
            else:
                self._run_recorded(recordings, detector, healer, sinks, summary)
            patience = KAFKA_FLUSH if self._stop.is_set() else RECORDED_FLUSH
            for sink in sinks:
                if not sink.flush(patience):
                    summary.warnings.append(f"{sink.name}: not everything has arrived; it waits for the next start")
        summary.stopped = self._stop.is_set()
        summary.seconds = time.monotonic() - started
        summary.counts = self.counters.snapshot()
        if output and output.report:
            summary.report = write_report(output.path, title=self._title(), facts=self._facts(summary))
        return summary

    # -- recordings ------------------------------------------------------------------------------------------------

    def _recordings(self) -> list[Path]:
        source = self.config.source
        if source.path is not None:
            return list_recordings(source.path)
        from streamheal.video.sample import render

        clip = self._state_folder() / "demo.mp4"
        self._tell("rendering the demo clip", now=True)
        return [render(clip, **source.rendered.model_dump())]

    def _run_recorded(self, paths, detector, healer, sinks, summary: Summary) -> None:
        self._total = sum(_frame_count(path) for path in paths) or None
        for path, camera in camera_names(paths, self.config.source.path):
            if self._stop.is_set():
                break
            try:
                warning = self._heal_recording(path, camera, detector, healer, sinks)
            except SourceError as error:
                if len(paths) == 1:
                    raise
                warning = str(error)  # one bad file must not cost the rest of the folder
                self.counters.add("recordings.failed")
            if warning:
                log.warning("%s", warning)
                summary.warnings.append(warning)

    def _heal_recording(self, path: Path, camera: str, detector: FaceDetector, healer, sinks) -> str | None:
        """Returns a warning where the recording ended before its time."""
        run = recorded_run_id(path, self.config)
        with closing(RunLog(self._state_folder() / f"{camera}-{run}.log", run)) as memory:
            if memory.complete:
                log.info("%s is healed already", path)
                self.counters.add("recordings.already-healed")
                return None
            if memory.resumed:
                log.info("%s: going on; %d frames were looked at before", path, memory.resumed)
            follower = Follower(camera, run, self.config)
            warning, jobs = None, []
            with Reader(camera, path, live=False) as reader:
                while not self._stop.is_set():
                    try:
                        frames = self._next_frames(reader)
                    except SourceError as error:
                        if not reader.status.frames:
                            raise
                        warning = str(error)  # what could be read is healed
                        break
                    if not frames and reader.ended:
                        warning = warning or reader.status.last_error
                        break
                    for frame, faces in zip(frames, self._find(frames, detector, memory), strict=True):
                        jobs += [j for j in follower.add(frame, faces) if (j.track, j.revision) not in memory.published]
                    self._count(frames, [follower])
                    if len(jobs) >= self.config.restorer.batch:
                        self._heal(jobs, healer, sinks, memory)
                        jobs = []
                    self._tell(path.name)
            if self._stop.is_set():
                # Tracks stay open: the next run goes on, and ends them where they end.
                self._heal(jobs, healer, sinks, memory)
                return None
            jobs += [j for j in follower.finish() if (j.track, j.revision) not in memory.published]
            self._heal(jobs, healer, sinks, memory)
            memory.finish()
            self.counters.add("recordings.healed")
            self._tell(path.name, now=True)
        return warning

    def _next_frames(self, reader: Reader) -> list[Frame]:
        """Up to a batch of frames: waits for the first, takes along what is there."""
        frames = []
        while len(frames) < self.config.detector.batch:
            frame = reader.read(0.0 if frames else 0.5)
            if frame is None:
                break
            frames.append(frame)
        return frames

    def _find(self, frames: Sequence[Frame], detector: FaceDetector, memory: RunLog) -> list[list[Face]]:
        found = {frame.sequence: memory.faces(frame.sequence) for frame in frames}
        new = [f for f in frames if found[f.sequence] is None and f.sequence % self.config.detector.every == 0]
        for frame, faces in zip(new, detector.detect([f.image for f in new]), strict=True):
            found[frame.sequence] = faces
            memory.found(frame.sequence, faces)
        return [found[frame.sequence] or [] for frame in frames]

    # -- cameras ---------------------------------------------------------------------------------------------------

    def _run_live(self, detector: FaceDetector, healer, sinks: Sequence[Sink], summary: Summary) -> None:
        run = live_run_id()
        readers, followers = {}, {}
        for camera in self.config.source.cameras:
            readers[camera.name] = Reader(
                camera.name,
                camera.url.get_secret_value(),
                live=True,
                transport=camera.transport,
                open_timeout=camera.open_timeout,
                stall_timeout=camera.stall_timeout,
                notify=self._wake.set,
            )
            followers[camera.name] = Follower(camera.name, run, self.config)
        away: set[str] = set()
        waiting: dict[tuple, HealJob] = {}
        detect_pace, heal_pace = Pace(self.config.detector.batch), Pace(self.config.restorer.batch)
        try:
            for reader in readers.values():
                reader.start()
            while not self._stop.is_set():
                self._wake.clear()
                idle = True
                frames = [frame for reader in readers.values() if (frame := reader.read(0)) is not None]
                while frames and not self._stop.is_set():
                    part, frames = frames[: detect_pace.items], frames[detect_pace.items :]
                    with detect_pace.measure(len(part)):
                        found = detector.detect([frame.image for frame in part])
                    for frame, faces in zip(part, found, strict=True):
                        self._queue(waiting, followers[frame.camera].add(frame, faces))
                    self._count(part, followers.values())
                    idle = False
                for name, reader in readers.items():
                    # A lost camera's tracks end now: a face that was healed must not wait for the camera's return.
                    if reader.status.state == "streaming":
                        away.discard(name)
                    elif name not in away:
                        away.add(name)
                        self._queue(waiting, followers[name].finish())
                self._heal_some(waiting, heal_pace, healer, sinks)
                self._tell(f"{len(readers) - len(away)} of {len(readers)} cameras")
                if idle and not waiting:
                    self._wake.wait(0.1)
        finally:
            deadline = time.monotonic() + STOP_HEALING_AFTER
            stop_all(readers.values())
            for name, reader in readers.items():
                self._queue(waiting, followers[name].finish())
                for cause, count in reader.status.drops.items():
                    self.counters.add(f"dropped.reader.{cause}", count)
                self.counters.add("reconnects", reader.status.reconnects)
                if reader.status.error_class is not None:
                    summary.warnings.append(f"camera {name} was away at the end: {reader.status.last_error}")
            while waiting:
                self._heal_some(waiting, heal_pace, healer, sinks, restoring=time.monotonic() < deadline)

    def _queue(self, waiting: dict[tuple, HealJob], jobs: Iterable[HealJob]) -> None:
        """A newer revision of a track takes the place of one that still waits: its gallery is the better one."""
        for job in jobs:
            key = (job.camera, job.epoch, job.track)
            if waiting.pop(key, None) is not None:
                self.counters.add("superseded.heal.newer-revision")
            waiting[key] = job

    def _heal_some(self, waiting: dict[tuple, HealJob], pace: Pace, healer, sinks, *, restoring: bool = True) -> None:
        keys = list(waiting)[: pace.items]
        with pace.measure(len(keys)):
            self._heal([waiting.pop(key) for key in keys], healer, sinks, restoring=restoring)

    # -- both ------------------------------------------------------------------------------------------------------

    def _heal(self, jobs, healer, sinks: Sequence[Sink], memory: RunLog | None = None, *, restoring=True) -> None:
        batch = self.config.restorer.batch
        for start in range(0, len(jobs), batch):
            for face in healer.heal(jobs[start : start + batch], restoring=restoring):
                for sink in sinks:
                    sink.add(face)
                if memory is not None:
                    memory.publish(face.job.track, face.job.revision)
                self.counters.add("events")
                self.counters.add("abstained" if face.abstained else "healed")

    def _open_sinks(self) -> list[Sink]:
        """Kafka first: an event that the folder lists has then been taken by every sink."""
        sinks: list[Sink] = []
        if (kafka := self.config.kafka) is not None:
            from streamheal.publish.kafka import KafkaSink

            outbox = kafka.outbox or self.config.output.path / "outbox.sqlite"
            sinks.append(KafkaSink(kafka, outbox, require=not self.config.source.live))
        if self.config.output is not None:
            sinks.append(FolderSink(self.config.output.path))
        return sinks

    def _state_folder(self) -> Path:
        """Where a run keeps what it needs to go on."""
        if self.config.output is not None:
            return self.config.output.path / "state"
        return self.config.kafka.outbox.parent / "state"

    def _count(self, frames: Sequence[Frame], followers: Iterable[Follower]) -> None:
        self.counters.add("frames", len(frames))
        self.counters.add("frames.corrupt", sum(frame.corrupt for frame in frames))
        for follower in followers:
            self.counters.add("tracks", follower.confirmed)
            follower.confirmed = 0

    def _tell(self, doing: str, *, now: bool = False) -> None:
        if now or time.monotonic() - self._told >= PROGRESS_EVERY:
            self._told = time.monotonic()
            count = self.counters
            self._on_progress(Progress(count["frames"], self._total, count["tracks"], count["healed"], doing))

    def _title(self) -> str:
        if self.config.source.rendered is not None:
            return "streamheal demo: a composite that was rendered for this report"
        return "streamheal report"

    def _facts(self, summary: Summary) -> dict[str, str]:
        counts = summary.counts
        return {
            "frames": f"{counts.get('frames', 0)} in {summary.seconds:.0f} s ({summary.fps:.1f} a second)",
            "tracks": str(counts.get("tracks", 0)),
            "events": f"{counts.get('events', 0)}, of which {counts.get('abstained', 0)} without a restored face",
            **({"warnings": "; ".join(summary.warnings)} if summary.warnings else {}),
        }


def _frame_count(path: Path) -> int:
    """How many frames the recording's header announces; 0 where it doesn't say."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return stream.frames or int(float(stream.duration * stream.time_base * stream.average_rate))
    except (av.FFmpegError, IndexError, TypeError, OSError):
        return 0  # the reader will say what is wrong, if anything


def _use_threads(count: int | None) -> None:
    if count is not None:
        import cv2
        import torch

        cv2.setNumThreads(count)
        torch.set_num_threads(count)
