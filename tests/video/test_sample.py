"""The demo clip: real faces, tiny, moving, partly hidden, the same each time."""

import av
import numpy as np
import pytest

from streamheal.errors import SourceError
from streamheal.video import sample


def test_the_clip_is_a_real_h264_file_of_the_length_asked_for(tmp_path):
    path = sample.render(tmp_path / "demo.mp4", seconds=1, fps=10, width=480, height=270)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert sum(1 for _ in container.decode(stream)) == 10
        assert "composite" in container.metadata["comment"]


def test_a_clip_that_is_there_stays_and_another_takes_its_place(tmp_path):
    small = {"seconds": 1, "fps": 2, "width": 480, "height": 270}
    path = sample.render(tmp_path / "demo.mp4", **small)
    before = path.stat()
    assert sample.render(path, **small).stat().st_mtime_ns == before.st_mtime_ns
    assert sample.render(path, **small, seed=1).stat().st_ino != before.st_ino
    path.write_bytes(b"cut short")
    assert sample.render(path, **small).stat().st_size > 1000


def test_the_same_seed_renders_the_same_pictures():
    first, again, other = (
        np.stack(list(sample.pictures(seconds=1, fps=2, width=480, height=270, seed=seed))) for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_faces_move():
    first, last = sample.pictures(seconds=1, fps=2, width=480, height=270, seed=0)
    assert (np.abs(first.astype(int) - last) > 60).mean() > 0.005


def test_a_photograph_that_is_gone_is_a_clear_error(monkeypatch):
    person = sample.Person("skimage", "data/nobody.png", *[None] * 5)
    monkeypatch.setattr(sample, "PEOPLE", (person,))
    with pytest.raises(SourceError, match="does not carry it"):
        next(sample.pictures(seconds=1, fps=2, width=480, height=270, seed=0))
