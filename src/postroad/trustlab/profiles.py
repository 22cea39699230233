"""What do the lab's certificates look like?

The exact extensions of the reference's test CA (``ansible/roles/xroad-ca``): keyUsage is critical
everywhere, extendedKeyUsage is critical for OCSP and time-stamping only. These are also the shapes
that real certification services of the ecosystem issue.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

if TYPE_CHECKING:
    from collections.abc import Iterator


class CertificateKind(Enum):
    """What a certificate is for."""

    ROOT = "root"
    ISSUING = "issuing"
    SIGN = "sign"
    AUTH = "auth"
    OCSP = "ocsp"
    TSA = "tsa"


@dataclass(frozen=True, slots=True)
class _Shape:
    key_usage: frozenset[str]
    extended: tuple[x509.ObjectIdentifier, ...] = ()
    extended_critical: bool = False
    is_ca: bool = False
    path_length: int | None = None
    states_constraints: bool = True


_CA_USAGE: Final = frozenset({"digital_signature", "crl_sign", "key_cert_sign"})
_AUTH_USAGE: Final = frozenset(
    {"digital_signature", "key_encipherment", "data_encipherment", "key_agreement"}
)
_SHAPES: Final = {
    CertificateKind.ROOT: _Shape(_CA_USAGE, is_ca=True),
    CertificateKind.ISSUING: _Shape(_CA_USAGE, is_ca=True, path_length=0),
    CertificateKind.SIGN: _Shape(frozenset({"content_commitment"})),
    CertificateKind.AUTH: _Shape(
        _AUTH_USAGE, (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
    ),
    CertificateKind.OCSP: _Shape(
        frozenset({"digital_signature"}),
        (ExtendedKeyUsageOID.OCSP_SIGNING,),
        extended_critical=True,
    ),
    CertificateKind.TSA: _Shape(
        frozenset({"content_commitment"}),
        (ExtendedKeyUsageOID.TIME_STAMPING,),
        extended_critical=True,
        states_constraints=False,
    ),
}
_USAGE_BITS: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def extensions(kind: CertificateKind) -> Iterator[tuple[x509.ExtensionType, bool]]:
    """The extensions of a kind of certificate, each with whether it's critical."""
    shape = _SHAPES[kind]
    if shape.states_constraints:
        yield x509.BasicConstraints(shape.is_ca, shape.path_length), shape.is_ca
    yield x509.KeyUsage(**{bit: bit in shape.key_usage for bit in _USAGE_BITS}), True
    if shape.extended:
        yield x509.ExtendedKeyUsage(shape.extended), shape.extended_critical
