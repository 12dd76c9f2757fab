"""A certificate authority that lives as long as a test: what may sign pictures, and what may not."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import run

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from streamheal.config import C2pa

_USES = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
_USES += " encipher_only decipher_only"
_CLOCK = """[tsa]
default_tsa = clock
[clock]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256, sha384, sha512
"""


@dataclass(frozen=True)
class Signing:
    """PEM files in a folder, all issued by one root."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The signer's, then the root's."""
        return self.folder / "signer.pem"

    @property
    def key(self) -> Path:
        return self.folder / "signer.key"

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def settings(self) -> C2pa:
        return C2pa(certificate=self.certificate, key=str(self.key))

    @contextmanager
    def clock(self) -> Iterator[str]:
        """The URL of a time-stamping authority of the same root: OpenSSL behind HTTP."""
        folder = self.folder
        (folder / "serial").write_text("01\n")
        (folder / "clock.cnf").write_text(_CLOCK.format(folder=folder))
        answer = "openssl ts -reply -config clock.cnf -queryfile query -signer clock.pem -inkey clock.key -out reply"

        class Clock(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
                run(answer.split(), cwd=folder, check=True, capture_output=True)
                reply = (folder / "reply").read_bytes()
                self.send_response(200)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Clock) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/"
            server.shutdown()


def make_signing(
    folder: Path,
    *,
    curve: ec.EllipticCurve | None = None,
    days: tuple[int, int] = (-1, 30),
    use: x509.ObjectIdentifier = ExtendedKeyUsageOID.EMAIL_PROTECTION,
) -> Signing:
    """A root, and the signer and the clock that it issued; the signer's is valid from and to so many days from now."""
    folder.mkdir(parents=True, exist_ok=True)
    root_key, key, clock_key = (ec.generate_private_key(curve or ec.SECP256R1()) for _ in range(3))
    root = (
        _certificate("Root", root_key, (-3650, 3650))
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), True)
        .sign(root_key, hashes.SHA256())
    )
    signer = _issued("Gate office", key, root_key, days, use)
    clock = _issued("Clock", clock_key, root_key, (-1, 30), ExtendedKeyUsageOID.TIME_STAMPING)
    for name, certificates, private in (
        ("root", [root], root_key), ("signer", [signer, root], key), ("clock", [clock, root], clock_key),
    ):  # fmt: skip
        (folder / f"{name}.pem").write_bytes(b"".join(c.public_bytes(Encoding.PEM) for c in certificates))
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{name}.key").write_bytes(pem)
    return Signing(folder)


def _issued(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    root_key: ec.EllipticCurvePrivateKey,
    days: tuple[int, int],
    use: x509.ObjectIdentifier,
) -> x509.Certificate:
    return (
        _certificate(name, key, days)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_key_usage("digital_signature"), True)
        .add_extension(x509.ExtendedKeyUsage([use]), use == ExtendedKeyUsageOID.TIME_STAMPING)  # RFC 3161, 2.3
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False)
        .sign(root_key, hashes.SHA256())
    )


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
