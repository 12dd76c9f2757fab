"""Recordings through the real reader process."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from streamheal.errors import SourceError
from streamheal.video import Reader, attempt
from streamheal.video.clocks import UNKNOWN
from streamheal.video.exchange import Exchange
from tests.video.clips import HEIGHT, WIDTH, number_in, numbered_picture, write_clip, write_sound
from tests.video.web import serve


def read_all(reader: Reader) -> list:
    frames = []
    while not reader.ended:
        frame = reader.read(timeout=1)
        if frame is not None:
            frames.append(frame)
    return frames


def numbers(frames) -> list[int]:
    return [number_in(frame.image) for frame in frames]


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 60, b_frames=2, options={"movflags": "faststart"})


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi", ".h264"])
def test_every_frame_comes_once_and_in_order_the_last_ones_too(tmp_path, suffix):
    # AVI and raw H.264 name no presentation times, so there B-frames are left out.
    path = write_clip(tmp_path / f"clip{suffix}", 60, b_frames=0 if suffix in (".avi", ".h264") else 2)
    with Reader("door", path, live=False) as reader:
        frames = read_all(reader)
    assert numbers(frames) == list(range(60))
    assert [f.sequence for f in frames] == list(range(60))
    assert [f.pts for f in frames] == pytest.approx([i / 25 for i in range(60)], abs=0.002)
    assert {(f.camera, f.epoch, f.corrupt, f.clock) for f in frames} == {("door", 0, False, "media")}
    assert reader.status.state == "ended"
    assert reader.status.last_error is None


def test_frames_are_rgb_and_belong_to_the_consumer(clip):
    with Reader("door", clip, live=False) as reader:
        first = reader.read(10)
        kept = first.image.copy()
        rest = read_all(reader)
    assert first.image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(first.image.astype(int) - numbered_picture(0)).mean() < 6
    assert np.array_equal(first.image, kept)
    assert first.image.flags.owndata
    assert len(rest) == 59


def test_a_slow_consumer_makes_a_recording_wait(clip, monkeypatch):
    monkeypatch.setattr(attempt, "GRACE", 0.1)
    with Reader("door", clip, live=False, stall_timeout=2) as reader:  # well above the thread's own pause of 0.5 s
        frames = [reader.read(10)]
        time.sleep(3)
        frames += read_all(reader)
    assert numbers(frames) == list(range(60))
    assert reader.status.dropped == 0
    assert reader.status.errors == {}


def test_reading_resumes_after_the_frames_that_were_done(clip):
    with Reader("door", clip, live=False, skip=57) as reader:
        frames = read_all(reader)
    assert numbers(frames) == [57, 58, 59]
    assert [f.sequence for f in frames] == [57, 58, 59]
    assert frames[0].pts == pytest.approx(57 / 25)


def test_a_recording_is_dated_by_its_creation_time(tmp_path):
    path = write_clip(tmp_path / "dated.mp4", 10, metadata={"creation_time": "2021-05-22T11:48:31Z"})
    with Reader("door", path, live=False) as reader:
        frames = read_all(reader)
    assert frames[5].captured_at == pytest.approx(1621684111 + 0.2)
    assert frames[5].clock_uncertainty == pytest.approx(1.4, abs=0.1)


def test_a_recording_without_a_date_counts_from_1970_and_says_so(clip):
    with Reader("door", clip, live=False) as reader:
        frame = reader.read(10)
    assert (frame.captured_at, frame.clock_uncertainty) == (0.0, UNKNOWN)


def test_pictures_taller_than_the_limit_are_scaled_down(clip):
    with Reader("door", clip, live=False, max_height=56) as reader:
        assert reader.read(10).image.shape == (56, 96, 3)


def test_a_size_that_changes_mid_stream_changes_the_frames(tmp_path):
    small = write_clip(tmp_path / "small.h264", 10)
    large = write_clip(tmp_path / "large.h264", 10, size=(384, 256), first=10)
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with Reader("door", path, live=False) as reader:
        frames = read_all(reader)
    assert numbers(frames) == list(range(20))
    assert [f.image.shape[:2] for f in frames] == [(HEIGHT, WIDTH)] * 10 + [(256, 384)] * 10


def test_a_still_picture_is_a_recording_of_one_frame(tmp_path):
    cv2 = pytest.importorskip("cv2")
    cv2.imwrite(str(tmp_path / "still.png"), numbered_picture(1234)[..., ::-1])
    with Reader("door", tmp_path / "still.png", live=False) as reader:
        assert numbers(read_all(reader)) == [1234]


def test_a_missing_and_an_empty_file_are_refused_at_once(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        Reader("door", tmp_path / "gone.mp4", live=False)
    (tmp_path / "zero.mp4").touch()
    with pytest.raises(SourceError, match="0 bytes"):
        Reader("door", tmp_path / "zero.mp4", live=False)


def cut(path: Path, clip: Path, share: float) -> Path:
    content = clip.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def failure(path: Path, **options) -> str:
    def read_past_the_end(reader):
        read_all(reader)
        reader.read(0)

    with Reader("door", path, live=False, **options) as reader, pytest.raises(SourceError) as caught:
        read_past_the_end(reader)
    assert reader.status.state == "failed"
    return str(caught.value)


def test_sound_without_video_is_one_clear_error(tmp_path):
    assert "there is no video in it, only audio" in failure(write_sound(tmp_path / "song.mp4"))


def test_what_is_no_video_is_one_clear_error(tmp_path):
    (tmp_path / "letter.mp4").write_text("Dear Sir or Madam, " * 100)
    assert "letter.mp4: it can't be opened as video" in failure(tmp_path / "letter.mp4")


def test_a_file_cut_short_before_its_index_is_one_clear_error(tmp_path):
    path = cut(tmp_path / "cut.mp4", write_clip(tmp_path / "whole.mp4", 60), 0.5)  # the index comes last
    assert "cut.mp4: it can't be opened as video" in failure(path)


def test_a_file_cut_short_gives_what_can_be_decoded_and_says_so(tmp_path, caplog):
    clip = write_clip(tmp_path / "whole.mp4", 60, options={"movflags": "faststart"})
    path = cut(tmp_path / "cut.mp4", clip, 0.6)
    with caplog.at_level(logging.WARNING, "streamheal.video"), Reader("door", path, live=False) as reader:
        got = numbers(read_all(reader))
    assert 20 < len(got) < 50
    assert got == list(range(len(got)))
    assert reader.status.state == "ended"
    assert "cut short: its index names 60 frames" in reader.status.last_error
    assert caplog.text.count("cut short") == 1


def test_a_recording_on_a_web_server_that_breaks_off_gives_what_has_come(clip):
    content = clip.read_bytes()
    with (
        serve(lambda send, _: send(content[: len(content) * 6 // 10]), len(content)) as web,
        Reader("door", web.url, live=False) as reader,
    ):
        got = numbers(read_all(reader))
    assert got == sorted(set(got))
    assert f"of {len(got) + 1} packets 1 are damaged" in reader.status.last_error  # all others became pictures
    assert reader.status.state == "ended"
    assert "can't be read to its end" in reader.status.last_error


def test_pictures_that_are_too_large_are_one_clear_error(clip):
    message = failure(clip, max_pixels=10_000)
    assert "192x112 pixels, more than the 10000 that are allowed" in message


def test_a_process_that_dies_is_replaced_and_no_frame_is_lost_or_doubled(clip, caplog):
    with caplog.at_level(logging.WARNING, "streamheal.video"), Reader("door", clip, live=False) as reader:
        frames = [reader.read(10) for _ in range(20)]
        dead = reader.status.pid
        os.kill(dead, signal.SIGSEGV)
        while reader.status.pid in (None, dead) or reader.status.state != "streaming":
            time.sleep(0.01)
        time.sleep(0.5)  # the new one reads as far as it can, and must not touch the frames that lie unread
        frames += read_all(reader)
    assert numbers(frames) == list(range(60))
    assert [f.sequence for f in frames] == list(range(60))
    assert reader.status.errors == {"crashed": 1}
    assert "died of signal 11; reading on from frame" in caplog.text


def test_a_process_that_hangs_is_replaced_and_no_frame_is_lost_or_doubled(clip, monkeypatch):
    monkeypatch.setattr(attempt, "GRACE", 0.2)
    with Reader("door", clip, live=False, stall_timeout=0.5) as reader:
        frames = [reader.read(10) for _ in range(20)]
        os.kill(reader.status.pid, signal.SIGSTOP)
        frames += read_all(reader)
    assert numbers(frames) == list(range(60))
    assert reader.status.errors == {"hung": 1}


def test_a_file_that_hangs_for_good_fails_after_some_attempts(tmp_path, monkeypatch):
    monkeypatch.setattr(attempt, "GRACE", 0.1)
    os.mkfifo(tmp_path / "pipe.ts")  # nobody writes: opening it blocks in the kernel, out of FFmpeg's reach
    message = failure(tmp_path / "pipe.ts", open_timeout=0.2)
    assert "hung while opening" in message


def test_stop_is_quick_while_the_process_hangs_in_open(tmp_path):
    os.mkfifo(tmp_path / "pipe.ts")
    reader = Reader("door", tmp_path / "pipe.ts", live=False).start()
    while reader.status.pid is None:
        time.sleep(0.01)
    time.sleep(0.5)
    pid = reader.status.pid
    began = time.monotonic()
    reader.stop()
    assert time.monotonic() - began < 2  # 0.3 s in truth; the margin is for busy machines
    assert not Path(f"/proc/{pid}").exists()
    assert reader.status.state == "stopped"
    assert reader.ended


def test_stop_before_the_end_and_twice_leaves_no_process(clip):
    reader = Reader("door", clip, live=False).start()
    reader.read(10)
    pid = reader.status.pid
    reader.stop()
    reader.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert reader.read(0) is None


def test_a_reader_that_was_never_started_can_be_stopped(clip):
    Reader("door", clip, live=False).stop()


def test_readers_leave_no_open_files_behind(clip):
    def run():
        with Reader("door", clip, live=False) as reader:
            reader.read(10)
            os.kill(reader.status.pid, signal.SIGKILL)
            read_all(reader)

    def opened():  # what they are, not how many: another test's may close meanwhile
        files = Path("/proc/self/fd").iterdir()
        return {(file.name, os.readlink(file)) for file in files if file.is_symlink()}

    run()
    before = opened()
    run()
    run()
    assert not opened() - before


@pytest.mark.parametrize("nonsense", [{"slot": 99, "height": 1, "width": 1}, {"slot": 0, "height": 1, "width": -1}, {}])
def test_a_process_that_sends_nonsense_is_replaced(clip, monkeypatch, nonsense):
    """A decoder that hostile video has taken over must not reach beyond its slots."""
    put, told = Exchange.put, []

    def first_nonsense(self, message):
        if not told:
            told.append(1)
            message = nonsense
        put(self, message)

    monkeypatch.setattr(Exchange, "put", first_nonsense)
    with Reader("door", clip, live=False) as reader:
        assert numbers(read_all(reader)) == list(range(60))
    assert reader.status.errors == {"crashed": 1}


def test_the_consumer_is_notified_of_frames_and_of_the_end(clip):
    calls = []
    with Reader("door", clip, live=False, notify=lambda: calls.append(1)) as reader:
        read_all(reader)
    assert len(calls) >= 60


def test_the_reader_process_loads_neither_torch_nor_the_caller_s_program(tmp_path, clip):
    program = tmp_path / "program.py"  # without `if __name__ == "__main__"`, as users write them
    program.write_text(
        "import sys\n"
        "print('loaded')\n"
        "from streamheal.video import Reader\n"
        f"reader = Reader('door', {str(clip)!r}, live=False).start()\n"
        "reader.read(20)\n"
        "maps = open(f'/proc/{reader.status.pid}/maps').read()\n"
        "print('torch' in maps, 'cv2' in maps, 'libavcodec' in maps)\n"
        "reader.stop()\n"
        "print('torch' in sys.modules, 'av' in sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ran = subprocess.run([sys.executable, program], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.splitlines() == ["loaded", "False False True", "False False"]


def test_the_reader_process_goes_when_its_parent_is_killed(tmp_path):
    os.mkfifo(tmp_path / "pipe.ts")
    program = (
        "import sys, time\n"
        "from streamheal.video import Reader\n"
        f"reader = Reader('door', {str(tmp_path / 'pipe.ts')!r}, live=False).start()\n"
        "while reader.status.pid is None: time.sleep(0.01)\n"
        "time.sleep(1)\n"
        "print(reader.status.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    root = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not _alive(pid):
            return
        time.sleep(0.1)
    pytest.fail("the reader process outlived its parent by 10 s")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
