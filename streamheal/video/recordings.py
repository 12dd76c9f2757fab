"""Which files a source path means."""

import os
from pathlib import Path

from streamheal.errors import SourceError

VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".asf", ".wmv", ".flv", ".ogv", ".mxf", ".dav",
    ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".mjpg", ".mjpeg",
    ".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".y4m",
})  # fmt: skip


def list_recordings(path: str | os.PathLike[str]) -> list[Path]:
    """The recordings at `path`: the file itself, or a folder's videos at any depth, by known suffix, sorted by path.

    A single file is taken whatever its suffix (a picture counts as a recording of one frame).

    Raises SourceError where there is nothing, where a folder holds no video, or where a file is empty.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file() and not file.name.startswith(".")
        )
        if not found:
            suffixes = " ".join(sorted(VIDEO_SUFFIXES))
            raise SourceError(f"no recordings in folder {path}; files that end in {suffixes} count")
        return found
    check_recording(path)
    return [path]


def check_recording(path: Path) -> None:
    """Raises SourceError unless there is something to read at `path`."""
    if not path.exists():
        raise SourceError(f"recording {path} does not exist; give a video file or a folder of them")
    if path.is_dir():
        raise SourceError(f"{path} is a folder; give one of the files that list_recordings finds in it")
    if not os.access(path, os.R_OK):
        raise SourceError(f"recording {path} may not be read by this user; check its permissions")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"recording {path} is empty (0 bytes); copy it again from where it was made")
