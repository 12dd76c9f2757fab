"""Cameras come and go while a live run goes on: what changed restarts, and nothing else notices."""

import os
import signal
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from streamheal import changes, pipeline_file
from streamheal.errors import SinkError
from streamheal.pipeline import live_file
from tests.pipeline.live import Run, until, write
from tests.video.clips import write_clip
from tests.video.web import at_real_rate, serve

NOBODY = "http://127.0.0.1:9/nobody"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(live_file, "LOOK_EVERY", 0.1)


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    """A camera: an endless clip at its real rate, for any number of clients."""
    clip = write_clip(tmp_path_factory.mktemp("clip") / "clip.ts", 600, rate=5).read_bytes()
    with serve(lambda send, _: at_real_rate(send, clip, 120)) as served:
        yield served.url


def test_it_starts_with_no_camera_reachable_and_takes_up_one_that_comes_later(tmp_path, web):
    path = write(tmp_path / "p.yaml", {"gate": NOBODY, "roof": NOBODY})
    with Run(path) as run:
        until(lambda: run.doing == "0 of 2 cameras")
        write(path, {"gate": web, "roof": NOBODY})
        until(lambda: run.sink.jobs)
        assert run.state("roof") in ("connecting", "backing-off")
    assert {job.camera for job in run.sink.jobs} == {"gate"}


def test_only_what_changed_restarts_and_the_others_keep_process_epoch_and_tracks(tmp_path, web):
    path = write(tmp_path / "p.yaml", {"stays": web, "goes": web, "moves": web})
    with Run(path) as run:
        until(lambda: {job.camera for job in run.sink.jobs} == {"stays", "goes", "moves"})
        before = run.readers
        moved_from, kept = before["moves"], before["stays"].status
        write(path, {"stays": web, "moves": web + "?other", "comes": web})
        until(lambda: {job.camera for job in run.sink.jobs} == {"stays", "goes", "moves", "comes"})
        until(lambda: any(job.camera == "moves" and job.epoch == 1 for job in run.sink.jobs))
        after = run.readers
        assert set(after) == {"stays", "moves", "comes"}
        assert after["stays"] is before["stays"]
        assert (after["stays"].status.pid, after["stays"].status.epoch) == (kept.pid, 0) and kept.pid is not None
        assert after["moves"] is not moved_from
        until(lambda: not before["goes"].running and not moved_from.running)
        assert not any(j.reason == "ended" for j in run.sink.jobs if j.camera == "stays"), "its track lives on"
        ended = {(j.camera, j.epoch, j.track) for j in run.sink.jobs if j.reason == "ended"}
        assert {("goes", 0, 1), ("moves", 0, 1)} <= ended, "tracks of what went were published"
    ids = [(job.camera, job.epoch, job.track, job.revision) for job in run.sink.jobs]
    assert len(ids) == len(set(ids))
    assert run.counters["reloads.applied"] == 1
    [(what, facts)] = run.notes
    assert what == "configuration changed" and "camera removed: goes" in str(facts)


def test_a_camera_that_comes_back_counts_its_epochs_on(tmp_path, web):
    path = write(tmp_path / "p.yaml", {"gate": web, "roof": NOBODY})
    with Run(path) as run:
        until(lambda: run.sink.jobs)
        write(path, {"roof": NOBODY})
        until(lambda: "gate" not in run.readers)
        write(path, {"gate": web, "roof": NOBODY})
        until(lambda: any(job.epoch == 1 for job in run.sink.jobs))


def test_an_invalid_file_is_told_once_and_the_run_goes_on_as_it_was(tmp_path, web, caplog):
    path = write(tmp_path / "p.yaml", {"gate": web})
    with Run(path) as run:
        until(lambda: run.state("gate") == "streaming")
        reader = run.readers["gate"]
        path.write_text("source: {cameras: [{name: gate, url: 'ftp://me:s3cret@h'}]}\nfoo: 1\n")
        until(lambda: run.counters["reloads.refused"])
        frames = run.counters["frames"]
        until(lambda: run.counters["frames"] > frames + 5)
        path.unlink()
        frames = run.counters["frames"]
        until(lambda: run.counters["frames"] > frames + 5)
        assert run.readers == {"gate": reader}
    assert run.counters["reloads.refused"] == 1
    told = [r.getMessage() for r in caplog.records if "not valid" in r.getMessage()]
    assert len(told) == 1 and "foo: unknown key" in told[0] and "the url begins with 'ftp'" in told[0]
    assert "s3cret" not in caplog.text


def test_what_cannot_change_while_it_runs_is_told_and_left(tmp_path, web, caplog):
    path = write(tmp_path / "p.yaml", {"gate": web})
    with Run(path) as run:
        until(lambda: run.state("gate") == "streaming")
        reader = run.readers["gate"]
        write(path, {"gate": web, "roof": NOBODY}, tracker={"lost_after": 3})
        until(lambda: "roof" in run.readers)
        assert run.readers["gate"] is reader
        assert run.file.running.config.tracker.lost_after == 1.0
    assert "needs a restart of the run: tracker.lost_after (1 → 3)" in caplog.text


