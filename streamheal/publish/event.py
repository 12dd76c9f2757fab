"""The event: a healed face as Protobuf bytes and back, as CloudEvents attributes, and as small JSON.

The payload's schema is `healed_face_v1.proto`.
"""

import numpy as np
from google.protobuf.message import DecodeError

from streamheal.errors import redact
from streamheal.publish import cloud_event
from streamheal.publish import healed_face_v1_pb2 as schema
from streamheal.publish.cloud_event import iso_time
from streamheal.publish.enums import numbers, words
from streamheal.publish.face_pictures import pictures_of
from streamheal.publish.pictures import from_png, ungrey
from streamheal.publish.signing import SIGNED
from streamheal.records import (
    ExpectedError,
    FaceCrop,
    HealedFace,
    HealJob,
    Identity,
    Match,
    ModelUsed,
    Provenance,
    Quality,
    SourceFrame,
)

TYPE = "streamheal.face.healed.v1"
DATA_SCHEMA = "urn:streamheal:schema:streamheal.v1.HealedFace"

_CLOCKS, _CLOCK_NAMES = numbers(schema.Clock), words(schema.Clock)
_REASONS, _REASON_NAMES = numbers(schema.Reason), words(schema.Reason)
_MATCH = ("slope", "intercept", "threshold", "true_accept_rate")
_QUALITY = ("size", "sharpness", "yaw", "pitch", "roll", "exposure", "visible", "score")


def nanoseconds(seconds: float) -> int:
    """UTC seconds as whole nanoseconds. Today's float seconds are good to about 200 ns."""
    return round(seconds * 1_000_000_000)


def key(face: HealedFace) -> bytes:
    """The record's key: events of one camera stay in one partition and so in order."""
    return cloud_event.key(face.job.camera)


def last(face: HealedFace) -> bool:
    """Whether the track is over: no newer revision of it will come."""
    return face.job.reason == "ended"


def attributes(face: HealedFace) -> list[tuple[str, bytes]]:
    """CloudEvents 1.0 attributes as Kafka headers. The same face always gives the same ones."""
    return cloud_event.attributes(face.id, type=TYPE, time=face.job.last_seen, data_schema=DATA_SCHEMA)


def encode(face: HealedFace) -> bytes:
    """The payload. Of the gallery only the best crop travels; the others are named by their frame numbers."""
    job, best, made = face.job, face.job.best, face.provenance
    pictures = pictures_of(face)
    message = schema.HealedFace(
        original_png=pictures["original"],
        embedding_original=_floats(face.embedding_original),
        visible_png=pictures["occlusion"],
        evidence_png=pictures["evidence"],
        abstained=face.abstained or "",
        id=face.id,
        run=job.run,
        camera=job.camera,
        epoch=job.epoch,
        track=job.track,
        revision=job.revision,
        reason=_REASONS[job.reason],
        first_seen_ns=nanoseconds(job.first_seen),
        last_seen_ns=nanoseconds(job.last_seen),
        frames=job.frames,
        crop=schema.Crop(
            sequence=best.sequence,
            captured_at_ns=nanoseconds(best.captured_at),
            clock=_CLOCKS[best.clock],
            clock_uncertainty_ns=nanoseconds(best.clock_uncertainty),
            box=_floats(best.box),
            landmarks=_floats(best.landmarks),
            affine=_floats(best.affine),
            detector_score=best.detector_score,
            quality=schema.Quality(**{name: float(getattr(best.quality, name)) for name in _QUALITY}),
        ),
        provenance=schema.Provenance(
            software=made.software,
            models=[schema.Model(role=m.role, name=m.name, sha256=m.sha256) for m in made.models],
            source_frames=made.source_frames,
            restorer=made.restorer,
            restorer_reason=made.restorer_reason,
            digital_source_type=made.digital_source_type,
            settings=[schema.Setting(key=k, value=redact(v)) for k, v in sorted(made.settings.items())],
            sources=[
                schema.SourceFrame(
                    sequence=s.sequence,
                    captured_at_ns=nanoseconds(s.captured_at),
                    clock=_CLOCKS[s.clock],
                    clock_uncertainty_ns=nanoseconds(s.clock_uncertainty),
                )
                for s in made.sources
            ],
            credentials=made.credentials,
        ),
    )
    if face.embedding_track is not None:
        message.embedding_track.extend(_floats(face.embedding_track))
    if face.identity is not None:
        _put_identity(message, face.identity)
    if face.restored is not None:
        message.restored.png = pictures["restored"]
        message.restored.marked = face.marked
        message.restored.digital_source_type = made.digital_source_type
        if face.embedding_restored is not None:
            message.restored.embedding.extend(_floats(face.embedding_restored))
        if face.drift is not None:
            message.restored.drift = face.drift
        if face.hallucinated is not None:
            message.restored.hallucinated_png = pictures["hallucinated"]
        if face.expected_error is not None:
            for part in ("seen", "hallucinated"):
                if (error := getattr(face.expected_error, part)) is not None:
                    setattr(message.restored, f"expected_error_{part}", error)
    return message.SerializeToString(deterministic=True)


