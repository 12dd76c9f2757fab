"""Frames in: one watched process per camera or recording, its pixels in shared memory."""

from streamheal.video.reader import Reader, ReaderStatus, stop_all
from streamheal.video.recordings import list_recordings

__all__ = ["Reader", "ReaderStatus", "list_recordings", "stop_all"]
