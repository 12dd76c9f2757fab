"""C2PA: restored pictures are signed, and signed ones are checked. With the extra `c2pa` (the package c2pa-python).

A signed picture holds a manifest: that it was opened as the original crop (which lies in the manifest, as it was), that
a network made a part of it, which one, from which frames; and a hash over all its bytes. No two signatures are equal,
not even of the same face: it is signed once, before any sink sees it.
"""

import io
import json
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from cryptography.x509 import load_pem_x509_certificates

from streamheal.config import C2pa
from streamheal.errors import ConfigError, ProvenanceError, redact
from streamheal.publish.face_pictures import original_png, restored_png
from streamheal.publish.pictures import png
from streamheal.publish.provenance import DESCRIPTIONS, provenance_of
from streamheal.publish.signing_key import SigningKey
from streamheal.records import PARTLY_MADE, HealedFace

INSTALL = "pip install 'streamheal[c2pa]'"
_PNG = "image/png"
_ORIGINAL = "original.png"
# Nobody's picture makes this program call anybody.
_READ = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
# What a certificate may be for, to sign pictures: e-mail, documents (RFC 9336), C2PA claims.
_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
# What is signed was tried when the signer was built: to check each costs twice the time. The thumbnail would be a copy.
_WRITE = {"verify": {"verify_after_sign": False, "verify_trust": False}, "builder": {"thumbnail": {"enabled": False}}}

_WHICH = "docs/provenance.md says which certificates sign"
_TRIAL = png(np.zeros((16, 16, 3), np.uint8))

State = Literal["trusted", "valid", "invalid"]
_STATES: dict[str | None, State] = {"Trusted": "trusted", "Valid": "valid"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a picture's signature is worth."""

    state: State
    """trusted: whole, by somebody whom the anchors vouch for; valid: whole, by whoever holds that certificate;
    invalid: changed since, or signed with a certificate that may not sign."""
    signer: str  # the certificate's common name
    organisation: str
    signed_at: str  # as a time-stamping authority says, RFC 3339; empty where none was asked
    time_trusted: bool  # the anchors vouch for that authority
    problems: tuple[str, ...]  # C2PA's status codes with their explanation
    original: bytes | None  # the original crop's PNG that the signer had before it


class PictureSigner:
    """Signs with the certificate and key of a pipeline file.

    Raises ConfigError if the library is missing, or with this certificate, key and algorithm no valid signature comes.
    """

    def __init__(self, settings: C2pa):
        self._c2pa = _library(ConfigError, "provenance.c2pa")
        self._key = SigningKey.read(settings)
        self._try()
        url = settings.timestamp_url
        self._context = self._signing(url.get_secret_value() if url else None)

    def sign(self, face: HealedFace) -> bytes:
        """The restored picture of `face`, with its marks, signed. Raises ProvenanceError if that fails."""
        made = provenance_of(face, "restored")
        name, _, version = made.software.partition(" ")
        edited = {
            "action": "c2pa.edited",
            "softwareAgent": {"name": name, "version": version},
            "digitalSourceType": made.digital_source_type,
            "description": DESCRIPTIONS["restored"],
            "parameters": {"streamheal.provenance": asdict(made)},
        }
        return self._sign(self._context, f"{face.id} restored", restored_png(face), original_png(face), edited)

    def _signing(self, timestamp_url: str | None) -> Any:
        """A context that signs with the key."""
        library, key = self._c2pa, self._key
        info = library.C2paSignerInfo(key.algorithm, key.chain.encode(), key.pem.encode(), timestamp_url)
        try:
            return library.Context(library.Settings.from_dict(_WRITE), library.Signer.from_info(info))
        except library.C2paError as error:
            raise ConfigError(f"provenance.c2pa: {redact(error)}") from None

    def _sign(self, context: Any, title: str, picture: bytes, original: bytes, edited: dict) -> bytes:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}}
        manifest = {
            "claim_generator_info": [edited["softwareAgent"]],
            "title": title,
            "format": _PNG,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}}],
        }
        ingredient = {
            "title": DESCRIPTIONS["original"],
            "label": "original",
            "relationship": "parentOf",
            "thumbnail": {"format": _PNG, "identifier": _ORIGINAL},
        }
        signed = io.BytesIO()
        try:
            with self._c2pa.Builder(json.dumps(manifest), context) as builder:
                builder.add_ingredient(ingredient, _PNG, io.BytesIO(original))
                builder.add_resource(_ORIGINAL, io.BytesIO(original))
                builder.sign(_PNG, io.BytesIO(picture), signed)
        except self._c2pa.C2paError as error:
            raise ProvenanceError(f"it can't be signed: {redact(error)}") from None
        return signed.getvalue()

    def _try(self) -> None:
        """A signature that nobody sees, checked."""
        agent = {"name": "streamheal", "version": "trial"}
        edited = {"action": "c2pa.edited", "softwareAgent": agent, "digitalSourceType": PARTLY_MADE}
        try:
            signed = self._sign(self._signing(None), "trial", _TRIAL, _TRIAL, edited)
            found = read_credentials(signed)
        except ProvenanceError as error:
            raise ConfigError(f"provenance.c2pa: {error}; {_WHICH}") from None
        if found is None or found.state == "invalid":
            # That nobody is trusted here is no fault of the certificate.
            why = "; ".join(p for p in found.problems if "untrusted" not in p) if found else "it holds no manifest"
            raise ConfigError(f"provenance.c2pa: what {self._key.path} signs is not valid: {why}; {_WHICH}")


