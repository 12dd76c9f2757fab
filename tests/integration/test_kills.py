"""kill -9 at random moments, with a real broker and a real camera. Hundreds: `benchmarks/kills.py`."""

from random import Random

import pytest

from tests import kills
from tests.video.clips import write_clip

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.fixture
def place(tmp_path, kafka_topic):
    """A folder named like no other test's topic: its runs are topics, too."""
    folder = tmp_path / kafka_topic
    folder.mkdir()
    return folder


def test_a_recording_killed_at_any_line_reaches_kafka_as_if_nothing_had_been(kafka_bootstrap, place):
    clip = write_clip(place / "hall.mp4", 100)
    tally = kills.recordings(Random(1), 3, clip, place, kafka_bootstrap)
    assert tally.kills == 3 and tally.came_in > 10
    assert tally.unaccounted == 0


def test_what_a_killed_sender_had_taken_reaches_kafka(kafka_bootstrap, place):
    tally = kills.senders(Random(2), 3, place, kafka_bootstrap)
    assert tally.kills == 3 and tally.came_in > 3
    assert tally.unaccounted == 0


def test_what_is_sent_while_the_broker_is_killed_reaches_it(kafka_broker, place):
    tally = kills.brokers(Random(3), 1, place, kafka_broker)
    assert tally.kills == 1 and tally.came_in > 1
    assert tally.unaccounted == 0


def test_a_camera_whose_reader_process_is_killed_is_back_in_a_new_epoch(rtsp_camera):
    tally = kills.camera_readers(Random(4), 2, rtsp_camera().url())
    assert (tally.kills, tally.came_out) == (2, 2)
