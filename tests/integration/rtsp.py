"""A real RTSP camera server, started, killed and restarted by tests."""

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.video.clips import write_clip

_SCRIPT = Path(__file__).with_name("rtsp_server.py")
_NEEDS = (
    "import gi; gi.require_version('GstRtspServer', '1.0')\n"
    "from gi.repository import Gst, GstRtspServer; Gst.init(None)\n"
    "assert all(Gst.ElementFactory.find(e) for e in ('qtdemux', 'h264parse', 'rtph264pay'))"
)
RATE = 25


@functools.cache
def gstreamer_python() -> str | None:
    """A Python that has GStreamer's bindings, the RTSP server and the elements we need; None if there is none."""
    for python in (sys.executable, "/usr/bin/python3"):
        try:
            if subprocess.run([python, "-c", _NEEDS], capture_output=True, timeout=60, check=False).returncode == 0:
                return python
        except (OSError, subprocess.TimeoutExpired):
            continue
    return None


class RtspCamera:
    """One camera server: `start` it, `kill` it (as a power cut does), start it again on the same port."""

    def __init__(self, clip: Path, auth: str | None = None, user: str = "", password: str = ""):
        self.clip, self.auth, self.user, self.password = clip, auth, user, password
        self.port = 0
        self.sent: dict[int, float] = {}  # number of the frame in the clip → UTC seconds of its stamp
        self._process: subprocess.Popen | None = None

    def start(self) -> "RtspCamera":
        arguments = [gstreamer_python(), str(_SCRIPT), str(self.clip), "--port", str(self.port)]
        if self.auth:
            arguments += ["--auth", self.auth, "--user", self.user]
        self._process = subprocess.Popen(
            arguments, stdout=subprocess.PIPE, text=True, env={**os.environ, "CAMERA_PASSWORD": self.password}
        )
        said = self._process.stdout.readline().split()
        assert said[:1] == ["ready"], "the RTSP server did not start"
        self.port = int(said[1])
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        return self

    def _listen(self, output) -> None:
        with output:
            for line in output:
                _, pts, utc = line.split()
                self.sent[round(float(pts) * RATE)] = float(utc)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def url(self, password: str | None = None) -> str:
        password = self.password if password is None else password
        return f"rtsp://{f'{self.user}:{password}@' if self.user else ''}127.0.0.1:{self.port}/cam"


@pytest.fixture(scope="session")
def rtsp_clip(tmp_path_factory) -> Path:
    """A minute of numbered pictures."""
    return write_clip(tmp_path_factory.mktemp("rtsp") / "camera.mp4", 60 * RATE, RATE)


@pytest.fixture
def rtsp_camera(rtsp_clip) -> Iterator[Callable[..., RtspCamera]]:
    """Starts cameras: `rtsp_camera(auth="digest", user=…, password=…)`. Skips where GStreamer is not installed."""
    if gstreamer_python() is None:
        pytest.skip(
            "GStreamer's RTSP server is not installed (Debian: gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base "
            "gstreamer1.0-plugins-good gstreamer1.0-plugins-bad python3-gi)"
        )
    cameras = []

    def start(clip: Path = rtsp_clip, **options) -> RtspCamera:
        cameras.append(RtspCamera(clip, **options).start())
        return cameras[-1]

    yield start
    for camera in cameras:
        camera.kill()
