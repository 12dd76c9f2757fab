"""The certificate and key that pictures are signed with: read, and checked as far as can be said in plain words."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from streamheal.config import C2pa
from streamheal.errors import ConfigError

_CURVES = {"es256": "secp256r1", "es384": "secp384r1", "es512": "secp521r1"}
_KEY = "provenance.c2pa.key"
_CERTIFICATE = "provenance.c2pa.certificate"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A certificate with those that issued it, and its key. The key is in no `repr`."""

    path: Path  # of the certificate
    algorithm: str
    chain: str  # PEM, the signing certificate first
    pem: str = field(repr=False)  # PKCS #8, unencrypted

    @classmethod
    def read(cls, settings: C2pa) -> "SigningKey":
        """Those that a pipeline file names. Raises ConfigError, which never shows the key: a file that can't be read
        or isn't PEM, a certificate that isn't valid today, a key of another certificate or another algorithm."""
        path = settings.certificate
        certificates = _certificates(path)
        for number, certificate in enumerate(certificates, 1):
            _check_dates(certificate, f"{_CERTIFICATE} {path}: certificate {number}")
        key = _private_key(settings.key.get_secret_value())
        if _public(certificates[0].public_key()) != _public(key.public_key()):
            raise ConfigError(
                f"{_KEY} is not the key of the first certificate in {path}; put the signing certificate first, or give "
                "its own key"
            )
        _check_algorithm(key, settings.algorithm)
        chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return cls(path, settings.algorithm, chain.decode(), pem.decode())


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{_CERTIFICATE} {path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(
            f"{_CERTIFICATE} {path} holds no certificate ({error}); give a PEM file, the signing certificate first"
        ) from None


def _check_dates(certificate: x509.Certificate, what: str) -> None:
    now, begin, end = datetime.now(UTC), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise ConfigError(f"{what} has expired on {end:%Y-%m-%d}; give one that is valid")
    if now < begin:
        raise ConfigError(f"{what} is not valid before {begin:%Y-%m-%d}; wait, or set this machine's clock")


def _private_key(text: str) -> EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey:
    if "-----BEGIN" in text:
        what, pem = _KEY, text.encode()
    else:
        what = f"{_KEY} {text}"
        try:
            pem = Path(text).read_bytes()
        except (OSError, ValueError) as error:  # the text may be a key that lost its first line: not to be shown
            reason = getattr(error, "strerror", None) or "no path can be like that"
            raise ConfigError(
                f"{_KEY} is no PEM, and as the path of a PEM file it can't be read: {reason}; it isn't shown here"
            ) from None
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ConfigError(
            f"{what} is locked with a password; give it unlocked, best from the environment: ${{NAME}}"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"{what} holds no private key; give a PEM file, or the PEM itself: ${{NAME}}") from None
    return key


def _check_algorithm(key: object, algorithm: str) -> None:
    if isinstance(key, EllipticCurvePrivateKey):
        fitting = [name for name, curve in _CURVES.items() if curve == key.curve.name]
        kind = f"on the curve {key.curve.name}"
    elif isinstance(key, Ed25519PrivateKey):
        fitting, kind = ["ed25519"], "for Ed25519"
    elif isinstance(key, RSAPrivateKey):
        fitting, kind = ["ps256", "ps384", "ps512"], "for RSA"
    else:
        fitting, kind = [], type(key).__name__
    if algorithm not in fitting:
        raise ConfigError(
            f"provenance.c2pa.algorithm {algorithm} doesn't go with the key, which is {kind}; "
            + (f"give {' or '.join(fitting)}" if fitting else "give a key for ECDSA, RSA or Ed25519")
        )


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
