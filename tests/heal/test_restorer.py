"""`streamheal.restore` and the healer, with the networks that ship."""

import logging

import numpy as np
import pytest
from skimage import data as pictures

import streamheal
from streamheal import pipeline_file
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.healer import Healer, face_oval
from streamheal.heal.restorer import Restorer
from streamheal.records import FaceCrop, HealJob, ModelUsed, Quality


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    """The astronaut's face in the canonical template, 128 px."""
    import cv2

    from streamheal.faces.alignment import similarity

    landmarks = np.array([[203.4, 103.6], [247.5, 104.4], [224.1, 127.7], [204.0, 143.1], [242.9, 143.7]])
    return cv2.warpAffine(pictures.astronaut(), similarity(landmarks), (128, 128), flags=cv2.INTER_AREA)


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    import cv2

    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


@pytest.mark.parametrize("side", [8, 12, 16, 19, 32, 50, 128, 200])
def test_any_side_gives_128_px(portrait, side):
    out = streamheal.restore(shrunk(portrait, side)[None].repeat(2, 0))
    assert out.shape == (2, 128, 128, 3) and out.dtype == np.uint8


@pytest.mark.parametrize("system", networks.RESTORERS)
def test_every_system_takes_crops_of_any_size(portrait, system):
    for side in (12, 20, 64):
        out = streamheal.restore(shrunk(portrait, side)[None], np.ones((1, side, side)), system=system)
        assert out.shape == (1, 128, 128, 3)
        assert psnr(out[0], portrait) > 17, "it is still this face"


def test_a_crop_goes_to_the_network_of_the_nearest_size(portrait):
    for system in ("fcsr-gan", "jdsr-gan"):
        sides = (12, 21, 24, 60)
        made = Restorer(system).restore([shrunk(portrait, s) for s in sides], [np.ones((s, s)) for s in sides])
        assert [model.name for model in made.models] == [f"{system}-{size}" for size in (16, 16, 32, 32)]


def test_a_blind_system_does_not_look_at_the_visibility(portrait):
    tiny = shrunk(portrait, 16)[None]
    told = [streamheal.restore(tiny, np.full((1, 16, 16), share), system="jdsr-gan") for share in (0.0, 1.0)]
    assert np.array_equal(*told)
    assert np.array_equal(told[0], streamheal.restore(tiny, system="jdsr-gan"))


def test_256_px_are_made_where_they_are_asked_for(portrait):
    made = streamheal.restore(portrait[None], np.ones((1, 128, 128)), system="fd-stackgan", size=256)
    assert made.shape == (1, 256, 256, 3)
    with pytest.raises(ConfigError, match="'ofhnet' makes faces of 128 px, not of 256"):
        streamheal.restore(portrait[None], system="ofhnet", size=256)


def test_restoring_beats_bicubic_on_a_tiny_face(portrait):
    import cv2

    tiny = shrunk(portrait, 16)
    restored = streamheal.restore(tiny[None], np.ones((1, 16, 16)))[0]
    bicubic = cv2.resize(tiny, (128, 128), interpolation=cv2.INTER_CUBIC)
    assert psnr(restored, portrait) > psnr(bicubic, portrait)


def test_what_is_hidden_is_filled_and_not_copied(portrait):
    tiny = shrunk(portrait, 16)
    visible = np.ones((1, 16, 16), np.float32)
    visible[:, 9:13, 4:12] = 0
    green = tiny.copy()
    green[9:13, 4:12] = (0, 255, 0)
    restored = streamheal.restore(green[None], visible)[0].astype(float)
    mouth = restored[80:96, 44:84].mean((0, 1))
    assert mouth[1] < mouth[0] + 20, "skin, not the occluder's green"


