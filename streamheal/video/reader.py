"""Frames from one camera or recording: the reader process, watched, restarted, and never waited for."""

import os
import random
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from streamheal.errors import redact_url
from streamheal.records import Frame
from streamheal.video.backoff import Backoff
from streamheal.video.exchange import Exchange
from streamheal.video.link import OpenOptions
from streamheal.video.recordings import check_recording
from streamheal.video.ring import Ring
from streamheal.video.status import ReaderStatus
from streamheal.video.supervisor import STOP_GRACE, Supervisor

MAX_PIXELS = 8192 * 8192


class Reader:
    """Reads one camera (`live=True`) or one recording, in a process of its own.

    Live: the newest frame wins, what nobody fetched in time is dropped and counted; a lost or unreachable camera is
    retried for ever, and each reconnect begins a new epoch. Recorded: every frame is handed out in order, the process
    waits for its consumer; the end, or an error, is final.

    `read` hands out frames that own their pixels. `notify`, if given, is called from the reader's thread whenever a
    frame or a change of state is there, so that one consumer can wait for many readers; it must return at once.

    `open_timeout`: seconds to the first frame; `stall_timeout`: seconds without a frame (recordings: without a sign of
    life) before the attempt is given up; by default 10 for cameras and 60 for recordings, which may lie on slow disks.
    `skip`: number of frames at the start of a recording that are not delivered (their sequence numbers are left out),
    to resume after an interruption. `max_height`: taller pictures are scaled down. `max_pixels`: larger ones are
    refused. `max_fps`: frames of a camera beyond so many a second are dropped and counted. `first_epoch`: what a camera
    that had another reader before begins to count from.

    Raises SourceError if a recording is missing or empty.
    """

    def __init__(
        self,
        name: str,
        source: str | os.PathLike[str],
        *,
        live: bool,
        transport: Literal["tcp", "udp"] = "tcp",
        open_timeout: float | None = None,
        stall_timeout: float | None = None,
        max_height: int | None = None,
        max_pixels: int = MAX_PIXELS,
        max_fps: float = 60.0,
        first_epoch: int = 0,
        skip: int = 0,
        notify: Callable[[], None] | None = None,
        backoff: Backoff | None = None,
        wait: Callable[[float], bool] | None = None,
    ):
        self.name, self.live = name, live
        source = os.fspath(source)
        is_url = "://" in source
        if not is_url and not live:
            check_recording(Path(source))
            source = str(Path(source).expanduser().resolve())
        options = OpenOptions(
            url=source,
            live=live,
            transport=transport,
            open_timeout=open_timeout or (10.0 if live else 60.0),
            stall_timeout=stall_timeout or (10.0 if live else 60.0),
            max_height=max_height,
            max_pixels=max_pixels,
            max_fps=max_fps,
            skip=skip,
        )
        self._stopping = threading.Event()
        self._ring = Ring.create(3 if live else 4, max_pixels)
        shown = redact_url(source) if is_url else source
        self._exchange = Exchange(
            name,
            shown,
            self._ring,
            live=live,
            skip=skip,
            first_epoch=first_epoch,
            notify=notify or (lambda: None),
        )
        self._supervisor = Supervisor(
            options,
            self._exchange,
            stopping=self._stopping,
            backoff=backoff or Backoff(rng=random.Random()),
            wait=wait or self._stopping.wait,
        )

    def start(self) -> "Reader":
        """Begin to read. Returns at once; a camera that is not there delays nobody."""
        self._supervisor.start()
        return self

    def read(self, timeout: float | None = None) -> Frame | None:
        """The next frame (live: the newest), or None if there is none within `timeout` seconds, or none any more.

        Raises SourceError if a recording has failed, after its readable frames were handed out.
        """
        taken = self._exchange.take(timeout)
        if taken is None:
            return None
        epoch, message = taken
        image = np.empty((message["height"], message["width"], 3), np.uint8)
        try:
            np.copyto(image, self._ring.view(message["slot"], *image.shape[:2]))
        finally:
            self._exchange.free(message["slot"])
        self._exchange.count(corrupt=message["corrupt"])
        return Frame(
            camera=self.name,
            epoch=epoch,
            sequence=message["sequence"],
            pts=message["pts"],
            captured_at=message["captured_at"],
            clock=message["clock"],
            clock_uncertainty=message["uncertainty"],
            image=image,
            corrupt=message["corrupt"],
        )

    @property
    def ended(self) -> bool:
        """True once no more frames will come: the recording was read and handed out to its end, failed, or stopped."""
        return self._exchange.ended

    @property
    def status(self) -> ReaderStatus:
        return self._exchange.status

    def request_stop(self) -> None:
        """Ask for the end without waiting for it."""
        self._stopping.set()
        process = self._exchange.process
        if process is not None:
            process.link.send("stop")

    @property
    def running(self) -> bool:
        """False before the start, and again once a stop that was asked for has come about: `stop` is then instant."""
        return self._supervisor.is_alive()

    def stop(self) -> None:
        """End the reader and its process, in well under a second even where it hangs. Unread frames are gone."""
        self.request_stop()
        process = self._exchange.process
        if process is not None and not process.ended_within(STOP_GRACE):
            process.kill()
        if self.running:
            self._supervisor.join(5.0)
        self._ring.close()
        self._exchange.stop()

    def __enter__(self) -> "Reader":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def stop_all(readers: Iterable[Reader]) -> None:
    """Stop many readers in the time that one takes."""
    readers = list(readers)
    for reader in readers:
        reader.request_stop()
    for reader in readers:
        reader.stop()
