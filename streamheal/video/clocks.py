"""Time: where a frame stands in its stream, and when it was captured, by which clock, how surely."""

import struct
from datetime import UTC, datetime

UNKNOWN = 9e9
"""Uncertainty, seconds, where nothing says when a recording was made: longer than there have been moving pictures
(and, unlike infinity, a number that JSON carries, as nanoseconds in 64 bits too)."""

ARRIVAL = 1.0
"""Uncertainty of the arrival clock, seconds. Exposure, encoder and camera buffer take 50 to 500 ms, the network and
FFmpeg's reorder buffer (`max_delay`, UDP) up to 500 ms more. Decoding is not in it, since packets are timed; for frames
that came while the stream was being opened, the time that this took is added."""

SENDER = 0.1
"""Uncertainty of the sender's clock, seconds, given that NTP disciplines it: tens of milliseconds for NTP itself on a
local network, and up to a frame or two between exposure and the RTP timestamp."""

MAX_LATENCY = 30.0
"""Seconds. A sender's clock that says a packet was captured longer ago than this as it arrives is taken to be wrong."""

MAX_LEAD = 5.0
"""And so is one that is ahead of ours by more than this, seconds. Up to there the lead adds to the uncertainty: one of
both clocks is wrong by as much."""

MAX_JUMP = 10.0
"""Seconds by which a live stream's timestamps may run ahead of our clock between two packets; more is a jump."""

REORDERING = 1.0
"""Seconds by which timestamps may step back without the stream having started anew: B-frames, jitter."""

STUCK = 0.4
"""Seconds for which packets may come without the latest timestamp getting any later. A counter that stands still, or
runs backwards by small steps, says nothing about time."""


_REPORT = struct.Struct("@IQI")  # ssrc, NTP time (32.32 fixed point, since 1900), RTP timestamp
_NTP_TO_UNIX = 2_208_988_800


class Timeline:
    """Timestamps made fit for a tracker: seconds from the first frame, strictly growing, filled in where missing."""

    def __init__(self, rate: float):
        self._step = 1.0 / rate
        self._start: float | None = None  # the timestamp that is second 0: the first frame's
        self._last: float | None = None
        self._last_arrival: float | None = None

    def at(self, time: float | None, arrival: float | None = None) -> float:
        """Place the next frame. `time` is its timestamp, seconds; `arrival`, for live streams, our clock as it came."""
        previous, seen = self._last, self._last_arrival
        self._last_arrival = arrival
        if time is not None and self._start is None:
            self._start = time if previous is None else time - (previous + self._step)
        if previous is None:
            self._last = 0.0
            return self._last
        expected = previous + self._step
        if time is None:
            self._last = expected
            return expected
        placed = time - self._start
        elapsed = arrival - seen if arrival is not None and seen is not None else None
        jumped_back = placed < previous - REORDERING
        jumped_ahead = elapsed is not None and placed - previous > elapsed + MAX_JUMP
        if jumped_back or jumped_ahead:
            # The sender's counter was reset or rolled over: go on from here, and count from the new origin.
            gap = max(self._step, elapsed) if elapsed is not None else self._step
            self._start = time - (previous + gap)
            placed = previous + gap
        self._last = placed if placed > previous else previous + self._step / 100
        return self._last


class ArrivalClock:
    """Our own clock, with the network's jitter taken out.

    A packet is late by a delay that varies; the least delayed packet of the last minute tells best how the stream's
    timestamps lie on our clock. So captured = timestamp + min(arrival - timestamp): frames that were held back by a
    stalled network keep their true spacing and are never dated after their arrival.
    """

    WINDOW = 30.0  # seconds; the minimum is over the current and the previous window, so that it follows drift

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._window_began: float | None = None
        self._least = self._least_before = float("inf")
        self._last: tuple[float, float] | None = None
        self._latest: tuple[float, float] | None = None  # the latest timestamp since the reset, and its arrival

    def saw(self, time: float | None, arrival: float) -> None:
        """Tell of a packet: its timestamp in the stream and our clock as it arrived, both in seconds."""
        if time is None:
            return
        if self._last is not None:
            step, elapsed = time - self._last[0], arrival - self._last[1]
            stuck = time <= self._latest[0] and arrival - self._latest[1] > STUCK
            if stuck or step < -REORDERING or step > elapsed + MAX_JUMP or elapsed < -REORDERING:
                self._reset()
        if self._latest is None or time > self._latest[0]:
            self._latest = (time, arrival)
        if self._window_began is None or arrival - self._window_began > self.WINDOW:
            self._least_before, self._least, self._window_began = self._least, float("inf"), arrival
        self._least = min(self._least, arrival - time)
        self._last = (time, arrival)

    def captured(self, time: float | None, arrival: float) -> float:
        """When the frame with this timestamp was captured, by the clock of `arrival`, give or take `ARRIVAL`."""
        least = min(self._least, self._least_before)
        if time is None or least == float("inf"):
            return arrival
        return min(arrival, time + least)


class SenderClock:
    """The sender's wall clock, from RTCP sender reports (RFC 3550, 6.4.1).

    FFmpeg gives the wall time of the timestamp 0 once, at the first report (`start_time_realtime`; some seconds
    after the first frame), and each report as side data of the packet that follows it. A report pairs an NTP time with
    an RTP timestamp. Following the later ones too keeps a clock that drifts by 100 ppm from being 8 s off after a day,
    and follows a sender whose clock is set while it streams.
    """

    def __init__(self, ticks_per_second: float):
        self._ticks_per_second = ticks_per_second  # of the RTP clock, which is the stream's time base
        self._start: float | None = None  # UTC seconds of timestamp 0
        self._last: tuple[int, float] | None = None  # the last report's RTP timestamp, and the stream time it means

    def started(self, start: float) -> None:
        """Tell what FFmpeg took from the first report: UTC seconds of timestamp 0."""
        if self._start is None:
            self._start = start

    def reported(self, report: bytes) -> None:
        """Tell of a sender report: FFmpeg's `AVRTCPSenderReport`."""
        if self._start is None or len(report) < _REPORT.size:
            return
        _, ntp, rtp = _REPORT.unpack_from(report)
        seconds = ntp / 2**32
        utc = seconds - _NTP_TO_UNIX if seconds >= 2**31 else seconds + 2**32 - _NTP_TO_UNIX  # era 1 begins in 2036
        if self._last is None:
            self._last = (rtp, utc - self._start)
            return
        last_rtp, last_time = self._last
        step = (rtp - last_rtp + 2**31) % 2**32 - 2**31  # RTP timestamps roll over
        time = last_time + step / self._ticks_per_second
        self._last = (rtp, time)
        self._start = utc - time

    def captured(self, time: float | None) -> float | None:
        """UTC seconds by the sender's clock at timestamp `time`, or None before its first report."""
        return None if time is None or self._start is None else self._start + time


def media_start(creation_time: str | None, duration: float | None) -> tuple[float, float]:
    """When a recording began (UTC seconds), and how surely (seconds), from its `creation_time` metadata.

    Some devices write the moment the recording began (as QuickTime's specification has it), others the moment the file
    was closed: the length of the recording is the uncertainty, and the field counts whole seconds. That holds for files
    as the camera wrote them. Without the field time is counted from 1970 and its uncertainty is `UNKNOWN`.
    """
    if creation_time:
        try:
            made = datetime.fromisoformat(creation_time)
        except ValueError:
            return 0.0, UNKNOWN
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        if made.year > 1980:  # unset clocks write 1904 or 1970
            return made.timestamp(), 1.0 + (duration or 0.0)
    return 0.0, UNKNOWN
