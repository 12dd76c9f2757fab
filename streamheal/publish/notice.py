"""Tells consumers of the Kafka topic that faces were deleted here, so that they delete theirs.

A CloudEvent of its own type with nothing in it but the id of the healed face's event. No tombstone: the topic's keys
are cameras, and a record without a value would stand for all faces of one.
"""

import json
from collections.abc import Iterable
from urllib.parse import quote

from streamheal.publish.event import iso_time
from streamheal.publish.outbox import Outbox

TYPE = "streamheal.face.forgotten.v1"


def tell(outbox: Outbox, ids: Iterable[str], now: float) -> int:
    """Put a notice for each of the events `run/camera/epoch/track/revision` into the outbox. How many are new.

    `now`: UTC seconds. Raises SinkError where they can't be kept.
    """
    return sum(outbox.add(f"{id}/forgotten", _key(id), _attributes(id, now), _payload(id)) for id in ids)


def _payload(id: str) -> bytes:
    return json.dumps({"id": id}).encode()


def _key(id: str) -> bytes:
    """The camera, as of the event itself: the notice comes after it in the same partition."""
    return id.rsplit("/", 4)[1].encode()


def _attributes(id: str, now: float) -> list[tuple[str, bytes]]:
    _, camera, epoch, track, _ = id.rsplit("/", 4)
    said = {
        "ce_specversion": "1.0",
        "ce_id": f"{id}/forgotten",
        "ce_source": f"/streamheal/cameras/{quote(camera, safe='')}",
        "ce_type": TYPE,
        "ce_time": iso_time(now),
        "ce_subject": f"{camera}/{epoch}/{track}",
        "ce_partitionkey": camera,
        "content-type": "application/json",
    }
    return [(name, value.encode()) for name, value in said.items()]
