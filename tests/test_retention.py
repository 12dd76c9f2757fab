"""Faces that are deleted are gone from everywhere, others stay, and nothing brings them back."""

import json
import os
import threading
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamheal.config import Encryption, Kafka, Output, PipelineConfig, Source
from streamheal.faces.run_log import RunLog
from streamheal.forgotten import Forgotten
from streamheal.kept import Kept
from streamheal.publish import event
from streamheal.publish.cloud_event import iso_time
from streamheal.publish.event_file import to_line
from streamheal.publish.folder import FolderSink, read_events
from streamheal.publish.outbox import Outbox
from streamheal.publish.pictures import png
from streamheal.publish.report import write_report
from streamheal.records import Face
from streamheal.retention import Which, delete, expire, find, sweeping
from tests import targets
from tests.publish.faces import healed_face
from tests.video.clips import write_clip

HOUR = 3600.0
NOW = 1_790_000_000.0


def pipeline(folder: Path, **more) -> PipelineConfig:
    """A pipeline of recordings with folder and outbox."""
    kafka = Kafka(bootstrap_servers=["localhost:9"])
    return PipelineConfig(source=Source(path=folder / "footage"), output=Output(path=folder), kafka=kafka, **more)


def keep(config: PipelineConfig, at: float, *faces) -> None:
    """What a run does that healed `faces` at that time."""
    kept = Kept.by(config)
    with (
        closing(Outbox(kept.outbox, clock=lambda: at)) as outbox,
        closing(FolderSink(kept.folder, clock=lambda: at)) as sink,
    ):
        for face in faces:
            outbox.add(face.id, event.key(face), event.attributes(face), event.encode(face))
            sink.add(face)
    for job in {(f.job.camera, f.job.run): f.job for f in faces}.values():
        path = kept.state / f"{job.camera}-{job.run}.log"
        with closing(RunLog(path, job.run)) as log:
            log.found(0, [Face(np.full(4, 7, np.float32), np.full((5, 2), 7, np.float32), 0.9)])
            for face in faces:
                log.publish(face.job.track, face.job.revision)
        os.utime(path, (at, at))
    for path in kept.folder.glob("faces/*/*"):
        os.utime(path, (at, at))


def ids(config: PipelineConfig) -> tuple[list[str], list[str]]:
    """The events in the folder, and in the outbox."""
    kept = Kept.by(config)
    with closing(Outbox(kept.outbox)) as outbox:
        return [e["id"] for e in read_events(kept.folder)], [e.id for e in outbox.pending(10_000, 10**9)]


def everything(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file() and "ballast" not in p.name)


def traces(face) -> list[bytes]:
    """What would give a face away, wherever it lay. Short, as a database cuts long values into pages."""
    payload = event.encode(face)
    parts = [payload[at : at + 24] for at in range(500, len(payload) - 24, 1000)]
    return [
        png(face.original)[40:],
        json.dumps(event.to_json(face)["original"]["embedding"][:4], separators=(",", ":"))[1:-1].encode(),
        *(part for part in parts if not part.isascii()),  # what is said of a picture is alike in all
    ]


def test_what_is_kept_for_too_long_goes_from_folder_outbox_log_and_report_and_the_rest_stays(tmp_path):
    config = pipeline(tmp_path)
    old, new = healed_face(run="old"), healed_face(run="new", track=13, seed=1)
    keep(config, NOW - 73 * HOUR, old)
    keep(config, NOW - 71 * HOUR, new)
    write_report(tmp_path, title="", facts={})
    found = expire(Kept.by(config), NOW - 72 * HOUR)
    assert found.counts() == {"events": 1, "pictures": 4, "outbox": 1, "logs": 1, "report": 1}
    assert ids(config) == ([new.id], [new.id]) and not (tmp_path / "report.html").exists()
    assert {p.parent.name for p in tmp_path.glob("faces/*/*")} == {"new"}
    left = everything(tmp_path)
    assert not any(trace in left for trace in traces(old)), "also not in free pages or logs of the database"
    assert sum(trace in left for trace in traces(new)) > 0.9 * len(traces(new)), "the search itself works"


def test_age_counts_from_healing_and_not_from_what_a_camera_says_the_time_is(tmp_path):
    config = pipeline(tmp_path)
    face = healed_face()  # seen at NOW by its camera's clock
    keep(config, NOW + 1000 * HOUR, face)
    assert not expire(Kept.by(config), NOW + 999 * HOUR)
    assert expire(Kept.by(config), NOW + 1001 * HOUR)


