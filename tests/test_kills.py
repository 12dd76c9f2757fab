"""kill -9 at random moments: what was kept is whole, and a run that is started again ends as if nothing had happened.

A few kills of each kind; `benchmarks/kills.py` does hundreds, with the real networks and a broker.
"""

from random import Random

import pytest

from tests import kills
from tests.video.clips import write_clip

FRAMES = 100


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip") / "hall.mp4", FRAMES)


def test_a_recording_killed_at_any_line_gives_the_events_of_an_uninterrupted_run(clip, tmp_path):
    tally = kills.recordings(Random(1), 4, clip, tmp_path)
    assert tally.kills == 4 and tally.came_in > 10
    assert tally.unaccounted == 0 and tally.twice == 0


def test_what_an_outbox_was_given_before_a_kill_is_there_after_it(tmp_path):
    tally = kills.outbox_writers(Random(2), 4, tmp_path)
    assert tally.kills == 4 and tally.came_in > 4
    assert tally.unaccounted == 0 and tally.twice == 0


def test_a_recording_whose_reader_process_is_killed_gives_every_picture_once(clip):
    tally = kills.recording_readers(Random(3), 2, clip, FRAMES)
    assert tally.kills >= 2 and tally.came_in >= FRAMES
    assert tally.unaccounted == 0 and tally.twice == 0
