"""Signed pictures: what a C2PA reader finds in them, what is refused at the start, and what happens when signing fails.

Certificates are made here; the library that signs and reads is the real one.
"""

import contextlib
import io
import json
import logging
import shutil
import sys
import time
import types
from datetime import datetime

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from cryptography.hazmat.primitives.serialization import load_pem_private_key as load
from cryptography.x509 import ObjectIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from typer.testing import CliRunner

import streamheal
from streamheal.cli import app
from streamheal.cluster.heal import HealNode
from streamheal.config import C2pa
from streamheal.errors import ConfigError, ProvenanceError
from streamheal.kept import Kept
from streamheal.pipeline import Pipeline
from streamheal.publish import event
from streamheal.publish.face_pictures import restored_png
from streamheal.publish.folder import FolderSink, read_events, read_picture
from streamheal.publish.pictures import from_png
from streamheal.publish.signing import SigningHealer, signing
from streamheal.records import HealedFace, ModelUsed
from streamheal.rotation import rotate
from streamheal.vault import Vault
from tests.fuzz import examples
from tests.fuzz.damage import damaged
from tests.publish.certificates import Signing, make_signing
from tests.publish.sample import healed_face

c2pa = pytest.importorskip("c2pa", reason="the extra c2pa is not installed")
from streamheal.publish.provenance_c2pa import read_credentials  # noqa: E402
from streamheal.publish.provenance_signer import PictureSigner  # noqa: E402

MADE_IN_PART = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"


@pytest.fixture(scope="module")
def signing_files(tmp_path_factory) -> Signing:
    return make_signing(tmp_path_factory.mktemp("signing"))


@pytest.fixture(scope="module")
def signer(signing_files) -> PictureSigner:
    return PictureSigner(signing_files.settings)


class Gives:
    """A healer that gives these faces."""

    def __init__(self, *faces):
        self.faces = faces

    def heal(self, jobs, *, restoring=True):
        return list(self.faces)


def active_manifest(png: bytes) -> dict:
    said = json.loads(c2pa.Reader("image/png", io.BytesIO(png)).json())
    return said["manifests"][said["active_manifest"]]


def test_a_reader_that_trusts_the_root_trusts_the_picture(signer, signing_files):
    found = read_credentials(signer.sign(healed_face()), signing_files.root.read_text())
    assert (found.state, found.signer, found.problems) == ("trusted", "Gate office", ())


def test_a_reader_that_does_not_know_the_root_is_told_that_the_signature_holds_and_no_more(signer):
    found = read_credentials(signer.sign(healed_face()))
    assert found.state == "valid" and "signingCredential.untrusted" in found.problems[0]


def test_the_manifest_says_which_network_made_a_part_of_what(signer):
    opened, edited = active_manifest(signer.sign(healed_face()))["assertions"][0]["data"]["actions"]
    assert opened["action"] == "c2pa.opened" and len(opened["parameters"]["ingredients"]) == 1
    assert edited["action"] == "c2pa.edited" and edited["digitalSourceType"] == MADE_IN_PART
    assert edited["softwareAgent"] == {"name": "streamheal", "version": "0.1.0"}
    made = edited["parameters"]["streamheal.provenance"]
    assert made["event"] == "run-1/door/1/7/2" and made["models"][0]["sha256"] == "ab" * 32
    assert made["sources"][0]["sequence"] == 40 and made["settings"]["tile"] == "16"


def test_the_original_crop_is_an_ingredient_as_it_was(signer):
    face = healed_face()
    signed = signer.sign(face)
    [ingredient] = active_manifest(signed)["ingredients"]
    assert ingredient["relationship"] == "parentOf"
    np.testing.assert_array_equal(from_png(read_credentials(signed).original), face.original)


def test_signing_changes_neither_the_pixels_nor_what_the_picture_says_of_itself(signer):
    signed, plain = signer.sign(healed_face()), restored_png(healed_face())
    np.testing.assert_array_equal(from_png(signed), from_png(plain))
    assert streamheal.read_provenance(signed) == streamheal.read_provenance(plain)


