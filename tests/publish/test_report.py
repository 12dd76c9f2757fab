"""The report opens anywhere, shows the original first, and escapes what it is told."""

import base64
import re
from dataclasses import replace

import numpy as np
import pytest

from streamheal.errors import VaultError
from streamheal.publish.face_pictures import restored_png
from streamheal.publish.folder import FolderSink
from streamheal.publish.honesty import HATCH_SCALE, hatch, hatched, in_words
from streamheal.publish.provenance_xmp import read_provenance
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


def test_what_was_invented_is_hatched_until_the_box_is_cleared(tmp_path):
    page = report(tmp_path, healed_face(calibrated=True), healed_face(track=2))
    assert page.count('class="hatch"') == 1, "only one of the two faces says what was invented"
    assert "38% hatched: invented" in page
    box, sheet = page.index('id="hatched" checked'), page.index("#hatched:not(:checked) ~ section .hatch")
    assert sheet < box < page.index("<section>"), "the rule takes away what stands in sections after the box"
    assert "<script" not in page


def test_without_a_mask_there_is_nothing_to_clear(tmp_path):
    assert 'type="checkbox"' not in report(tmp_path, healed_face())


def test_the_original_is_the_first_in_words_too(tmp_path):
    page = report(tmp_path, healed_face(calibrated=True))
    places = [page.index(f"<dt>{name}") for name in (
        "to match with", "original, recognised", "mean of the track, recognised", "restored, recognised",
        "restored, same person",
    )]  # fmt: skip
    assert places == sorted(places)
    assert "seldom (11 in 100), at a threshold (0.45) that 1 in 100 strangers pass" in page
    assert "less often than not (31 in 100); never a proof" in page
    assert "nine in ten pixels are off by at most 31 where seen, 66 where hatched (of 255)" in page


def test_of_an_abstained_face_only_the_original_is_spoken_of(tmp_path):
    page = report(tmp_path, healed_face(calibrated=True, restored=False))
    assert "original, recognised" in page and "restored, recognised" not in page and "where hatched" not in page


def test_a_face_without_a_hatch_is_not_called_true():
    assert hatched(np.zeros((8, 8), bool)) == "nothing hatched, yet its detail is a guess"


def test_the_hatch_covers_nothing_that_was_seen():
    mask = np.zeros((8, 8), bool)
    mask[2:6, 3:7] = True
    overlay = hatch(mask)
    shown = overlay[..., 3].reshape(8, HATCH_SCALE, 8, HATCH_SCALE).max((1, 3)) > 0
    assert not shown[~mask].any()
    assert shown[2, 3:7].all() and shown[5, 3:7].all() and shown[2:6, 3].all() and shown[2:6, 6].all(), "its outline"


@pytest.mark.parametrize(("share", "words"), [(0, "hardly ever (0 in 100)"), (0.5, "half of the time (50 in 100)"),
                                              (1, "nearly always (100 in 100)")])  # fmt: skip
def test_a_probability_has_a_word_and_its_number(share, words):
    assert in_words(share) == words


def test_the_page_is_self_contained(tmp_path):
    page = report(tmp_path, healed_face())
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources and all(s.startswith("data:image/png;base64,") for s in sources)


def test_a_picture_saved_from_the_page_still_says_how_it_came_to_be(tmp_path):
    page = report(tmp_path, healed_face())
    for name, kind in (("Original", "original"), ("Restored", "restored")):
        [data] = re.findall(rf'alt="{name}" src="data:image/png;base64,([^"]*)"', page)
        assert read_provenance(base64.b64decode(data)).kind == kind


def test_networks_frames_and_signature_are_told(tmp_path):
    face = healed_face()
    face = replace(face, signed=restored_png(face), provenance=replace(face.provenance, credentials="signed"))
    page = report(tmp_path, face)
    for name, said in (("networks", "r (00000000)"), ("made of", "frames 41"), ("signature", "signed")):
        assert f"<dt>{name}</dt><dd>{said}</dd>" in page


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
