"""Faces at rest are sealed here: AES-256-GCM under a key that the environment holds and no file of ours does.

A sealed value says which key opens it, so that keys can change while old values stay readable:

    magic "SHV1" | length of the key id | key id | nonce (12) | ciphertext and tag (16)

The head and `about` (which event, which field) are authenticated with the bytes: a value that was changed, or moved to
another event, file or field, does not open.

Each value has a random nonce. A key is good for 2³² values by NIST SP 800-38D, 8.3: 130 years at one a second; a new
key every few years keeps far below that.
"""

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streamheal.config import Encryption
from streamheal.errors import VaultError

KEY_BYTES = 32
_MAGIC = b"SHV1"
_NONCE = 12
_TAG = 16
HEAD_BYTES = len(_MAGIC) + 1 + 255 + _NONCE + _TAG  # the first so many bytes of a sealed value say which key opens it


def sealed(data: bytes) -> bool:
    """Whether `data` came out of `Vault.seal` with a key. No PNG, JSON or event begins with the same bytes."""
    return data.startswith(_MAGIC)


def sealed_under(data: bytes) -> str | None:
    """The id of the key that opens `data`, or None if it is not sealed. Raises VaultError if its head is damaged."""
    return _split(data)[0] if sealed(data) else None


class Vault:
    """Seals bytes under the key in use; opens what any of its keys sealed. Safe in several threads.

    Without a key (`Vault()`) it hands bytes on as they are.
    """

    def __init__(self, use: str | None = None, keys: dict[str, bytes] | None = None):
        """`use` names one of `keys`, each 32 bytes. Raises ValueError otherwise."""
        keys = keys or {}
        if any(len(key) != KEY_BYTES for key in keys.values()) or (use is not None and use not in keys):
            raise ValueError(f"keys of {KEY_BYTES} bytes, and one of them to use")
        self.key_id = use
        self._keys = {name: AESGCM(key) for name, key in keys.items()}

    @classmethod
    def from_config(cls, settings: Encryption | None) -> "Vault":
        """The vault of a pipeline file; None seals nothing."""
        if settings is None:
            return cls()
        keys = {name: base64.b64decode(text.get_secret_value()) for name, text in settings.keys.items()}
        return cls(settings.use, keys)

    def seal(self, data: bytes, about: str) -> bytes:
        """`data` sealed under the key in use. `about` says where it belongs and is asked for again by `open`."""
        if self.key_id is None:
            return data
        name = self.key_id.encode()
        head = _MAGIC + bytes([len(name)]) + name
        nonce = os.urandom(_NONCE)
        return head + nonce + self._keys[self.key_id].encrypt(nonce, data, head + about.encode())

    def open(self, data: bytes, about: str) -> bytes:
        """What was sealed; bytes that never were come back as they are.

        Raises VaultError if there is no such key here, or if the bytes were changed or belong elsewhere.
        """
        if not sealed(data):
            return data
        name, head, nonce, body = _split(data)
        if name not in self._keys:
            have = ", ".join(self._keys) or "none"
            raise VaultError(
                f"{about} is sealed under key {name!r}; keys here: {have}; add that key to encryption.keys"
            )
        try:
            return self._keys[name].decrypt(nonce, body, head + about.encode())
        except InvalidTag:
            raise VaultError(
                f"{about} doesn't open under key {name!r}: it was changed, belongs elsewhere, or the key is another "
                "one of the same name"
            ) from None


def _split(data: bytes) -> tuple[str, bytes, bytes, bytes]:
    """(key id, head, nonce, ciphertext and tag) of a sealed value. Raises VaultError if it is too short."""
    start = len(_MAGIC) + 1
    end = start + (data[start - 1] if len(data) >= start else 0)
    if len(data) < end + _NONCE + _TAG or end == start:
        raise VaultError(f"a sealed value of {len(data)} bytes is cut short; take it from a copy, or delete it")
    name = data[start:end].decode("ascii", "replace")
    return name, data[:end], data[end : end + _NONCE], data[end + _NONCE :]
