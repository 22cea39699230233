"""Keys and certificates of a trust lab, in the forms that TLS contexts take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from postroad.adapters.tls import encode_pem
from postroad.identifiers import SecurityServerId
from postroad.trustlab.authority import Identity, KeyKind, TrustLab

SERVER = SecurityServerId("PR", "GOV", "1", "server")


def lab(name: str = "Lab") -> TrustLab:
    """A hierarchy that is valid now (TLS reads the real clock)."""
    return _lab(name)


@cache
def _lab(name: str) -> TrustLab:
    return TrustLab.create(at=datetime.now(UTC), name=name)  # noqa: TID251 - TLS reads the real clock


@dataclass(frozen=True)
class TlsIdentity:
    """A key and certificate as TLS contexts take them."""

    key: bytes
    chain: bytes
    der: bytes


def as_tls(identity: Identity, *intermediates: bytes) -> TlsIdentity:
    """Turn a lab identity into PEM; intermediates are DER."""
    key = identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    leaf = identity.certificate.der
    chain = b"".join(encode_pem(der) for der in (leaf, *intermediates))
    return TlsIdentity(key, chain, leaf)


def peer(keys: KeyKind = KeyKind.EC_P256, name: str = "Lab") -> TlsIdentity:
    """An authentication key and certificate, sent with its intermediate."""
    return _peer(keys, name)


@cache
def _peer(keys: KeyKind, name: str) -> TlsIdentity:
    authority = lab(name)
    return as_tls(authority.auth_certificate(SERVER, keys=keys), authority.issuing.certificate.der)
