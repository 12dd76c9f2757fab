"""The reader process: opens one stream when told to, decodes it into the ring, says what it did.

It imports PyAV and NumPy and nothing heavier, holds no state worth saving, and may be killed at any instant.
"""

import os
import queue
import resource
import sys
import threading
import time
from multiprocessing.connection import Connection

from streamheal.video.decode import Decoded, StreamError, VideoInput
from streamheal.video.link import Link, OpenOptions
from streamheal.video.rate import RateLimit
from streamheal.video.ring import Ring

ALIVE_EVERY = 0.5
"""Seconds between signs of life when packets come but no frames."""


SLOT_PATIENCE = 0.05
"""Seconds that a live frame waits for a slot before it is dropped."""

MEMORY = 4 << 30
"""Bytes beyond which the process is refused memory, the ring aside: the last bound on what a hostile file can take,
whatever the decoders' own checks miss. The largest picture allowed takes 1.5 GiB with sixteen reference frames."""


class Worker:
    """Two threads: this one reads the stream, the other listens, so that a stop is heard while a slot is awaited."""

    def __init__(self, link: Link, ring: Ring):
        self.link, self.ring = link, ring
        self._opens: queue.SimpleQueue[OpenOptions | None] = queue.SimpleQueue()
        self._free: set[int] = set()
        self._changed = threading.Condition()
        self._stop = False
        self._told_alive = 0.0

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        self.link.send("hello")
        while (options := self._opens.get()) is not None and not self._stop:
            try:
                self._read(options)
            except StreamError as error:
                self.link.send("failed", error_class=error.error_class, text=str(error))
            except Exception as error:  # reported instead of a traceback, which could show the URL
                where = error.__traceback__
                while where is not None and where.tb_next is not None:
                    where = where.tb_next
                line = f" in {os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}" if where else ""
                self.link.send("failed", error_class="crashed", text=f"{type(error).__name__}{line}")

    def _listen(self) -> None:
        while (message := self.link.receive()) is not None and message["kind"] != "stop":
            if message["kind"] == "open":
                with self._changed:
                    self._free = set(message["slots"])
                self._opens.put(OpenOptions(**message["options"]))
            elif message["kind"] == "free":
                with self._changed:
                    self._free.add(message["slot"])
                    self._changed.notify()
        if message is None:
            os._exit(0)  # our parent is gone: nobody wants a farewell to the camera
        with self._changed:
            self._stop = True
            self._changed.notify()
        self._opens.put(None)

    def _read(self, options: OpenOptions) -> None:
        stream = VideoInput(options, note=lambda text: self.link.send("note", text=text))
        try:
            self.link.send("opened", description=stream.description)
            sequence, limit = 0, RateLimit(options.max_fps)
            for decoded in stream:
                if self._stop:
                    return
                if decoded is None or sequence < options.skip:
                    sequence += decoded is not None
                    self._alive()
                    continue
                if options.live and not limit.allows():
                    self.link.send("dropped", cause="too-fast", count=1)
                else:
                    self._deliver(decoded, sequence, options.live)
                sequence += 1
            self.link.send("ended", warning="; ".join(stream.warnings) or None)
        finally:
            stream.close()  # says goodbye to an RTSP server, which else keeps the session for a minute

    def _alive(self) -> None:
        if time.monotonic() - self._told_alive > ALIVE_EVERY:
            self._told_alive = time.monotonic()
            self.link.send("alive")

    def _deliver(self, decoded: Decoded, sequence: int, live: bool) -> None:
        with self._changed:
            # Live, a slot is back in a moment: the frame that lies unread in it is given up for this one.
            self._changed.wait_for(lambda: self._free or self._stop, SLOT_PATIENCE if live else None)
            slot = self._free.pop() if self._free else None
        if self._stop:
            return
        if slot is None:
            self.link.send("dropped", cause="no-slot", count=1)
            return
        height, width = decoded.shape
        decoded.write(self.ring.view(slot, height, width))
        self._told_alive = time.monotonic()
        self.link.send(
            "frame",
            slot=slot,
            height=height,
            width=width,
            sequence=sequence,
            pts=decoded.pts,
            captured_at=decoded.captured_at,
            clock=decoded.clock,
            uncertainty=decoded.uncertainty,
            corrupt=decoded.corrupt,
        )


def main(arguments: list[str]) -> None:
    """`python -m streamheal.video.worker LINK_FD RING_FD SLOTS SLOT_BYTES`"""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    link_fd, ring_fd, slots, slot_bytes = (int(a) for a in arguments)
    Worker(Link(Connection(link_fd)), Ring(ring_fd, slots, slot_bytes)).run()


if __name__ == "__main__":
    main(sys.argv[1:])
