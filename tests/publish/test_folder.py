"""The folder sink: pictures named by camera, track and revision, and a line for each event."""

import json

import numpy as np
import pytest
from PIL import Image

from streamheal.errors import SinkError
from streamheal.publish.folder import FolderSink, read_events
from tests.publish.faces import healed_face


def add(path, *faces):
    sink = FolderSink(path)
    for face in faces:
        sink.add(face)
    assert sink.flush(0)
    sink.close()


def test_a_healed_face_becomes_four_pictures_and_a_line(tmp_path):
    face = healed_face()
    add(tmp_path, face)
    names = sorted(p.name for p in (tmp_path / "faces" / "run").iterdir())
    assert names == [f"gate-e0-t00012-r01-{kind}.png" for kind in ("evidence", "occlusion", "original", "restored")]
    [event] = read_events(tmp_path)
    assert event["id"] == face.id
    original = np.array(Image.open(tmp_path / event["pictures"]["original"]))
    assert np.array_equal(original, face.original), "the original leaves untouched, at its native size"
    occlusion = np.array(Image.open(tmp_path / event["pictures"]["occlusion"]))
    assert occlusion.shape == (19, 19) and abs(occlusion / 255 - face.visible).max() < 1 / 255


def test_an_abstained_face_has_no_restored_picture(tmp_path):
    add(tmp_path, healed_face(restored=False))
    [event] = read_events(tmp_path)
    assert event["restored"] is None and "restored" not in event["pictures"]
    assert event["abstained"] == "only 3% of the face is visible"


def test_the_same_event_again_adds_nothing_also_after_a_restart(tmp_path):
    add(tmp_path, healed_face(), healed_face(), healed_face(revision=2))
    add(tmp_path, healed_face(), healed_face(revision=2))
    assert [e["id"][-2:] for e in read_events(tmp_path)] == ["/1", "/2"]


def test_a_line_that_a_kill_cut_short_is_taken_away_and_written_again(tmp_path):
    add(tmp_path, healed_face(), healed_face(revision=2))
    path = tmp_path / "events.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert len(read_events(tmp_path)) == 1
    add(tmp_path, healed_face(revision=2))
    assert [json.loads(line)["revision"] for line in path.read_bytes().splitlines()] == [1, 2]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="choose another folder"):
        FolderSink(tmp_path / "file")


def test_names_cannot_leave_the_folder(tmp_path):
    add(tmp_path, healed_face(run="../../x", camera="../y"))
    [event] = read_events(tmp_path)
    for name in event["pictures"].values():
        assert (tmp_path / name).resolve().is_relative_to(tmp_path / "faces")
