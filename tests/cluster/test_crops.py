"""Heal jobs between two machines: exact both ways, and bounded."""

import dataclasses
import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streamheal.cluster import crops
from streamheal.cluster import heal_job_v1_pb2 as schema
from streamheal.publish.pictures import png
from streamheal.records import FaceCrop, HealJob, Quality
from tests.publish.sample import healed_face

numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**63)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
clocks = st.sampled_from(["sender", "arrival", "media"])


@st.composite
def jobs(draw) -> HealJob:
    camera, epoch, track = draw(names), draw(counts), draw(counts)

    def crop() -> FaceCrop:
        side = draw(st.integers(crops.MIN_SIDE, 24))
        float32 = st.floats(-1e6, 1e6, width=32)
        shown = arrays.arrays(np.uint8, (side, side)).map(lambda levels: levels / np.float32(255))
        return FaceCrop(
            camera=camera,
            epoch=epoch,
            track=track,
            sequence=draw(counts),
            captured_at=draw(numbers),
            clock=draw(clocks),
            clock_uncertainty=draw(numbers),
            image=draw(arrays.arrays(np.uint8, (side, side, 3))),
            affine=draw(arrays.arrays(np.float64, (2, 3), elements=numbers)),
            box=draw(arrays.arrays(np.float32, 4, elements=float32)),
            landmarks=draw(arrays.arrays(np.float32, (5, 2), elements=float32)),
            detector_score=draw(numbers),
            quality=Quality(*(draw(numbers) for _ in range(8))),
            visible=draw(st.none() | shown),
        )

    return HealJob(
        run=draw(names),
        camera=camera,
        epoch=epoch,
        track=track,
        revision=draw(st.integers(1, 2**32 - 1)),
        reason=draw(st.sampled_from(["confirmed", "improved", "ended"])),
        crops=tuple(crop() for _ in range(draw(st.integers(1, 3)))),
        first_seen=draw(numbers),
        last_seen=draw(numbers),
        frames=draw(counts),
    )


def same(one, other) -> bool:
    """Equal in every field, arrays with their type and shape."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    return one == other


@settings(max_examples=30, deadline=None)
@given(jobs())
def test_what_arrives_is_what_was_sent_to_the_last_bit(job):
    payload = crops.encode(job)
    assert same(crops.decode(payload), job)
    assert crops.job_id(payload) == job.id


@functools.cache
def whole() -> bytes:
    return crops.encode(healed_face().job)


def flipped(at: int, bit: int) -> bytes:
    payload = bytearray(whole())
    payload[at % len(payload)] ^= 1 << bit
    return bytes(payload)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400) | st.builds(flipped, counts, st.integers(0, 7)))
def test_a_damaged_message_is_a_job_or_a_value_error_and_nothing_else(payload):
    try:
        job = crops.decode(payload)
    except ValueError:
        return
    assert job.crops and all(crop.image.shape[0] == crop.image.shape[1] >= crops.MIN_SIDE for crop in job.crops)


def sample() -> schema.HealJob:
    return schema.HealJob.FromString(whole())


def old_map(crop: schema.Crop, values: bytes) -> None:
    """As ingest nodes sent it before maps were pictures."""
    crop.ClearField("visible_png")
    crop.visible = values


def test_a_map_of_an_older_ingest_node_is_understood():
    message = sample()
    shown = np.linspace(0, 1, 19 * 19, dtype="<f4").reshape(19, 19)
    old_map(message.crops[0], shown.tobytes())
    assert np.array_equal(crops.decode(message.SerializeToString()).best.visible, shown)


def spoil(message: schema.HealJob, what: str) -> None:
    crop = message.crops[0]
    spoilt = {
        "no crops": lambda: message.ClearField("crops"),
        "a crop of 0 px": lambda: setattr(crop, "side", 0),
        "65 crops": lambda: message.crops.extend([crop] * 63),
        "more pixels than a job may have": lambda: setattr(crop, "side", 60_000),
        "a picture of another size than announced": lambda: setattr(crop, "side", 20),
        "no PNG": lambda: setattr(crop, "png", b"GIF89a"),
        "a camera that is a path": lambda: setattr(message, "camera", "../../etc/passwd"),
        "a run that is a path": lambda: setattr(message, "run", "a/b"),
        "revision 0": lambda: setattr(message, "revision", 0),
        "a reason of a later version": lambda: setattr(message, "reason", 9),
        "a clock of a later version": lambda: setattr(crop, "clock", 9),
        "half a box": lambda: crop.box.pop(),
        "an affine that is not finite": lambda: crop.affine.__setitem__(0, float("inf")),
        "a time that is not a number": lambda: setattr(message, "last_seen", float("nan")),
        "a map of another size": lambda: setattr(crop, "visible_png", png(np.zeros((18, 18), np.uint8))),
        "a map in colours": lambda: setattr(crop, "visible_png", crop.png),
        "half an old map": lambda: old_map(crop, b"\0" * 10),
        "an old map beyond 1": lambda: old_map(crop, np.full((19, 19), 2, "<f4").tobytes()),
    }
    spoilt[what]()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("no crops", "0 crops"),
        ("a crop of 0 px", "a crop of 0 px"),
        ("65 crops", "65 crops"),
        ("more pixels than a job may have", "pixels together"),
        ("a picture of another size than announced", "was announced"),
        ("no PNG", "not a PNG"),
        ("a camera that is a path", "is no name"),
        ("a run that is a path", "is no name"),
        ("revision 0", "revision 0"),
        ("a reason of a later version", "reason 9"),
        ("a clock of a later version", "clock 9"),
        ("half a box", "box has 3 values"),
        ("an affine that is not finite", "affine is not finite"),
        ("a time that is not a number", "not finite"),
        ("a map of another size", "visible is a picture of shape"),
        ("a map in colours", "visible is a picture of shape"),
        ("half an old map", "visible has 10 values"),
        ("an old map beyond 1", "within 0 and 1"),
    ],
)
def test_a_poisoned_message_is_refused_with_what_is_wrong(what, said):
    message = sample()
    crops.decode(message.SerializeToString())
    spoil(message, what)
    with pytest.raises(ValueError, match=said):
        crops.decode(message.SerializeToString())


@pytest.mark.parametrize("payload", [None, b"", b"\xff" * 40, bytes(crops.MAX_BYTES + 1)])
def test_what_is_no_message_at_all_is_refused_and_has_no_id(payload):
    with pytest.raises(ValueError):
        crops.decode(payload)
    assert crops.job_id(payload) is None


def test_a_gallery_too_large_for_a_message_leaves_its_last_crops_behind():
    job = dataclasses.replace(healed_face(side=64, noise=True).job)
    job = dataclasses.replace(job, crops=job.crops * 4)
    size = len(crops.encode(job))
    payload = crops.CropsCodec(size // 2).encode(job)
    assert len(payload) < size // 2
    kept = crops.decode(payload)
    assert 1 <= len(kept.crops) < len(job.crops) and kept.id == job.id
    assert same(kept.crops, job.crops[: len(kept.crops)]), "the best stay"
    assert len(crops.decode(crops.CropsCodec(4096).encode(job)).crops) == 1, "and the best always"
