"""A small disk that a test can fill: a file system in memory, mounted where the tests run as root on Linux."""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest


class SmallDisk:
    """`path` is its root; `fill` leaves no byte, `clear` takes away what filled it, `leave` so much of that."""

    def __init__(self, path: Path):
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))

    def leave(self, room: int) -> None:
        os.truncate(self._filler, max(0, self._filler.stat().st_size - room))

    def clear(self) -> None:
        self._filler.unlink()


@pytest.fixture
def small_disk(tmp_path):
    """32 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(path)]
    if os.name != "posix" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux can mount a small disk")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)
