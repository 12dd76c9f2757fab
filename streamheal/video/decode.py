"""One stream, opened and decoded by FFmpeg (PyAV). Runs in the reader process only: it may hang, it may crash."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.codec.context import Flags
from av.error import EOFError as FFmpegEOFError
from av.error import FFmpegError
from av.stream import Disposition

from streamheal.records import Clock
from streamheal.video.backoff import ErrorClass
from streamheal.video.clocks import (
    ARRIVAL,
    MAX_LATENCY,
    MAX_LEAD,
    SENDER,
    ArrivalClock,
    SenderClock,
    Timeline,
    media_start,
)
from streamheal.video.damage import LOST_REFERENCE, Damage
from streamheal.video.link import OpenOptions

# FFmpeg's log is taken whole, since only its debug messages tell of lost references (damage.py); what is not looked at
# goes nowhere. A healthy stream says one to three lines a frame.
av.logging.set_level(av.logging.DEBUG)
logging.getLogger("libav").setLevel(logging.CRITICAL + 1)

_CLASSES: tuple[tuple[type[Exception], ErrorClass], ...] = (
    (av.error.HTTPUnauthorizedError, "auth"),
    (av.error.HTTPForbiddenError, "auth"),
    (PermissionError, "auth"),
    (av.error.HTTPNotFoundError, "not-found"),
    (FileNotFoundError, "not-found"),
    (ConnectionRefusedError, "unreachable"),
    (TimeoutError, "timeout"),
    (av.error.ExitError, "timeout"),  # PyAV's interrupt callback, on its timeout
    (ConnectionError, "lost"),
    (av.error.EOFError, "lost"),
    (av.error.InvalidDataError, "invalid"),
    (av.error.HTTPError, "not-found"),
    (OSError, "unreachable"),  # "Input/output error" stands for a host name that is not known
)


class StreamError(Exception):
    """A stream can't be opened or read on. The text never holds the URL."""

    def __init__(self, error_class: ErrorClass, text: str):
        super().__init__(text)
        self.error_class = error_class


def classify(error: BaseException) -> ErrorClass:
    """The class of an FFmpeg error, which decides how long to wait before the next attempt."""
    return next((name for kind, name in _CLASSES if isinstance(error, kind)), "invalid")


@dataclass(slots=True)
class Decoded:
    """A frame as the decoder gave it, with its time; pixels are converted only when they are wanted."""

    frame: av.VideoFrame
    shape: tuple[int, int]  # (height, width) as it will be written: scaled and upright
    pts: float
    captured_at: float
    clock: Clock
    uncertainty: float
    corrupt: bool

    def write(self, target: np.ndarray) -> None:
        """Convert into `target`, uint8 RGB of `shape`, turned upright."""
        turns = _quarter_turns(self.frame)
        height, width = self.shape if turns % 2 == 0 else self.shape[::-1]
        rgb = self.frame.reformat(width=width, height=height, format="rgb24").to_ndarray()
        np.copyto(target, np.rot90(rgb, turns))


