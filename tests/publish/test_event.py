import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from streamheal.publish import event
from streamheal.publish import healed_face_v1_pb2 as schema
from streamheal.publish.pictures import from_png, mark
from tests.publish.sample import healed_face

GOLDEN = Path(__file__).parent / "golden"
# Written once by `python -m tests.publish.test_event` and never again: a release has sent bytes like these.
GOLDENS = {
    "healed_face_v1.bin": {},
    "healed_face_v1_abstained.bin": {"abstained": "evidence 0.11 below 0.20"},
    "healed_face_v1_calibrated.bin": {"calibrated": True},
    "healed_face_v1_calibrated_abstained.bin": {"calibrated": True, "abstained": "evidence 0.11 below 0.20"},
}
PNG_FIELDS = ("original_png", "visible_png", "evidence_png")


def parsed(payload: bytes) -> schema.HealedFace:
    message = schema.HealedFace()
    message.ParseFromString(payload)
    return message


@pytest.mark.parametrize(("name", "options"), GOLDENS.items(), ids=GOLDENS)
def test_an_event_of_version_1_can_be_read_for_ever(name, options):
    sent, got = healed_face(**options), event.decode((GOLDEN / name).read_bytes())

    assert got.id == "run-1/door/1/7/2"
    np.testing.assert_array_equal(got.original, sent.original)
    np.testing.assert_array_equal(got.embedding_original, sent.embedding_original)
    np.testing.assert_array_equal(got.visible, sent.visible)
    np.testing.assert_allclose(got.evidence, sent.evidence, atol=0.5 / 255 + 1e-6)
    assert got.abstained == sent.abstained
    assert got.drift == sent.drift
    if sent.restored is None:
        assert got.restored is None
        assert got.embedding_restored is None
    else:
        np.testing.assert_array_equal(got.restored, mark(sent.restored))
        np.testing.assert_array_equal(got.embedding_restored, sent.embedding_restored)
    for name in ("embedding_track", "hallucinated"):
        np.testing.assert_array_equal(getattr(got, name), getattr(sent, name))
    assert got.identity == sent.identity
    assert got.expected_error == sent.expected_error
    for name in ("run", "camera", "epoch", "track", "revision", "reason", "first_seen", "last_seen", "frames"):
        assert getattr(got.job, name) == getattr(sent.job, name), name
    best, sent_best = got.job.best, sent.job.best
    for name in ("sequence", "clock", "clock_uncertainty", "detector_score", "quality"):
        assert getattr(best, name) == getattr(sent_best, name), name
    assert best.captured_at == pytest.approx(sent_best.captured_at, abs=1e-6)
    for name in ("box", "landmarks", "affine"):
        np.testing.assert_array_equal(getattr(best, name), getattr(sent_best, name))
    assert got.provenance.models == sent.provenance.models
    assert got.provenance.settings == {"tile": "16", "source": "rtsp://***@camera/1"}
    assert got.provenance.source_frames == sent.provenance.source_frames
    assert got.provenance.digital_source_type == sent.provenance.digital_source_type


@pytest.mark.parametrize(("name", "options"), GOLDENS.items(), ids=GOLDENS)
def test_the_same_face_still_gives_the_same_bytes(name, options):
    """Byte for byte, but for how hard PNG's deflate tried, which belongs to the zlib on the machine: there, pixels."""
    golden, now = parsed((GOLDEN / name).read_bytes()), parsed(event.encode(healed_face(**options)))
    restored_fields = ("png", "hallucinated_png")
    for ours, theirs, fields in ((now, golden, PNG_FIELDS), (now.restored, golden.restored, restored_fields)):
        for field in fields:
            if getattr(theirs, field):
                np.testing.assert_array_equal(from_png(getattr(ours, field)), from_png(getattr(theirs, field)))
                setattr(ours, field, getattr(theirs, field))
    assert now.SerializeToString(deterministic=True) == (GOLDEN / name).read_bytes()


def test_encoding_twice_gives_equal_bytes():
    assert event.encode(healed_face()) == event.encode(healed_face())


