"""A picture that was copied away still says how it came to be; what anybody else wrote into one does no harm."""

import contextlib
import io
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import streamheal
from streamheal.config import Detector, PipelineConfig, Rendered, Source
from streamheal.errors import ProvenanceError
from streamheal.publish import event
from streamheal.publish.face_pictures import pictures_of
from streamheal.publish.pictures import from_png, png, xmp_in
from streamheal.publish.provenance import PictureProvenance
from streamheal.publish.provenance_xmp import MAX_XMP, from_xmp, to_xmp
from streamheal.records import HealedFace, ModelUsed, SourceFrame
from tests.fuzz import examples
from tests.fuzz.damage import damaged
from tests.publish.sample import healed_face

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MODELS = tuple(ModelUsed(role, f"{role}-1", role[0] * 64) for role in ("detector", "occlusion", "restorer", "embedder"))
FRAMES = (SourceFrame(40, 1_790_000_001.85, "sender", 0.04), SourceFrame(31, 1_790_000_001.49, "arrival", 1.5))


def a_face(**options) -> HealedFace:
    face = healed_face(**options)
    return replace(face, provenance=replace(face.provenance, models=MODELS, sources=FRAMES))


def said(kind: str, **options) -> PictureProvenance:
    return streamheal.read_provenance(pictures_of(a_face(**options))[kind])


def test_a_restored_picture_says_all_that_made_it():
    assert said("restored") == PictureProvenance(
        kind="restored",
        software="streamheal 0.1.0",
        digital_source_type=f"{SOURCE_TYPE}compositeWithTrainedAlgorithmicMedia",
        event="run-1/door/1/7/2",
        camera="door",
        sources=FRAMES,
        models=MODELS[:3],
        restorer="lr-trunk",
        restorer_reason="the default",
        settings={"source": "rtsp://***@camera/1", "tile": "16"},
        marked=True,
    )


def test_every_setting_that_shapes_a_face_is_told_and_no_path_of_this_machine():
    config = PipelineConfig(
        source=Source(rendered=Rendered()), detector=Detector(name="yunet", weights="/home/anna/yunet.onnx")
    )
    told = config.shaping()
    for name in ("detector", "tracker", "gallery", "occlusion", "restorer", "embedder"):
        keys = set(type(getattr(config, name)).model_fields) - {"weights", "sha256"}
        assert {f"{name}.{key}" for key in keys} <= set(told)
    assert (told["restorer.abstain_below"], told["restorer.mark"], told["detector.name"]) == ("0.25", "true", "yunet")
    assert "anna" not in str(told)


def test_events_and_lines_say_when_each_source_frame_was_seen_and_whether_the_mark_is_there():
    face = a_face(marked=False)
    line, got = event.to_json(face), event.decode(event.encode(face))
    assert got.provenance.sources == FRAMES and got.provenance.models == MODELS
    assert [s["captured_at"] for s in line["provenance"]["sources"]] == [
        "2026-09-21T14:13:21.850000Z", "2026-09-21T14:13:21.490000Z",
    ]  # fmt: skip
    assert line["restored"]["marked"] is False and got.marked is False


def test_a_restored_picture_without_the_visible_mark_says_so():
    assert not said("restored", marked=False).marked
    np.testing.assert_array_equal(from_png(pictures_of(a_face(marked=False))["restored"]), a_face().restored)


def test_an_original_says_that_it_is_an_untouched_crop_of_one_frame():
    original = said("original")
    assert (original.kind, original.digital_source_type) == ("original", f"{SOURCE_TYPE}digitalCapture")
    assert (original.camera, original.event) == ("door", "run-1/door/1/7/2")
    assert original.sources == FRAMES[:1] and original.models == MODELS[:1]
    assert not (original.restorer or original.settings or original.marked)


@pytest.mark.parametrize("kind", ["occlusion", "evidence", "hallucinated"])
def test_a_map_says_what_it_is_a_map_of(kind):
    picture = pictures_of(a_face(calibrated=True))[kind]
    made = streamheal.read_provenance(picture)
    assert made.kind == kind and made.event == "run-1/door/1/7/2" and not made.marked
    assert made.models == MODELS[: 2 if kind == "occlusion" else 3]
    assert made.digital_source_type == f"{SOURCE_TYPE}trainedAlgorithmicMedia"
    assert ">A map of " in xmp_in(picture)


def test_a_face_that_was_not_restored_has_no_picture_that_claims_it_was():
    assert set(pictures_of(a_face(abstained="too little is visible"))) == {"original", "occlusion", "evidence"}


def test_the_packet_has_what_readers_of_photo_metadata_look_for():
    packet = xmp_in(pictures_of(a_face())["restored"])
    assert packet.startswith('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>')
    assert packet.endswith('<?xpacket end="r"?>')
    assert 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"' in packet
    for text in (
        f"<Iptc4xmpExt:DigitalSourceType>{SOURCE_TYPE}compositeWithTrainedAlgorithmicMedia<",
        "<Iptc4xmpExt:AISystemUsed>restorer-1<",
        "<xmp:CreatorTool>streamheal 0.1.0<",
        "<photoshop:DateCreated>2026-09-21T14:13:21.850000Z<",
    ):
        assert text in packet


