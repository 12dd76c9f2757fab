"""Recordings: read to the last frame, and remembered, so that a killed run goes on where it was."""

import logging
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from streamheal.errors import SourceError
from streamheal.faces.run_log import RunLog
from streamheal.pipeline.follower import Follower
from streamheal.pipeline.stages import Stages
from streamheal.records import Face, Frame
from streamheal.runs import camera_names, recorded_run_id
from streamheal.video.reader import Reader

log = logging.getLogger(__name__)


def heal_recordings(paths: Sequence[Path], stages: Stages, state: Path) -> None:
    """Heal one recording after the other. `state`: the folder where progress is kept.

    Raises SourceError if the only recording can't be read; among several it is a warning.
    """
    stages.tell.total = sum(_frame_count(path) for path in paths) or None
    for path, camera in camera_names(paths, stages.config.source.path):
        if stages.stop.is_set():
            break
        try:
            warning = _heal_recording(path, camera, stages, state)
        except SourceError as error:
            if len(paths) == 1:
                raise
            warning = str(error)  # one bad file must not cost the rest of the folder
            stages.counters.add("recordings.failed")
        if warning:
            log.warning("%s", warning)
            stages.warnings.append(warning)


def _heal_recording(path: Path, camera: str, stages: Stages, state: Path) -> str | None:
    """Returns a warning where the recording ended before its time."""
    run = recorded_run_id(path, stages.config)
    with closing(RunLog(state / f"{camera}-{run}.log", run)) as memory:
        if memory.complete:
            log.info("%s is healed already", path)
            stages.counters.add("recordings.already-healed")
            return None
        if memory.resumed:
            log.info("%s: going on; %d frames were looked at before", path, memory.resumed)
        follower = Follower(camera, run, stages.config, stages.look)
        warning, jobs = None, []
        with Reader(camera, path, live=False) as reader:
            while not stages.stop.is_set():
                try:
                    frames = _next_frames(reader, stages.config.detector.batch)
                except SourceError as error:
                    if not reader.status.frames:
                        raise
                    warning = str(error)  # what could be read is healed
                    break
                if not frames and reader.ended:
                    warning = warning or reader.status.last_error
                    break
                for frame, faces in zip(frames, _find(frames, stages, memory), strict=True):
                    jobs += [j for j in follower.add(frame, faces) if (j.track, j.revision) not in memory.published]
                stages.count(frames, [follower])
                if len(jobs) >= stages.config.restorer.batch:
                    stages.heal(jobs, memory)
                    jobs = []
                stages.tell(path.name)
        if stages.stop.is_set():
            # Tracks stay open: the next run goes on, and ends them where they end.
            stages.heal(jobs, memory)
            return None
        jobs += [j for j in follower.finish() if (j.track, j.revision) not in memory.published]
        stages.heal(jobs, memory)
        memory.finish()
        stages.counters.add("recordings.healed")
        stages.tell(path.name, now=True)
    return warning


def _next_frames(reader: Reader, most: int) -> list[Frame]:
    """Up to `most` frames: waits for the first, takes along what is there."""
    frames = []
    while len(frames) < most:
        frame = reader.read(0.0 if frames else 0.5)
        if frame is None:
            break
        frames.append(frame)
    return frames


def _find(frames: Sequence[Frame], stages: Stages, memory: RunLog) -> list[list[Face]]:
    found = {frame.sequence: memory.faces(frame.sequence) for frame in frames}
    new = [f for f in frames if found[f.sequence] is None and f.sequence % stages.config.detector.every == 0]
    for frame, faces in zip(new, stages.detector.detect([f.image for f in new]), strict=True):
        found[frame.sequence] = faces
        memory.found(frame.sequence, faces)
    return [found[frame.sequence] or [] for frame in frames]


def _frame_count(path: Path) -> int:
    """How many frames the recording's header announces; 0 where it doesn't say."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return stream.frames or int(float(stream.duration * stream.time_base * stream.average_rate))
    except (av.FFmpegError, IndexError, TypeError, OSError):
        return 0  # the reader will say what is wrong, if anything
