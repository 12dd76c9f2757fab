import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamheal.video.clocks import ARRIVAL, UNKNOWN, ArrivalClock, SenderClock, Timeline, media_start

NTP = 2_208_988_800
seconds = st.floats(-1e6, 1e6)


def place(timeline: Timeline, times, arrivals=None) -> list[float]:
    arrivals = arrivals or [None] * len(times)
    return [timeline.at(t, a) for t, a in zip(times, arrivals, strict=True)]


def test_time_counts_from_the_first_frame():
    assert place(Timeline(25), [10.0, 10.04, 10.08]) == pytest.approx([0, 0.04, 0.08])


def test_missing_timestamps_are_filled_in_from_the_frame_rate():
    assert place(Timeline(25), [None, None, None]) == pytest.approx([0, 0.04, 0.08])
    assert place(Timeline(25), [5.0, None, 5.08]) == pytest.approx([0, 0.04, 0.08])
    assert place(Timeline(25), [None, 5.04, 5.08]) == pytest.approx([0, 0.04, 0.08])


def test_a_gap_in_a_recording_stays_a_gap():
    assert place(Timeline(25), [0.0, 0.04, 3600.0]) == pytest.approx([0, 0.04, 3600])


def test_a_counter_that_starts_anew_goes_on_from_where_it_was():
    assert place(Timeline(25), [90000.0, 90000.04, 0.0, 0.04]) == pytest.approx([0, 0.04, 0.08, 0.12])


def test_a_live_counter_that_starts_anew_is_given_the_time_that_passed():
    assert place(Timeline(25), [500.0, 0.0, 0.04], [10.0, 12.0, 12.04]) == pytest.approx([0, 2, 2.04])


def test_a_live_counter_that_leaps_ahead_is_given_the_time_that_passed():
    assert place(Timeline(25), [0.0, 1e6, 1e6 + 1], [10.0, 10.5, 11.5]) == pytest.approx([0, 0.5, 1.5])


@given(st.lists(st.tuples(st.none() | seconds, seconds), max_size=60), st.booleans())
def test_whatever_the_timestamps_the_timeline_grows(stream, live):
    timeline = Timeline(25)
    placed = [timeline.at(time, arrival if live else None) for time, arrival in stream]
    assert all(later > earlier for earlier, later in itertools.pairwise(placed))


def test_jitter_of_the_network_is_taken_out_of_arrival_times():
    clock = ArrivalClock()
    captured = []
    for i, delay in enumerate([0.0, 0.2, 0.05, 0.3, 0.0]):
        clock.saw(i * 0.04, 1000 + i * 0.04 + delay)
        captured.append(clock.captured(i * 0.04, 1000 + i * 0.04 + delay))
    assert captured == pytest.approx([1000 + i * 0.04 for i in range(5)])


def test_frames_held_back_by_a_stalled_network_keep_their_true_times():
    clock = ArrivalClock()
    clock.saw(0.0, 1000.0)
    for i in range(1, 10):
        clock.saw(i, 1020.0)
        assert clock.captured(i, 1020.0) == pytest.approx(1000 + i)


def test_a_camera_whose_counter_starts_anew_is_dated_by_arrival_again():
    clock = ArrivalClock()
    clock.saw(5000.0, 1000.0)
    clock.saw(0.0, 1001.0)
    assert clock.captured(0.0, 1001.0) == 1001.0


def test_a_camera_whose_counter_leaps_ahead_is_not_dated_into_the_past_afterwards():
    clock = ArrivalClock()
    clock.saw(0.0, 1000.0)
    clock.saw(86400.0, 1001.0)
    clock.saw(86401.0, 1002.0)
    assert clock.captured(86401.0, 1002.0) == 1002.0


@pytest.mark.parametrize("speed", [0.0, -0.5, -1.0])
def test_a_counter_that_stands_still_or_runs_backwards_is_not_believed(speed):
    clock = ArrivalClock()
    for i in range(2000):
        arrival = i / 25
        time = arrival if i < 100 else 4 + (arrival - 4) * speed
        clock.saw(time, arrival)
        assert abs(clock.captured(time, arrival) - arrival) <= ARRIVAL


def test_pictures_sent_out_of_order_are_no_counter_that_stands_still():
    """B-frames: packets come in the order of decoding."""
    clock = ArrivalClock()
    for i in range(0, 400, 4):
        for j, time in enumerate((i + 3, i, i + 1, i + 2)):
            arrival = 0.3 + (i + 3 + j * 0.25) / 25
            clock.saw(time / 25, arrival)
            assert clock.captured(time / 25, arrival) == pytest.approx(0.3 + time / 25, abs=0.05)


def test_a_camera_whose_clock_runs_slow_is_followed():
    clock = ArrivalClock()
    for i in range(0, 600):
        clock.saw(i * 0.99, 1000.0 + i)
    assert clock.captured(599 * 0.99, 1599.0) == pytest.approx(1599, abs=2 * ArrivalClock.WINDOW * 0.01 + 0.01)


@given(st.lists(st.tuples(st.none() | seconds, seconds), max_size=60))
def test_nothing_was_captured_after_it_arrived(packets):
    clock = ArrivalClock()
    for time, arrival in packets:
        clock.saw(time, arrival)
        assert clock.captured(time, arrival) <= arrival


def report(utc: float, rtp: int) -> bytes:
    """A sender report as FFmpeg's AVRTCPSenderReport lays it out."""
    return struct.pack("@IQIIII", 7, int((utc + NTP) % 2**32 * 2**32), rtp % 2**32, 0, 0, 0)


def test_before_the_first_report_the_sender_has_no_clock():
    clock = SenderClock(90000)
    clock.reported(report(1.7e9, 90000))
    assert clock.captured(1.0) is None


def test_the_sender_s_clock_is_its_start_and_the_time_in_the_stream():
    clock = SenderClock(90000)
    clock.started(1.7e9)
    assert clock.captured(2.5) == 1.7e9 + 2.5
    assert clock.captured(None) is None


def test_later_reports_follow_a_clock_that_drifts_through_the_roll_over_of_rtp_time():
    clock = SenderClock(90000)
    clock.started(1.7e9)
    rtp = 2**32 - 90000
    for i in range(0, 3600, 5):
        clock.reported(report(1.7e9 + 10 + i * 1.0001, rtp + i * 90000))
    assert clock.captured(10 + 3595) == pytest.approx(1.7e9 + 10 + 3595 * 1.0001, abs=1e-3)


def test_a_report_of_2040_is_not_taken_for_one_of_1904():
    clock = SenderClock(90000)
    clock.started(2.21e9)
    clock.reported(report(2.21e9, 0))
    clock.reported(report(2.21e9 + 5, 450000))
    assert clock.captured(5.0) == pytest.approx(2.21e9 + 5, abs=1e-3)


def test_a_report_cut_short_changes_nothing():
    clock = SenderClock(90000)
    clock.started(1.7e9)
    clock.reported(b"\0" * 12)
    assert clock.captured(0.0) == 1.7e9


def test_a_recording_is_dated_by_its_creation_time_give_or_take_its_length():
    assert media_start("2021-05-22T11:48:31.000000Z", 9.0) == (1621684111.0, 10.0)


@pytest.mark.parametrize("unset", [None, "", "yesterday", "1970-01-01T00:00:00.000000Z", "1904-01-01T00:00:00Z"])
def test_a_recording_without_a_creation_time_counts_from_1970_and_says_that_it_does_not_know(unset):
    assert media_start(unset, 9.0) == (0.0, UNKNOWN)