def _put_identity(message: schema.HealedFace, identity: Identity) -> None:
    message.match_with = identity.match_with
    message.match_original.CopyFrom(_put_match(identity.original))
    if identity.track is not None:
        message.match_track.CopyFrom(_put_match(identity.track))
    if identity.restored is not None:
        message.restored.match.CopyFrom(_put_match(identity.restored))
    if identity.kept is not None:
        message.restored.kept = identity.kept


def _put_match(match: Match) -> schema.Match:
    return schema.Match(**{name: getattr(match, name) for name in _MATCH})


def decode(payload: bytes) -> HealedFace:
    """The healed face in a payload, of this version or any later one that only added fields.

    It differs from the one that was sent where the event says less: the job has the best crop alone, `restored` bears
    the visible mark if it is marked, maps are good to 1/255, times to about 200 ns.

    Raises ValueError if `payload` is not such an event.
    """
    message = schema.HealedFace()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise ValueError(f"not a streamheal.v1.HealedFace: {error}") from error
    if not message.id or not message.original_png:
        raise ValueError("not a streamheal.v1.HealedFace: it has no id or no original crop")
    crop, made = message.crop, message.provenance
    original = _colour(message.original_png)
    visible = _map(message.visible_png)
    best = FaceCrop(
        camera=message.camera,
        epoch=message.epoch,
        track=message.track,
        sequence=crop.sequence,
        captured_at=crop.captured_at_ns / 1e9,
        clock=_CLOCK_NAMES.get(crop.clock, "arrival"),
        clock_uncertainty=crop.clock_uncertainty_ns / 1e9,
        image=original,
        affine=np.array(crop.affine, np.float64).reshape(2, 3),
        box=np.array(crop.box, np.float32).reshape(4),
        landmarks=np.array(crop.landmarks, np.float32).reshape(5, 2),
        detector_score=crop.detector_score,
        quality=Quality(**{name: getattr(crop.quality, name) for name in _QUALITY}),
        visible=visible,
    )
    has_restored = message.HasField("restored")
    restored = message.restored
    return HealedFace(
        job=HealJob(
            run=message.run,
            camera=message.camera,
            epoch=message.epoch,
            track=message.track,
            revision=message.revision,
            reason=_REASON_NAMES.get(message.reason, "improved"),
            crops=(best,),
            first_seen=message.first_seen_ns / 1e9,
            last_seen=message.last_seen_ns / 1e9,
            frames=message.frames,
        ),
        original=original,
        embedding_original=np.array(message.embedding_original, np.float32),
        visible=visible,
        restored=_colour(restored.png) if has_restored else None,
        signed=restored.png if made.credentials == SIGNED else None,
        evidence=_map(message.evidence_png),
        embedding_restored=np.array(restored.embedding, np.float32) if restored.embedding else None,
        drift=restored.drift if restored.HasField("drift") else None,
        abstained=message.abstained or None,
        provenance=Provenance(
            software=made.software,
            models=tuple(ModelUsed(m.role, m.name, m.sha256) for m in made.models),
            source_frames=tuple(made.source_frames),
            restorer=made.restorer,
            restorer_reason=made.restorer_reason,
            digital_source_type=made.digital_source_type,
            settings={s.key: s.value for s in made.settings},
            sources=tuple(
                SourceFrame(
                    s.sequence,
                    s.captured_at_ns / 1e9,
                    _CLOCK_NAMES.get(s.clock, "arrival"),
                    s.clock_uncertainty_ns / 1e9,
                )
                for s in made.sources
            ),
            credentials=made.credentials,
        ),
        marked=restored.marked if has_restored else True,
        embedding_track=np.array(message.embedding_track, np.float32) if message.embedding_track else None,
        hallucinated=_map(restored.hallucinated_png) > 0.5 if restored.hallucinated_png else None,
        expected_error=_expected_error(restored),
        identity=_identity(message),
    )


def _identity(message: schema.HealedFace) -> Identity | None:
    if not message.HasField("match_original"):
        return None
    restored = message.restored
    return Identity(
        original=_match(message.match_original),
        track=_match(message.match_track) if message.HasField("match_track") else None,
        restored=_match(restored.match) if restored.HasField("match") else None,
        kept=restored.kept if restored.HasField("kept") else None,
    )


