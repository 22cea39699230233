"""How does a node get the TLS certificates it starts with?

Self-signed ones, made once: for the distribution's HTTPS port (clients fall back to plain HTTP, the
signature protects the content) and for the registration service (clients pin it). An administrator
may put others in their place. Source: reference installation of the Central Server.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from postroad.centralserver.registry.names import host_of
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

VALIDITY = timedelta(days=20 * 365)
_MAX_COMMON_NAME = 64


def ensure_tls_certificate(
    certificate_path: Path, key_path: Path, *, address: str, at: datetime
) -> bytes:
    """The certificate (PEM) in that file; both files are made if neither is there.

    Raises ``ConfigurationError`` when only one is, or the directory can't be written.
    """
    try:
        if certificate_path.exists() != key_path.exists():
            raise ConfigurationError(f"{certificate_path} and {key_path}: one of them is missing")
        if not certificate_path.exists():
            _make(certificate_path, key_path, host_of(address), at)
        return certificate_path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the TLS certificate can't be kept: {error}") from error


def _make(certificate_path: Path, key_path: Path, host: str, at: datetime) -> None:
    key, certificate = make_pair(host, at)
    key_path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with os.fdopen(os.open(key_path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(key)
    certificate_path.write_bytes(certificate)


def make_pair(host: str, at: datetime) -> tuple[bytes, bytes]:
    """A new key and a certificate of its own signature for a host, both PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:_MAX_COMMON_NAME])])
    builder = (
        x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=at - timedelta(days=1),
            not_valid_after=at + VALIDITY,
        )
        .add_extension(x509.SubjectAlternativeName([_alternative_name(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret, certificate.public_bytes(Encoding.PEM)


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return x509.DNSName(host.encode("idna").decode("ascii"))
