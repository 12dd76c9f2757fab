"""What cameras do wrong, written as data and sent by a server that can lie. Each stays its own camera's trouble."""

import itertools
import math
import random
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from streamheal.records import Frame
from streamheal.video import Reader, ReaderStatus, attempt, stop_all
from streamheal.video.decode import VideoInput
from streamheal.video.link import OpenOptions
from tests.video import rtsp_script
from tests.video.clips import number_in, write_clip
from tests.video.rtsp_script import RATE, Camera, Picture, access_units, interleaved, packet, steady
from tests.video.test_live import Waits, read_until, until

HOUR = 3600.0
LATE = 2.0  # seconds that a busy machine may add


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setattr(attempt, "GRACE", 0.5)
    readers = []

    def start(source, name="door", **options) -> Reader:
        settings = {"open_timeout": 20.0, "stall_timeout": 2.0, "wait": Waits()}
        readers.append(Reader(name, source, live=True, **{**settings, **options}).start())
        return readers[-1]

    yield start
    stop_all(readers)


@pytest.fixture(scope="module")
def units(tmp_path_factory) -> list[tuple[bytes, ...]]:
    """Twenty seconds of numbered pictures, a keyframe each second."""
    return access_units(write_clip(tmp_path_factory.mktemp("clip") / "clip.h264", 500))


def looped(script):
    """For each connection the same."""
    return lambda number: script


# -- servers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("silent_at", ["CONNECT", *rtsp_script.METHODS])
def test_a_server_that_falls_silent_is_given_up_wherever_it_does(live, silent_at):
    with Camera(silent_at=silent_at) as camera:
        reader = live(camera.url, open_timeout=1.0, stall_timeout=1.0)
        until(lambda: camera.connections >= 2, 60)
        assert set(reader.status.errors) <= {"timeout", "hung"}


def test_a_camera_that_plays_and_sends_no_picture_is_given_up(live):
    """0 fps: its sender reports go on, so the connection is alive."""
    reports = (interleaved(1, rtsp_script.report(1.7e9, 0)) for _ in itertools.count())
    pause = (Picture((), i * 0.2, 0.0) for i in itertools.count())
    with Camera(lambda number: itertools.chain.from_iterable(zip(pause, reports, strict=False))) as camera:
        reader = live(camera.url, open_timeout=1.0, stall_timeout=1.0)
        until(lambda: camera.connections >= 2, 60)
        assert set(reader.status.errors) <= {"timeout", "hung", "invalid"}


OK = b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n"
ANSWERS = {
    "garbage": ("OPTIONS", random.Random(0).randbytes(5000) + b"\r\n\r\n"),
    "a header without end": ("OPTIONS", b"RTSP/1.0 200 OK\r\nX: " + b"a" * 20_000_000),
    "headers without end": ("OPTIONS", b"RTSP/1.0 200 OK\r\n" + b"X: a\r\n" * 2_000_000),
    "a description of 2 GiB": ("DESCRIBE", OK + b"Content-Length: 2147483647\r\n\r\nv=0"),
    "a description of a negative size": ("DESCRIBE", OK + b"Content-Length: -5\r\n\r\n"),
    "a description without video": (
        "DESCRIBE",
        OK + b"Content-Length: 44\r\n\r\nv=0\r\no=- 0 0 IN IP4 1\r\ns=c\r\nm=audio 0 RTP/AVP 0",
    ),
    "no such status": ("OPTIONS", b"RTSP/1.0 999 What\r\nCSeq: 1\r\n\r\n"),
    "server error": ("DESCRIBE", b"RTSP/1.0 503 Service Unavailable\r\nCSeq: 2\r\n\r\n"),
}