def _match(said: schema.Match) -> Match:
    return Match(**{name: getattr(said, name) for name in _MATCH})


def _expected_error(restored: schema.Restored) -> ExpectedError | None:
    known = {
        part: getattr(restored, f"expected_error_{part}")
        for part in ("seen", "hallucinated")
        if restored.HasField(f"expected_error_{part}")
    }
    return ExpectedError(**{"seen": None, "hallucinated": None} | known) if known else None


def _colour(data: bytes) -> np.ndarray:
    if (picture := from_png(data)).ndim != 3:
        raise ValueError("a grey picture stands where a face should be")
    return picture


def _map(data: bytes) -> np.ndarray:
    if (picture := from_png(data)).ndim != 2:
        raise ValueError("a picture in colour stands where a map should be")
    return ungrey(picture)


def to_json(face: HealedFace) -> dict:
    """The event without its pictures, for `events.jsonl`: the original first, what a network made apart and marked."""
    job, best, made, identity = face.job, face.job.best, face.provenance, face.identity
    return {
        "id": face.id,
        "type": TYPE,
        "run": job.run,
        "camera": job.camera,
        "epoch": job.epoch,
        "track": job.track,
        "revision": job.revision,
        "reason": job.reason,
        "match_with": identity.match_with if identity else "original",
        "original": {
            "side_px": int(face.original.shape[0]),
            "embedding": _rounded(face.embedding_original, 7),
            "visible_share": _rounded(face.visible.mean(), 4),
            "frame": best.sequence,
            "captured_at": iso_time(best.captured_at),
            "captured_at_ns": nanoseconds(best.captured_at),
            "clock": best.clock,
            "clock_uncertainty_ns": nanoseconds(best.clock_uncertainty),
            "box": _rounded(best.box, 2),
            "landmarks": _rounded(best.landmarks, 2),
            "affine": _rounded(best.affine, 6),
            "detector_score": _rounded(best.detector_score, 4),
            "quality": {name: _rounded(getattr(best.quality, name), 4) for name in _QUALITY},
            "match": _match_json(identity.original if identity else None),
        },
        "track_mean": None
        if face.embedding_track is None
        else {
            "embedding": _rounded(face.embedding_track, 7),
            "match": _match_json(identity.track if identity else None),
        },
        "restored": None
        if face.restored is None
        else {
            "made_by_network": True,
            "digital_source_type": made.digital_source_type,
            "marked": face.marked,
            "evidence_share": _rounded(face.evidence.mean(), 4),
            "hallucinated_share": None if face.hallucinated is None else _rounded(face.hallucinated.mean(), 4),
            "expected_error": _error_json(face.expected_error),
            "drift": None if face.drift is None else _rounded(face.drift, 4),
            "kept": None if identity is None or identity.kept is None else _rounded(identity.kept, 4),
            "embedding": None if face.embedding_restored is None else _rounded(face.embedding_restored, 7),
            "match": _match_json(identity.restored if identity else None),
        },
        "abstained": face.abstained,
        "first_seen": iso_time(job.first_seen),
        "first_seen_ns": nanoseconds(job.first_seen),
        "last_seen": iso_time(job.last_seen),
        "last_seen_ns": nanoseconds(job.last_seen),
        "frames": job.frames,
        "provenance": {
            "software": made.software,
            "models": [{"role": m.role, "name": m.name, "sha256": m.sha256} for m in made.models],
            "source_frames": list(made.source_frames),
            "restorer": made.restorer,
            "restorer_reason": made.restorer_reason,
            "digital_source_type": made.digital_source_type,
            "settings": {k: redact(v) for k, v in sorted(made.settings.items())},
            "sources": [
                {
                    "frame": s.sequence,
                    "captured_at": iso_time(s.captured_at),
                    "captured_at_ns": nanoseconds(s.captured_at),
                    "clock": s.clock,
                    "clock_uncertainty_ns": nanoseconds(s.clock_uncertainty),
                }
                for s in made.sources
            ],
            "credentials": made.credentials,
        },
    }


def _match_json(match: Match | None) -> dict | None:
    return None if match is None else {name: _rounded(getattr(match, name), 4) for name in _MATCH}


def _error_json(error: ExpectedError | None) -> dict | None:
    if error is None:
        return None
    parts = {"seen": error.seen, "hallucinated": error.hallucinated}
    return {part: None if value is None else _rounded(value, 2) for part, value in parts.items()}


def _floats(values: np.ndarray) -> list[float]:
    return np.asarray(values, dtype=np.float64).ravel().tolist()


def _rounded(values: float | np.ndarray, digits: int):
    """Plain floats for JSON. Rounded as float64: a rounded float32 would still be written with all its digits."""
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()