def test_a_batch_gives_what_each_face_gives_alone(portrait):
    faces = np.stack([shrunk(portrait, 16), shrunk(portrait[:, ::-1], 16), shrunk(portrait // 2, 16)])
    together = streamheal.restore(faces)
    for face, expected in zip(faces, together, strict=True):
        assert np.abs(streamheal.restore(face[None])[0].astype(int) - expected).max() <= 1


def test_large_crops_keep_their_own_visible_pixels(portrait):
    large = shrunk(portrait, 64)
    visible = np.ones((64, 64), np.float32)
    made = Restorer().restore([large], [visible])
    assert (
        psnr(made.pictures[0], portrait)
        > psnr(Restorer().restore([shrunk(large, 16)], [visible[:16, :16]]).pictures[0], portrait) + 3
    )
    visible[32:] = 0
    half = Restorer().restore([large], [visible])
    assert psnr(half.pictures[0][:48], made.pictures[0][:48]) > 35, "above, the crop's own pixels"
    assert psnr(half.pictures[0][80:], made.pictures[0][80:]) < 35, "below, the network's"


def test_evidence_falls_from_seen_to_invented(portrait):
    visible = np.ones((16, 16), np.float32)
    visible[8:] = 0
    evidence = Restorer().restore([shrunk(portrait, 16)], [visible]).evidence[0]
    assert evidence[:40].min() > 0.99 and evidence[100:].max() < 0.01
    assert evidence.min() >= 0 and evidence.max() <= 1


def test_no_faces_are_no_error():
    assert streamheal.restore(np.zeros((0, 16, 16, 3), np.uint8)).shape == (0, 128, 128, 3)


@pytest.mark.parametrize(
    ("lr", "visible", "message"),
    [
        (np.zeros((16, 16, 3), np.uint8), None, r"must be uint8 \(N, s, s, 3\)"),
        (np.zeros((1, 16, 16, 3), np.float32), None, "float32"),
        (np.zeros((1, 16, 18, 3), np.uint8), None, "must be"),
        (np.zeros((1, 4, 4, 3), np.uint8), None, "s ≥ 8"),
        (np.zeros((1, 16, 16, 3), np.uint8), np.ones((1, 8, 8)), r"must be \(1, 16, 16\)"),
        (np.zeros((1, 16, 16, 3), np.uint8), np.full((1, 16, 16), 255), r"outside \[0, 1\]"),
        (np.zeros((1, 16, 16, 3), np.uint8), np.full((1, 16, 16), np.nan), r"outside \[0, 1\]"),
    ],
)
def test_wrong_input_says_what_is_allowed(lr, visible, message):
    with pytest.raises(ValueError, match=message):
        streamheal.restore(lr, visible)


def test_an_unknown_system_lists_those_that_are():
    with pytest.raises(ConfigError, match=r"there are: auto, fcsr-gan, .*lr-trunk-16"):
        streamheal.restore(np.zeros((1, 16, 16, 3), np.uint8), system="magic")


def test_resampling_to_the_network_is_told_once(portrait, caplog):
    restorer = Restorer()
    with caplog.at_level(logging.INFO):
        for side in (20, 24, 20):
            restorer.restore([shrunk(portrait, side)], [np.ones((side, side), np.float32)])
    assert len([r for r in caplog.records if "resampled" in r.message]) == 1


def job(crops: list[np.ndarray], track: int = 1, yaw: float = 0) -> HealJob:
    quality = Quality(16, 0.5, yaw, 0, 0, 1, 1, 0.5)
    made = tuple(
        FaceCrop("c", 0, track, i, 0.0, "media", 0.0, image, np.eye(2, 3), np.zeros(4), np.zeros((5, 2)), 0.9, quality)
        for i, image in enumerate(crops)
    )
    return HealJob("run", "c", 0, track, 1, "ended", made, 0.0, 1.0, len(made))


@pytest.fixture(scope="module")
def healer(tmp_path_factory) -> Healer:
    path = tmp_path_factory.mktemp("p") / "p.yaml"
    path.write_text("source: {path: x}\n")
    return Healer(pipeline_file.load(path), ModelUsed("detector", "none", "0" * 64))


def test_healing_keeps_the_original_and_tells_the_drift(healer, portrait):
    crop = shrunk(portrait, 20)
    [face] = healer.heal([job([crop])])
    assert np.array_equal(face.original, crop)
    assert face.restored.shape == (128, 128, 3) and face.abstained is None
    assert face.drift == pytest.approx(1 - face.embedding_original @ face.embedding_restored, abs=1e-6)
    assert face.visible.shape == (20, 20)
    assert [m.role for m in face.provenance.models] == ["detector", "occlusion", "restorer", "embedder"]


def test_of_crops_alike_the_less_hidden_one_is_restored(healer, portrait):
    hidden = portrait.copy()
    hidden[60:] = (70, 130, 160)
    [face] = healer.heal([job([hidden, portrait])])
    assert face.provenance.source_frames == (1,)
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
