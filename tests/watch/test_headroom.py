"""How full the machine is, by a clock that the test moves."""

import pytest

from streamheal.watch.headroom import WINDOW, Headroom


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def measured(*stretches: tuple[float, float]) -> Headroom:
    """After stretches of (seconds busy, seconds idle)."""
    clock = Clock()
    headroom = Headroom(clock)
    for busy, idle in stretches:
        with headroom.busy():
            clock.now += busy
        clock.now += idle
    return headroom


@pytest.mark.parametrize(
    ("stretches", "load"),
    [
        ([], 0.0),
        ([(1, 1)], 0.5),
        ([(0.1, 0.3)] * 1000, 0.25),
        ([(1, 0)] * 100, 1.0),
        ([(1, 0)] * 100 + [(0, WINDOW)], 0.0),
        ([(0, 100)] + [(1, 0)] * 5, 0.5),
        ([(100, 0)], 1.0),
    ],
)
def test_the_load_is_the_busy_share_of_the_last_seconds(stretches, load):
    assert measured(*stretches).load == pytest.approx(load, abs=0.02)


def test_time_counts_also_where_the_work_failed():
    clock = Clock()
    headroom = Headroom(clock)

    def fail():
        with headroom.busy():
            clock.now += 5
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    clock.now += 5
    assert headroom.load == pytest.approx(0.5)


def test_a_camera_fits_while_the_load_with_it_stays_below_the_limit():
    headroom = measured((0.58, 0.42), (0.58, 0.42))
    assert headroom.refusal(0.9, streaming=2) is None  # 58 % by two: 87 % by three
    assert headroom.refusal(0.9, streaming=1).startswith(
        "detection and healing take 58% of the time, and with one more camera would take about 116%"
    )


def test_cameras_that_were_just_added_count_before_they_show():
    headroom = measured((0.4, 0.6))
    assert headroom.refusal(0.9, streaming=4, added=3) is None
    assert headroom.refusal(0.9, streaming=4, added=5) is not None


def test_a_machine_that_does_nothing_takes_any_and_so_does_a_limit_of_one():
    assert measured((0, 60)).refusal(0.1, streaming=0) is None
    assert measured((60, 0)).refusal(1.0, streaming=1) is None
