"""Similarity, cutting and resampling of faces."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamheal.faces import alignment
from streamheal.faces.alignment import TEMPLATE, apply, cut, invert, native_side, resample, scale_of, similarity
from tests.faces.portrait import LANDMARKS, astronaut

scales = st.floats(0.05, 30)
angles = st.floats(-180, 180)
places = st.floats(-2000, 4000)


def moved(points, scale, angle, x, y):
    turn = np.radians(angle)
    return points @ (scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])) + [x, y]


@settings(deadline=None, max_examples=40)
@given(scales, angles, places, places, st.sampled_from([12, 16, 112, 128, 256]))
def test_a_transformed_template_is_brought_back_exactly(scale, angle, x, y, size):
    affine = similarity(moved(TEMPLATE, scale, angle, x, y), size)
    np.testing.assert_allclose(apply(affine, moved(TEMPLATE, scale, angle, x, y)), TEMPLATE * size / 128, atol=1e-6)
    assert scale_of(affine) == pytest.approx(size / 128 / scale)


@settings(deadline=None, max_examples=40)
@given(scales, angles, places, places, st.integers(0, 2**32 - 1))
def test_it_is_the_least_squares_optimum_and_never_mirrors(scale, angle, x, y, seed):
    rng = np.random.default_rng(seed)
    points = moved(TEMPLATE + rng.normal(0, 4, (5, 2)), scale, angle, x, y)
    affine = similarity(points)
    assert np.linalg.det(affine[:, :2]) > 0

    def error(a):
        return ((apply(a, points) - TEMPLATE) ** 2).sum()

    for _ in range(8):  # any other similarity nearby is worse
        da, db = 1e-3 * rng.normal(size=2) * scale_of(affine)
        other = affine + np.array([[da, -db, 0], [db, da, 0]])
        other[:, 2] += TEMPLATE.mean(0) - apply(other, points).mean(0)
        assert error(other) >= error(affine) - 1e-6


@settings(deadline=None, max_examples=40)
@given(scales, angles, places, places)
def test_landmarks_go_to_the_crop_and_back(scale, angle, x, y):
    points = moved(TEMPLATE, scale, angle, x, y)
    affine = similarity(points, 64)
    np.testing.assert_allclose(apply(invert(affine), apply(affine, points)), points, atol=1e-6)


def test_many_faces_are_fitted_at_once():
    batch = np.stack([moved(TEMPLATE, s, 10 * s, s, -s) for s in (0.1, 1, 2, 3, 4, 5)]).reshape(2, 3, 5, 2)
    affines = similarity(batch)
    assert affines.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(affines[1, 2], similarity(batch[1, 2]))


NO_FACES = {
    "coincident": np.full((5, 2), 7.0),
    "on a slanting line": np.outer(np.arange(5), [3.0, 2.0]),
    "on an upright line": TEMPLATE * [0, 1] + 5,
    "mirrored": TEMPLATE * [-1, 1],
    "not a number": np.where(np.arange(5)[:, None] == 2, np.nan, TEMPLATE),
    "infinite": np.where(np.arange(5)[:, None] == 2, np.inf, TEMPLATE),
}


@pytest.mark.parametrize("points", NO_FACES.values(), ids=NO_FACES.keys())
def test_points_that_are_no_face_give_nan_and_no_crop(points):
    assert np.isnan(similarity(points)).all()
    assert np.isnan(native_side(similarity(points)))
    assert cut(np.zeros((50, 50, 3), np.uint8), points) is None


def test_a_profile_is_a_face():
    assert cut(np.zeros((200, 200, 3), np.uint8), TEMPLATE * [0.25, 1] + [60, 0]) is not None


def test_landmarks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 5, 2\)"):
        similarity(np.zeros((68, 2)))


@pytest.mark.parametrize("size", [9, 12, 19, 33, 64, 128, 256])
def test_a_face_is_cut_at_its_native_size_and_its_landmarks_lie_on_the_template(size):
    frame, landmarks = astronaut(size, angle=20, shape=(300, 400))
    crop = cut(frame, landmarks)
    assert crop.image.shape == (size, size, 3)
    assert crop.image.dtype == np.uint8
    assert scale_of(crop.affine) == pytest.approx(size / native_side(similarity(landmarks)), rel=1e-3)
    assert np.abs(crop.landmarks * 128 / size - TEMPLATE).max() < 6  # no face is the template; this one smiles


@settings(deadline=None, max_examples=40)
@given(st.floats(8.01, 400))
@example(60.5)
def test_no_face_is_magnified(size):
    landmarks = TEMPLATE * size / 128 + 20
    crop = cut(np.zeros((64, 64, 3), np.uint8), landmarks)
    side = crop.image.shape[0]
    assert abs(side - min(size, alignment.MAX_SIDE)) <= 0.5 + 1e-6  # a size between two may go to either
    assert scale_of(crop.affine) <= side / (side - 0.5) + 1e-9  # rounding to whole pixels


def test_a_face_below_eight_pixels_is_not_cut():
    assert cut(np.zeros((64, 64, 3), np.uint8), TEMPLATE * 7.9 / 128) is None


def test_an_upright_face_on_whole_pixels_is_copied_untouched():
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    crop = cut(frame, TEMPLATE * 40 / 128 + [30, 20])
    np.testing.assert_array_equal(crop.image, frame[20:60, 30:70])


def test_the_crop_shows_the_same_face_however_it_was_turned():
    upright, turned = (cut(*astronaut(64, angle=a)).image.astype(float) for a in (0, 35))
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(upright - turned)[inner].mean() < 5


@pytest.mark.parametrize("size", [12, 16, 31])
def test_a_tiny_crop_resampled_to_128_lies_where_the_large_face_lies(size):
    """Half a pixel of error at 12 px would be 5 px at 128."""
    tiny = resample(cut(*astronaut(size, angle=15)).image, 128)
    large = cv2.GaussianBlur(cut(*astronaut(128, angle=15)).image, (0, 0), 0.5 * 128 / size)
    tiny, large = (cv2.cvtColor(i, cv2.COLOR_RGB2GRAY) for i in (tiny, large))
    difference = cv2.matchTemplate(large, tiny[24:-24, 24:-24], cv2.TM_SQDIFF)
    _, _, (x, y), _ = cv2.minMaxLoc(difference)
    assert np.hypot(x - 24, y - 24) <= 1


def test_a_huge_face_is_shrunk_without_aliasing():
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255  # finer than a crop of 256 of 1100 px can show: only their mean may remain
    crop = cut(stripes, TEMPLATE * 1100 / 128 + 50)
    assert crop.image.shape == (256, 256, 3)
    assert np.abs(crop.image.astype(float) - 127.5).max() < 12


def test_a_shrunk_face_keeps_its_place():
    frame, landmarks = astronaut(500, shape=(700, 700), centre=(350, 350))
    crop = cut(frame, landmarks)
    small = cut(*astronaut(256, shape=(700, 700), centre=(350, 350)))
    np.testing.assert_allclose(crop.landmarks, small.landmarks, atol=0.5)
    assert np.abs(crop.image.astype(float) - small.image).mean() < 3


def test_beyond_the_frame_the_border_pixels_repeat():
    frame = np.full((60, 60, 3), 80, np.uint8)
    frame[:, -1] = (200, 10, 10)
    crop = cut(frame, TEMPLATE * 40 / 128 + [40, 10])
    assert (crop.image[:, 20:] == (200, 10, 10)).all()
    assert (crop.image[:, :18] == 80).all()


def test_resampling_averages_when_it_shrinks_and_is_cubic_when_it_grows():
    crop = cut(*astronaut(96)).image
    assert resample(crop, 96) is crop
    np.testing.assert_allclose(resample(crop, 16).mean(), crop.mean(), atol=0.6)
    assert resample(crop, 128).shape == (128, 128, 3)
    assert resample(crop[..., 0].astype(np.float32), 16).shape == (16, 16)


def test_the_portrait_is_marked_right():
    assert LANDMARKS.shape == (5, 2)
    assert native_side(similarity(LANDMARKS)) == pytest.approx(143, abs=1)
