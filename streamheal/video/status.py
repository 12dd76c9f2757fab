"""What a reader says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from streamheal.video.backoff import ErrorClass

State = Literal["connecting", "streaming", "backing-off", "ended", "failed", "stopped"]


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """What a reader has done so far. Frames count from start to stop, over all epochs."""

    name: str
    source: str  # path, or URL without credentials
    state: State
    epoch: int = 0  # grows with each reconnect
    frames: int = 0  # handed out by `read`
    corrupt: int = 0  # of those, the ones flagged corrupt
    dropped: int = 0  # decoded but not handed out, live only
    drops: Mapping[str, int] = field(default_factory=dict)  # the same by cause: "superseded", "no-slot", "too-fast"
    reconnects: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)  # failed attempts and losses by error class
    error_class: ErrorClass | None = None  # of the last error; None again once frames flow
    last_error: str | None = None  # in words, without credentials; for a recording also a warning
    description: str | None = None  # codec, size and rate, once it is open
    pid: int | None = None  # of the reader process
