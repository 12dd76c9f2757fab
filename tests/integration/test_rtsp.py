"""The reader against a real camera server: connect, loss and return, wrong passwords, clocks."""

import logging
import socket
import time

import numpy as np
import pytest

from streamheal.video import Reader, attempt, stop_all
from streamheal.video.backoff import DELAYS, Backoff
from streamheal.video.decode import VideoInput
from streamheal.video.link import OpenOptions
from tests.integration.proxy import Proxy
from tests.video.clips import number_in
from tests.video.test_live import Waits, read_until, until

pytestmark = pytest.mark.integration


@pytest.fixture
def live(monkeypatch):
    """Starts live readers whose waits between attempts are short, and stops them at the end."""
    monkeypatch.setattr(attempt, "GRACE", 0.5)
    readers = []

    def start(source, name="door", **options) -> Reader:
        settings = {"open_timeout": 10.0, "stall_timeout": 2.0, "wait": Waits(), "backoff": Backoff()}
        reader = Reader(name, source, live=True, **{**settings, **options}).start()
        readers.append(reader)
        return reader

    yield start
    stop_all(readers)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_frames_arrive_in_order_and_are_the_ones_that_were_sent(rtsp_camera, live, transport):
    camera = rtsp_camera()
    reader = live(camera.url(), transport=transport)
    frames = read_until(reader, lambda f: f.sequence > 40)
    numbers = [number_in(f.image) for f in frames]
    assert numbers == sorted(set(numbers))
    assert set(numbers) <= set(camera.sent)
    assert np.diff([f.pts for f in frames]) == pytest.approx(np.diff(numbers) / 25, abs=0.002)
    assert {(f.epoch, f.corrupt) for f in frames} == {(0, False)}
    assert reader.status.description == "h264 192x112, 25 fps"
    assert reader.status.errors == {}


def test_the_sender_s_clock_is_used_and_right_to_the_stated_uncertainty(rtsp_camera, live):
    camera = rtsp_camera()
    reader = live(camera.url())
    frames = read_until(reader, lambda f: f.clock == "sender" and f.sequence > 200)  # 8 s: more than one report
    by_sender = [f for f in frames if f.clock == "sender"]
    assert len(by_sender) > 50
    for frame in frames:
        error = frame.captured_at - camera.sent[number_in(frame.image)]
        assert abs(error) <= frame.clock_uncertainty, f"{frame.clock} clock is off by {error:.3f} s"
    assert {f.clock for f in frames if f.sequence < by_sender[0].sequence} <= {"arrival"}
    assert max(f.clock_uncertainty for f in by_sender) < 0.2


def test_a_camera_that_dies_is_missed_and_comes_back_with_a_new_epoch(rtsp_camera, live, caplog):
    camera = rtsp_camera()
    with caplog.at_level(logging.INFO, "streamheal.video"):
        reader = live(camera.url())
        before = read_until(reader, lambda f: f.sequence > 5)
        camera.kill()
        until(lambda: reader.status.errors.get("unreachable", 0) >= 3)
        status = reader.status
        camera.start()
        after = read_until(reader, lambda f: f.epoch == 1 and f.sequence > 5)
    assert {f.epoch for f in before} == {0}
    assert status.state in ("backing-off", "connecting")
    assert sum(status.errors.values()) > status.errors["unreachable"]  # the loss itself
    assert after[-1].sequence == number_in(after[-1].image)  # counted from 0 again
    assert reader.status.reconnects == 1
    assert "is back, epoch 1" in caplog.text
    warnings = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 2, "one for the loss and one for being unreachable, however many attempts"


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_the_right_password_gets_in(rtsp_camera, live, auth):
    camera = rtsp_camera(auth=auth, user="viewer", password="p4ss-w0rd")
    assert live(camera.url()).read(20) is not None


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_wrong_password_is_told_apart_waits_long_and_is_shown_nowhere(rtsp_camera, live, auth, caplog):
    camera = rtsp_camera(auth=auth, user="viewer", password="right")
    waits = Waits()
    with caplog.at_level(logging.DEBUG, "streamheal.video"):
        reader = live(camera.url(password="hunter2"), wait=waits)
        until(lambda: reader.status.errors.get("auth", 0) >= 2)
    assert set(reader.status.errors) == {"auth"}
    assert min(waits.seconds) >= DELAYS["auth"].least > DELAYS["lost"].first
    assert "401" in reader.status.last_error
    for secret in ("hunter2", "viewer"):
        assert secret not in caplog.text
        assert secret not in repr(reader.status)


