"""Programs that are made to be killed: everything that keeps events is real, everything slow is a stand-in.

They are started by `start` in processes that fork from one that has the imports done, so that a kill costs tenths of a
second and not the start of Python, OpenCV and torch.
"""

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np

from streamheal.config import Gallery, Kafka, Output, PipelineConfig, Source
from streamheal.errors import SinkError
from streamheal.publish import event
from streamheal.records import Face, FaceCrop, HealedFace, ModelUsed, Provenance
from tests.publish.sample import healed_face
from tests.video.clips import number_in

_context = multiprocessing.get_context("forkserver")
_preloaded = ["__main__", "tests.targets", "streamheal.pipeline.run", "streamheal.publish.kafka"]
_context.set_forkserver_preload(_preloaded)

WATCHED = (
    "recorded.py",
    "stages.py",
    "run_log.py",
    "folder.py",
    "outbox.py",
    "outbox_file.py",
    "outbox_shedding.py",
    "kafka.py",
)
PEOPLE = 6


def preload(*modules: str) -> None:
    """Have these modules imported before processes are forked. To be called before the first `start`."""
    _preloaded.extend(modules)
    _context.set_forkserver_preload(_preloaded)


def start(target: Callable, *arguments, **options) -> ForkServerProcess:
    """`target` in a process of its own: one of the functions below."""
    process = _context.Process(target=target, args=arguments, kwargs=options, daemon=True)
    process.start()
    return process


def faces_at(number: int) -> list[Face]:
    """The faces of picture `number`: people come one after the other, cross the picture, grow, and leave."""
    faces = []
    for person in range(PEOPLE):
        age = number - 12 * person
        if 0 <= age < 30:
            side, x, y = 26 + age / 4, 8.0 + 4 * age, 22.0 + 40 * (person % 2)
            points = [(0.34, 0.4), (0.66, 0.4), (0.5, 0.58), (0.37, 0.75), (0.63, 0.75)]
            landmarks = np.array([x, y]) + side * np.array(points)
            box = np.array([x, y, x + side, y + side])
            faces.append(Face(box.astype(np.float32), landmarks.astype(np.float32), 0.9))
    return faces


class NumberedFaces:
    """In place of a detector: reads from the picture which one it is (tests/video/clips.py), and knows the rest."""

    model = ModelUsed("detector", "stand-in", "0" * 64)

    def __init__(self, every: int | None = None):
        self._every = every  # the clip goes round after so many pictures

    def detect(self, images) -> list[list[Face]]:
        numbers = [number_in(image) for image in images]
        return [faces_at(n % self._every if self._every else n) for n in numbers]


class NothingHidden:
    """In place of the segmenter: all of every crop is visible."""

    def __init__(self, *_settings: str):
        pass

    def look(self, crops: Sequence[FaceCrop]) -> list[FaceCrop]:
        return [replace(crop, visible=np.ones(crop.image.shape[:2], np.float32)) for crop in crops]


class NothingHealed:
    """In place of the healer: the best crop as it is."""

    def __init__(self, config: PipelineConfig, detector: ModelUsed, segmenter: NothingHidden):
        self._made = Provenance("stand-in", (detector,), (), "none", "a stand-in heals nothing")

    def heal(self, jobs, *, restoring: bool = True) -> list[HealedFace]:
        return [
            HealedFace(
                job=job,
                original=job.best.image,
                embedding_original=np.ones(4, np.float32) / 2,
                visible=np.ones(job.best.image.shape[:2], np.float32),
                restored=None,
                evidence=np.zeros((128, 128), np.float32),
                embedding_restored=None,
                drift=None,
                abstained="a stand-in heals nothing",
                provenance=self._made,
            )
            for job in jobs
        ]


def with_stand_ins(detector: NumberedFaces) -> type:
    """`Pipeline` as it is, but for the networks. For processes of their own only: it changes the modules."""
    # The real ones load torch.
    sys.modules["streamheal.heal.occlusion"] = types.SimpleNamespace(OcclusionSegmenter=NothingHidden)
    sys.modules["streamheal.heal.healer"] = types.SimpleNamespace(Healer=NothingHealed)
    from streamheal.pipeline import run

    run.build_detector = lambda settings: detector
    return run.Pipeline