def forged(signed: bytes, chunk: bytes) -> bytes:
    """The signed picture with a whole, valid chunk of another face in place of its own."""
    own, other = chunks(signed), chunks(restored_png(healed_face(track=8, marked=False)))
    return signed.replace(own[chunk], other[chunk])


def chunks(png: bytes) -> dict[bytes, bytes]:
    """The last chunk of each kind."""
    found, at = {}, 8
    while at < len(png):
        end = at + 12 + int.from_bytes(png[at : at + 4])
        found[png[at + 4 : at + 8]] = png[at:end]
        at = end
    return found


@pytest.mark.parametrize("chunk", [b"IDAT", b"iTXt"], ids=["the pixels", "what it says of itself"])
def test_a_change_shows_though_the_picture_is_whole(signer, signing_files, chunk):
    picture = forged(signer.sign(healed_face()), chunk)
    assert streamheal.read_provenance(picture).kind == "restored"
    found = read_credentials(picture, signing_files.root.read_text())
    assert found.state == "invalid" and "assertion.dataHash.mismatch" in found.problems[0]


@pytest.fixture(scope="module")
def whole(signer) -> bytes:
    return signer.sign(healed_face())


@given(data=st.data())
@examples(60)
def test_a_damaged_picture_is_never_taken_for_whole(whole, data):
    picture = data.draw(damaged(whole))
    with contextlib.suppress(ProvenanceError):
        found = read_credentials(picture)
        untouched = all(chunks(whole)[kind] in picture for kind in (b"IDAT", b"iTXt"))  # padding isn't signed
        assert found is None or found.state == "invalid" or untouched


def test_anchors_that_are_none_are_a_clear_error(whole):
    with pytest.raises(ProvenanceError, match="anchors"):
        read_credentials(whole, "no certificate")


def test_a_picture_without_a_manifest_has_no_credentials():
    assert read_credentials(restored_png(healed_face())) is None


def test_folder_and_event_hold_the_same_signed_picture_on_every_delivery(signer, tmp_path):
    healer = SigningHealer(Gives(healed_face()), signer.sign)
    [face] = healer.heal([])
    sink = FolderSink(tmp_path)
    sink.add(face)
    sink.close()
    payload = event.encode(face)
    assert payload == event.encode(face), "sent again it is the same, byte for byte"
    [line] = read_events(tmp_path)
    in_folder, in_event = read_picture(tmp_path, line, "restored", Vault()), event.decode(payload)
    assert in_folder == in_event.signed and read_credentials(in_folder).state == "valid"
    assert line["provenance"]["credentials"] == in_event.provenance.credentials == "signed"


def test_sealed_and_sealed_anew_a_signed_picture_comes_out_valid_and_leaves_nothing_open(signer, tmp_path):
    [face] = SigningHealer(Gives(healed_face()), signer.sign).heal([])
    keys = {"k1": b"1" * 32, "k2": b"2" * 32}
    sink = FolderSink(tmp_path / "out", vault=Vault("k1", keys))
    sink.add(face)
    sink.close()
    rotate(Kept(tmp_path / "out", None, tmp_path / "out" / "state", False), Vault("k2", keys))
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out" / "faces").rglob("*") if path.is_file())
    assert not any(mark in everything for mark in (b"IHDR", b"xmpmeta", b"c2pa", b"run-1/door", b"Gate office"))
    [line] = read_events(tmp_path / "out")
    opened = read_picture(tmp_path / "out", line, "restored", Vault("k2", {"k2": keys["k2"]}))
    assert opened == face.signed and read_credentials(opened).state == "valid"


def test_a_face_that_was_not_restored_is_not_signed(signer):
    face = healed_face(abstained="too little is visible")
    assert SigningHealer(Gives(face), signer.sign).heal([]) == [face]