def test_a_stream_that_the_camera_does_not_have_is_told_apart(rtsp_camera, live):
    camera = rtsp_camera()
    reader = live(camera.url() + "-2")
    until(lambda: reader.status.errors.get("not-found", 0) >= 1)
    assert "404" in reader.status.last_error


def test_cameras_that_are_not_there_at_the_start_delay_neither_the_others_nor_the_stop(rtsp_camera, live):
    camera = rtsp_camera()
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dumb = live(f"rtsp://127.0.0.1:{silent.getsockname()[1]}/cam", "silent", open_timeout=60.0)
        gone = live(f"rtsp://127.0.0.1:{closed.getsockname()[1]}/cam", "gone", wait=None)
        good = live(camera.url(), "good")
        read_until(good, lambda f: f.sequence > 5)
        assert dumb.status.state == "connecting"
        assert gone.status.errors["unreachable"] >= 1
        began = time.monotonic()
        stop_all([dumb, gone, good])
        assert time.monotonic() - began < 2
    assert {r.status.state for r in (dumb, gone, good)} == {"stopped"}


def test_a_server_that_accepts_and_says_nothing_is_given_up_and_tried_again(live):
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = live(f"rtsp://127.0.0.1:{server.getsockname()[1]}/cam", open_timeout=1.0)
        until(lambda: sum(reader.status.errors.values()) >= 2)
        assert set(reader.status.errors) <= {"timeout", "hung"}
        until(lambda: reader.status.state == "connecting")
        began = time.monotonic()
        reader.stop()
        assert time.monotonic() - began < 2


def test_a_connection_that_is_cut_is_made_again(rtsp_camera, live):
    """A proxy between camera and reader resets the connection: the camera is well, the network is not."""
    camera = rtsp_camera()
    with Proxy(camera.port) as proxy:
        reader = live(f"rtsp://127.0.0.1:{proxy.port}/cam")
        read_until(reader, lambda f: f.sequence > 5)
        proxy.cut()
        frame = read_until(reader, lambda f: f.epoch == 1)[-1]
    assert frame.sequence == number_in(frame.image)


def test_a_connection_that_freezes_is_given_up(rtsp_camera, live):
    camera = rtsp_camera()
    with Proxy(camera.port) as proxy:
        reader = live(f"rtsp://127.0.0.1:{proxy.port}/cam", stall_timeout=1.0)
        read_until(reader, lambda f: f.sequence > 5)
        proxy.frozen = True
        until(lambda: sum(reader.status.errors.values()) >= 1)
        assert set(reader.status.errors) <= {"timeout", "hung"}
        proxy.cut()
        proxy.frozen = False
        read_until(reader, lambda f: f.epoch == 1)


def test_bytes_that_are_corrupted_on_the_way_cost_a_reconnect_at_most(rtsp_camera, live):
    camera = rtsp_camera()
    with Proxy(camera.port) as proxy:
        reader = live(f"rtsp://127.0.0.1:{proxy.port}/cam")
        read_until(reader, lambda f: f.sequence > 5)
        proxy.corrupt = 0.2
        frames = read_until(reader, lambda f: reader.status.corrupt >= 5 or f.epoch > 2, 60)
        proxy.corrupt = 0.0
        whole = read_until(reader, lambda f: not f.corrupt and f.sequence > 20, 60)
    assert frames
    assert number_in(whole[-1].image) in camera.sent
    assert "crashed" not in reader.status.errors


def test_a_network_that_delays_everything_does_not_shift_capture_times(rtsp_camera, live):
    camera = rtsp_camera()
    with Proxy(camera.port) as proxy:
        proxy.delay = 1.0
        reader = live(f"rtsp://127.0.0.1:{proxy.port}/cam", open_timeout=30.0, stall_timeout=10.0)
        frames = read_until(reader, lambda f: f.clock == "sender" and f.sequence > 100, 60)
    frame = frames[-1]
    assert abs(frame.captured_at - camera.sent[number_in(frame.image)]) <= frame.clock_uncertainty


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_sender_whose_clock_is_wrong_by_an_hour_is_not_believed(rtsp_camera, ahead):
    camera = rtsp_camera()
    notes = []
    stream = VideoInput(OpenOptions(url=camera.url(), live=True), now=lambda: time.time() - ahead, note=notes.append)
    clocks = []
    for decoded in stream:
        if decoded is not None:
            clocks.append(decoded.clock)
            assert abs(decoded.captured_at - (time.time() - ahead)) < 60
        if notes:
            break
    stream.close()
    assert set(clocks) == {"arrival"}
    assert notes == [f"its clock is off by about {ahead:.0f} s against ours; times of arrival are used instead"]