def test_a_reader_of_today_takes_an_event_with_fields_of_tomorrow():
    file = descriptor_pb2.FileDescriptorProto()
    schema.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = "tomorrow.proto", "tomorrow.v1"
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = field.type_name.replace(".streamheal.v1.", ".tomorrow.v1.")
    top = next(m for m in file.message_type if m.name == "HealedFace")
    top.field.add(name="gait", number=99, label=1, type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
    tomorrow = message_factory.GetMessages([file])["tomorrow.v1.HealedFace"]()
    tomorrow.ParseFromString(event.encode(healed_face()))
    tomorrow.gait = "brisk"

    got = event.decode(tomorrow.SerializeToString())

    assert got.id == healed_face().id
    np.testing.assert_array_equal(got.original, healed_face().original)


def test_the_original_is_never_marked_and_the_restored_one_is_twice():
    message = parsed(event.encode(healed_face()))
    np.testing.assert_array_equal(from_png(message.original_png), healed_face().original)
    assert b"compositeWithTrainedAlgorithmicMedia" not in message.original_png
    assert b"compositeWithTrainedAlgorithmicMedia" in message.restored.png
    assert message.restored.digital_source_type.endswith("/compositeWithTrainedAlgorithmicMedia")
    assert message.restored.marked
    assert (from_png(message.restored.png) != healed_face().restored).any()


def test_with_the_visible_mark_off_the_machine_readable_one_stays():
    message = parsed(event.encode(healed_face(marked=False)))
    np.testing.assert_array_equal(from_png(message.restored.png), healed_face().restored)
    assert b"compositeWithTrainedAlgorithmicMedia" in message.restored.png
    assert not message.restored.marked


def test_the_attributes_are_cloudevents_1_0_in_binary_mode():
    headers = dict(event.attributes(healed_face(camera="Tür 1/West")))
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": "run-1/Tür 1/West/1/7/2".encode(),
        "ce_source": b"/streamheal/cameras/T%C3%BCr%201%2FWest",
        "ce_type": b"streamheal.face.healed.v1",
        "ce_time": b"2026-09-21T14:13:22.500000Z",
        "ce_subject": "Tür 1/West/1/7".encode(),
        "ce_dataschema": b"urn:streamheal:schema:streamheal.v1.HealedFace",
        "ce_partitionkey": "Tür 1/West".encode(),
        "content-type": b"application/protobuf",
    }
    assert event.key(healed_face(camera="Tür 1/West")) == "Tür 1/West".encode()


def test_the_json_form_has_the_original_first_and_the_restored_apart():
    said = json.loads(json.dumps(event.to_json(healed_face()), allow_nan=False))
    assert said["id"] == "run-1/door/1/7/2"
    assert list(said).index("original") < list(said).index("restored")
    np.testing.assert_allclose(said["original"]["embedding"], healed_face().embedding_original, atol=1e-7)
    assert said["original"]["captured_at"] == "2026-09-21T14:13:21.850000Z"
    assert said["original"]["captured_at_ns"] == pytest.approx(1_790_000_001_850_000_000, abs=300)
    assert said["original"]["quality"]["yaw"] == -12.5
    assert said["restored"]["made_by_network"] is True
    assert said["restored"]["evidence_share"] == pytest.approx(0.5, abs=1e-3)
    assert said["restored"]["drift"] == 0.125
    assert said["provenance"]["models"][0] == {"role": "restorer", "name": "lr-trunk-16", "sha256": "ab" * 32}


def test_the_original_is_the_one_to_match_with_and_the_restored_face_has_its_own_score():
    said = event.to_json(healed_face(calibrated=True))
    assert said["match_with"] == "original"
    order = list(said)
    assert order.index("match_with") < order.index("original") < order.index("track_mean") < order.index("restored")
    assert said["original"]["match"] == {
        "slope": 8.0, "intercept": -2.5, "threshold": 0.5, "true_accept_rate": 0.75,
    }  # fmt: skip
    assert said["track_mean"]["match"]["slope"] == 7.0
    assert said["restored"]["made_by_network"] and said["restored"]["match"]["slope"] == 6.0
    assert said["restored"]["kept"] == 0.625
    assert said["restored"]["expected_error"] == {"seen": 20.5, "hallucinated": 61.25}
    assert said["restored"]["hallucinated_share"] == 0.5


def test_without_a_calibration_the_original_is_still_the_one_to_match_with():
    said = event.to_json(healed_face())
    assert said["match_with"] == "original"
    assert said["original"]["match"] is None and said["restored"]["match"] is None and said["track_mean"] is None


def test_an_event_from_before_calibration_has_none():
    got = event.decode((GOLDEN / "healed_face_v1.bin").read_bytes())
    assert (got.identity, got.expected_error, got.hallucinated, got.embedding_track) == (None,) * 4


def test_the_json_form_of_an_abstention_has_no_restored_face():
    said = event.to_json(healed_face(abstained="too little seen"))
    assert said["restored"] is None
    assert said["abstained"] == "too little seen"


def test_no_password_leaves_in_an_event():
    assert b"hunter2" not in event.encode(healed_face())
    assert "hunter2" not in json.dumps(event.to_json(healed_face()))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, 400).map(lambda cut: event.encode(healed_face())[:cut]))
def test_whatever_is_not_an_event_is_refused_with_a_value_error(payload):
    with pytest.raises(ValueError, match=r"."):
        event.decode(payload)


if __name__ == "__main__":
    for name, options in GOLDENS.items():
        if not (GOLDEN / name).exists():
            (GOLDEN / name).write_bytes(event.encode(healed_face(**options)))
