"""Frames in: one watched process per camera or recording, its pixels in shared memory."""

from streamheal.video.reader import Reader, stop_all
from streamheal.video.recordings import list_recordings
from streamheal.video.status import ReaderStatus

__all__ = ["Reader", "ReaderStatus", "list_recordings", "stop_all"]
