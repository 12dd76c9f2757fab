"""Calls that may hang."""

import threading

import pytest

from streamheal.cluster.bounded import bounded
from streamheal.errors import SinkError


def test_a_call_that_ends_gives_what_it_returns_and_raises_what_it_raises():
    assert bounded(lambda: 7, 60) == 7
    with pytest.raises(ZeroDivisionError):
        bounded(lambda: 1 / 0, 60)


def test_a_call_that_hangs_is_given_up():
    with pytest.raises(SinkError, match="no answer in time"):
        bounded(threading.Event().wait, 0.2)


def test_after_a_stop_nobody_waits_long():
    stop = threading.Event()
    stop.set()
    with pytest.raises(SinkError, match="no answer in time"):
        bounded(threading.Event().wait, 3600, stop, 0.2)
