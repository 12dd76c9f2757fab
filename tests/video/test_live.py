"""Live sources that behave as cameras do: late, lost, silent, hanging, garbled. (RTSP: tests/integration.)"""

import logging
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from streamheal.video import Reader, attempt, stop_all
from streamheal.video.backoff import Backoff
from tests.video.clips import number_in, numbered_picture, write_clip
from tests.video.web import at_real_rate, serve

SECRET = "hunter2"


class Waits:
    """Stands in for the wait between attempts: remembers how long it should have been, and is over at once."""

    def __init__(self):
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        time.sleep(0.02)
        return False


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def live(waits, monkeypatch):
    """Starts live readers with short timeouts, and stops them at the end."""
    monkeypatch.setattr(attempt, "GRACE", 0.5)
    readers = []

    def start(source, name="door", **options) -> Reader:
        settings = {"open_timeout": 5.0, "stall_timeout": 1.0, "wait": waits, "backoff": Backoff(rng=random.Random(0))}
        reader = Reader(name, source, live=True, **{**settings, **options}).start()
        readers.append(reader)
        return reader

    yield start
    stop_all(readers)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {
        "ts": write_clip(folder / "clip.ts", 500).read_bytes(),
        "short": write_clip(folder / "short.ts", 50).read_bytes(),
        "mp4": write_clip(folder / "clip.mp4", 100, options={"movflags": "faststart"}).read_bytes(),
    }


def until(condition, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def read_until(reader: Reader, condition, seconds: float = 30.0) -> list:
    """Frames up to and with the first that meets the condition."""
    frames, end = [], time.monotonic() + seconds
    while not frames or not condition(frames[-1]):
        assert time.monotonic() < end, f"waited too long; {reader.status}"
        frame = reader.read(0.5)
        if frame is not None:
            frames.append(frame)
    return frames


def test_the_newest_frame_wins_and_every_other_is_counted(live, clips):
    with serve(lambda send, _: at_real_rate(send, clips["ts"], 20)) as web:
        reader = live(web.url)
        frames = [reader.read(10)]
        for _ in range(3):
            time.sleep(0.6)
            frames.append(reader.read(10))
        status = reader.status
    numbers = [number_in(f.image) for f in frames]
    assert numbers == [f.sequence for f in frames]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] - numbers[0] > 20
    assert status.drops["superseded"] > 0
    # Whatever the cause: what the demuxer had gathered at the start comes all at once, and may be too fast.
    assert status.dropped >= numbers[-1] - numbers[0] - 4
    assert status.frames == 4


def test_frames_are_dated_by_their_arrival(live, clips):
    with serve(lambda send, _: at_real_rate(send, clips["ts"], 20)) as web:
        reader = live(web.url)
        began = time.time()
        frames = read_until(reader, lambda f: f.sequence > 40)
    assert {f.clock for f in frames} == {"arrival"}
    assert all(began - 1 < f.captured_at <= time.time() for f in frames)
    assert np.all(np.diff([f.captured_at for f in frames]) >= 0)


def test_a_recording_on_a_web_server_is_read_at_its_real_rate(live, clips):
    with serve(lambda send, _: send(clips["mp4"]), len(clips["mp4"])) as web:
        reader = live(web.url)
        first = reader.read(10)
        began = time.monotonic()
        frames = read_until(reader, lambda f: f.pts >= first.pts + 1)
        assert time.monotonic() - began > 0.9
    assert len(frames) > 10


def test_a_stream_that_ends_is_lost_and_begins_a_new_epoch_when_it_is_back(live, clips, waits, caplog):
    with (
        caplog.at_level(logging.INFO, "streamheal.video"),
        serve(lambda send, _: at_real_rate(send, clips["short"], 1)) as web,
    ):
        reader = live(web.url)
        frames = read_until(reader, lambda f: f.epoch == 2)
        status = reader.status
    assert sorted({f.epoch for f in frames}) == [0, 1, 2]
    for epoch in (0, 1):
        sequence = [f.sequence for f in frames if f.epoch == epoch]
        assert sequence == sorted(set(sequence))
    assert frames[-1].sequence < 20
    assert status.reconnects == status.epoch == 2
    assert status.errors == {"lost": 2}
    assert waits.seconds[0] <= 1 < 2 * 2  # a loss is tried again soon
    assert "is back, epoch 1" in caplog.text


def test_a_camera_that_is_not_there_is_tried_for_ever_and_logged_once_without_its_password(live, waits, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = taken.getsockname()[1]
        with caplog.at_level(logging.INFO, "streamheal.video"):
            reader = live(f"http://admin:{SECRET}@127.0.0.1:{port}/stream?token={SECRET}")
            until(lambda: reader.status.errors.get("unreachable", 0) >= 5)
    assert [r.levelno for r in caplog.records].count(logging.WARNING) == 1
    assert SECRET not in caplog.text
    assert SECRET not in repr(reader.status)
    assert f"127.0.0.1:{port}" in reader.status.source
    assert reader.status.state in ("connecting", "backing-off")
    assert reader.read(0) is None
    assert not reader.ended


def test_a_real_wait_between_attempts_is_cut_short_by_the_stop(live):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        backoff = Backoff(rng=random.Random(0))
        backoff.failed = lambda *_: 3600.0
        reader = live(f"http://127.0.0.1:{taken.getsockname()[1]}/", backoff=backoff, wait=None)
        until(lambda: reader.status.state == "backing-off")
        began = time.monotonic()
        reader.stop()
    assert time.monotonic() - began < 2


def test_a_server_that_accepts_and_says_nothing_is_timed_out_and_never_delays_the_stop(live):
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = live(f"http://127.0.0.1:{server.getsockname()[1]}/", open_timeout=0.5)
        until(lambda: sum(reader.status.errors.values()) >= 2)
        assert set(reader.status.errors) <= {"timeout", "hung"}
        until(lambda: reader.status.state == "connecting")
        began = time.monotonic()
        reader.stop()
        assert time.monotonic() - began < 2


def test_one_camera_that_is_silent_does_not_slow_another(live, clips):
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serve(lambda send, _: at_real_rate(send, clips["ts"], 20)) as web,
    ):
        bad = live(f"http://127.0.0.1:{silent.getsockname()[1]}/", "bad", open_timeout=60.0)
        good = live(web.url, "good")
        assert read_until(good, lambda f: f.sequence > 10)
        assert bad.status.state == "connecting"


