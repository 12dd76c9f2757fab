"""Tells consumers of the Kafka topic that faces were deleted here, so that they delete theirs.

A CloudEvent of its own type with nothing in it but the id of the healed face's event. No tombstone: the topic's keys
are cameras, and a record without a value would stand for all faces of one.
"""

import json
from collections.abc import Iterable

from streamheal.publish import cloud_event
from streamheal.publish.outbox import Outbox

TYPE = "streamheal.face.forgotten.v1"
ABOUT = "/forgotten"


def tell(outbox: Outbox, ids: Iterable[str], now: float) -> int:
    """Put a notice for each of the events `run/camera/epoch/track/revision` into the outbox. How many are new.

    `now`: UTC seconds. Raises SinkError where they can't be kept.
    """
    return sum(outbox.add(id + ABOUT, _key(id), _attributes(id, now), _payload(id)) for id in ids)


def _payload(id: str) -> bytes:
    return json.dumps({"id": id}).encode()


def _key(id: str) -> bytes:
    """That of the event itself: the notice comes after it in the same partition."""
    return cloud_event.key(cloud_event.subject(id)[0])


def _attributes(id: str, now: float) -> list[tuple[str, bytes]]:
    return cloud_event.attributes(id, type=TYPE, time=now, about=ABOUT, content_type="application/json")
