"""How often a message has taken a worker down."""

import pytest
from kafka.structs import OffsetAndMetadata

from streamheal.cluster.attempts import about_to_try, attempts_at, done


def test_attempts_that_never_ended_are_counted():
    committed = None
    for begun in range(3):
        assert attempts_at(17, committed) == begun
        committed = about_to_try(17, attempts_at(17, committed))
    assert committed.offset == 17, "the group stays where it is"


def test_what_ended_is_not_counted_and_neither_is_another_message():
    assert attempts_at(18, done(17)) == 0
    assert attempts_at(18, about_to_try(17, 2)) == 0


@pytest.mark.parametrize("note", ["", "attempt", "attempt x", "attempt -3", "whatever another program wrote"])
def test_a_strange_note_counts_for_nothing(note):
    assert attempts_at(5, OffsetAndMetadata(5, note, -1)) == 0