def test_a_recording_that_may_not_know_its_date_gives_none_to_other_programs():
    face = a_face()
    frames = (replace(FRAMES[0], clock="media"),)
    face = replace(face, provenance=replace(face.provenance, sources=frames))
    packet = xmp_in(pictures_of(face)["restored"])
    assert "photoshop:DateCreated" not in packet and from_xmp(packet).sources == frames


def test_a_password_in_a_setting_stays_out_of_the_picture():
    assert b"hunter2" not in b"".join(pictures_of(a_face()).values())


text = st.text(st.characters(exclude_categories=["C"], exclude_characters="\ufffe\uffff"), max_size=20)
words = st.text("abc-.:_0123456789é", min_size=1, max_size=12)
models = st.builds(ModelUsed, st.sampled_from(["detector", "restorer"]), text, st.text("0123456789abcdef", max_size=64))
frames = st.builds(
    SourceFrame,
    st.integers(0, 2**63),
    st.integers(0, 2**42).map(lambda milliseconds: milliseconds / 1000),
    st.sampled_from(["sender", "arrival", "media"]),
    st.integers(0, 10**5).map(lambda milliseconds: milliseconds / 1000),
)


@given(
    st.builds(
        PictureProvenance,
        kind=st.sampled_from(["original", "occlusion", "evidence", "restored", "hallucinated", "edited"]),
        software=text, digital_source_type=text, event=text, camera=text, restorer=text, restorer_reason=text,
        sources=st.lists(frames, max_size=3).map(tuple), models=st.lists(models, max_size=3).map(tuple),
        settings=st.dictionaries(words, text, max_size=4), marked=st.booleans(),
    )
)  # fmt: skip
@examples(60)
def test_what_is_written_is_read_back(made):
    assert from_xmp(to_xmp(made)) == made


@given(st.text(max_size=60))
@examples(100)
def test_any_text_can_be_written(name):
    """Also control characters and halves of characters, which XML has no way to hold."""
    made = PictureProvenance("original", "streamheal", "", camera=name)
    assert len(from_xmp(to_xmp(made)).camera) == len(name)


PACKET = to_xmp(PictureProvenance("restored", "s", "t", "e", "c", FRAMES, MODELS, "r", "because", {"a": "b"}, True))
PICTURE = png(np.zeros((4, 4, 3), np.uint8), xmp=PACKET)


@given(st.binary(max_size=200) | damaged(PICTURE))
@examples(100)
def test_any_bytes_are_a_provenance_or_a_clear_error(data):
    with contextlib.suppress(ProvenanceError):
        assert isinstance(streamheal.read_provenance(data), PictureProvenance)


@given(damaged(PACKET.encode()).map(lambda damage: damage.decode("utf-8", "surrogateescape")))
@examples(100)
def test_any_xmp_is_a_provenance_or_a_clear_error(packet):
    with contextlib.suppress(ProvenanceError):
        assert isinstance(from_xmp(packet), PictureProvenance)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "evil",
    [
        f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]><x>&l11;</x>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>',
    ],
    ids=["a billion laughs", "a file", "a DTD from elsewhere"],
)
def test_xmp_with_entities_is_not_expanded(evil):
    began = time.process_time()
    with pytest.raises(ProvenanceError, match="no XMP may hold"):
        from_xmp(evil)
    assert time.process_time() - began < 5


def test_xmp_beyond_all_measure_is_not_parsed():
    with pytest.raises(ProvenanceError, match="at most"):
        from_xmp("<x>" + "a" * MAX_XMP)


def test_xmp_packed_small_that_unpacks_without_end_is_refused():
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", " " * (8 << 20), zip=True)
    bomb = saved(info)
    assert len(bomb) < 1 << 15
    with pytest.raises(ProvenanceError):
        streamheal.read_provenance(bomb)


def test_elements_a_hundred_thousand_deep_are_read_or_refused():
    with pytest.raises(ProvenanceError):
        from_xmp("<x>" * (MAX_XMP // 8) + "</x>" * (MAX_XMP // 8))


def test_xmp_that_another_program_wrote_in_its_own_way_is_read():
    """Simple properties as attributes, as some do."""
    packet = PACKET.replace("<streamheal:Kind>restored</streamheal:Kind>", "").replace(
        '<rdf:Description rdf:about=""', '<rdf:Description rdf:about="" streamheal:Kind="restored"'
    )
    assert from_xmp(packet) == from_xmp(PACKET)


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (png(np.zeros((4, 4, 3), np.uint8)), "has no XMP"),
        (png(np.zeros((4, 4, 3), np.uint8), xmp="<x/>"), "doesn't come from streamheal"),
        (b"GIF89a", "not a PNG"),
    ],
)
def test_a_picture_that_is_none_of_ours_says_so(picture, why):
    with pytest.raises(ProvenanceError, match=why):
        streamheal.read_provenance(picture)


def saved(info: PngImagePlugin.PngInfo) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, "PNG", pnginfo=info)
    return out.getvalue()
