"""What a run leaves on disk: sealed faces where there is a key, and lines in the audit log of how it went."""

from pathlib import Path

import pytest

from streamheal import audit
from streamheal.config import Encryption, Output, PipelineConfig, Restorer, Source
from streamheal.publish.folder import read_events, read_picture
from streamheal.vault import Vault
from tests import targets
from tests.video.clips import write_clip

KEYS = Encryption(use="k1", keys={"k1": "MTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMTE="})


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "hall.mp4", 40)


def run(clip: Path, out: Path, encryption: Encryption | None = None, mark: bool = True, code: int = 0) -> list[dict]:
    """The lines of the audit log after a run that exits with `code`."""
    process = targets.start(_run, clip, out, encryption, mark)
    process.join(120)
    assert process.exitcode == code
    return list(audit.read(out / "state" / "audit.jsonl"))


def _run(clip: Path, out: Path, encryption: Encryption | None, mark: bool) -> None:
    config = PipelineConfig(
        source=Source(path=clip), output=Output(path=out), encryption=encryption, restorer=Restorer(mark=mark)
    )
    targets.with_stand_ins(targets.NumberedFaces())(config).run()


def test_a_run_with_a_key_leaves_no_picture_open_and_no_report(clip, tmp_path):
    run(clip, tmp_path, KEYS)
    events = read_events(tmp_path)
    assert events and {e["sealed"] for e in events} == {"k1"}
    assert read_picture(tmp_path, events[0], "original", Vault.from_config(KEYS)).startswith(b"\x89PNG")
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(b"IHDR" in p.read_bytes() for p in files) and not (tmp_path / "report.html").exists()


def test_a_run_without_a_key_writes_its_report_as_ever(clip, tmp_path):
    run(clip, tmp_path)
    assert "<img" in (tmp_path / "report.html").read_text()


def test_start_and_end_are_in_the_audit_log_with_what_was_set(clip, tmp_path):
    start, stop = run(clip, tmp_path, KEYS)
    assert (start["what"], stop["what"]) == ("start", "stop")
    assert start["facts"]["key"] == "k1" and start["facts"]["source"] == str(clip)
    assert stop["facts"]["outcome"] == "ended" and stop["facts"]["events"] == len(read_events(tmp_path))
    assert "MTEx" not in (tmp_path / "state" / "audit.jsonl").read_text()


def test_a_run_that_fails_says_so_and_a_mark_turned_off_too(tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    said = run(tmp_path / "broken.mp4", tmp_path / "out", mark=False, code=1)
    assert [line["what"] for line in said] == ["start", "mark turned off", "stop"]
    assert said[-1]["facts"]["outcome"].startswith("failed: SourceError")
