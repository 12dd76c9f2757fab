import numpy as np
import pytest

from streamheal.publish.pictures import from_png, grey, mark, png, ungrey


@pytest.mark.parametrize("shape", [(19, 19, 3), (1, 1, 3), (128, 128), (300, 7, 3)])
def test_a_picture_survives_png_bit_for_bit(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(from_png(png(image)), image)


def test_a_map_survives_grey_to_half_a_step():
    values = np.random.default_rng(0).random((16, 16), np.float32)
    np.testing.assert_allclose(ungrey(grey(values)), values, atol=0.5 / 255 + 1e-6)


def test_maps_outside_their_range_are_clipped_rather_than_wrapped():
    assert grey(np.array([[-0.1, 1.2, np.nan]], np.float32)).tolist() == [[0, 255, 0]]


def test_the_mark_is_legible_in_one_corner_and_leaves_the_rest_alone():
    image = np.full((128, 128, 3), 200, np.uint8)
    marked = mark(image)
    changed = (marked != image).any(-1)
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 128 - 11
    assert columns.max() < 52
    assert {200, 50, 255} == set(np.unique(marked))
    assert (image == 200).all()


@pytest.mark.parametrize("side", [1, 8, 30])
def test_a_picture_smaller_than_the_mark_shows_what_fits(side):
    assert mark(np.zeros((side, side, 3), np.uint8)).shape == (side, side, 3)


def test_a_picture_too_large_for_a_face_is_refused_before_memory_is_taken():
    with pytest.raises(ValueError, match="at most 4096"):
        from_png(png(np.zeros((1, 4097), np.uint8)))


def test_bytes_that_are_no_png_are_refused():
    with pytest.raises(ValueError, match="not a PNG"):
        from_png(png(np.zeros((9, 9, 3), np.uint8))[:40])
