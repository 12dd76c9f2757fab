"""`streamheal forget`, `rotate`, `report`, `audit` on a folder that a run has filled."""

import base64
import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamheal import audit
from streamheal.cli import app
from streamheal.errors import StreamhealError
from streamheal.forgotten import Forgotten
from streamheal.publish import event
from streamheal.publish.folder import FolderSink, read_events
from streamheal.publish.outbox import Outbox
from streamheal.vault import Vault
from tests.publish.faces import healed_face

OLD, NEW = b"1" * 32, b"2" * 32
FACES = [healed_face(track=1), healed_face(track=2, seed=2), healed_face(camera="door", track=1, seed=3)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name, key in (("OLD_KEY", OLD), ("NEW_KEY", NEW)):
        monkeypatch.setenv(name, base64.b64encode(key).decode())
    return tmp_path / "out"


def pipeline(folder: Path, more: str = "") -> str:
    file = folder.parent / "pipeline.yaml"
    head = f"source: {{path: {folder}}}\noutput: {{path: {folder}}}\nkafka: {{bootstrap_servers: ['localhost:9']}}\n"
    file.write_text(head + more)
    return str(file)


KEYS = "encryption:\n  use: {use}\n  keys:\n    old: ${{OLD_KEY}}\n    new: ${{NEW_KEY}}\n"


def keep(folder: Path, vault: Vault | None = None) -> None:
    with (
        closing(FolderSink(folder, vault=vault)) as sink,
        closing(Outbox(folder / "outbox.sqlite", vault=vault)) as outbox,
    ):
        for face in FACES:
            outbox.add(face.id, event.key(face), event.attributes(face), event.encode(face))
            sink.add(face)


def call(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, words)
    if isinstance(done.exception, StreamhealError):
        raise done.exception
    assert done.exit_code == code, done.output
    return done.output


def noted(folder: Path) -> list[dict]:
    return list(audit.read(folder / "state" / "audit.jsonl"))


def ids(folder: Path) -> list[str]:
    return [e["id"] for e in read_events(folder)]


def test_forget_shows_what_would_go_and_deletes_nothing_until_told_to(folder):
    keep(folder)
    file = pipeline(folder)
    said = call("forget", file, "--camera", "gate")
    assert "run/gate/0/1/1" in said and "run/door" not in said
    assert "would be deleted: 2 events with 8 pictures, 2 in the outbox" in said and "--yes" in said
    assert len(ids(folder)) == 3 and not (folder / "state" / "audit.jsonl").exists()
    said = call("forget", file, "--camera", "gate", "--yes")
    assert "deleted: 2 events with 8 pictures, 2 in the outbox" in said
    assert ids(folder) == ["run/door/0/1/1"]


def test_forget_says_that_kafka_can_not_be_called_back(folder):
    keep(folder)
    said = call("forget", pipeline(folder), "--track", "gate/0/1", "--yes")
    assert "can't be called back" in said and "passed over" not in said, "no heal worker keeps its state here"


def test_forgetting_is_audited_by_hashes_alone(folder):
    keep(folder)
    call("forget", pipeline(folder), "--track", "gate/0/1", "--yes")
    begun, done = noted(folder)
    assert (begun["what"], done["what"]) == ("deletion begun", "deletion")
    assert done["facts"]["events"] == 1 and len(done["facts"]["ids"]) == 1
    assert "gate" not in json.dumps([begun["facts"], done["facts"]])


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--before", "2026-09-01"], 3),
        (["--before", "2100-01-01T00:00+02:00"], 0),
        (["--before", "1h"], 3),
        (["--camera", "gate", "--track", "run/gate/0/2"], 2),
    ],
)
def test_forget_takes_times_ages_and_tracks(folder, arguments, left):
    keep(folder)
    call("forget", pipeline(folder), *arguments, "--yes")
    assert len(ids(folder)) == left


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "give --camera, --track, --before, or --expired"),
        (["--track", "12"], "CAMERA/EPOCH/TRACK"),
        (["--before", "yesterday"], "write a time"),
        (["--expired"], "no `retention`"),
        (["--expired", "--camera", "gate"], "goes alone"),
    ],
)
def test_forget_says_what_it_needs(folder, arguments, says):
    with pytest.raises(StreamhealError, match=says):
        call("forget", pipeline(folder), *arguments, "--yes")


def test_consumers_are_told_of_what_they_had_and_of_nothing_else(folder):
    keep(folder)
    with closing(Outbox(folder / "outbox.sqlite")) as outbox:
        outbox.acknowledge(outbox.pending(1))  # Kafka has the first
    call("forget", pipeline(folder), "--camera", "gate", "--tell-consumers", "--yes")
    with closing(Outbox(folder / "outbox.sqlite")) as outbox:
        door, notice = outbox.pending()
    headers = dict(notice.headers)
    assert door.id == FACES[2].id and json.loads(notice.payload) == {"id": FACES[0].id}
    assert headers["ce_type"] == b"streamheal.face.forgotten.v1" and headers["ce_subject"] == b"gate/0/1"
    assert notice.key == event.key(FACES[0]), "in the partition of the event itself, behind it"
    with pytest.raises(ValueError, match="not a streamheal"):
        event.decode(notice.payload)