def test_a_new_retention_is_in_force_at_once_and_a_new_key_after_a_restart(tmp_path, caplog):
    path = write(tmp_path / "p.yaml", {"gate": NOBODY}, retention="72h")
    with Run(path) as run:
        write(path, {"gate": NOBODY}, retention="1h", encryption={"use": "k1", "keys": {"k1": "MTEx" * 10 + "MTE="}})
        until(lambda: run.counters["reloads.applied"])
        assert run.file.running.config.retention == timedelta(hours=1)
        assert run.file.running.config.encryption is None
        assert changes.compare(pipeline_file.load(tmp_path / "state" / "running.yaml"), run.file.running.config) == []
    assert "applied at once: retention (72h → 1h)" in caplog.text
    assert "needs a restart of the run: encryption (none → given)" in caplog.text


def test_overrides_stay_in_force_and_the_copy_in_the_state_folder_says_what_runs(tmp_path, web, monkeypatch):
    monkeypatch.setenv("ROOF_PASSWORD", "hunter2")
    path = write(tmp_path / "p.yaml", {"gate": NOBODY})
    copy = tmp_path / "state" / "running.yaml"
    with Run(path, [f"source.cameras.0.url={web}", "gallery.size=3"]) as run:
        until(lambda: run.state("gate") == "streaming")
        assert changes.compare(pipeline_file.load(copy), run.file.running.config) == []
        roof = "http://me:${ROOF_PASSWORD}@127.0.0.1:9/"
        write(path, {"gate": NOBODY, "roof": roof}, tracker={"lost_after": 3})
        until(lambda: "roof" in run.readers)
        assert run.state("gate") == "streaming", "the override's URL is still the camera's"
        until(lambda: "roof" in copy.read_text())
        runs = yaml.safe_load(copy.read_text())
    assert [c["url"] for c in runs["source"]["cameras"]] == [web, roof], "secrets stay variables"
    assert runs["gallery"] == {"size": 3} and "tracker" not in runs
    assert os.stat(copy).st_mode & 0o077 == 0


def test_a_camera_beyond_the_limit_waits_with_a_reason_and_comes_in_when_another_goes(tmp_path, web, caplog):
    path = write(tmp_path / "p.yaml", {"a": web, "b": web}, limits={"cameras": 1})
    with Run(path) as run:
        until(lambda: run.doing == "1 of 1 cameras, 1 not admitted")
        assert set(run.readers) == {"a"}
        write(path, {"b": web}, limits={"cameras": 1})
        until(lambda: run.state("b") == "streaming")
        write(path, {"b": web, "c": web}, limits={"cameras": 1})
        until(lambda: run.counters["cameras.refused"] == 2)
    assert "camera b is not admitted: limits.cameras is 1" in caplog.text
    assert "camera b is admitted now" in caplog.text
    assert run.stages.warnings == ["camera c was not admitted: limits.cameras is 1"]


def test_a_camera_is_refused_while_the_machine_is_full_and_comes_in_when_there_is_room(tmp_path, web, caplog):
    path = write(tmp_path / "p.yaml", {"a": web})
    with Run(path, seconds_a_frame=0.5) as run:
        until(lambda: run.counters["frames"] >= 10)
        write(path, {"a": web, "b": web}, limits={"load": 0.2})
        until(lambda: run.counters["cameras.refused"])
        frames = run.counters["frames"]
        until(lambda: run.counters["frames"] > frames + 5)
        assert set(run.readers) == {"a"}
        run.seconds_a_frame = 0.0
        until(lambda: run.state("b") == "streaming")
    assert "camera b is not admitted: detection and healing take" in caplog.text
    assert "of the frames so far were dropped" in caplog.text


def test_a_camera_that_hangs_is_removed_and_nobody_waits_for_it(tmp_path, web):
    path = write(tmp_path / "p.yaml", {"gate": web, "hangs": web})
    with Run(path) as run:
        until(lambda: run.state("hangs") == run.state("gate") == "streaming")
        hung = run.readers["hangs"]
        until(lambda: hung.status.frames > 0)
        pid = hung.status.pid
        os.kill(pid, signal.SIGSTOP)
        write(path, {"gate": web})
        until(lambda: "hangs" not in run.readers)
        frames = run.counters["frames"]
        until(lambda: run.counters["frames"] > frames + 5)
        until(lambda: not hung.running and not Path(f"/proc/{pid}").exists())
    assert run.counters["camera.hangs.frames"] > 0, "what it did is counted all the same"


def test_a_change_that_cannot_be_noted_is_not_made(tmp_path, web, caplog):
    path = write(tmp_path / "p.yaml", {"gate": web})
    run = Run(path)

    def full_disk(what, **facts):
        raise SinkError("the audit log can't be written: No space left on device")

    run.live._note = full_disk
    with run:
        until(lambda: run.state("gate") == "streaming")
        write(path, {"gate": web, "roof": NOBODY})
        until(lambda: run.counters["reloads.refused"])
        assert set(run.readers) == {"gate"}
    assert "No space left on device" in caplog.text
