"""What a run is called, and what its cameras are. Names that stay the same make event ids that stay the same."""

import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from streamheal.config import PipelineConfig

_SAMPLE = 1 << 20


def live_run_id() -> str:
    """A live run's footage comes only once, so its name is its moment; the tail tells apart two in one second."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ") + "-" + secrets.token_hex(2)


def recorded_run_id(path: Path, config: PipelineConfig) -> str:
    """The same footage with the same settings is the same run: 12 hex digits of the file's size, its first and last
    MiB, and every setting that has a say in which faces are found and when they are published."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file:
        digest.update(size.to_bytes(8, "little"))
        digest.update(file.read(_SAMPLE))
        file.seek(max(0, size - _SAMPLE))
        digest.update(file.read(_SAMPLE))
    detector = config.detector.model_dump_json(exclude={"batch", "device"})  # where and how fast, not what
    digest.update(detector.encode())
    for part in (config.tracker, config.gallery, config.occlusion):
        digest.update(part.model_dump_json().encode())
    return digest.hexdigest()[:12]


def camera_names(paths: Sequence[Path], root: Path | None) -> Iterator[tuple[Path, str]]:
    """Each recording with the name of its camera: the file's, with its folders below `root` before it."""
    taken: set[str] = set()
    for path in paths:
        inside = path.relative_to(root) if root and root.is_dir() else Path(path.name)
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", "-".join(inside.with_suffix("").parts)).strip("._-")[:60] or "recording"
        numbered, count = name, 2
        while numbered in taken:  # a.mp4 beside a.avi
            numbered, count = f"{name}-{count}", count + 1
        taken.add(numbered)
        yield path, numbered
