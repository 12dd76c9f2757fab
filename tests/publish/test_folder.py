"""The folder sink: pictures named by camera, track and revision, and a line for each event."""

import json
import shutil
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from streamheal.errors import SinkError, VaultError
from streamheal.publish.folder import FolderSink, read_embedding, read_events, read_picture
from streamheal.publish.pictures import from_png
from streamheal.vault import Vault, sealed
from tests.publish.faces import healed_face


def add(path, *faces, vault=None):
    sink = FolderSink(path, vault=vault)
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


VAULT = Vault("k1", {"k1": b"1" * 32})


def test_with_a_key_nothing_of_the_face_lies_open_and_the_event_names_the_key(tmp_path):
    face = healed_face()
    add(tmp_path, face, vault=VAULT)
    [event] = read_events(tmp_path)
    assert event["sealed"] == "k1"
    for name in event["pictures"].values():
        assert name.endswith(".png.sealed") and sealed((tmp_path / name).read_bytes())
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"PNG" not in everything and not list(tmp_path.rglob("*.png"))
    for floats in (face.embedding_original, face.embedding_restored):
        assert str(round(float(floats[0]), 5)).encode() not in everything and floats.tobytes() not in everything


def test_what_was_sealed_is_read_back_as_it_was(tmp_path):
    face = healed_face()
    add(tmp_path, face, vault=VAULT)
    [event] = read_events(tmp_path)
    assert np.array_equal(from_png(read_picture(tmp_path, event, "original", VAULT)), face.original)
    assert np.array_equal(read_embedding(event, "original", VAULT), face.embedding_original)
    assert np.array_equal(read_embedding(event, "restored", VAULT), face.embedding_restored)


def test_plain_events_are_read_by_the_same_functions(tmp_path):
    face = healed_face(restored=False)
    add(tmp_path, face)
    [event] = read_events(tmp_path)
    assert np.array_equal(from_png(read_picture(tmp_path, event, "original", Vault())), face.original)
    assert np.allclose(read_embedding(event, "original", Vault()), face.embedding_original, atol=1e-6)
    assert read_embedding(event, "restored", Vault()) is None and "sealed" not in event


def test_sealed_pictures_of_two_people_cannot_be_exchanged(tmp_path):
    add(tmp_path, healed_face(track=1), healed_face(track=2, seed=1), vault=VAULT)
    one, two = read_events(tmp_path)
    shutil.copy(tmp_path / two["pictures"]["original"], tmp_path / one["pictures"]["original"])
    one["original"]["embedding"] = two["original"]["embedding"]
    with pytest.raises(VaultError, match="belongs elsewhere"):
        read_picture(tmp_path, one, "original", VAULT)
    with pytest.raises(VaultError, match="belongs elsewhere"):
        read_embedding(one, "original", VAULT)


def test_a_line_that_points_out_of_the_folder_is_not_followed(tmp_path):
    add(tmp_path / "out", healed_face())
    (tmp_path / "secret.png").write_bytes(b"secret")
    [event] = read_events(tmp_path / "out")
    event["pictures"]["original"] = "faces/../../secret.png"
    with pytest.raises(SinkError, match=r"not below faces/"):
        read_picture(tmp_path / "out", event, "original", Vault())


def test_an_event_says_when_it_was_healed(tmp_path):
    sink = FolderSink(tmp_path, clock=lambda: 1_790_000_005.25)
    sink.add(healed_face())
    sink.close()
    [event] = read_events(tmp_path)
    assert event["healed_at"] == "2026-09-21T14:13:25.250000Z"


def test_a_live_run_s_memory_does_not_grow_with_its_events(tmp_path):
    sink = FolderSink(tmp_path, remember=False)
    faces = [healed_face(revision=revision) for revision in range(1, 40)]
    sink.add(faces.pop())
    tracemalloc.start()
    for face in faces:
        sink.add(face)
    kept = [
        trace
        for trace in tracemalloc.take_snapshot().traces
        if trace.traceback[0].filename.endswith("publish/folder.py")
    ]
    tracemalloc.stop()
    sink.close()
    assert not kept