def test_garbage_is_not_video(live):
    noise = random.Random(1).randbytes(200_000)
    with serve(lambda send, _: send(noise), len(noise)) as web:
        reader = live(web.url)
        until(lambda: reader.status.errors.get("invalid", 0) >= 2)
    assert "Invalid data" in reader.status.last_error


def test_a_stream_that_falls_silent_is_lost_and_comes_back(live, clips):
    def answer(send, number):
        at_real_rate(send, clips["short"], 1)
        if number == 0:
            time.sleep(30)  # the connection stays open

    with serve(answer) as web:
        reader = live(web.url, stall_timeout=0.7)
        frames = read_until(reader, lambda f: f.epoch == 1)
    assert frames[0].epoch == 0
    assert set(reader.status.errors) <= {"timeout", "hung"}


def test_sound_that_goes_on_does_not_hide_that_the_pictures_stopped(live, tmp_path):
    path = tmp_path / "half.ts"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"})
        video.width, video.height, video.pix_fmt = 192, 112, "yuv420p"
        sound = container.add_stream("mp2", rate=32000, layout="mono")
        for i in range(25 * 20):
            if i < 25:
                picture = av.VideoFrame.from_ndarray(numbered_picture(i), format="rgb24")
                picture.pts = i
                container.mux(video.encode(picture))
            if i == 25:
                container.mux(video.encode(None))
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1280), np.int16), format="s16", layout="mono")
            samples.rate, samples.pts = 32000, i * 1280
            container.mux(sound.encode(samples))
    content = path.read_bytes()
    with serve(lambda send, _: at_real_rate(send, content, 20)) as web:
        reader = live(web.url, stall_timeout=1.0)
        read_until(reader, lambda f: f.epoch == 1)
    assert reader.status.errors == {"timeout": 1}


def test_a_read_that_blocks_in_the_kernel_is_killed_by_the_watchdog(live, clips, tmp_path, caplog):
    """FFmpeg's own timeouts can't end a read from a pipe: this is the hang for good."""
    pipe = tmp_path / "camera.ts"
    os.mkfifo(pipe)
    finished = threading.Event()

    def camera():
        while not finished.is_set():
            try:
                with pipe.open("wb", buffering=0) as out:
                    out.write(clips["short"])
                    while not finished.wait(0.1):
                        out.write(b"")
                        if reader.status.errors.get("hung", 0) >= len(opened):
                            break
            except OSError:
                pass
            opened.append(1)

    opened = [1]
    reader = live(pipe, stall_timeout=0.5, open_timeout=3.0)
    writer = threading.Thread(target=camera, daemon=True)
    writer.start()
    with caplog.at_level(logging.WARNING, "streamheal.video"):
        frames = read_until(reader, lambda f: f.epoch == 1)
    finished.set()
    assert frames[0].epoch == 0
    assert reader.status.errors["hung"] >= 1
    assert "hung while reading, and was killed" in caplog.text


@pytest.mark.parametrize(("kill", "error"), [(signal.SIGKILL, "crashed"), (signal.SIGSTOP, "hung")])
def test_a_process_that_dies_or_freezes_is_replaced_and_begins_a_new_epoch(live, clips, kill, error):
    with serve(lambda send, _: at_real_rate(send, clips["ts"], 20)) as web:
        reader = live(web.url)
        read_until(reader, lambda f: f.sequence > 3)
        dead = reader.status.pid
        os.kill(dead, kill)
        frame = read_until(reader, lambda f: f.epoch == 1)[-1]
        assert reader.status.errors == {error: 1}
        assert reader.status.pid != dead
    assert frame.sequence == number_in(frame.image)
    assert not Path(f"/proc/{dead}").exists()


def test_a_process_that_failed_in_a_way_that_nobody_foresaw_is_not_used_again(live):
    reader = live("rtsp://127.0.0.1:9/", transport=5)  # PyAV refuses a number by another error than FFmpeg's
    pids = set()
    until(lambda: pids.add(reader.status.pid) or reader.status.errors.get("crashed", 0) >= 3)
    assert len(pids - {None}) >= 2
    assert set(reader.status.errors) == {"crashed"}


def test_many_readers_stop_in_the_time_that_one_takes(live, tmp_path):
    readers = []
    for i in range(6):
        os.mkfifo(tmp_path / f"pipe{i}.ts")
        readers.append(live(tmp_path / f"pipe{i}.ts", f"camera-{i}", open_timeout=60.0))
    until(lambda: all(r.status.pid for r in readers))
    time.sleep(1)
    began = time.monotonic()
    stop_all(readers)
    assert time.monotonic() - began < 3
    assert {r.status.state for r in readers} == {"stopped"}
