"""A heal job as a Kafka message and back. Exact both ways (visibility in whole 255ths, as the segmenter gives it); what
comes in is believed to be nothing that it isn't.

Its schema is `heal_job_v1.proto`. Who may write to the topic may send anything, so `decode` bounds every size before
memory is spent on it, and lets no name through that could not be a camera's.
"""

import math
import re

import numpy as np
from google.protobuf.message import DecodeError

from streamheal.cluster import heal_job_v1_pb2 as schema
from streamheal.publish import cloud_event
from streamheal.publish.enums import numbers, words
from streamheal.publish.pictures import from_png, grey, png, ungrey
from streamheal.records import FaceCrop, HealJob, Quality

TYPE = "streamheal.face.crops.v1"
DATA_SCHEMA = "urn:streamheal:schema:streamheal.cluster.v1.HealJob"

MAX_BYTES = 32 << 20
MAX_CROPS = 64  # config.Gallery.size
MIN_SIDE = 2  # pixels; config.Gallery.min_crop is never below 8
MAX_PIXELS = 16 << 20
"""Of all crops of a job together: one of the largest that faces/alignment.py cuts, or many smaller ones."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # config.Name: it ends up in keys and file names
_CLOCKS, _CLOCK_NAMES = numbers(schema.Clock), words(schema.Clock)
_REASONS, _REASON_NAMES = numbers(schema.Reason), words(schema.Reason)
_QUALITY = tuple(Quality.__dataclass_fields__)


class CropsCodec:
    """Heal jobs as messages of at most about `max_bytes`: a gallery that is larger leaves its last crops behind."""

    def __init__(self, max_bytes: int):
        self._room = max_bytes - 2048  # key, headers and the record's own framing

    def key(self, job: HealJob) -> bytes:
        """Jobs of one camera stay in one partition, and so in order and with one worker at a time."""
        return cloud_event.key(job.camera)

    def attributes(self, job: HealJob) -> list[tuple[str, bytes]]:
        """CloudEvents 1.0 attributes as Kafka headers. The same job always gives the same ones."""
        return cloud_event.attributes(job.id, type=TYPE, time=job.last_seen, data_schema=DATA_SCHEMA)

    def last(self, job: HealJob) -> bool:
        return job.reason == "ended"

    def encode(self, job: HealJob) -> bytes:
        """The payload. The best crop always travels, even where it alone is too large: the sender will say so."""
        message = _message(job)
        room = self._room - message.ByteSize()
        pixels = MAX_PIXELS
        for crop in job.crops[:MAX_CROPS]:
            part = _crop(crop)
            room -= part.ByteSize() + 8
            pixels -= crop.image.shape[0] ** 2
            if message.crops and (room < 0 or pixels < 0):
                break
            message.crops.append(part)
        return message.SerializeToString(deterministic=True)


def encode(job: HealJob) -> bytes:
    """The whole job, of whatever size."""
    return CropsCodec(MAX_BYTES).encode(job)


def decode(payload: bytes | None) -> HealJob:
    """The job in a payload. Raises ValueError, with what is wrong, if it isn't one that could be healed."""
    message = _parse(payload)
    for name, value in (("run", message.run), ("camera", message.camera)):
        if not _NAME.fullmatch(value):
            raise ValueError(f"the {name} {value[:80]!r} is no name: letters, digits, _ . - are, at most 64")
    if not message.revision:
        raise ValueError("revision 0: they are counted from 1")
    if not 1 <= len(message.crops) <= MAX_CROPS:
        raise ValueError(f"{len(message.crops)} crops; 1 to {MAX_CROPS} make a gallery")
    if (pixels := sum(crop.side**2 for crop in message.crops)) > MAX_PIXELS:
        raise ValueError(f"its crops have {pixels} pixels together; at most {MAX_PIXELS} are taken")
    _finite("times", [message.first_seen, message.last_seen])
    return HealJob(
        run=message.run,
        camera=message.camera,
        epoch=message.epoch,
        track=message.track,
        revision=message.revision,
        reason=_known(_REASON_NAMES, message.reason, "reason"),
        crops=tuple(_face_crop(message, crop) for crop in message.crops),
        first_seen=message.first_seen,
        last_seen=message.last_seen,
        frames=message.frames,
    )


def job_id(payload: bytes | None) -> str | None:
    """The id of the job in a payload, without a look at its pictures; None where there is no job in it."""
    try:
        job = _parse(payload)
    except ValueError:
        return None
    return f"{job.run}/{job.camera}/{job.epoch}/{job.track}/{job.revision}"


