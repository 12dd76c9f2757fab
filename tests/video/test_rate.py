"""Frames that are let through, by a clock that the test moves."""

import pytest

from streamheal.video.rate import BURST, RateLimit


@pytest.mark.parametrize(("fps", "expected"), [(25, 25), (60, 60), (200, 60), (1000, 60)])
def test_frames_beyond_the_rate_are_held_back_and_no_others(fps, expected):
    now = [0.0]
    limit = RateLimit(60, clock=lambda: now[0])
    passed = 0
    for i in range(fps * 20):
        now[0] = i / fps
        passed += limit.allows()
    assert passed == pytest.approx(expected * 20, abs=BURST + 1)


def test_a_burst_after_a_pause_passes():
    now = [0.0]
    limit = RateLimit(30, clock=lambda: now[0])
    now[0] = 5.0
    assert [limit.allows() for _ in range(12)] == [True] * 10 + [False] * 2
