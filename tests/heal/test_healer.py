"""Healing jobs: tracks in, faces out, with the networks that ship."""

from dataclasses import replace

import numpy as np
import pytest

from streamheal import pipeline_file
from streamheal.heal.healer import Healer
from streamheal.heal.occlusion import face_oval
from streamheal.records import FaceCrop, HealJob, ModelUsed, Quality
from tests.heal.crops import half_hidden, joins_tracks, shrunk


def job(crops: list[np.ndarray], track: int = 1, yaw: float = 0) -> HealJob:
    quality = Quality(16, 0.5, yaw, 0, 0, 1, 1, 0.5)
    made = tuple(
        FaceCrop("c", 0, track, i, 0.0, "media", 0.0, image, np.eye(2, 3), np.zeros(4), np.zeros((5, 2)), 0.9, quality)
        for i, image in enumerate(crops)
    )
    return HealJob("run", "c", 0, track, 1, "ended", made, 0.0, 1.0, len(made))


def healer_with(folder, **restorer) -> Healer:
    path = folder / "p.yaml"
    path.write_text("source: {path: x}\n")
    overrides = [f"restorer.{name}={value}" for name, value in restorer.items()]
    made = Healer(pipeline_file.load(path, overrides), ModelUsed("detector", "none", "0" * 64))
    if restorer.get("across_track", "true") == "true":
        joins_tracks(made._restorer)
    return made


@pytest.fixture(scope="module")
def healer(tmp_path_factory) -> Healer:
    return healer_with(tmp_path_factory.mktemp("p"))


def test_healing_keeps_the_original_and_tells_the_drift(healer, portrait):
    crop = shrunk(portrait, 20)
    [face] = healer.heal([job([crop])])
    assert np.array_equal(face.original, crop)
    assert face.restored.shape == (128, 128, 3) and face.abstained is None
    assert face.drift == pytest.approx(1 - face.embedding_original @ face.embedding_restored, abs=1e-6)
    assert face.visible.shape == (20, 20)
    assert [m.role for m in face.provenance.models] == ["detector", "occlusion", "restorer", "embedder"]
    assert face.provenance.source_frames == (0,) and face.embedding_track is None


def test_of_crops_alike_the_less_hidden_one_is_restored(healer, portrait):
    hidden = portrait.copy()
    hidden[60:] = (70, 130, 160)
    [face] = healer.heal([job([hidden, portrait])])
    assert face.provenance.source_frames[0] == 1
    assert face.job.best.quality.visible > 0.6


def test_without_time_nothing_is_invented_but_the_original_leaves(healer, portrait):
    [face] = healer.heal([job([shrunk(portrait, 20)])], restoring=False)
    assert face.restored is None and "stopped" in face.abstained
    assert face.embedding_original.shape == (128,) and face.evidence.shape == (128, 128)


@pytest.mark.parametrize("yaw", [-75, 75])
def test_a_profile_is_published_as_it_is(healer, portrait, yaw):
    [face] = healer.heal([job([shrunk(portrait, 20)], yaw=yaw)])
    assert face.restored is None
    assert face.abstained == "the face is turned 75° to the side; at most 60° can be restored"


def test_many_tracks_are_healed_in_order(healer, portrait):
    faces = healer.heal([job([shrunk(portrait, side)], track) for track, side in enumerate((40, 16, 40, 24))])
    assert [(f.job.track, f.original.shape[0]) for f in faces] == [(0, 40), (1, 16), (2, 40), (3, 24)]


def test_the_face_oval_leaves_out_the_corners():
    oval = face_oval(128)
    assert oval[70, 64] and not oval[5, 5] and 0.2 < oval.mean() < 0.5


def test_a_face_of_which_each_crop_shows_one_half_is_restored_from_both(portrait, tmp_path):
    crops = [half_hidden(shrunk(portrait, 24), part) for part in ("lower", "upper")]
    [face] = healer_with(tmp_path, abstain_below=0.8).heal([job(crops)])
    assert max(crop.quality.visible for crop in face.job.crops) < 0.8
    assert face.restored is not None, face.abstained
    assert sorted(face.provenance.source_frames) == [0, 1]
    assert face.provenance.source_frames[0] == face.job.best.sequence
    assert [source.sequence for source in face.provenance.sources] == list(face.provenance.source_frames)
    assert "1 of 1 other crops" in face.provenance.restorer_reason

    [still] = healer_with(tmp_path, abstain_below=0.8, across_track="false").heal([job(crops)])
    assert still.restored is None and "at least 80% is asked for" in still.abstained
    assert still.provenance.source_frames == (face.job.best.sequence,)


def test_what_no_crop_shows_is_not_restored(portrait, tmp_path):
    crops = [half_hidden(shrunk(portrait, 24), "lower")] * 3
    [face] = healer_with(tmp_path, abstain_below=0.8).heal([job(crops)])
    assert face.restored is None and "crops together" in face.abstained


def test_a_crop_of_another_pose_has_no_part(healer, portrait):
    crop = shrunk(portrait, 24)
    given = job([crop, crop, crop])
    turned = replace(given.crops[1], quality=replace(given.crops[1].quality, yaw=40.0, score=0.4))
    [face] = healer.heal([replace(given, crops=(given.crops[0], turned, given.crops[2]))])
    assert face.provenance.source_frames == (0, 2)


def test_a_stranger_s_crop_has_no_part_in_picture_or_embedding(healer, portrait, monkeypatch):
    crop = shrunk(portrait, 24)
    given = job([crop, crop, half_hidden(crop, "upper")])
    embed = healer._embedder.embed

    def a_stranger_last(crops):
        found = embed(crops)
        return found if len(crops) != 3 else np.stack([found[0], found[1], -found[0]])

    monkeypatch.setattr(healer._embedder, "embed", a_stranger_last)
    [face] = healer.heal([given])
    assert face.provenance.source_frames == (0, 1)
    assert face.embedding_track @ face.embedding_original == pytest.approx(1, abs=1e-5)


def test_the_track_s_embedding_is_the_mean_of_its_originals_weighted_by_quality(healer, portrait):
    crops = [shrunk(portrait, 40), shrunk(portrait, 16)]
    [face] = healer.heal([job(crops)])
    weights = [crop.quality.score for crop in face.job.crops]
    mean = np.average(healer._embedder.embed([crop.image for crop in face.job.crops]), axis=0, weights=weights)
    assert np.allclose(face.embedding_track, mean / np.linalg.norm(mean), atol=1e-5)
    assert np.array_equal(face.embedding_original, healer._embedder.embed([face.original])[0])


def test_live_and_recorded_crops_are_joined_alike_whatever_their_order_in_time(healer, portrait):
    """The restored crop may be the newest (live) or lie between the others (recorded)."""
    crop = shrunk(portrait, 24)
    given = job([crop, half_hidden(crop, "lower"), half_hidden(crop, "upper")])
    later = replace(given, crops=tuple(replace(c, captured_at=-c.sequence) for c in given.crops))
    one, other = healer.heal([given])[0], healer.heal([later])[0]
    assert np.array_equal(one.restored, other.restored)