class VideoInput:
    """The first video stream of a recording or camera. Iterate to decode it.

    Raises StreamError if it can't be opened, or has no video.
    """

    def __init__(
        self,
        options: OpenOptions,
        *,
        now: Callable[[], float] = time.time,
        note: Callable[[str], object] = lambda text: None,
    ):
        self.options, self._now, self._note = options, now, note
        self.warnings: list[str] = []  # what was wrong with a recording that could be read nevertheless
        self._last_words = ""  # the last error in FFmpeg's log
        self._container = None
        began = time.monotonic()
        try:
            self._open()
        except FFmpegError as error:
            self.close()
            text = _describe(error)
            if options.live and time.monotonic() - began > 0.9 * min(options.open_timeout, options.stall_timeout):
                # RTSP reports its own timeout, and being interrupted, as invalid data.
                raise StreamError("timeout", "it does not answer") from None
            if not options.live and classify(error) == "invalid":
                text = f"it can't be opened as video ({text}); it may be cut short, damaged, or something else"
            raise StreamError(classify(error), text) from None
        except StreamError:
            self.close()
            raise
        self._opened = time.monotonic()
        self._opening = time.monotonic() - began

    def _open(self) -> None:
        o = self.options
        # For the decoders, too: larger pictures are refused before memory is taken for them.
        settings = {"max_pixels": str(o.max_pixels)}
        if not o.live:
            self._container = av.open(f"file:{o.url}" if "://" not in o.url else o.url, options=settings)
        else:
            if o.url.startswith(("rtsp://", "rtsps://")):
                settings |= {
                    "rtsp_transport": o.transport,
                    "allowed_media_types": "video",  # sound and ONVIF metadata would only cost bandwidth
                    "timeout": str(int(o.stall_timeout * 1e6)),
                    "fpsprobesize": "2",  # 20 frames by default, which come almost a second late
                }
            self._container = av.open(o.url, options=settings, timeout=(o.open_timeout, o.stall_timeout))
        videos = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not videos:
            kinds = sorted({s.type for s in self._container.streams}) or ["nothing"]
            raise StreamError("invalid", f"there is no video in it, only {', '.join(kinds)}")
        self._stream = stream = videos[0]
        if stream.codec_context is None:
            raise StreamError("invalid", "no decoder for its video codec in this build of FFmpeg")
        self._check_size(stream.codec_context.width, stream.codec_context.height)
        # One thread: the processes are the parallelism, and frame threads would delay live frames and blur which
        # packet an error belongs to.
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"max_pixels": str(o.max_pixels)}
        stream.codec_context.flags |= Flags.copy_opaque
        rate = next((r for r in (stream.average_rate, stream.guessed_rate, stream.base_rate) if r), Fraction(25))
        self.rate = float(min(max(rate, Fraction(1, 60)), Fraction(1000)))
        base = stream.time_base or Fraction(1, 90000)
        self._timeline = Timeline(self.rate)
        container_seconds = self._container.duration / 1e6 if self._container.duration else None
        self.duration = float(stream.duration * base) if stream.duration else container_seconds
        self._media_start = media_start(
            stream.metadata.get("creation_time") or self._container.metadata.get("creation_time"), self.duration
        )
        self._arrival = ArrivalClock()
        self._sender = SenderClock(float(1 / base))
        self._distrusted = False
        self._began: float | None = None
        # A recording on a web server is sent as fast as the network goes; a camera has no length.
        self._paced = o.live and self._container.duration is not None and not o.url.startswith(("rtsp://", "rtsps://"))

    @property
    def description(self) -> str:
        context = self._stream.codec_context
        return f"{context.name} {context.width}x{context.height}, {self.rate:.3g} fps"

    def __iter__(self) -> Iterator[Decoded | None]:
        """Frames in the order of presentation, the last ones out of the decoder too. None is a sign of life: a packet
        was read that gave no frame.

        Raises StreamError at the end of a live stream, or where a recording can't be read to its end: everything that
        could be decoded was given before.
        """
        packets = damaged = failures = pictures = 0
        damage = Damage()
        last = 0.0
        for packet in self._packets():
            if packet.stream_index != self._stream.index:
                yield None
                continue
            arrival = time.monotonic()  # by a clock that nobody sets
            if packet.size:
                packets += 1
                packet.opaque = (packets, arrival)  # comes back on the frame that the packet holds
                if self.options.live:
                    self._look_at_clocks(packet, arrival)
            if packet.is_corrupt:
                damaged += 1
                damage.at(packets, last)
            frames = []
            with av.logging.Capture() as said:
                try:
                    frames = packet.decode()
                except FFmpegEOFError:
                    pass
                except FFmpegError:
                    failures += 1
                    damage.at(packets, last)
            for level, _, text in said:
                if text.startswith(LOST_REFERENCE):
                    damage.at(packets, last)
                if level <= av.logging.ERROR:
                    self._last_words = text.strip()
            if not frames:
                yield None
            for frame in frames:
                pictures += 1
                shape = self._shape(frame)
                index, arrived = frame.opaque or (packets, arrival)
                last = pts = self._timeline.at(frame.time, arrived if self.options.live else None)
                spoilt = damage.spoils(index, pts, keyframe=frame.key_frame, corrupt=frame.is_corrupt)
                captured_at, clock, uncertainty = self._captured(frame.time, pts, arrived)
                if self._paced:
                    self._pace(pts)
                yield Decoded(frame, shape, pts, captured_at, clock, uncertainty, spoilt)
        self._sum_up(packets, damaged, failures, pictures)

    def _sum_up(self, packets: int, damaged: int, failures: int, pictures: int) -> None:
        if not pictures:
            why = f" ({self._last_words})" if self._last_words else ""
            raise StreamError("invalid", f"none of its {packets} packets could be decoded to a picture{why}")
        if failures or damaged:
            self.warnings.append(f"of {packets} packets {damaged} are damaged and {failures} could not be decoded")
        expected = self._stream.frames
        if packets < expected:
            self.warnings.append(f"it is cut short: its index names {expected} frames, {packets} are there")

    def _packets(self) -> Iterator[av.Packet]:
        demuxer = self._container.demux()
        while True:
            try:
                packet = next(demuxer)
            except StopIteration:
                break
            except FFmpegError as error:
                if self.options.live:
                    error_class = classify(error)
                    if error_class == "unreachable":  # an input/output error on what was just there
                        error_class = "lost"
                    raise StreamError(error_class, _describe(error)) from None
                self.warnings.append(f"it can't be read to its end: {_describe(error)}")
                yield from self._flush()
                return
            yield packet
        if self.options.live:
            raise StreamError("lost", "the sender ended the stream")

    def _flush(self) -> Iterator[av.Packet]:
        packet = av.Packet()  # an empty packet makes the decoder give what it still holds
        packet.stream = self._stream
        packet.time_base = self._stream.time_base
        yield packet

    def _captured(self, stamp: float | None, pts: float, arrival: float) -> tuple[float, Clock, float]:
        if not self.options.live:
            began, uncertainty = self._media_start
            return began + pts, "media", uncertainty
        to_utc = self._now() - time.monotonic()  # asked anew for each frame: our own clock may be set, too
        sent = self._sender.captured(stamp)
        if sent is not None:
            lead = sent - (arrival + to_utc)
            if -MAX_LATENCY <= lead <= MAX_LEAD:
                self._distrusted = False
                return sent, "sender", SENDER + max(0.0, lead)
            if not self._distrusted:
                self._distrusted = True
                self._note(f"its clock is off by about {lead:.0f} s against ours; times of arrival are used instead")
        # What was read to find out about the stream may have waited for as long as that took.
        waited = self._opening if arrival - self._opened < self._opening else 0.0
        return self._arrival.captured(stamp, arrival) + to_utc, "arrival", ARRIVAL + waited

    def _look_at_clocks(self, packet: av.Packet, arrival: float) -> None:
        if packet.pts is not None:
            self._arrival.saw(float(packet.pts * packet.time_base), arrival)
        if (start := self._container.start_time_realtime) is not None and start > 0:
            self._sender.started(start / 1e6)
        if packet.has_sidedata("rtcp_sr"):
            self._sender.reported(bytes(packet.get_sidedata("rtcp_sr")))

    def _pace(self, pts: float) -> None:
        if self._began is None:
            self._began = time.monotonic() - pts
        time.sleep(min(1.0, max(0.0, self._began + pts - time.monotonic())))

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.options.max_pixels:
            raise StreamError(
                "invalid",
                f"its pictures have {width}x{height} pixels, more than the {self.options.max_pixels} that are allowed "
                "(set by max_pixels)",
            )

    def _shape(self, frame: av.VideoFrame) -> tuple[int, int]:
        height, width = frame.height, frame.width
        self._check_size(width, height)
        # Square pixels: recorders squeeze pictures (960x1080 for 16:9), and a squeezed face is no face.
        ratio = self._stream.sample_aspect_ratio or 1
        if ratio > 1:
            width = round(width * ratio)
        elif 0 < ratio < 1:
            height = round(height / ratio)
        self._check_size(width, height)
        if _quarter_turns(frame) % 2:
            height, width = width, height
        limit = self.options.max_height
        if limit and height > limit:
            height, width = limit, max(2, round(width * limit / height))
        return height, width

    def close(self) -> None:
        if self._container is not None:
            self._container.close()


def _quarter_turns(frame: av.VideoFrame) -> int:
    """Counterclockwise quarter turns that set the picture upright (its display matrix: phones film lying down)."""
    return round(frame.rotation / 90) % 4


def _describe(error: FFmpegError) -> str:
    """FFmpeg's words without the file name, which may be a URL with a password in it."""
    return error.strerror or type(error).__name__
