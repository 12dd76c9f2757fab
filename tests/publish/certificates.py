"""A certificate authority that lives as long as a test: what may sign pictures, and what may not."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamheal.config import C2pa

_USES = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
_USES += " encipher_only decipher_only"


@dataclass(frozen=True)
class Signing:
    """PEM files in a folder."""

    certificate: Path  # the signer's, then the root's
    key: Path
    root: Path

    @property
    def settings(self) -> C2pa:
        return C2pa(certificate=self.certificate, key=str(self.key))


def make_signing(
    folder: Path,
    *,
    curve: ec.EllipticCurve | None = None,
    days: tuple[int, int] = (-1, 30),
    use: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> Signing:
    """A root and a signer that it issued, valid from and to so many days from now."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(curve or ec.SECP256R1())
    root = (
        _certificate("Root", root_key, (-3650, 3650))
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), True)
        .sign(root_key, hashes.SHA256())
    )
    signer = (
        _certificate("Gate office", key, days)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_key_usage("digital_signature"), True)
        .add_extension(x509.ExtendedKeyUsage([use]), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )
    made = Signing(folder / "chain.pem", folder / "key.pem", folder / "root.pem")
    made.certificate.write_bytes(signer.public_bytes(Encoding.PEM) + root.public_bytes(Encoding.PEM))
    made.root.write_bytes(root.public_bytes(Encoding.PEM))
    made.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return made


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, days: tuple[int, int]) -> x509.CertificateBuilder:
    begin, end = (datetime.now(UTC) + timedelta(days=day) for day in days)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name("Root"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _name(common: str) -> x509.Name:
    parts = {NameOID.ORGANIZATION_NAME: "Example Ltd", NameOID.COMMON_NAME: common}
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts.items()])


def _key_usage(*allowed: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in allowed for use in _USES.split()})
