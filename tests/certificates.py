"""A certificate for tests, that nobody but its own file vouches for, expired where wanted."""

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """server: the context for a receiver. authority: the file a sender would have to trust."""

    server: ssl.SSLContext
    authority: Path


def make(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    names: tuple[str, ...] = ("localhost",),
    valid_for: timedelta = timedelta(days=1),
) -> Certificate:
    """A self-signed certificate for an address and names; a negative `valid_for` has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver of tests")])
    begins = datetime.now(UTC) - timedelta(days=30)
    hosts = [x509.IPAddress(ipaddress.ip_address(address)), *(x509.DNSName(n) for n in names)]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(datetime.now(UTC) + valid_for)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    authority, secret = folder / "receiver.pem", folder / "receiver.key"
    authority.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(authority, secret)
    return Certificate(server, authority)
