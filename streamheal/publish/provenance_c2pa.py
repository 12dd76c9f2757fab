"""What a C2PA signature in a picture is worth. With the extra `c2pa` (the package c2pa-python)."""

import io
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from cryptography.x509 import load_pem_x509_certificates

from streamheal.errors import ConfigError, ProvenanceError

INSTALL = "pip install 'streamheal[c2pa]'"
PNG = "image/png"
# Nobody's picture makes this program call anybody.
_READ = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
# What a certificate may be for, to sign pictures: e-mail, documents (RFC 9336), C2PA claims.
_PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")

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


def read_credentials(png: bytes, anchors: str | None = None) -> Credentials | None:
    """Check the C2PA manifest in a PNG, None if there is none. `anchors`: PEM of certificates that are trusted.

    Raises ProvenanceError if the library is missing and there is a manifest, or if it can't be read at all.
    """
    if not has_manifest(png):
        return None
    c2pa = library(ProvenanceError, "its C2PA manifest")
    if anchors:
        try:
            load_pem_x509_certificates(anchors.encode())
        except ValueError as error:
            raise ProvenanceError(f"the anchors are no certificates ({error}); give them as PEM") from None
    trust = {"trust_config": "\n".join(_PURPOSES), **({"user_anchors": anchors} if anchors else {})}
    try:
        context = c2pa.Context(c2pa.Settings.from_dict({**_READ, "trust": trust}))
        with c2pa.Reader(PNG, io.BytesIO(png), context=context) as reader:
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


def library(problem: type[ConfigError] | type[ProvenanceError], what: str) -> ModuleType:
    """The package. Raises `problem` if it isn't there: `what` needs it."""
    try:
        import c2pa
    except (ImportError, OSError) as error:  # OSError: its native library doesn't load here
        raise problem(f"{what} needs the package c2pa-python ({error}); {INSTALL}") from None
    return c2pa
