"""Signs restored pictures (C2PA). With the extra `c2pa` (the package c2pa-python).

A signed picture holds a manifest: that it was opened as the original crop (which lies in the manifest, as it was), that
a network made a part of it, which one, from which frames; and a hash over all its bytes. No two signatures are equal,
not even of the same face: it is signed once, before any sink sees it (`signing.py`).
"""

import io
import json
from dataclasses import asdict
from typing import Any

import numpy as np

from streamheal.config import C2pa
from streamheal.errors import ConfigError, ProvenanceError, redact
from streamheal.publish.face_pictures import original_png, restored_png
from streamheal.publish.pictures import png
from streamheal.publish.provenance import DESCRIPTIONS, provenance_of
from streamheal.publish.provenance_c2pa import PNG, library, read_credentials
from streamheal.publish.signing_key import SigningKey
from streamheal.records import PARTLY_MADE, HealedFace

_ORIGINAL = "original.png"
# What is signed was tried when the signer was built: to check each costs half as much again. The thumbnail would be a
# copy.
_WRITE = {"verify": {"verify_after_sign": False, "verify_trust": False}, "builder": {"thumbnail": {"enabled": False}}}
_WHICH = "docs/provenance.md says which certificates sign"
_TRIAL = png(np.zeros((16, 16, 3), np.uint8))


class PictureSigner:
    """Signs with the certificate and key of a pipeline file.

    Raises ConfigError if the library is missing, or with this certificate, key and algorithm no valid signature comes.
    """

    def __init__(self, settings: C2pa):
        self._c2pa = library(ConfigError, "provenance.c2pa")
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
        c2pa, key = self._c2pa, self._key
        info = c2pa.C2paSignerInfo(key.algorithm, key.chain.encode(), key.pem.encode(), timestamp_url)
        try:
            return c2pa.Context(c2pa.Settings.from_dict(_WRITE), c2pa.Signer.from_info(info))
        except c2pa.C2paError as error:
            raise ConfigError(f"provenance.c2pa: {redact(error)}") from None

    def _sign(self, context: Any, title: str, picture: bytes, original: bytes, edited: dict) -> bytes:
        opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": ["original"]}}
        manifest = {
            "claim_generator_info": [edited["softwareAgent"]],
            "title": title,
            "format": PNG,
            "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [opened, edited]}}],
        }
        ingredient = {
            "title": DESCRIPTIONS["original"],
            "label": "original",
            "relationship": "parentOf",
            "thumbnail": {"format": PNG, "identifier": _ORIGINAL},
        }
        signed = io.BytesIO()
        try:
            with self._c2pa.Builder(json.dumps(manifest), context) as builder:
                builder.add_ingredient(ingredient, PNG, io.BytesIO(original))
                builder.add_resource(_ORIGINAL, io.BytesIO(original))
                builder.sign(PNG, io.BytesIO(picture), signed)
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