def test_what_is_kept_for_too_long_can_be_deleted_without_a_run(folder):
    with closing(FolderSink(folder, clock=lambda: 1_790_000_000.0)) as sink:
        sink.add(FACES[0])
    with closing(FolderSink(folder)) as sink:
        sink.add(FACES[1])
    file = pipeline(folder, "retention: 72h\n")
    call("forget", file, "--expired")
    assert len(ids(folder)) == 2
    call("forget", file, "--expired", "--yes")
    assert ids(folder) == [FACES[1].id]


def test_rotate_says_when_the_old_key_can_go(folder):
    keep(folder, Vault("old", {"old": OLD}))
    said = call("rotate", pipeline(folder, KEYS.format(use="new")))
    assert "sealed anew under new: 12 pictures, 3 events, 3 in the outbox" in said
    assert "no other key is needed" in said and noted(folder)[-1]["what"] == "sealed anew"


def test_rotate_does_not_say_so_where_something_is_left(folder):
    keep(folder, Vault("old", {"old": OLD}))
    next(folder.glob("faces/*/*")).write_bytes(Vault("old", {"old": OLD}).seal(b"", "elsewhere"))
    said = call("rotate", pipeline(folder, KEYS.format(use="new")), code=1)
    assert "still under old: 1 values" in said and "keep the older keys" in said


def test_a_report_of_a_sealed_folder_is_written_on_request_alone_and_audited(folder):
    keep(folder, Vault("new", {"new": NEW}))
    assert "unsealed" in call("report", pipeline(folder, KEYS.format(use="new")))
    assert (folder / "report.html").read_text().count("<img") == 12
    [line] = noted(folder)
    assert line["what"] == "export" and line["facts"]["what"] == "report"


def test_a_report_of_nothing_says_what_to_do(folder):
    with pytest.raises(StreamhealError, match="run the pipeline first"):
        call("report", pipeline(folder))


def test_audit_shows_the_log_and_whether_it_was_tampered_with(folder):
    keep(folder)
    file = pipeline(folder)
    for camera in ("gate", "door"):
        call("forget", file, "--camera", camera, "--yes")
    said = call("audit", file)
    assert said.count("deletion begun") == 2 and "4 lines; the last one's hash is" in said
    path = folder / "state" / "audit.jsonl"
    path.write_text(path.read_text().replace('"events":2', '"events":0'))
    assert "audit.jsonl: line 3 doesn't follow" in call("audit", file, "--verify", code=1)


def test_audit_finds_a_log_that_was_cut(folder):
    keep(folder)
    file = pipeline(folder)
    call("forget", file, "--camera", "gate", "--yes")
    last = call("audit", file, "--verify").split()[-1]
    call("audit", file, "--verify", "--holds", last)
    path = folder / "state" / "audit.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert "cut or written anew" in call("audit", file, "--verify", "--holds", last, code=1)


def test_an_ingest_node_beside_it_is_reached_as_well(folder):
    keep(folder, Vault("old", {"old": OLD}))
    jobs = folder / "ingest" / "outbox.sqlite"
    with closing(Outbox(jobs, vault=Vault("old", {"old": OLD}))) as outbox:
        for face in FACES:
            outbox.add(face.id, event.key(face), event.attributes(face), event.encode(face))
    file = pipeline(folder, KEYS.format(use="new"))
    assert "6 in the outbox" in call("rotate", file)
    assert "2 events with 8 pictures, 4 in the outbox" in call("forget", file, "--camera", "gate", "--yes")
    with closing(Outbox(jobs)) as outbox:
        assert [e.id for e in outbox.entries(dead=False)] == ["run/door/0/1/1"]
    assert "ingest/state/audit.jsonl: 3 lines" in call("audit", file)


def test_the_ingest_node_is_looked_for_where_it_is(folder):
    from streamheal import pipeline_file
    from streamheal.cluster.ingest import at_the_camera
    from streamheal.kept import Kept

    config = pipeline_file.load(pipeline(folder))
    assert Kept.by(at_the_camera(config)) in Kept.all(config)


def test_a_heal_worker_beside_it_holds_back_what_waits_in_kafka(folder):
    """Its crops can't be searched: what was asked for is written down, and until when."""
    worker = folder / "heal" / "state"
    worker.mkdir(parents=True)
    assert "crops.v1 is passed over" in call("forget", pipeline(folder), "--track", "gate/0/1", "--yes")
    with closing(Forgotten(worker)) as forgotten:
        assert forgotten.holds("any-run/gate/0/1/1", time.time() - 60)
        assert not forgotten.holds("any-run/gate/0/1/1", time.time() + 60), "somebody else, in a later run"
        assert not forgotten.holds("any-run/gate/0/2/1", time.time() - 60)
    call("forget", pipeline(folder), "--before", "2h", "--tell-consumers", "--yes")
    with closing(Forgotten(worker)) as forgotten:
        assert forgotten.holds("any-run/door/3/2/1", time.time() - 7300)
        assert not forgotten.holds("any-run/door/3/2/1", time.time() - 7100)
    assert [line["what"] for line in audit.read(worker / "audit.jsonl")] == ["deletion begun", "deletion"] * 2


def test_the_program_prints_errors_without_a_traceback(folder):
    code = "from streamheal.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "forget", pipeline(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("streamheal: forget what?")
