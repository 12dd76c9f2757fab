"""`streamheal.restore` and the restorer behind it, with the networks that ship."""

import logging

import numpy as np
import pytest

import streamheal
from streamheal.errors import ConfigError
from streamheal.heal import networks
from streamheal.heal.restorer import Restorer
from streamheal.heal.tracks import View, calls
from tests.heal.crops import half_hidden, half_map, joins_tracks, shrunk


def alone(*crops: np.ndarray, visible: np.ndarray | None = None) -> list[list[View]]:
    """Tracks of one crop each, wholly visible unless said otherwise."""
    return [[View(crop, np.ones(crop.shape[:2], np.float32) if visible is None else visible)] for crop in crops]


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
        made = Restorer(system).restore(alone(*(shrunk(portrait, s) for s in sides)))
        assert [face.models[0].name for face in made] == [f"{system}-{size}" for size in (16, 16, 32, 32)]


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
    restorer = Restorer()
    made, tiny = (face.picture for face in restorer.restore(alone(large, shrunk(large, 16))))
    assert psnr(made, portrait) > psnr(tiny, portrait) + 3
    visible[32:] = 0
    (half,) = restorer.restore(alone(large, visible=visible))
    assert psnr(half.picture[:48], made[:48]) > 35, "above, the crop's own pixels"
    assert psnr(half.picture[80:], made[80:]) < 35, "below, the network's"


def test_evidence_falls_from_seen_to_invented(portrait):
    visible = np.ones((16, 16), np.float32)
    visible[8:] = 0
    evidence = Restorer().restore(alone(shrunk(portrait, 16), visible=visible))[0].evidence
    assert evidence[:40].min() > 0.99 and evidence[100:].max() < 0.01
    assert evidence.min() >= 0 and evidence.max() <= 1


def test_no_faces_are_no_error():
    assert streamheal.restore(np.zeros((0, 16, 16, 3), np.uint8)).shape == (0, 128, 128, 3)


@pytest.mark.parametrize(
    ("lr", "visible", "message"),
    [
        (np.zeros((16, 16, 3), np.uint8), None, r"must be uint8 \(N, s, s, 3\)"),
        (np.zeros((1, 0, 16, 16, 3), np.uint8), None, r"\(N, T, s, s, 3\) with T ≥ 1"),
        (np.zeros((1, 2, 16, 16, 3), np.uint8), np.ones((1, 16, 16)), r"must be \(1, 2, 16, 16\)"),
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
        for side in (20, 18, 20):
            restorer.restore(alone(shrunk(portrait, side)))
    assert len([r for r in caplog.records if "resampled" in r.message]) == 1


# -- across a track ----------------------------------------------------------------------------------------------------


def halves(portrait: np.ndarray, side: int = 16) -> list[View]:
    """A track of two crops: the lower half hidden, then the upper."""
    return [
        View(half_hidden(shrunk(portrait, side), part), half_map(side, part).astype(np.float32))
        for part in ("lower", "upper")
    ]


@pytest.fixture(scope="module")
def restorer() -> Restorer:
    return joins_tracks(Restorer("lr-trunk-16"))


def test_what_the_first_crop_hides_is_taken_from_another(restorer, portrait):
    first, second = halves(portrait)
    still, fused = restorer.restore([[first], [first, second]])
    below = slice(96, 112), slice(40, 88)
    assert psnr(fused.picture[below], portrait[below]) > psnr(still.picture[below], portrait[below]) + 2
    assert still.evidence[below].max() < 0.3 and fused.evidence[below].min() > 0.5
    assert fused.visible.mean() > still.visible.mean() + 0.3
    assert (still.sources, fused.sources) == ((0,), (0, 1))
    assert fused.reason.endswith("; 1 of 1 other crops of its track took part")


def test_one_crop_alone_gives_to_the_bit_what_it_gives_without_tracks(restorer, portrait):
    still = Restorer("lr-trunk-16", across_track=False)
    for side in (16, 24, 64):
        first, second = halves(portrait, side)
        together = restorer.restore([[first], [second, first, first]])
        for one, other in zip(together[:1], still.restore([[first], [second]])[:1], strict=True):
            assert np.array_equal(one.picture, other.picture)
            assert np.array_equal(one.evidence, other.evidence)
            assert np.array_equal(one.visible, other.visible)
            assert (one.models, one.sources, one.reason) == (other.models, other.sources, other.reason)


def test_a_track_turned_off_is_its_first_crop(portrait):
    still = Restorer("lr-trunk-16", across_track=False)
    (track,), (first,) = still.restore([halves(portrait)]), still.restore([halves(portrait)[:1]])
    assert np.array_equal(track.picture, first.picture) and track.sources == (0,)
    assert track.reason.endswith("; its crop alone")


def test_tracks_of_any_length_in_one_call_give_what_each_gives_alone(restorer, portrait):
    first, second = halves(portrait)
    large = halves(portrait, 40)
    tracks = [[first, second], [second], [*large, first, second], [second, first, first, first, first]]
    for track, together in zip(tracks, restorer.restore(tracks), strict=True):
        (alone,) = restorer.restore([track])
        assert np.abs(alone.picture.astype(int) - together.picture).max() <= 1
        assert alone.sources == together.sources


def test_an_occluder_s_detail_is_not_given_back_where_only_others_show_the_face(restorer, portrait):
    side = 64
    first, second = halves(portrait, side)
    checked = first.image.copy()
    checked[side // 2 :: 4, ::4] = 255  # detail that 16 px can't show
    below = slice(96, 112), slice(40, 88)
    plain, spotted = restorer.restore([[first, second], [View(checked, first.visible), second]])
    assert psnr(spotted.picture[below], portrait[below]) > psnr(plain.picture[below], portrait[below]) - 1


def test_a_network_that_joins_no_crops_restores_the_first_and_says_so(portrait):
    restorer = Restorer("fcsr-gan-32")
    (face,) = restorer.restore([halves(portrait, 32)])
    assert face.sources == (0,)
    assert face.reason.endswith("; its crop alone: fcsr-gan-32 can't make use of others")


def test_a_call_holds_so_many_crops_at_most_and_every_track_once():
    view = View(np.zeros((8, 8, 3), np.uint8), np.ones((8, 8)))
    lengths = [1, 64, 8, 8, 3, 1, 9, 8, 2, 30, 1]
    tracks = [[view] * length for length in lengths]
    made = list(calls(tracks, 4))
    assert sorted(place for call in made for place in call) == list(range(len(tracks)))
    for call in made:
        padded = len(call) * max(lengths[place] for place in call)
        assert len(call) <= 4 and (padded <= 32 or len(call) == 1)


def test_restore_takes_several_crops_of_each_person(portrait):
    tiny = shrunk(portrait, 16)
    lr = np.stack([tiny, tiny])[None]
    made = streamheal.restore(lr, np.ones(lr.shape[:4]))
    assert made.shape == (1, 128, 128, 3) and psnr(made[0], portrait) > 17
    assert np.array_equal(
        streamheal.restore(lr[:, :1], np.ones((1, 1, 16, 16))), streamheal.restore(tiny[None], np.ones((1, 16, 16)))
    )
