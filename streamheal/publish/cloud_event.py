"""What all our messages have in common: CloudEvents 1.0 in Kafka's binary mode, an attribute a header, keyed by camera.

The attributes are nine pairs of short strings, so they are written here rather than through a library that would itself
be a dependency.
"""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

PROTOBUF = "application/protobuf"


def iso_time(seconds: float) -> str:
    """UTC seconds as RFC 3339 with microseconds."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=round(seconds * 1_000_000))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def key(camera: str) -> bytes:
    """The record's key: what is said of one camera stays in one partition, and so in order."""
    return camera.encode()


def subject(job: str) -> tuple[str, str, str]:
    """Camera, epoch and track of the job `run/camera/epoch/track/revision`; the camera's name may hold slashes."""
    camera, epoch, track, _ = job.partition("/")[2].rsplit("/", 3)
    return camera, epoch, track


def attributes(
    job: str, *, type: str, time: float, about: str = "", content_type: str = PROTOBUF, data_schema: str | None = None
) -> list[tuple[str, bytes]]:
    """The headers of an event on the job `run/camera/epoch/track/revision`. The same arguments give the same ones.

    `time`: UTC seconds. `about`: added to the job's id where the job itself is another event's.
    """
    camera, epoch, track = subject(job)
    said = {
        "ce_specversion": "1.0",
        "ce_id": job + about,
        "ce_source": f"/streamheal/cameras/{quote(camera, safe='')}",
        "ce_type": type,
        "ce_time": iso_time(time),
        "ce_subject": f"{camera}/{epoch}/{track}",
        **({"ce_dataschema": data_schema} if data_schema else {}),
        "ce_partitionkey": camera,
        "content-type": content_type,
    }
    return [(name, value.encode()) for name, value in said.items()]