def test_what_cannot_be_signed_leaves_unsigned_and_says_why(caplog):
    def fails(face):
        raise ProvenanceError("the authority is away")

    faces = [healed_face(track=track) for track in range(3)]
    with caplog.at_level(logging.WARNING):
        left = SigningHealer(Gives(*faces), fails).heal([])
    assert [face.provenance.credentials for face in left] == ["the authority is away"] * 3
    assert all(event.decode(event.encode(face)).signed is None for face in left)
    assert len(caplog.records) == 1, "a trouble that lasts is told once"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl as the authority")
def test_a_time_stamping_authority_says_when_it_was_signed(signing_files):
    with signing_files.clock() as url:
        settings = signing_files.settings.model_copy(update={"timestamp_url": SecretStr(url)})
        signed = PictureSigner(settings).sign(healed_face())
    unknown, known = read_credentials(signed), read_credentials(signed, signing_files.root.read_text())
    assert known.state == "trusted" and known.time_trusted and not unknown.time_trusted
    assert abs(datetime.fromisoformat(known.signed_at).timestamp() - time.time()) < 600


def test_an_authority_that_nobody_answers_for_is_such_a_failure(signing_files):
    nowhere = SecretStr("http://user:hunter2@127.0.0.1:9/")
    signer = PictureSigner(signing_files.settings.model_copy(update={"timestamp_url": nowhere}))
    [face] = SigningHealer(Gives(healed_face()), signer.sign).heal([])
    assert face.signed is None and "can't be signed" in face.provenance.credentials
    assert "hunter2" not in face.provenance.credentials


