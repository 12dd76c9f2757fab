"""How often a message has taken a worker down, kept where the group keeps its place: in the offset's own metadata.

Before a worker heals, it commits the place where it already is, with a note that it is about to try. If it dies, the
next one reads the note. If it does not, the note goes with the offset. So there is no state to lose, and none to clean
up.
"""

from kafka.structs import OffsetAndMetadata

_MARK = "attempt "


def about_to_try(offset: int, before: int) -> OffsetAndMetadata:
    """The place `offset`, with a note that this is attempt number `before + 1`."""
    return OffsetAndMetadata(offset, f"{_MARK}{before + 1}", -1)


def done(offset: int) -> OffsetAndMetadata:
    """The place after the message at `offset`."""
    return OffsetAndMetadata(offset + 1, "", -1)


def attempts_at(offset: int, committed: OffsetAndMetadata | None) -> int:
    """How many attempts at the message at `offset` were begun and never ended."""
    if committed is None or committed.offset != offset or not committed.metadata.startswith(_MARK):
        return 0
    number = committed.metadata.removeprefix(_MARK)
    return int(number) if number.isdecimal() else 0