def test_a_run_sweeps_at_its_start_and_while_it_goes_on(tmp_path):
    config = pipeline(tmp_path, retention="72h")
    old, new = healed_face(), healed_face(track=13, seed=1)
    keep(config, NOW - 73 * HOUR, old)
    keep(config, NOW, new)
    clock = [NOW]
    with sweeping(Kept.by(config), lambda: config.retention, clock=lambda: clock[0], every=0.05):
        assert ids(config) == ([new.id], [new.id])
        clock[0] += 71 * HOUR
        time.sleep(0.3)
        assert ids(config) == ([new.id], [new.id])
        clock[0] += 2 * HOUR
        deadline = time.monotonic() + 60
        while ids(config) != ([], []) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert ids(config) == ([], [])
    noted = [json.loads(line) for line in (tmp_path / "state" / "audit.jsonl").read_text().splitlines()]
    assert [n["what"] for n in noted] == ["deletion", "deletion"] and noted[0]["facts"]["why"] == "retention"


def test_without_a_retention_everything_stays(tmp_path):
    config = pipeline(tmp_path)
    keep(config, 0.0, healed_face())
    with sweeping(Kept.by(config), lambda: config.retention):
        assert len(ids(config)[0]) == 1


def test_a_sweep_that_cannot_be_done_does_not_end_the_run(tmp_path, caplog):
    config = pipeline(tmp_path, retention="72h")
    keep(config, NOW, healed_face())
    (tmp_path / "events.jsonl").write_text("garbage\n")
    with sweeping(Kept.by(config), lambda: config.retention):
        pass
    assert "retention" in caplog.text and "tried again" in caplog.text


def test_an_old_picture_that_a_crash_left_without_its_event_goes(tmp_path):
    config = pipeline(tmp_path)
    keep(config, NOW, healed_face())
    lost = tmp_path / "faces" / "run" / "gate-e0-t00099-r01-original.png"
    for path, at in ((lost, NOW - 73 * HOUR), (lost.with_stem("fresh"), NOW)):
        path.write_bytes(b"face")
        os.utime(path, (at, at))
    expire(Kept.by(config), NOW - 72 * HOUR)
    assert not lost.exists() and lost.with_stem("fresh").exists() and len(ids(config)[0]) == 1


@pytest.mark.parametrize(
    ("which", "gone"),
    [
        (Which(camera="gate"), {"run/gate/0/1/1", "run/gate/0/1/2", "run/gate/0/11/1", "later/gate/0/1/1"}),
        (Which(track="gate/0/1"), {"run/gate/0/1/1", "run/gate/0/1/2", "later/gate/0/1/1"}),
        (Which(track="run/gate/0/1"), {"run/gate/0/1/1", "run/gate/0/1/2"}),
        (Which(before=NOW), {"run/gate/0/1/1", "run/gate/0/1/2", "run/gate/0/11/1", "run/door/0/1/1"}),
        (Which(camera="gate", before=NOW), {"run/gate/0/1/1", "run/gate/0/1/2", "run/gate/0/11/1"}),
        (Which(camera="gat"), set()),
        (Which(track="ate/0/1"), set()),
    ],
)
def test_only_what_is_asked_for_is_forgotten(tmp_path, which, gone):
    config = pipeline(tmp_path)
    early = [
        healed_face(track=1),
        healed_face(track=1, revision=2),
        healed_face(track=11),
        healed_face(camera="door", track=1),
    ]
    keep(config, NOW - HOUR, *early)
    keep(config, NOW + HOUR, healed_face(run="later", track=1))
    before = set(ids(config)[0])
    kept = Kept.by(config)
    assert set(find(kept, which).ids) == gone and set(ids(config)[0]) == before, "finding changes nothing"
    assert set(delete(kept, which).ids) == gone
    assert tuple(map(set, ids(config))) == (before - gone, before - gone)
    assert len(list(tmp_path.glob("faces/*/*"))) == 4 * len(before - gone)
    with closing(Outbox(kept.outbox)) as outbox:
        assert outbox.accounts().balanced and outbox.accounts().forgotten == len(gone)


def test_a_track_of_which_nothing_lies_here_now_is_held_back_where_its_run_is_named(tmp_path):
    """Kafka has taken all of it, and it goes on."""
    kept = Kept.by(pipeline(tmp_path))
    delete(kept, Which(track="run/gate/0/12"))
    with closing(Forgotten(kept.state)) as forgotten:
        assert healed_face(revision=7).job in forgotten and healed_face(track=13).job not in forgotten


@pytest.mark.parametrize(
    ("which", "meant"),
    [
        (Which(camera="gate"), ("gate", NOW)),
        (Which(camera="gate", before=NOW - HOUR), ("gate", NOW - HOUR)),
        (Which(camera="gate", track="gate/0/1"), ("gate/0/1", NOW)),
        (Which(camera="door", track="gate/0/1"), None),
        (Which(before=NOW + HOUR), ("*", NOW)),
    ],
)
def test_what_waits_in_kafka_is_meant_up_to_now_and_not_beyond(which, meant):
    assert which.until(NOW) == meant


