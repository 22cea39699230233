"""Which key and certificate does this server show to information systems?

A self-signed pair made at the first start, in one file ``tls/internal.pem``; the operator may put
another one in its place. Information systems pin it, and it identifies the server's own requests.
Source: UG-SS 9.3 (internal TLS key).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Sequence

_YEARS: Final = 20
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class InternalIdentity:
    """The key (PKCS#8, PEM) and certificate chain (PEM) shown to information systems."""

    key_pem: bytes
    chain_pem: bytes
    certificate: Certificate


def internal_tls_path(home: Path) -> Path:
    """Where the pair is kept."""
    return home / "tls" / "internal.pem"


def load_internal_identity(home: Path) -> InternalIdentity:
    """Load the pair; raises ``ConfigurationError`` if there is none or it can't be used."""
    path = internal_tls_path(home)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror}") from error
    try:
        key = load_pem_private_key(data, None)
        chain = data[data.index(_BEGIN) :]
        certificate = Certificate.from_pem_or_der(chain)
    except (ValueError, TypeError, MalformedInput) as error:
        raise ConfigurationError(
            f"{path} must hold a private key and its certificate, both PEM: {error}",
            code=FaultCode.INCORRECT_CERTIFICATE,
        ) from error
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return InternalIdentity(key_pem, chain, certificate)


def ensure_internal_identity(
    home: Path, at: dt.datetime, addresses: Sequence[str] = ()
) -> InternalIdentity:
    """Load the pair, making one first if there is none; several processes may call it at once."""
    path = internal_tls_path(home)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".internal.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_make_pair(at, addresses))
                file.flush()
                os.fsync(file.fileno())
            # A link never replaces a file: the first of several processes wins.
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            Path(temporary).unlink()
    return load_internal_identity(home)


def _make_pair(at: dt.datetime, addresses: Sequence[str]) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname() or "localhost"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - dt.timedelta(minutes=5))
        .not_valid_after(at + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(_names(host, addresses)), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key_pem + certificate.public_bytes(Encoding.PEM)


def _names(host: str, addresses: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for text in dict.fromkeys((host, "localhost", "127.0.0.1", *addresses)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(text)))
        except ValueError:
            names.append(x509.DNSName(text))
    return names