def test_a_run_signs_what_its_healer_restores(pipeline_file, signing_files, monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", signing_files.key.read_text())
    stand_in = types.SimpleNamespace(Healer=lambda *_: Gives(healed_face()))  # the real one loads torch and networks
    monkeypatch.setitem(sys.modules, "streamheal.heal.healer", stand_in)
    healer = Pipeline.from_file(pipeline_file)._build_healer(ModelUsed("detector", "d", "0" * 64), None)
    [face] = healer.heal([])
    assert read_credentials(face.signed).state == "valid"


def test_a_heal_worker_does_so_too(pipeline_file, signing_files, monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", signing_files.key.read_text())
    stand_in = types.SimpleNamespace(Healer=lambda *_: Gives(healed_face()))
    monkeypatch.setitem(sys.modules, "streamheal.heal.healer", stand_in)
    node = HealNode.from_file(pipeline_file, ["kafka.bootstrap_servers=['127.0.0.1:9']"])
    monkeypatch.setattr(node._worker, "run", lambda healer, forgotten: faces.extend(healer.heal([])))
    faces: list[HealedFace] = []
    node.run()
    assert read_credentials(faces[0].signed).state == "valid"


def test_without_a_section_nothing_changes():
    healer = Gives()
    assert signing(None)(healer) is healer


# What is refused at the start


def refused(settings: C2pa) -> str:
    with pytest.raises(ConfigError) as caught:
        signing(settings)
    return str(caught.value)


def test_a_missing_library_is_named_with_the_way_to_get_it(signing_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert "pip install 'streamheal[c2pa]'" in refused(signing_files.settings)


def test_a_certificate_that_cannot_be_read_is_named(signing_files, tmp_path):
    assert "No such file" in refused(C2pa(certificate=tmp_path / "none.pem", key=str(signing_files.key)))
    assert "holds no certificate" in refused(C2pa(certificate=signing_files.key, key=str(signing_files.key)))


@pytest.mark.parametrize(("days", "why"), [((-9, -2), "has expired on"), ((2, 9), "is not valid before")])
def test_a_certificate_that_is_not_valid_today_is_refused(tmp_path, days, why):
    assert why in refused(make_signing(tmp_path, days=days).settings)


def test_the_key_of_another_certificate_is_refused(signing_files, tmp_path):
    other = make_signing(tmp_path)
    assert "is not the key of the first certificate" in refused(
        C2pa(certificate=signing_files.certificate, key=str(other.key))
    )


def test_a_key_that_does_not_go_with_the_algorithm_is_refused_with_those_that_do(tmp_path):
    made = make_signing(tmp_path, curve=ec.SECP384R1())
    assert "give es384" in refused(made.settings)
    signing(made.settings.model_copy(update={"algorithm": "es384"}))


@pytest.mark.parametrize("use", ["1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1"], ids=["documents", "C2PA claims"])
def test_certificates_for_documents_and_for_c2pa_sign_too(tmp_path, use):
    made = make_signing(tmp_path, use=ObjectIdentifier(use))
    signed = PictureSigner(made.settings).sign(healed_face())
    assert read_credentials(signed, made.root.read_text()).state == "trusted"


def test_a_certificate_that_may_not_sign_pictures_is_refused(tmp_path):
    made = make_signing(tmp_path, use=ExtendedKeyUsageOID.SERVER_AUTH)
    assert "docs/provenance.md" in refused(made.settings)


def test_a_key_with_a_password_is_refused(signing_files, tmp_path):
    key = load(signing_files.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"hunter2")))
    assert "locked with a password" in refused(C2pa(certificate=signing_files.certificate, key=str(locked)))


def test_a_key_may_come_from_the_environment_and_is_never_shown(signing_files, caplog, capfd):
    key = signing_files.key.read_text()
    inside = key.splitlines()[1]
    settings = C2pa(certificate=signing_files.certificate, key=key)
    with caplog.at_level(logging.DEBUG):
        signer = PictureSigner(settings)
        signed = signer.sign(healed_face())
        errors = [
            refused(settings.model_copy(update={"algorithm": "ed25519"})),
            refused(C2pa(certificate=signing_files.certificate, key=key.replace("M", "N"))),
            refused(C2pa(certificate=signing_files.certificate, key=inside)),
        ]
    told = "".join([*errors, caplog.text, *capfd.readouterr(), repr(settings), repr(signer._key)])
    assert inside not in told and inside.encode() not in signed
    assert read_credentials(signed).state == "valid"


# As a person calls it


@pytest.fixture
def pipeline_file(signing_files, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text(
        f"source: {{rendered: {{}}}}\noutput: {{path: {tmp_path}/out}}\n"
        f"provenance: {{c2pa: {{certificate: {signing_files.certificate}, key: '${{SIGNING_KEY}}'}}}}\n"
    )
    return file


def test_validate_says_what_is_wrong_with_key_and_certificate(pipeline_file, signing_files, tmp_path, monkeypatch):
    monkeypatch.setenv("SIGNING_KEY", signing_files.key.read_text())
    assert CliRunner().invoke(app, ["validate", str(pipeline_file)]).exit_code == 0
    monkeypatch.setenv("SIGNING_KEY", make_signing(tmp_path / "other").key.read_text())
    with pytest.raises(ConfigError, match="is not the key"):
        CliRunner().invoke(app, ["validate", str(pipeline_file)], catch_exceptions=False)


def test_the_command_tells_whole_from_changed(signer, signing_files, tmp_path):
    (tmp_path / "whole.png").write_bytes(signer.sign(healed_face()))
    (tmp_path / "changed.png").write_bytes(forged(signer.sign(healed_face()), b"IDAT"))
    broken = bytearray(signer.sign(healed_face()))
    broken[broken.rindex(b"IDAT") + 20] ^= 1
    (tmp_path / "broken.png").write_bytes(broken)

    def call(name: str):
        arguments = ["provenance", str(tmp_path / name), "--anchors", str(signing_files.root)]
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    whole, changed, broken = call("whole.png"), call("changed.png"), call("broken.png")
    assert whole.exit_code == 0 and "signed by somebody whom your anchors vouch for" in whole.output
    assert changed.exit_code == 1 and "NOT valid" in changed.output and "dataHash.mismatch" in changed.output
    assert broken.exit_code == 1 and "not a PNG" in broken.output and "NOT valid" in broken.output


def test_a_missing_library_is_said_where_there_is_something_to_check(signer, tmp_path, monkeypatch):
    (tmp_path / "signed.png").write_bytes(signer.sign(healed_face()))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ProvenanceError, match="pip install"):
        CliRunner().invoke(app, ["provenance", str(tmp_path / "signed.png")], catch_exceptions=False)