def test_a_sweep_leaves_no_trace_where_there_was_nothing_to_delete(tmp_path):
    kept = Kept.by(pipeline(tmp_path))
    expire(kept, NOW)
    assert (kept.state / "forgotten").read_bytes() == b""


def test_a_sweep_asks_each_time_how_long_faces_may_be_kept(tmp_path):
    config = pipeline(tmp_path)
    keep(config, NOW, healed_face())
    longest = [None]
    with sweeping(Kept.by(config), lambda: longest[0], clock=lambda: NOW + HOUR, every=0.05):
        time.sleep(0.2)
        assert len(ids(config)[0]) == 1
        longest[0] = timedelta(minutes=30)
        deadline = time.monotonic() + 60
        while ids(config) != ([], []) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert ids(config) == ([], [])


def test_a_log_at_work_is_named_and_left(tmp_path):
    config = pipeline(tmp_path)
    keep(config, NOW, healed_face())
    with closing(RunLog(tmp_path / "state" / "gate-run.log", "run")):
        found = delete(Kept.by(config), Which(camera="gate"))
    assert [path.name for path in found.busy] == ["gate-run.log"] and not found.logs
    assert [path.name for path in delete(Kept.by(config), Which(camera="gate")).logs] == ["gate-run.log"]


def test_a_line_that_points_out_of_the_folder_deletes_nothing_there(tmp_path):
    config = pipeline(tmp_path / "out")
    keep(config, NOW, healed_face())
    (tmp_path / "precious").write_text("")
    lines = tmp_path / "out" / "events.jsonl"
    lines.write_text(lines.read_text().replace("faces/run/gate-e0-t00012-r01-original.png", "../precious"))
    with pytest.raises(Exception, match="not below faces/"):
        delete(Kept.by(config), Which(camera="gate"))
    assert (tmp_path / "precious").exists()


# With a real run, killed and started again.


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "hall.mp4", 80)


@pytest.fixture(scope="module")
def whole(clip, tmp_path_factory) -> tuple[set[str], int]:
    """The ids of an uninterrupted run, and how many lines of code it took."""
    heard, told = targets._context.Pipe(duplex=False)
    out = tmp_path_factory.mktemp("whole")
    targets.start(targets.heal_recording, clip, out, lines=told).join(120)
    return {e["id"] for e in read_events(out)}, heard.recv()


def run(clip: Path, out: Path, die_at: int | None = None) -> set[str]:
    """The ids in the folder after a run, or one that was killed at so many lines of code."""
    process = targets.start(targets.heal_recording, clip, out, None, die_at)
    process.join(120)
    assert process.exitcode == (-9 if die_at else 0)
    return {e["id"] for e in read_events(out)}


