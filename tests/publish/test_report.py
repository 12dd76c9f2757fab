"""The report opens anywhere, shows the original first, and escapes what it is told."""

import re

import pytest

from streamheal.errors import VaultError
from streamheal.publish.folder import FolderSink
from streamheal.publish.report import write_report
from streamheal.vault import Vault
from tests.publish.faces import healed_face


def report(path, *faces, vault=None, **facts) -> str:
    sink = FolderSink(path, vault=vault)
    for face in faces:
        sink.add(face)
    sink.close()
    return write_report(path, title="a <title>", facts=facts, vault=vault).read_text()


def test_each_track_shows_original_hidden_restored_and_evidence_in_that_order(tmp_path):
    page = report(tmp_path, healed_face(track=1), healed_face(track=2, seed=1))
    assert re.findall(r'alt="(\w+)"', page) == ["Original", "Hidden", "Restored", "Evidence"] * 2


def test_the_page_is_self_contained(tmp_path):
    page = report(tmp_path, healed_face())
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(s.startswith("data:image/png;base64,") for s in sources)


def test_only_the_last_revision_of_a_track_is_shown(tmp_path):
    page = report(tmp_path, healed_face(), healed_face(revision=2))
    assert "revision 2" in page and "revision 1" not in page


def test_an_abstained_track_says_why(tmp_path):
    page = report(tmp_path, healed_face(restored=False))
    assert "Not restored" in page and "only 3% of the face is visible" in page


def test_an_empty_run_says_so(tmp_path):
    assert "No face was published" in report(tmp_path)


def test_text_from_outside_is_escaped(tmp_path):
    page = report(tmp_path, healed_face(camera="<script>"), warnings="<b>")
    assert "<script>" not in page and "<b>&lt;" not in page and "a &lt;title&gt;" in page


def test_a_sealed_folder_gives_the_same_page_to_who_has_the_key(tmp_path):
    vault = Vault("k1", {"k1": b"1" * 32})
    pages = [report(tmp_path / "plain", healed_face()), report(tmp_path / "sealed", healed_face(), vault=vault)]
    plain, opened = (re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "", page) for page in pages)
    assert plain == opened


def test_without_the_key_there_is_no_page(tmp_path):
    report(tmp_path, healed_face(), vault=Vault("k1", {"k1": b"1" * 32}))
    (tmp_path / "report.html").unlink()
    with pytest.raises(VaultError, match="add that key"):
        write_report(tmp_path, title="", facts={})
    assert not (tmp_path / "report.html").exists()
