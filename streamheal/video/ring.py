"""Pixels between the reader process and ours: a few slots of shared memory, no names, no copies through a pipe.

The memory is an anonymous file (`memfd_create`, or an unlinked temporary file where there is none) whose descriptor the
child inherits. It has no name that could be left behind by `kill -9`, and it does not count against `/dev/shm`, which
containers keep at 64 MB. It is sparse: each slot is as long as the largest picture allowed, but only the pages that
were written take memory, so the size of frames may change mid-stream.
"""

import contextlib
import mmap
import os
import tempfile

import numpy as np


class Ring:
    """`slots` places for one RGB picture each. Who may touch a slot is settled by messages, not here."""

    def __init__(self, fd: int, slots: int, slot_bytes: int):
        self.fd, self.slots, self.slot_bytes = fd, slots, slot_bytes
        self._memory = mmap.mmap(fd, slots * slot_bytes)

    @classmethod
    def create(cls, slots: int, max_pixels: int) -> "Ring":
        """A fresh ring whose slots hold RGB24 pictures of up to `max_pixels`."""
        slot_bytes = -(-max_pixels * 3 // mmap.PAGESIZE) * mmap.PAGESIZE
        fd = _anonymous_file()
        os.ftruncate(fd, slots * slot_bytes)
        return cls(fd, slots, slot_bytes)

    def view(self, slot: int, height: int, width: int) -> np.ndarray:
        """The picture in `slot` as a `(height, width, 3)` uint8 array on the shared memory itself."""
        size = height * width * 3
        if not (0 <= slot < self.slots and height > 0 and width > 0 and size <= self.slot_bytes):
            raise ValueError(f"{height}x{width} in slot {slot} does not fit {self.slots} x {self.slot_bytes} bytes")
        return np.frombuffer(self._memory, np.uint8, size, slot * self.slot_bytes).reshape(height, width, 3)

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # a view is still alive; the mapping goes with it
            self._memory.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("streamheal-frames")
    with tempfile.TemporaryFile(prefix="streamheal-frames") as file:
        return os.dup(file.fileno())
