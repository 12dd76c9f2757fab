"""Whatever a file holds, reading it ends: with frames or a clear error, in bounded memory, and the parent lives."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamheal.errors import SourceError
from streamheal.video.link import OpenOptions
from streamheal.video.process import ReaderProcess
from streamheal.video.reader import Reader
from streamheal.video.ring import Ring
from streamheal.video.worker import MEMORY
from tests.fuzz import examples
from tests.fuzz.damage import damaged
from tests.fuzz.test_payloads import bomb
from tests.video.clips import write_clip

MAX_PIXELS = 1 << 20
SILENCE = 120  # seconds without a word after which a process counts as hung; machines can be slow
KINDS = ["mp4", "mkv", "ts", "avi"]
_SIZES = re.compile(r"^(VmHWM|VmPeak):\s+(\d+) kB", re.M)


class Reading:
    """Reader processes that read one file after the other: a process that a file kills is replaced and counted."""

    def __init__(self):
        self.ring = Ring.create(4, MAX_PIXELS)
        self.crashes = 0
        self.process = self._new()

    def _new(self) -> ReaderProcess:
        process = ReaderProcess(self.ring)
        assert process.link.waiting(SILENCE) and process.link.receive()["kind"] == "hello"
        return process

    def read(self, file: Path) -> int:
        """How many frames came of it. Fails if the process falls silent."""
        options = OpenOptions(url=str(file), live=False, max_pixels=MAX_PIXELS)
        link, frames = self.process.link, 0
        link.send("open", options=asdict(options), slots=list(range(self.ring.slots)))
        while True:
            assert link.waiting(SILENCE), "the reader process hangs"
            message = link.receive()
            if message is None:
                self.process.kill()
                self.crashes += 1
                self.process = self._new()
                return frames
            if message["kind"] == "frame":
                frames += 1
                link.send("free", slot=message["slot"])
            elif message["kind"] in ("ended", "failed"):
                return frames

    @property
    def peak(self) -> int:
        """Bytes of memory that the process has had at most."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(dict(_SIZES.findall(status))["VmHWM"]) << 10


@pytest.fixture(scope="module")
def reading():
    reading = Reading()
    yield reading
    reading.process.kill()
    reading.ring.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    codecs = {"avi": "mpeg4"}
    return {k: write_clip(folder / f"a.{k}", 6, codec=codecs.get(k, "libx264")).read_bytes() for k in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@examples(60)
def test_a_damaged_recording_ends(kind, whole, reading, tmp_path, data):
    file = tmp_path / f"damaged.{kind}"
    file.write_bytes(data.draw(damaged(whole[kind])))
    assert reading.read(file) <= 100
    assert reading.peak < 1 << 30


@given(content=st.binary(min_size=1, max_size=400), suffix=st.sampled_from(["mp4", "ts", "h264", "mjpg", "y4m", "dav"]))
@examples(60)
def test_any_bytes_end(content, suffix, reading, tmp_path):
    file = tmp_path / f"any.{suffix}"
    file.write_bytes(content)
    reading.read(file)
    assert reading.peak < 1 << 30


def test_the_reader_process_can_take_only_so_much(reading):
    limits = Path(f"/proc/{reading.process.pid}/limits").read_text()
    assert re.search(rf"^Max data size\s+{MEMORY}\s+{MEMORY}", limits, re.M)


HUGE = {
    "a picture": ("huge.png", bomb(30_000, 30_000)),
    "raw video": ("huge.y4m", b"YUV4MPEG2 W30000 H30000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(4096)),
    "a bitmap": ("huge.bmp", b"BM" + (54).to_bytes(12, "little") + b"".join(
        n.to_bytes(size, "little") for n, size in [(40, 4), (30_000, 4), (30_000, 4), (1, 2), (24, 2), (0, 24)]
    )),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content"), HUGE.values(), ids=HUGE)
def test_a_frame_of_30000_by_30000_takes_neither_the_machine_nor_the_run(name, content, tmp_path, reading):
    (tmp_path / name).write_bytes(content)
    assert reading.read(tmp_path / name) == 0
    assert reading.peak < 1 << 30


def test_a_frame_that_is_too_large_is_a_clear_error(tmp_path):
    (tmp_path / "huge.png").write_bytes(bomb(30_000, 30_000))
    with Reader("huge", tmp_path / "huge.png", live=False) as reader, pytest.raises(SourceError, match=r"huge\.png: "):
        reader.read()
