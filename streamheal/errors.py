"""What goes wrong in a way that a user can mend, and the one place where secrets are taken out of text."""

import errno
import re
from urllib.parse import urlsplit, urlunsplit

# Greedy up to the last @ of the word: passwords hold @ and / where people forget to escape them.
_CREDENTIALS_IN_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*://)[^\s\"<>]*@")


class StreamhealError(Exception):
    """Says what was given, what is allowed, and what to do. The command line prints it without a traceback."""


class ConfigError(StreamhealError):
    """A pipeline file or a recipe says something that it may not say."""


class SourceError(StreamhealError):
    """A recording or camera can't be read."""


class WeightsError(StreamhealError):
    """A weight file is missing, empty, not safetensors, or not the one whose hash is pinned."""


class CalibrationError(StreamhealError):
    """A calibration is missing, damaged, or belongs to other weights."""


class SinkError(StreamhealError):
    """Where healed faces should go can't be reached or written."""


class NoRoom(SinkError):
    """The disk takes no more."""


class VaultError(StreamhealError):
    """Sealed bytes can't be opened: the key is missing, or they were changed or moved."""


class ProvenanceError(StreamhealError):
    """A picture doesn't say, or not readably, how it came to be; or its signature can't be made or checked."""


def not_written(text: str, error: OSError) -> SinkError:
    """NoRoom if `error` was for want of room, else SinkError."""
    return (NoRoom if error.errno in (errno.ENOSPC, errno.EDQUOT) else SinkError)(text)


def redact(text: object) -> str:
    """`text` without the user names and passwords of any URL in it, fit for logs, errors, events and reports."""
    return _CREDENTIALS_IN_URL.sub(r"\1***@", str(text))


def redact_url(url: str) -> str:
    """`url` without credentials and without its query, which on cameras often carries a token."""
    parts = urlsplit(url)
    query = "***" if parts.query else ""
    return redact(urlunsplit(parts._replace(query=query)))
