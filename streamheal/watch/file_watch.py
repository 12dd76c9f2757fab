"""Tells when a file says something else than before. Looks, and is not told: that works on every file system, through
the renames by which editors save, and through the symbolic links by which containers mount their settings."""

import hashlib
import os
from pathlib import Path


class FileWatch:
    """Remembers the content of the file at `path`. Cheap to ask once a second: while size, inode and time of change
    stand still, nothing is read."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._stamp: tuple[int, ...] | None = self._look()
        self._known = self._read()
        self._pending: bytes | None = None  # new content, seen once

    def changed(self, *, settled: bool = True) -> bool:
        """True, once, when the content is new. A file that isn't there is no news: it is between two renames, or gone.

        `settled`: only when two calls in a row saw the same new content, since an editor that writes in place may have
        written half of it when we look.
        """
        stamp = self._look()
        if stamp is None or (stamp == self._stamp and self._pending is None and settled):
            return False
        self._stamp = stamp
        content = self._read()
        if content is None or content == self._known:
            self._pending = None
            return False
        if settled and content != self._pending:
            self._pending = content
            return False
        self._known, self._pending = content, None
        return True

    def _look(self) -> tuple[int, ...] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns

    def _read(self) -> bytes | None:
        """The digest of the content."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").digest()
        except OSError:
            return None
