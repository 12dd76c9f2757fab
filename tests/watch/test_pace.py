"""A call is sized by how long the last one took."""

import pytest

from streamheal.watch import pace
from streamheal.watch.pace import Pace


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    return now


def call(measured: Pace, clock: list[float], per_item: float) -> int:
    items = measured.items
    with measured.measure(items):
        clock[0] += per_item * items
    return items


def test_it_begins_with_one_and_grows_to_the_most_where_items_are_quick(clock):
    measured = Pace(most=16)
    sizes = [call(measured, clock, 0.001) for _ in range(20)]
    assert sizes[0] == 1 and sizes[-1] == 16 and sizes == sorted(sizes)


def test_it_falls_at_once_where_items_become_slow(clock):
    measured = Pace(most=16)
    for _ in range(20):
        call(measured, clock, 0.001)
    call(measured, clock, 0.25)
    assert call(measured, clock, 0.25) == 2
    call(measured, clock, 9.0)
    assert call(measured, clock, 9.0) == 1


def test_nothing_to_do_teaches_nothing(clock):
    measured = Pace(most=4)
    with measured.measure(0):
        clock[0] += 100
    assert measured.items == 1
