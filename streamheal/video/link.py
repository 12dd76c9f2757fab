"""The words between a reader and its process: small JSON messages over a socket pair, never pickles.

A decoder is where hostile bytes meet C code; what comes out of its process is data and nothing that runs.

    to the process     open (options, free slots) · free (slot) · stop
    from the process   hello · opened (description) · alive · frame (slot, shape, times) · dropped (cause, count)
                       · note (text) · ended (warning) · failed (error_class, text)
"""

import contextlib
import json
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_MAX_MESSAGE = 1 << 16


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What to open and how. Travels to the reader process as JSON."""

    url: str  # URL or absolute path, credentials included
    live: bool
    transport: str = "tcp"  # RTSP only
    open_timeout: float = 10.0  # seconds
    stall_timeout: float = 10.0  # seconds without a packet
    max_height: int | None = None  # taller pictures are scaled down to this height
    max_pixels: int = 8192 * 8192  # larger ones are refused
    max_fps: float = 60.0  # live: frames beyond are dropped before they are converted
    skip: int = 0  # recordings: frames at the start to decode but not deliver


class Link:
    """One end. Sending is safe from several threads; receiving is for one."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self._sending = threading.Lock()

    def send(self, kind: str, **fields: Any) -> bool:
        """False if the other end is gone."""
        message = json.dumps({"kind": kind, **fields}).encode()
        try:
            with self._sending:
                self.connection.send_bytes(message)
        except (OSError, ValueError):
            return False
        return True

    def receive(self) -> dict[str, Any] | None:
        """The next message, waiting for it; None once the other end is gone (or talks nonsense)."""
        try:
            message = json.loads(self.connection.recv_bytes(_MAX_MESSAGE))
        except (EOFError, OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def waiting(self, timeout: float) -> bool:
        """True if a message (or the end) is there within `timeout` seconds."""
        try:
            return self.connection.poll(timeout)
        except (OSError, ValueError):
            return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.close()
