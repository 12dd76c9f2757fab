import mmap

import numpy as np
import pytest

from streamheal.video.ring import Ring


@pytest.fixture
def ring():
    ring = Ring.create(3, 1000 * 1000)
    yield ring
    ring.close()


def test_pictures_of_different_sizes_share_the_slots_without_touching_each_other(ring):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, shape, np.uint8) for shape in [(1000, 1000, 3), (7, 9, 3), (250, 4000, 3)]]
    for slot, picture in enumerate(pictures):
        ring.view(slot, *picture.shape[:2])[...] = picture
    for slot, picture in enumerate(pictures):
        assert np.array_equal(ring.view(slot, *picture.shape[:2]), picture)


def test_another_mapping_of_the_same_memory_sees_the_pixels(ring):
    ring.view(2, 5, 5)[...] = 77
    other = mmap.mmap(ring.fd, ring.slots * ring.slot_bytes)
    assert other[2 * ring.slot_bytes : 2 * ring.slot_bytes + 75] == bytes([77]) * 75


@pytest.mark.parametrize(("slot", "height", "width"), [(3, 1, 1), (-1, 1, 1), (0, 1001, 1000), (0, 0, 10), (0, -5, -5)])
def test_what_does_not_fit_is_refused(ring, slot, height, width):
    with pytest.raises(ValueError, match="does not fit"):
        ring.view(slot, height, width)
