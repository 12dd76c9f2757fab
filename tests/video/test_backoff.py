import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamheal.video.backoff import DELAYS, ERROR_CLASSES, SETTLED_AFTER, Backoff

classes = st.sampled_from(ERROR_CLASSES)


def longest(error: str, times: int) -> list[float]:
    """Delays after each of so many failures in a row, with the jitter at its upper end."""
    backoff = Backoff(rng=AlwaysHighest())
    return [backoff.failed(error) for _ in range(times)]


class AlwaysHighest(random.Random):
    def uniform(self, low, high):
        return high


def test_the_longest_delay_doubles_up_to_a_limit():
    assert longest("timeout", 7) == [2, 4, 8, 16, 32, 60, 60]


def test_a_wrong_password_waits_longer_than_a_reset_from_the_first_failure_on():
    assert DELAYS["auth"].least > DELAYS["lost"].first
    assert all(auth > lost for auth, lost in zip(longest("auth", 10), longest("lost", 10), strict=True))


def test_the_jitter_fills_the_whole_range():
    rng = random.Random(1)
    delays = [Backoff(rng=rng).failed("lost") for _ in range(2000)]
    assert min(delays) < 0.22
    assert max(delays) > 0.98
    assert sum(delays) / len(delays) == pytest.approx(0.6, abs=0.02)


def test_another_class_of_error_begins_anew():
    backoff = Backoff(rng=AlwaysHighest())
    for _ in range(5):
        backoff.failed("unreachable")
    assert backoff.failed("not-found") == 15


def test_a_connection_that_held_begins_anew_and_one_that_flapped_does_not():
    backoff = Backoff(rng=AlwaysHighest())
    assert [backoff.failed("lost", streamed_for=1.0) for _ in range(3)] == [1, 2, 4]
    assert backoff.failed("lost", streamed_for=SETTLED_AFTER) == 1


@given(st.lists(st.tuples(classes, st.floats(0, 100)), max_size=200), st.randoms(use_true_random=False))
def test_any_history_keeps_every_delay_within_the_limits_of_its_class(history, rng):
    backoff = Backoff(rng=rng)
    for error, streamed_for in history:
        delay = backoff.failed(error, streamed_for)
        assert DELAYS[error].least <= delay <= DELAYS[error].most
