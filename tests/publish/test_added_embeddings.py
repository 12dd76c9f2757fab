"""What was added to a healed face later is kept like the rest: sealed, sealed anew, and forgotten."""

import json
from contextlib import closing

import numpy as np
import pytest

from streamheal.config import Output, PipelineConfig, Source
from streamheal.errors import VaultError
from streamheal.kept import Kept
from streamheal.publish.folder import EMBEDDINGS, FolderSink, read_embedding, read_events, read_picture
from streamheal.publish.pictures import from_png
from streamheal.retention import Which, delete
from streamheal.rotation import rotate, seals
from streamheal.vault import Vault, sealed
from tests.publish.faces import healed_face

FACE = healed_face(calibrated=True)
KEYS = {"old": b"1" * 32, "new": b"2" * 32}
OLD, BOTH, NEW = Vault("old", {"old": KEYS["old"]}), Vault("new", KEYS), Vault("new", {"new": KEYS["new"]})


@pytest.fixture
def keep(tmp_path):
    def keep(*faces, vault=None) -> Kept:
        with closing(FolderSink(tmp_path, vault=vault)) as sink:
            for face in faces:
                sink.add(face)
        return Kept.by(PipelineConfig(source=Source(path=tmp_path), output=Output(path=tmp_path)))

    return keep


def everything(folder) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_with_a_key_no_embedding_and_no_mask_lies_open(keep, tmp_path):
    keep(FACE, vault=OLD)
    [event] = read_events(tmp_path)
    for of, values in zip(
        EMBEDDINGS, (FACE.embedding_original, FACE.embedding_track, FACE.embedding_restored), strict=True
    ):
        assert isinstance(event[of]["embedding"], str), f"{of} lies open"
        assert str(round(float(values[0]), 5)).encode() not in everything(tmp_path)
        assert np.array_equal(read_embedding(event, of, OLD), values)
    assert sealed((tmp_path / event["pictures"]["hallucinated"]).read_bytes())


def test_without_a_key_they_are_read_by_the_same_functions(keep, tmp_path):
    keep(FACE)
    [event] = read_events(tmp_path)
    assert np.allclose(read_embedding(event, "track_mean", Vault()), FACE.embedding_track, atol=1e-6)
    mask = from_png(read_picture(tmp_path, event, "hallucinated", Vault()))
    assert np.array_equal(mask > 127, FACE.hallucinated)


def test_embeddings_of_one_face_cannot_be_exchanged(keep, tmp_path):
    keep(FACE, vault=OLD)
    [event] = read_events(tmp_path)
    event["original"]["embedding"] = event["track_mean"]["embedding"]
    with pytest.raises(VaultError, match="belongs elsewhere"):
        read_embedding(event, "original", OLD)


def test_a_line_from_before_has_no_mean_of_its_track(keep, tmp_path):
    keep(healed_face())
    path = tmp_path / "events.jsonl"
    [event] = read_events(tmp_path)
    del event["track_mean"]
    path.write_text(json.dumps(event) + "\n")
    assert read_embedding(read_events(tmp_path)[0], "track_mean", Vault()) is None


@pytest.mark.parametrize("before", [OLD, Vault()], ids=["sealed under the old key", "plain"])
def test_a_change_of_keys_reaches_them(keep, tmp_path, before):
    kept = keep(FACE, healed_face(track=2), vault=before)
    assert not rotate(kept, BOTH).failed
    assert set(seals(kept)) == {"new"}
    event = read_events(tmp_path)[0]
    assert np.allclose(read_embedding(event, "track_mean", NEW), FACE.embedding_track, atol=1e-6)
    assert read_picture(tmp_path, event, "hallucinated", NEW)


def test_seals_counts_the_mean_of_the_track(keep):
    assert seals(keep(FACE, vault=OLD)) == {"old": 3 + 5}  # embeddings, pictures


def test_they_are_forgotten_with_their_face(keep, tmp_path):
    kept = keep(FACE, healed_face(track=2, seed=2))
    delete(kept, Which(track="gate/0/12"))
    left = everything(tmp_path)
    assert str(round(float(FACE.embedding_track[0]), 5)).encode() not in left
    assert not list(tmp_path.rglob("*t00012*"))
