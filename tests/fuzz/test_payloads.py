"""Whatever comes out of Kafka: a record, or ValueError; and no picture is unpacked that is no face."""

import contextlib
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from streamheal.cluster import crops
from streamheal.publish import event
from streamheal.publish.healed_face_v1_pb2 import HealedFace as EventMessage
from streamheal.publish.pictures import from_png, png
from streamheal.records import HealedFace, HealJob
from tests.fuzz import examples
from tests.fuzz.damage import damaged
from tests.publish.sample import healed_face

FACE = healed_face()
EVENT, JOB = event.encode(FACE), crops.encode(FACE.job)
FACES = {"event": (event.decode, HealedFace), "heal job": (crops.decode, HealJob)}


def take(payload: bytes, kind: str) -> None:
    decode, record = FACES[kind]
    with contextlib.suppress(ValueError):
        taken = decode(payload)
        assert isinstance(taken, record)
        best = taken.job.best if kind == "event" else taken.best
        assert best.image.ndim == 3 and best.image.dtype == np.uint8
        assert best.affine.shape == (2, 3) and best.landmarks.shape == (5, 2) and best.box.shape == (4,)


@pytest.mark.parametrize("kind", FACES)
@given(payload=st.binary(max_size=200))
@examples(200)
def test_any_bytes(kind, payload):
    take(payload, kind)


@pytest.mark.parametrize(("kind", "whole"), [("event", EVENT), ("heal job", JOB)], ids=FACES)
@given(data=st.data())
@examples(200)
def test_a_damaged_message(kind, whole, data):
    take(data.draw(damaged(whole)), kind)


floats = st.lists(st.floats(width=32), max_size=12)
pictures = st.sampled_from([b"", b"\x89PNG", png(np.zeros((3, 9), np.uint8)), png(np.zeros((4, 4, 3), np.uint8))])


@given(affine=floats, box=floats, landmarks=floats, original=pictures, visible=pictures, evidence=pictures)
@examples(200)
def test_an_event_whose_parts_do_not_fit_together(affine, box, landmarks, original, visible, evidence):
    message = EventMessage.FromString(EVENT)
    for field, values in (("affine", affine), ("box", box), ("landmarks", landmarks)):
        if values:
            del getattr(message.crop, field)[:]
            getattr(message.crop, field).extend(values)
    message.original_png, message.visible_png, message.evidence_png = original, visible, evidence
    take(message.SerializeToString(), "event")


def bomb(width: int, height: int, *, kind: int = 2) -> bytes:
    """A PNG whose header promises so many pixels, with the few bytes that a row of zeros packs into."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (1 << 31, 1), (4097, 1), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_picture_that_promises_too_many_pixels_is_refused_before_they_are_made(width, height):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError):
            from_png(bomb(width, height))
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", ["P", "1", "I;16", "LA", "RGBA"])
def test_a_png_of_another_kind_than_ours_is_refused(mode, tmp_path):
    Image.new(mode, (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="8-bit RGB or grey"):
        from_png((tmp_path / "a.png").read_bytes())