@pytest.mark.parametrize("how", ["expired", "forgotten", "forgotten track"])
def test_a_killed_run_that_goes_on_brings_nothing_back(clip, whole, tmp_path, how):
    whole, lines = whole
    out = tmp_path / "out"
    gone = run(clip, out, die_at=lines * 8 // 10)
    assert gone and gone < whole
    kept = Kept.by(PipelineConfig(source=Source(path=clip), output=Output(path=out)))
    if how == "expired":
        assert expire(kept, time.time() + 1)
    elif how == "forgotten":
        assert delete(kept, Which(camera="hall"))
    else:
        track = sorted(gone)[0].rpartition("/")[0]
        assert delete(kept, Which(track=track))
        gone = {id for id in whole if id.rpartition("/")[0] == track}  # also what was still to come of it
    assert run(clip, out) == whole - gone
    (log,) = (out / "state").glob("*.log")
    log.unlink()  # even where nobody remembers what was published
    assert run(clip, out) == whole - gone


def test_what_is_forgotten_while_a_run_goes_on_stays_forgotten(tmp_path):
    """The track is in the picture all the time: every later revision of it is held back, too."""
    process = targets.start(publish_for_ever, tmp_path)
    kept = Kept(tmp_path, tmp_path / "outbox.sqlite", tmp_path / "state", live=True)

    def wait_for(revision: int) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if kept.has_events and f"run/gate/0/2/{revision}" in {e["id"] for e in read_events(tmp_path)}:
                return
            time.sleep(0.02)
        raise AssertionError("nothing is published")

    try:
        wait_for(3)
        assert delete(kept, Which(track="gate/0/1"))
        last = max(e["revision"] for e in read_events(tmp_path))
        wait_for(last + 3)
    finally:
        process.kill()
        process.join()
    events = read_events(tmp_path)
    assert not [e for e in events if e["track"] == 1]
    revisions = [e["revision"] for e in events if e["track"] == 2]
    assert revisions == list(range(1, len(revisions) + 1)), "nothing else is missing"
    assert not list(tmp_path.glob("faces/*/*-t00001-*"))
    with closing(Outbox(kept.outbox)) as outbox:
        assert not [e for e in outbox.pending(10_000, 10**9) if "/gate/0/1/" in e.id]


def test_what_is_forgotten_while_it_is_being_healed_is_not_published(tmp_path):
    from streamheal.pipeline.stages import Stages, Teller
    from streamheal.watch.counters import Counters

    class HealsWhileSomebodyForgets:
        def heal(self, jobs, *, restoring=True):
            with closing(Forgotten(tmp_path / "state")) as another:
                another.add([jobs[0].id])
            return [healed_face(track=job.track) for job in jobs]

    counters, stop = Counters(), threading.Event()
    config = PipelineConfig(source=Source(path=tmp_path), output=Output(path=tmp_path))
    with closing(FolderSink(tmp_path)) as sink, closing(Forgotten(tmp_path / "state")) as forgotten:
        healer = HealsWhileSomebodyForgets()
        stages = Stages(config, counters, None, healer, [sink], stop, stop, Teller(counters), [], forgotten)
        stages.heal([healed_face(track=1).job, healed_face(track=2).job])
    assert [e["track"] for e in read_events(tmp_path)] == [2]


@given(
    healed=st.floats(1e9, 4e9), before=st.floats(1e9, 4e9), near=st.sampled_from([0.0, 1e-6, -1e-6, None]),
    camera=st.sampled_from(["gate", "gat", "tür 1", None]),
)  # fmt: skip
def test_the_quick_look_spares_nothing_that_is_meant(healed, before, near, camera):
    before = before if near is None else healed + near
    line = {"id": "run/gate/0/1/1", "camera": "gate", "healed_at": iso_time(healed)}
    which = Which(camera=camera, before=before)
    assert which.may_meet(to_line(line)) or not which.meets_event(line)


def publish_for_ever(folder: Path) -> None:
    """The last stage of a run, given two tracks that go on and on."""
    from streamheal.pipeline.stages import Stages, Teller
    from streamheal.watch.counters import Counters

    class ToOutbox:
        """The half of the Kafka sink that keeps."""

        box = Outbox(folder / "outbox.sqlite")

        def add(self, face):
            self.box.add(face.id, event.key(face), event.attributes(face), event.encode(face))

    class AsIs:
        """In place of the healer."""

        def heal(self, jobs, *, restoring=True):
            return [healed_face(track=job.track, revision=job.revision) for job in jobs]

    config = PipelineConfig(source=Source(path=folder), output=Output(path=folder))
    counters = Counters()
    stages = Stages(
        config, counters, None, AsIs(), [ToOutbox(), FolderSink(folder)], threading.Event(), threading.Event(),
        Teller(counters), [], Forgotten(folder / "state"),
    )  # fmt: skip
    revision = 0
    while True:
        revision += 1
        stages.heal([healed_face(track=track, revision=revision).job for track in (1, 2)])


def test_a_deletion_killed_at_any_line_is_completed_by_the_next(tmp_path):
    config = pipeline(tmp_path)
    kept = Kept.by(config)
    other = healed_face(camera="door", track=5, seed=9)
    lines = None
    for step in range(8):
        faces = [healed_face(track=track) for track in range(4)]
        keep(config, NOW + step, *faces, *([other] if step == 0 else []))
        if lines is None:
            heard, told = targets._context.Pipe(duplex=False)
            targets.start(delete_camera, tmp_path, None, told).join(60)
            lines = heard.recv()
            continue
        process = targets.start(delete_camera, tmp_path, max(1, lines * step // 8))
        process.join(60)
        assert process.exitcode == -9
        delete(kept, Which(camera="gate"))
        assert ids(config) == ([other.id], [other.id])
        assert {p.name[:4] for p in tmp_path.glob("faces/*/*")} == {"door"}
        left = everything(tmp_path)
        assert not any(trace in left for face in faces for trace in traces(face)[:1])


def delete_camera(folder: Path, die_at: int | None, tell=None) -> None:
    targets.WATCHED = ("retention.py", "event_file.py", "forgotten.py", "outbox.py", "outbox_file.py", "run_log.py")
    counter = targets.LineCounter(die_at)
    counter.watch()
    delete(Kept.by(pipeline(folder)), Which(camera="gate"))
    if tell:
        tell.send(counter.lines)


def test_sealed_faces_are_deleted_without_their_key(tmp_path):
    keys = Encryption(use="k1", keys={"k1": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="})
    config = pipeline(tmp_path, encryption=keys)
    keep(config, NOW, healed_face())
    assert delete(Kept.by(config), Which(camera="gate"))
    assert ids(config) == ([], [])