def _parse(payload: bytes | None) -> schema.HealJob:
    if not payload:
        raise ValueError("the message is empty")
    if len(payload) > MAX_BYTES:
        raise ValueError(f"{len(payload)} bytes; a job has at most {MAX_BYTES}")
    try:
        return schema.HealJob.FromString(payload)
    except DecodeError as error:
        raise ValueError(f"not a streamheal.cluster.v1.HealJob: {error}") from error


def _message(job: HealJob) -> schema.HealJob:
    """The job without its crops."""
    return schema.HealJob(
        run=job.run,
        camera=job.camera,
        epoch=job.epoch,
        track=job.track,
        revision=job.revision,
        reason=_REASONS[job.reason],
        first_seen=job.first_seen,
        last_seen=job.last_seen,
        frames=job.frames,
    )


def _crop(crop: FaceCrop) -> schema.Crop:
    message = schema.Crop(
        png=png(crop.image),
        side=crop.image.shape[0],
        sequence=crop.sequence,
        captured_at=crop.captured_at,
        clock=_CLOCKS[crop.clock],
        clock_uncertainty=crop.clock_uncertainty,
        affine=np.ravel(crop.affine).tolist(),
        box=np.ravel(crop.box).tolist(),
        landmarks=np.ravel(crop.landmarks).tolist(),
        detector_score=crop.detector_score,
        quality=schema.Quality(**{name: getattr(crop.quality, name) for name in _QUALITY}),
    )
    if crop.visible is not None:
        message.visible_png = png(grey(crop.visible))
    return message


def _face_crop(job: schema.HealJob, crop: schema.Crop) -> FaceCrop:
    side = crop.side
    if side < MIN_SIDE:
        raise ValueError(f"a crop of {side} px; at least {MIN_SIDE} are needed")
    quality = Quality(**{name: getattr(crop.quality, name) for name in _QUALITY})
    times = [crop.captured_at, crop.clock_uncertainty]
    _finite("numbers of a crop", [*times, crop.detector_score, *(getattr(quality, name) for name in _QUALITY)])
    image = from_png(crop.png)
    if image.shape != (side, side, 3) or image.dtype != np.uint8:
        raise ValueError(f"a picture of shape {image.shape}; {(side, side, 3)} of 8 bits was announced")
    return FaceCrop(
        camera=job.camera,
        epoch=job.epoch,
        track=job.track,
        sequence=crop.sequence,
        captured_at=crop.captured_at,
        clock=_known(_CLOCK_NAMES, crop.clock, "clock"),
        clock_uncertainty=crop.clock_uncertainty,
        image=image,
        affine=_numbers(crop.affine, np.float64, (2, 3), "affine"),
        box=_numbers(crop.box, np.float32, (4,), "box"),
        landmarks=_numbers(crop.landmarks, np.float32, (5, 2), "landmarks"),
        detector_score=crop.detector_score,
        quality=quality,
        visible=_visible(crop),
    )


def _visible(crop: schema.Crop) -> np.ndarray | None:
    side = crop.side
    if crop.HasField("visible_png"):
        picture = from_png(crop.visible_png)
        if picture.shape != (side, side) or picture.dtype != np.uint8:
            raise ValueError(f"visible is a picture of shape {picture.shape}; {(side, side)} of 8 bits is its crop's")
        return ungrey(picture)
    if not crop.HasField("visible"):
        return None
    visible = _numbers(crop.visible, "<f4", (side, side), "visible").astype(np.float32)
    if visible.min() < 0 or visible.max() > 1:
        raise ValueError("visible is not within 0 and 1")
    return visible


def _numbers(values, dtype, shape: tuple[int, ...], what: str) -> np.ndarray:
    """`values`, numbers or their bytes, as an array of `shape`. Raises ValueError unless all are there and finite."""
    try:
        if isinstance(values, bytes):
            array = np.frombuffer(values, dtype).reshape(shape)
        else:
            array = np.array(values, dtype).reshape(shape)
    except ValueError:
        raise ValueError(f"{what} has {len(values)} values, which don't make {shape}") from None
    if not np.isfinite(array).all():
        raise ValueError(f"{what} is not finite")
    return array


def _finite(what: str, values: list[float]) -> None:
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{what} are not finite")


def _known(names: dict, number: int, what: str):
    if number not in names:
        raise ValueError(f"{what} {number} is unknown to this version")
    return names[number]
