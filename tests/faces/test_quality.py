"""What makes a crop good."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamheal.faces import quality
from streamheal.faces.alignment import TEMPLATE, apply, cut, similarity
from tests.faces.portrait import astronaut

SIZES = [12, 16, 24, 48, 96, 140]


def measured(size=64, angle=0.0, blur=0.0, change=lambda image: image, visible=None):
    frame, landmarks = astronaut(size, angle=angle, blur=blur)
    crop = cut(change(frame), landmarks)
    return quality.assess(crop.image, crop.landmarks, crop.affine, visible)


@pytest.mark.parametrize("size", SIZES)
def test_blur_lowers_sharpness_and_score(size):
    # A face of 12 px that was blurred by 2 px is a blob, and no blob is sharper than another.
    found = [measured(size, blur=sigma) for sigma in (0, 0.5, 1, 1.5, 2, 3) if sigma <= size / 8]
    for sharper, softer in pairwise(found):
        assert sharper.sharpness > softer.sharpness
        assert sharper.score > softer.score
    assert found[0].sharpness - found[-1].sharpness > 0.25


def test_sharpness_of_tiny_and_large_faces_compares():
    focused = [measured(size).sharpness for size in SIZES]
    blurred = [measured(size, blur=1.5).sharpness for size in SIZES]
    assert min(focused) > max(blurred)


@pytest.mark.parametrize(("gain", "lift"), [(0.4, 0), (0.4, 100), (1, 40)])
def test_sharpness_heeds_neither_contrast_nor_brightness(gain, lift):
    frame, landmarks = astronaut(64)
    luma = cv2.cvtColor(cut(frame, landmarks).image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    oval = quality.face_oval(64)
    assert quality.sharpness(luma * gain + lift, oval) == pytest.approx(quality.sharpness(luma, oval), abs=1e-3)


def test_a_flat_patch_is_neither_sharp_nor_well_exposed():
    flat = np.full((40, 40, 3), 128, np.uint8)
    found = quality.assess(flat, TEMPLATE * 40 / 128, similarity(TEMPLATE, 40))
    assert (found.sharpness, found.exposure) == (0, 0)


def test_darkness_lowers_exposure():
    found = [measured(change=lambda i, g=g: (i * g).astype(np.uint8)).exposure for g in (1, 0.5, 0.25, 0.12, 0.05, 0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9
    assert found[2] < found[1]
    assert found[-1] == 0


def test_glare_lowers_exposure():
    found = [measured(change=lambda i, g=g: cv2.add(i, np.full_like(i, g))).exposure for g in (0, 60, 120, 200)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.2


@pytest.mark.parametrize(
    ("values", "at_most"),
    [((5, 45), 0.6), ((215, 249), 0.5), ((100, 255), 0.55), ((120, 124), 0.2)],
    ids=["dark", "bright", "half blown out", "flat"],
)
def test_each_fault_of_exposure_counts_on_its_own(values, at_most):
    checks = np.where(np.indices((32, 32)).sum(0) % 2, *values).astype(np.float32)
    assert quality.exposure(checks, np.ones((32, 32), np.float32)) <= at_most
    assert quality.exposure(checks * 0 + np.linspace(60, 200, 32, dtype=np.float32), np.ones((32, 32))) > 0.95


@pytest.mark.parametrize("size", SIZES)
def test_size_is_in_source_pixels(size):
    assert measured(size, angle=30).size == pytest.approx(size, rel=0.01)


def test_size_counts_the_source_where_a_huge_face_was_shrunk():
    frame, landmarks = astronaut(500, shape=(700, 700), centre=(350, 350))
    crop = cut(frame, landmarks)
    assert quality.assess(crop.image, crop.landmarks, crop.affine).size == pytest.approx(500, rel=0.01)


@pytest.mark.parametrize("angle", [-60, -10, 0, 25, 90])
def test_roll_is_clockwise_in_the_picture(angle):
    upright = measured().roll
    assert measured(angle=angle).roll - upright == pytest.approx(angle, abs=1)


def turned(yaw, pitch):
    """The landmarks of the mean face turned to picture right by `yaw` and up by `pitch`, aligned."""
    y, p = np.radians([yaw, pitch])
    about_upright = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_level = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    points = (np.column_stack([TEMPLATE, [0, 0, -14, 0, 0]]) @ (about_level @ about_upright).T)[:, :2]
    affine = similarity(points)
    return apply(affine, points), affine


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (20, 0), (-45, 0), (0, 15), (0, -30), (25, 15)])
def test_pose_comes_back_from_landmarks(yaw, pitch):
    found = quality.pose(*turned(yaw, pitch))
    assert found[:2] == pytest.approx((yaw, pitch), abs=2)


def test_a_nose_to_the_right_looks_right_and_a_nose_up_looks_up():
    nose = np.arange(5)[:, None] == 2
    still = similarity(TEMPLATE)
    assert quality.pose(TEMPLATE + nose * [5, 0], still)[0] > 10
    assert quality.pose(TEMPLATE + nose * [0, -5], still)[1] > 10


def test_a_face_that_looks_away_scores_less():
    frame, landmarks = astronaut(64)
    crop = cut(frame, landmarks)
    scores = [quality.assess(crop.image, turned(yaw, 0)[0] / 2, crop.affine).score for yaw in (0, 20, 45)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[2] + 0.05


def test_a_profile_scores_less_than_half_of_a_face_from_the_front_however_sharp_it_is():
    """So a masked face, whose score is scaled by what is visible of it, goes before a bare profile."""
    crop = cut(*astronaut(64))
    front, profile = (quality.assess(crop.image, turned(yaw, 0)[0] / 2, crop.affine).score for yaw in (0, 75))
    assert 0 < profile < front / 2


def test_a_face_of_which_the_detector_is_unsure_scores_less():
    frame, landmarks = astronaut(64)
    crop = cut(frame, landmarks)
    scores = [quality.assess(crop.image, crop.landmarks, crop.affine, certainty=c).score for c in (1, 0.6, 0.3)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[2] + 0.05


def test_what_is_hidden_counts_neither_as_visible_nor_as_sharp():
    visible = np.ones((64, 64), np.float32)
    visible[36:] = 0
    open_face, masked = measured(), measured(visible=visible)
    assert open_face.visible == 1
    assert 0.4 < masked.visible < 0.6
    assert masked.score < open_face.score
    assert measured(visible=np.zeros((64, 64), np.float32)).sharpness == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(8, 64), st.floats(0.1, 1), st.floats(0, 1))
def test_every_part_stays_in_its_range_whatever_the_pixels(seed, side, scale, certainty):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    landmarks = TEMPLATE * side / 128 + rng.normal(0, 2, (5, 2))
    found = quality.assess(image, landmarks, similarity(TEMPLATE, side) * scale, rng.random((side, side)), certainty)
    for value in (found.sharpness, found.exposure, found.visible, found.score):
        assert 0 <= value <= 1
    assert found.score <= quality.score_bound(found.size, certainty) + 1e-9


def test_the_weights_sum_to_one():
    assert sum(quality.WEIGHTS.values()) == pytest.approx(1)
