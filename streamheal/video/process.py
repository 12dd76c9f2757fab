"""Starting and ending a reader process."""

import os
import re
import subprocess
import sys
import tempfile
import threading
from multiprocessing import Pipe
from pathlib import Path

from streamheal.video.link import Link
from streamheal.video.ring import Ring

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])

_NEEDED = re.compile(r"PATH|HOME|LANG|LC_.*|TZ|TMPDIR|LD_.*|PYTHON.*|VIRTUAL_ENV|SSL_CERT_.*|(?i:(https?|no)_proxy)")
"""Of the environment, what Python and FFmpeg go by. The rest is for us alone: passwords and keys come in that way, and
the reader process is where hostile bytes meet C code."""


class ReaderProcess:
    """`python -m streamheal.video.worker`, with a link to it. One per camera; used again for each connection.

    A plain subprocess and not `multiprocessing`: that runs the program's main module once more in the child, which
    would load whatever a user's script loads (torch) and needs an `if __name__ == "__main__"`. The URL goes over the
    link, so that no password shows in the process list.
    """

    def __init__(self, ring: Ring):
        ours, theirs = Pipe()
        self.link = Link(ours)
        self._killing = threading.Lock()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `kill`)
        arguments = [theirs.fileno(), ring.fd, ring.slots, ring.slot_bytes]
        paths = [_PACKAGE_PARENT, os.environ.get("PYTHONPATH", "")]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "streamheal.video.worker", *map(str, arguments)],
                pass_fds=(theirs.fileno(), ring.fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                env={
                    **{name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)},
                    "PYTHONPATH": os.pathsep.join(p for p in paths if p),
                    "OMP_NUM_THREADS": "1",
                },
                start_new_session=True,  # Ctrl-C is for us; we then stop it
            )
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended_within(self, timeout: float) -> bool:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> str:
        """End it at once, whatever it does, and say in a few words how it had ended if it was dead already."""
        with self._killing:
            if self._stderr.closed:
                return "was killed"
            status = self._process.poll()
            self._process.kill()  # SIGKILL: the only signal that a process obeys which hangs in C code or is stopped
            self._process.wait()
            self.link.close()
            with self._stderr:
                self._stderr.seek(0, os.SEEK_END)
                self._stderr.seek(max(0, self._stderr.tell() - 4000))
                lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        if status is None:
            return "was killed"
        how = f"died of signal {-status}" if status < 0 else f"exited with status {status}"
        return f"{how}: {lines[-1]}" if lines and status > 0 else how
