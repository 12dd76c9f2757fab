"""Skin tone from colours whose CIELAB values are known."""

import numpy as np
import pytest

from streamheal.train.evaluation.skin import typology_angle
from streamheal.train.samples.occluders import MEAN68


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((128, 128, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("colour", "lightness", "yellow"),
    [((255, 0, 0), 53.24, 67.20), ((255, 255, 0), 97.14, 94.48), ((0, 255, 0), 87.73, 83.18)],  # sRGB under D65
)
def test_the_angle_of_known_colours(colour, lightness, yellow):
    expected = np.degrees(np.arctan((lightness - 50) / yellow))
    assert typology_angle(plain(colour), MEAN68) == pytest.approx(expected, abs=0.05)


def test_lighter_skin_has_the_larger_angle():
    light, middle, dark = ((243, 220, 200), (200, 150, 120), (80, 50, 40))
    angles = [typology_angle(plain(colour), MEAN68) for colour in (light, middle, dark)]
    assert angles[0] > 41 > angles[1] > -30 > angles[2]


def test_only_the_cheeks_count_and_their_median():
    picture = plain((200, 150, 120))
    expected = typology_angle(picture, MEAN68)
    picture[:45] = 0  # hair
    picture[108:] = 255  # collar
    x, y = MEAN68[[41, 48, 31, 3]].mean(0).round().astype(int)
    picture[y, x] = (0, 0, 255)  # a spot
    assert typology_angle(picture, MEAN68) == pytest.approx(expected)
    picture[y - 8 : y + 9] = (80, 50, 40)
    assert typology_angle(picture, MEAN68) < expected - 20


def test_a_face_outside_the_picture_has_none():
    assert np.isnan(typology_angle(plain((200, 150, 120)), MEAN68 + 500))