@pytest.mark.parametrize("fault", ANSWERS)
def test_a_server_that_answers_nonsense_is_an_error_with_a_class_and_is_tried_again(live, fault):
    method, answer = ANSWERS[fault]
    with Camera(answers={method: answer}) as camera:
        reader = live(camera.url, open_timeout=2.0, stall_timeout=2.0)
        until(lambda: sum(reader.status.errors.values()) >= 2, 60)
        memory = _peak_memory(reader.status.pid)
    assert "crashed" not in reader.status.errors, reader.status.last_error
    assert memory is None or memory < 500e6, f"{memory / 1e6:.0f} MB"


# -- packets ---------------------------------------------------------------------------------------------------------


def noise(length: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(length)


def spoilt_by(packets: list[bytes]):
    """A script whose first connection has `packets` among its pictures."""
    return lambda units, number: (
        [*(pictures := list(steady(units)))[:20], *packets, *pictures[20:]] if number == 0 else steady(units)
    )


def stamped(stamp: Callable[[int], float]):
    """A script whose picture number i has the RTP time `stamp(i)`, seconds."""
    return lambda units, number: [Picture(u, i / RATE, stamp(i)) for i, u in enumerate(units)]


def reporting(ahead: float):
    """A script whose sender reports its clock every 0.4 s, and from the fourth on is `ahead` seconds ahead."""
    return lambda units, number: [
        replace(p, utc=(0.0 if i < 40 else ahead) if i % 10 == 0 else None)
        for i, p in enumerate(steady(units, first=1000.0))
    ]


GARBAGE = {
    "packets of noise": [interleaved(0, noise(900, i)) for i in range(40)],
    "RTP headers before noise": [interleaved(0, packet(7, 0, noise(900, i))) for i in range(40)],
    "empty packets": [interleaved(0, b""), interleaved(0, b"\x80"), interleaved(1, b"")],
    "channels that were never set up": [interleaved(c, noise(500)) for c in (2, 9, 255)],
    "reports of noise": [interleaved(1, noise(64, i)) for i in range(20)],
    "text between packets": [b"RTSP/1.0 200 OK\r\nCSeq: 77\r\n\r\n"],
    "bytes out of step": [noise(3000)],
    "a sequence that leaps": [interleaved(0, packet(40_000, 10**9, b"\x01" + noise(100)))],
}
COUNTERS = {
    "jumps an hour ahead": lambda i: i / RATE + (HOUR if i >= 30 else 0),
    "jumps an hour back": lambda i: 2 * HOUR + i / RATE - (HOUR if i >= 30 else 0),
    "stands still": lambda i: min(i, 30) / RATE,
    "runs backwards": lambda i: 100 + (i if i < 30 else 60 - i) / RATE,
    "rolls over": lambda i: (2**32 / 90000) - 1 + i / RATE,
    "leaps to and fro": lambda i: i / RATE + (500 if i % 10 == 9 else 0),
}
CLOCKS = {"is right": 0.0, "is set ahead": HOUR, "is set back": -HOUR, "is 3 s ahead": 3.0}


@dataclass
class Watched:
    """What came of one camera."""

    frames: list[Frame]
    status: ReaderStatus
    captured: list[float]  # UTC seconds, by number of the picture


@pytest.fixture(scope="module")
def seen(units) -> dict[str, Watched]:
    """All cameras whose packets are bad, watched side by side until each has sent 140 pictures."""
    scripts = {name: spoilt_by(packets) for name, packets in GARBAGE.items()}
    scripts |= {name: stamped(stamp) for name, stamp in COUNTERS.items()}
    scripts |= {name: reporting(ahead) for name, ahead in CLOCKS.items()}
    with ExitStack() as stack:
        cameras, readers = {}, {}
        for name, script in scripts.items():
            cameras[name] = stack.enter_context(Camera(partial(script, units)))
            readers[name] = Reader(name, cameras[name].url, live=True, open_timeout=60, stall_timeout=5, wait=Waits())
        stack.callback(stop_all, readers.values())
        for reader in readers.values():
            reader.start()
        frames = {name: [] for name in readers}

        def all_done() -> bool:
            for name, reader in readers.items():
                if (frame := reader.read(0)) is not None:
                    frames[name].append(frame)
            return all(f and (f[-1].sequence >= 140 or f[-1].epoch > 0) for f in frames.values())

        until(all_done, 120)
        return {name: Watched(frames[name], readers[name].status, list(cameras[name].captured)) for name in readers}


@pytest.mark.parametrize("fault", GARBAGE)
def test_garbage_among_the_packets_spoils_no_unflagged_picture_and_the_camera_goes_on(seen, fault, units):
    camera = seen[fault]
    assert camera.frames[0].epoch == 0 and camera.status.epoch <= 1
    assert all(f.corrupt or number_in(f.image) < len(units) for f in camera.frames)
    assert "crashed" not in camera.status.errors


@pytest.mark.parametrize("fault", [*COUNTERS, *CLOCKS])
def test_a_clock_that_jumps_or_runs_backwards_costs_no_connection_and_capture_times_stay_right(seen, fault):
    """(The bounds themselves, without the load of the machine: test_clocks.py.)"""
    camera = seen[fault]
    assert camera.status.errors == {} and {f.epoch for f in camera.frames} == {0}
    assert all(b.pts > a.pts for a, b in itertools.pairwise(camera.frames))
    for frame in camera.frames:
        number = number_in(frame.image)
        error = frame.captured_at - camera.captured[number]
        assert abs(error) <= frame.clock_uncertainty + LATE, f"{frame.clock} off by {error:.2f} s at {number}"


def test_a_sender_s_clock_is_believed_as_long_as_it_can_be_right(seen):
    late = {name: {f.clock for f in seen[name].frames if f.sequence > 100} for name in CLOCKS}
    assert all("sender" in {f.clock for f in seen[name].frames if f.sequence < 40} for name in CLOCKS)
    assert late == {
        "is right": {"sender"},
        "is set ahead": {"arrival"},
        "is set back": {"arrival"},
        "is 3 s ahead": {"sender"},  # within what may be, with the lead in the uncertainty
    }
    assert all(f.clock_uncertainty > 1 for f in seen["is 3 s ahead"].frames if f.sequence > 100)


def test_our_own_clock_may_be_set_while_a_camera_streams(units):
    set_ahead = 0.0

    def now() -> float:
        return time.time() + set_ahead

    with Camera(lambda number: steady(units)) as camera:
        stream = VideoInput(OpenOptions(url=camera.url, live=True), now=now)
        for frame in filter(None, itertools.islice(stream, 90)):
            assert abs(frame.captured_at - now()) <= frame.uncertainty + LATE
            set_ahead = 0.0 if frame.pts < 1 else HOUR if frame.pts < 2 else -HOUR
        stream.close()
    assert set_ahead == -HOUR


def test_a_size_that_changes_while_it_streams_changes_the_frames_and_nothing_else(live, units, tmp_path):
    larger = access_units(write_clip(tmp_path / "large.h264", 200, size=(384, 256), first=50))
    with Camera(looped(list(steady(units[:50] + larger)))) as camera:
        reader = live(camera.url)
        frames = read_until(reader, lambda f: f.image.shape[0] == 256 and f.sequence > 60, 90)
    assert {f.epoch for f in frames} == {0} and reader.status.errors == {}
    assert {f.image.shape[:2] for f in frames} == {(112, 192), (256, 384)}
    assert all(number_in(f.image) == f.sequence for f in frames if not f.corrupt)


def test_a_codec_that_changes_while_it_streams_is_a_new_epoch(live, units, tmp_path):
    hevc = access_units(write_clip(tmp_path / "clip.hevc", 200, codec="libx265"))

    def script(number):
        return steady(units[:50] + hevc) if number == 0 else steady(hevc)

    with Camera(script, codec=lambda number: "H264" if number == 0 else "H265") as camera:
        reader = live(camera.url)
        frames = read_until(reader, lambda f: f.epoch > 0, 90)
    assert reader.status.description.startswith("hevc")
    assert number_in(frames[-1].image) < 200 and not frames[-1].corrupt


def test_200_frames_a_second_are_thinned_and_each_one_is_counted(live, units):
    with Camera(looped(list(steady(units * 2, 200)))) as camera:
        reader = live(camera.url, max_fps=30)
        frames = read_until(reader, lambda f: f.sequence > 800, 90)
    status = reader.status
    assert status.drops["too-fast"] > 400, "most are dropped before they are converted"
    assert frames[-1].sequence + 1 - frames[0].sequence <= status.frames + status.dropped
    assert status.errors == {}


# -- sizes -----------------------------------------------------------------------------------------------------------


def with_size(sps: bytes, side: int) -> bytes:
    """The sequence parameter set of a baseline H.264 stream, saying `side` x `side` pixels."""
    bits = "".join(f"{b:08b}" for b in re.sub(rb"\x00\x00\x03", b"\0\0", sps))
    at, values = 32, []  # after the header, the profile, its constraints, and the level

    def golomb() -> int:
        nonlocal at
        zeros = bits.index("1", at) - at
        value = int(bits[at + zeros : at + 2 * zeros + 1], 2) - 1
        at += 2 * zeros + 1
        return value

    def written(value: int) -> str:
        return "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"

    assert sps[1] == 66, "baseline"
    values = [golomb() for _ in range(2)]  # its id; bits of the frame number
    values.append(order := golomb())
    assert order in (0, 2)
    values += [golomb()] if order == 0 else []
    values.append(golomb())  # reference frames
    head = bits[:32] + "".join(map(written, values)) + bits[at]
    at += 1
    golomb(), golomb()
    whole = head + written(math.ceil(side / 16) - 1) * 2 + bits[at:]
    whole += "0" * (-len(whole) % 8)
    content = int(whole, 2).to_bytes(len(whole) // 8)
    return re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\0\0\3", content)


@pytest.mark.parametrize("side", [15000, 30000])
def test_a_stream_of_huge_pictures_does_not_take_the_machine(live, units, side):
    huge = [tuple(with_size(u, side) if u[0] & 31 == 7 else u for u in picture) for picture in units[:200]]
    assert huge != units[:200]
    with Camera(lambda number: steady(huge if number < 2 else units)) as camera:
        reader = live(camera.url, open_timeout=3.0)
        peak = 0.0
        until(lambda: camera.connections >= 2, 60)
        peak = _peak_memory(reader.status.pid) or 0.0
        frame = read_until(reader, lambda f: True, 60)[-1]
    assert frame.image.shape == (112, 192, 3)
    assert peak < 500e6, f"{peak / 1e6:.0f} MB"


def test_a_picture_of_30000_pixels_a_side_in_a_stream_of_jpegs_does_not_take_the_machine(live):
    """As cameras send them over HTTP, with a header that says 30000x30000."""
    cv2 = pytest.importorskip("cv2")
    from tests.video.web import serve

    small = cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    at = small.index(b"\xff\xc0") + 5
    huge = small[:at] + (30000).to_bytes(2) * 2 + small[at + 4 :]

    def answer(send, number):
        for _ in range(100):
            send(b"--b\r\nContent-Type: image/jpeg\r\n\r\n" + huge + b"\r\n")

    with serve(answer) as web:
        reader = live(web.url, open_timeout=5.0)
        until(lambda: sum(reader.status.errors.values()) >= 2, 60)
        peak = _peak_memory(reader.status.pid) or 0.0
    assert reader.status.frames == 0 and "crashed" not in reader.status.errors
    assert peak < 500e6, f"{peak / 1e6:.0f} MB"


def _peak_memory(pid: int | None) -> float | None:
    """The most that a process has had in memory, bytes; None where it can't be asked."""
    try:
        return int(re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024.0
    except (OSError, TypeError):
        return None
