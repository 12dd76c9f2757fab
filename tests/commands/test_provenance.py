"""`streamheal provenance` of pictures that nobody signed (signed ones: tests/publish/test_signing.py)."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from streamheal.cli import app
from streamheal.errors import ProvenanceError
from streamheal.publish.face_pictures import pictures_of
from streamheal.vault import Vault
from tests.publish.sample import healed_face


def call(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["provenance", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def restored(tmp_path):
    path = tmp_path / "copied-away.png"
    path.write_bytes(pictures_of(healed_face())["restored"])
    return path


def test_it_says_what_made_the_picture_and_that_nobody_signed_it(restored):
    told = call(restored)
    for text in (
        "No proof of who somebody is", "run-1/door/1/7/2", "compositeWithTrainedAlgorithmicMedia",
        "lr-trunk-16, SHA-256 abab", "40, 2026-09-21T14:13:21.850000Z ± 0.04 s by the clock: sender", "tile: 16",
        "visible mark  yes", "not signed",
    ):  # fmt: skip
        assert text in told


def test_an_original_is_told_from_a_restored_face(tmp_path):
    path = tmp_path / "original.png"
    path.write_bytes(pictures_of(healed_face())["original"])
    told = call(path)
    assert "an untouched crop" in told and "digitalCapture" in told and "visible mark" not in told


def test_a_mark_that_was_turned_off_is_told(tmp_path):
    path = tmp_path / "unmarked.png"
    path.write_bytes(pictures_of(healed_face(marked=False))["restored"])
    assert "no: it was turned off" in call(path)


def test_machines_get_json(restored):
    told = json.loads(call(restored, "--json"))
    assert told["picture"]["models"][0]["name"] == "lr-trunk-16" and told["signature"] is None


def test_what_a_picture_says_does_not_steer_the_terminal(tmp_path):
    face = healed_face()
    face = replace(face, provenance=replace(face.provenance, restorer_reason="fine\x9b2J\u202e"))
    path = tmp_path / "evil.png"
    path.write_bytes(pictures_of(face)["restored"])
    told = call(path)
    assert "fine\ufffd2J\ufffd" in told


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "give the path of a PNG"),
        (b"GIF89a", "not a PNG picture"),
        (Vault("k1", {"k1": b"1" * 32}).seal(b"\x89PNG", "x"), "is sealed; docs/privacy.md says how"),
    ],
)
def test_what_it_cannot_read_is_a_clear_error(tmp_path, content, why):
    path = tmp_path / "picture.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ProvenanceError, match=why):
        call(path)
