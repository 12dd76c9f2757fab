"""A good camera among bad ones: nobody else's trouble reaches it, and nobody holds up the stop."""

import fcntl
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import termios
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.pipeline.live import Run, until, write
from tests.video.clips import write_clip
from tests.video.rtsp_script import METHODS, Camera, access_units, interleaved, packet, steady

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def noise(number):
    """Packets without end that hold nothing."""
    for i in itertools.count():
        time.sleep(0.01)
        yield interleaved(0, packet(i, i * 3600, random.Random(i).randbytes(800)))


@pytest.fixture
def bad(tmp_path):
    """A camera for each kind of trouble: name → settings."""
    units = access_units(write_clip(tmp_path / "clip.h264", 100))
    cameras = {f"silent-at-{method}": Camera(silent_at=method) for method in ("CONNECT", *METHODS)}
    cameras["nonsense"] = Camera(answers={"DESCRIBE": random.Random(0).randbytes(100_000)})
    cameras["noise"] = Camera(noise)
    cameras["flood"] = Camera(lambda number: steady(itertools.chain.from_iterable(itertools.repeat(units)), 200))
    cameras["falls-over"] = Camera(lambda number: steady(units[:3]))
    cameras["dies"] = Camera(lambda number: steady(itertools.chain.from_iterable(itertools.repeat(units))))
    with ExitStack() as stack:
        for camera in cameras.values():
            stack.enter_context(camera)
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        urls = {name: camera.url for name, camera in cameras.items()}
        urls["closed"] = f"rtsp://127.0.0.1:{closed.getsockname()[1]}/cam"
        yield {name: {"url": url, "open_timeout": 3, "stall_timeout": 3} for name, url in urls.items()}


def test_one_good_camera_among_bad_ones_of_every_kind_is_watched_as_if_it_were_alone(rtsp_camera, bad, tmp_path):
    good = rtsp_camera()
    path = write(tmp_path / "p.yaml", {"good": {"url": good.url(), "open_timeout": 60, "stall_timeout": 60}, **bad})
    with Run(path) as run:
        until(lambda: run.state("good") == run.state("dies") == run.state("flood") == "streaming", 120)
        for _ in range(3):
            before = run.readers["dies"].status
            os.kill(before.pid, signal.SIGKILL)
            until(lambda: run.readers["dies"].status.epoch > before.epoch)  # noqa: B023
        until(lambda: run.readers["good"].status.frames > 50)
        troubled = {name: run.readers[name].status for name in bad}
        status = run.readers["good"].status
        began = time.monotonic()
    took = time.monotonic() - began
    assert (status.epoch, status.errors, status.reconnects) == (0, {}, 0)
    assert troubled["dies"].errors["crashed"] >= 3
    assert troubled["closed"].errors["unreachable"] >= 1
    assert any(job.camera == "good" for job in run.sink.jobs)
    # The promise is 5 s; a busy machine gets twice that here.
    assert took < 10, f"the stop took {took:.1f} s"


PROGRAM = (
    "from streamheal.pipeline import live_file; live_file.LOOK_EVERY = 1e6; from streamheal.cli import main; main()"
)


@contextmanager
def service(path, **options):
    """`streamheal run`, which looks at its file when it is told to and at no other time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, "run", str(path)], env=environment, **options)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_hang_up_signal_makes_a_service_read_its_file_again(tmp_path):
    nobody = "rtsp://127.0.0.1:9/cam"
    path = write(tmp_path / "p.yaml", {"gate": nobody}, output={"path": str(tmp_path / "out")})
    copy = tmp_path / "out" / "state" / "running.yaml"
    with service(path, stdin=subprocess.DEVNULL) as process:
        until(lambda: copy.exists() or process.poll() is not None, 120)
        write(path, {"gate": nobody, "roof": nobody}, output={"path": str(tmp_path / "out")})
        process.send_signal(signal.SIGHUP)
        until(lambda: "roof" in copy.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    log = (tmp_path / "out" / "state" / "audit.jsonl").read_text()
    assert "configuration changed" in log and "camera added: roof" in log


def test_a_terminal_that_is_closed_ends_the_run_in_order(tmp_path):
    path = write(tmp_path / "p.yaml", {"gate": "rtsp://127.0.0.1:9/cam"}, output={"path": str(tmp_path / "out")})
    ours, theirs = os.openpty()

    def take_terminal():
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with service(path, stdin=theirs, stdout=subprocess.DEVNULL, preexec_fn=take_terminal) as process:
        os.close(theirs)
        until(lambda: (tmp_path / "out" / "state" / "running.yaml").exists() or process.poll() is not None, 120)
        os.close(ours)
        assert process.wait(60) == 0
    assert '"stop"' in (tmp_path / "out" / "state" / "audit.jsonl").read_text()