def read_credentials(png: bytes, anchors: str | None = None) -> Credentials | None:
    """Check the C2PA manifest in a PNG, None if there is none. `anchors`: PEM of certificates that are trusted.

    Raises ProvenanceError if the library is missing and there is a manifest, or if it can't be read at all.
    """
    if not has_manifest(png):
        return None
    c2pa = _library(ProvenanceError, "its C2PA manifest")
    if anchors:
        try:
            load_pem_x509_certificates(anchors.encode())
        except ValueError as error:
            raise ProvenanceError(f"the anchors are no certificates ({error}); give them as PEM") from None
    trust = {"trust_config": "\n".join(_PURPOSES), **({"user_anchors": anchors} if anchors else {})}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict({**_READ, "trust": trust}))
        with c2pa.Reader(_PNG, io.BytesIO(png), context=context) as reader:
            state = _STATES.get(reader.get_validation_state(), "invalid")
            manifest = reader.get_active_manifest() or {}
            found = (reader.get_validation_results() or {}).get("activeManifest", {})
            by = manifest.get("signature_info") or {}
            return Credentials(
                state=state,
                signer=by.get("common_name") or "",
                organisation=by.get("issuer") or "",
                signed_at=by.get("time") or "",
                time_trusted=any(p["code"] == "timeStamp.trusted" for p in found.get("success", ())),
                problems=tuple(f"{p['code']}: {p.get('explanation', '')}" for p in found.get("failure", ())),
                original=_original(reader, manifest),
            )
    except c2pa.C2paError as error:
        raise ProvenanceError(f"its C2PA manifest can't be read: {error}") from error


def has_manifest(png: bytes) -> bool:
    """Whether a PNG seems to carry a C2PA manifest; needs no library."""
    return b"caBX" in png  # C2PA 2.2, A.3.3: the chunk that holds it


def _original(reader: Any, manifest: dict) -> bytes | None:
    for ingredient in manifest.get("ingredients", ()):
        if thumbnail := ingredient.get("thumbnail"):
            out = io.BytesIO()
            reader.resource_to_stream(thumbnail["identifier"], out)
            return out.getvalue()
    return None


def _library(problem: type[ConfigError] | type[ProvenanceError], what: str) -> ModuleType:
    try:
        import c2pa
    except (ImportError, OSError) as error:  # OSError: its native library doesn't load here
        raise problem(f"{what} needs the package c2pa-python ({error}); {INSTALL}") from None
    return c2pa
