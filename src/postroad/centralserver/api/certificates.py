"""What does a certificate say, as a payload?

Source: reference ``CertificateConverter``; names of key usages and algorithms are Java's.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from postroad.centralserver.api.schemas import Payload
from postroad.crypto.certificates import Certificate
from postroad.errors import MalformedInput

_USAGES: Final = (
    ("digital_signature", "DIGITAL_SIGNATURE"),
    ("content_commitment", "NON_REPUDIATION"),
    ("key_encipherment", "KEY_ENCIPHERMENT"),
    ("data_encipherment", "DATA_ENCIPHERMENT"),
    ("key_agreement", "KEY_AGREEMENT"),
    ("key_cert_sign", "KEY_CERT_SIGN"),
    ("crl_sign", "CRL_SIGN"),
)
_NAMES: Final = {NameOID.SERIAL_NUMBER: "SERIALNUMBER"}


class CertificateDetails(Payload):
    """The content of a certificate."""

    hash: str
    issuer_common_name: str
    issuer_distinguished_name: str
    key_usages: list[str]
    not_after: datetime
    not_before: datetime
    public_key_algorithm: str
    serial: str
    signature: str
    signature_algorithm: str
    subject_alternative_names: str
    subject_common_name: str
    subject_distinguished_name: str
    version: int
    rsa_public_key_exponent: int | None = None
    rsa_public_key_modulus: str | None = None
    ec_public_parameters: str | None = None
    ec_public_key_point: str | None = None
    id: int | None = None
    """Of an authentication certificate, to name it in other operations."""


def certificate_details(data: bytes, row_id: int | None = None) -> CertificateDetails:
    """The content of a certificate, PEM or DER, the first one of a bundle."""
    certificate = Certificate.from_pem_or_der(data)
    parsed = certificate.x509
    details = CertificateDetails(
        hash=certificate.sha256.hex().upper(),
        issuer_common_name=_common_name(parsed.issuer),
        issuer_distinguished_name=_written(parsed.issuer),
        key_usages=_key_usages(certificate),
        not_after=certificate.not_after,
        not_before=certificate.not_before,
        public_key_algorithm="RSA",
        serial=str(certificate.serial),
        signature=parsed.signature.hex(),
        signature_algorithm=_signature_algorithm(certificate),
        subject_alternative_names=_alternative_names(parsed),
        subject_common_name=_common_name(parsed.subject),
        subject_distinguished_name=_written(parsed.subject),
        version=3 if parsed.version is x509.Version.v3 else 1,
        id=row_id,
    )
    key = certificate.public_key
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        details.rsa_public_key_exponent = numbers.e
        details.rsa_public_key_modulus = f"{numbers.n:x}"
    else:
        point = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        details.public_key_algorithm = "EC"
        details.ec_public_parameters = key.curve.name
        details.ec_public_key_point = point.hex()
    return details


def _signature_algorithm(certificate: Certificate) -> str:
    try:
        return certificate.signature_algorithm.jca_name
    except MalformedInput:
        return certificate.x509.signature_algorithm_oid.dotted_string


def _key_usages(certificate: Certificate) -> list[str]:
    usage = certificate.key_usage
    if usage is None:
        return []
    return [name for attribute, name in _USAGES if getattr(usage, attribute)]


def _common_name(name: x509.Name) -> str:
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[0].value) if values else ""


def _written(name: x509.Name) -> str:
    return ", ".join(part.rfc4514_string(_NAMES) for part in reversed(name.rdns))


def _alternative_names(parsed: x509.Certificate) -> str:
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ""
    shown = []
    for name in names:
        match name:
            case x509.DNSName():
                shown.append(f"DNS:{name.value}")
            case x509.IPAddress():
                shown.append(f"IP Address:{name.value}")
            case _:
                shown.append(str(name.value))
    return ", ".join(shown)