# The programs.


def heal_recording(clip: Path, out: Path, kafka: Kafka | None = None, die_at: int | None = None, lines=None) -> None:
    """Heal a numbered clip into a folder, and Kafka. Kills itself at the `die_at`-th line of the watched files;
    `lines`, a connection, is told at the end how many there were."""
    counter = LineCounter(die_at)
    if die_at or lines:
        counter.watch()
    config = PipelineConfig(
        source=Source(path=clip),
        output=Output(path=out, report=False),
        kafka=kafka,
        gallery=Gallery(improve_by=0.01, min_interval=0.1),
    )
    with_stand_ins(NumberedFaces())(config).run()
    if lines:
        lines.send(counter.lines)


def watch_cameras(
    config: PipelineConfig, clip_frames: int | None, tell, look: Callable[[], object], every: float
) -> None:
    """A live run until SIGTERM; `tell`, a connection, is told what `look` sees `every` so many seconds, and the run's
    counts at the end. With `clip_frames` the cameras show a numbered clip of that length, and stand-ins look at it;
    without, the networks do."""
    if clip_frames:
        pipeline = with_stand_ins(NumberedFaces(every=clip_frames))(config)
    else:
        from streamheal.pipeline import Pipeline

        pipeline = Pipeline(config)
    signal.signal(signal.SIGTERM, lambda *_: pipeline.stop())
    over = threading.Event()

    def tell_now_and_then() -> None:
        while not over.wait(every):
            tell.send(look())

    teller = threading.Thread(target=tell_now_and_then, daemon=True)
    teller.start()
    counts = pipeline.run().counts
    over.set()
    teller.join()
    tell.send(counts)


def heal_again_and_again(config: PipelineConfig, tell, look: Callable[[], object]) -> None:
    """The same recording as a new run, one after the other, until SIGTERM; `tell` is told of each how many events it
    had, or None where a run was refused because the broker was away, and what `look` saw after it."""
    pipeline = with_stand_ins(NumberedFaces())
    going = True

    def stop(*_) -> None:
        nonlocal going
        going = False

    signal.signal(signal.SIGTERM, stop)
    while going:
        try:
            events = pipeline(config).run().counts["events"]
            shutil.rmtree(config.output.path)
        except SinkError:
            events = None
        tell.send((events, look()))


def run_program(file: Path, overrides: list[str]) -> None:
    """`streamheal run` with its real networks."""
    from streamheal.pipeline import Pipeline

    Pipeline.from_file(file, overrides).run()


def fill_outbox(path: Path, first: int, last: int, kept) -> None:
    """Add the events `first` to `last` - 1, and tell the connection `kept` of each once it is on disk."""
    from streamheal.publish.outbox import Outbox

    box = Outbox(path)
    for number in range(first, last):
        one = healed_face(track=number, run="writer")
        box.add(one.id, event.key(one), event.attributes(one), event.encode(one))
        kept.send(number)
    box.close()


def send_events(path: Path, first: int, last: int, kept, kafka: Kafka, pause: float = 0.0) -> None:
    """The same through the Kafka sink, which sends them meanwhile. Ends when all have arrived."""
    from streamheal.publish.kafka import KafkaSink

    sink = KafkaSink(kafka, path, connect_timeout=10.0, backoff=(0.1, 1.0))
    for number in range(first, last):
        sink.add(healed_face(track=number, run="writer"))
        kept.send(number)
        time.sleep(pause)
    while not sink.flush(5):
        pass
    sink.close()


class LineCounter:
    """Counts the lines executed in the watched files, in all threads, and dies at the one that was asked for."""

    def __init__(self, die_at: int | None):
        self.lines = 0
        self._die_at = die_at

    def watch(self) -> None:
        threading.settrace(self._enter)
        sys.settrace(self._enter)

    def _enter(self, frame, what, _arg):
        path = frame.f_code.co_filename
        return self._step if "streamheal" in path and path.endswith(WATCHED) else None

    def _step(self, _frame, what, _arg):
        if what == "line":
            self.lines += 1
            if self.lines == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)
        return self._step
