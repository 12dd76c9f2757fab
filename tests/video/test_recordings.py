import os

import pytest

from streamheal.errors import SourceError
from streamheal.video import list_recordings


def touch(path, content=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_folder_gives_its_videos_at_any_depth_sorted_and_nothing_else(tmp_path):
    b, a, c = touch(tmp_path / "b.MP4"), touch(tmp_path / "a" / "z.mkv"), touch(tmp_path / "c.h264")
    touch(tmp_path / "notes.txt")
    touch(tmp_path / "face.png")
    touch(tmp_path / "._b.mp4")
    assert list_recordings(tmp_path) == [a, b, c]


def test_a_single_file_is_taken_whatever_its_name(tmp_path):
    file = touch(tmp_path / "footage.bin")
    assert list_recordings(str(file)) == [file]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceError, match=r"gone\.mp4 does not exist"):
        list_recordings(tmp_path / "gone.mp4")


def test_a_folder_without_video_says_what_counts(tmp_path):
    touch(tmp_path / "readme.txt")
    with pytest.raises(SourceError, match=r"no recordings in folder .*\.mp4"):
        list_recordings(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"empty \(0 bytes\)"):
        list_recordings(touch(tmp_path / "zero.mp4", b""))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    file = touch(tmp_path / "secret.mp4")
    file.chmod(0)
    with pytest.raises(SourceError, match="permissions"):
        list_recordings(file)
