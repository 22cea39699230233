"""How is one certificate made?

Keys, identities and the act of issuing, for :mod:`postroad.trustlab.authority`. Subjects come from
a certificate request or a certificate profile, extensions from :mod:`postroad.trustlab.profiles`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.crypto.algorithms import (
    DigestAlgorithm,
    PrivateKey,
    PublicKey,
    SignatureAlgorithm,
    check_key_strength,
    sign_data,
)
from postroad.crypto.certificates import Certificate
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import FaultCode, MalformedInput, TrustError
from postroad.trustlab.profiles import CertificateKind, extensions

if TYPE_CHECKING:
    from datetime import datetime

MAX_REQUEST_BYTES: Final = 10_000
"""Largest certificate request, as in the reference's test CA."""
DEFAULT_DAYS: Final = 7300
CA_DAYS: Final = 10_950

_MEMBER_LEEWAY: Final = timedelta(days=1)
"""How long before its making a certificate is valid already, for clocks that run behind."""
_SERVICE_LEEWAY: Final = timedelta(days=30)
"""The same for the lab's own certificates, so that its services can lie about the past."""


class KeyKind(Enum):
    """What keys the lab makes."""

    EC_P256 = "ec"
    RSA_2048 = "rsa"
    RSA_3072 = "rsa3072"

    def generate(self) -> PrivateKey:
        """Make a new key."""
        if self is KeyKind.EC_P256:
            return ec.generate_private_key(ec.SECP256R1())
        return rsa.generate_private_key(65537, 3072 if self is KeyKind.RSA_3072 else 2048)


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate with its private key."""

    certificate: Certificate
    private_key: PrivateKey

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """The algorithm this key signs messages with (SHA-512)."""
        return SignatureAlgorithm.for_key(self.certificate.public_key)

    def sign(
        self,
        data: bytes,
        *,
        digest: DigestAlgorithm = DigestAlgorithm.SHA512,
        ecdsa_raw: bool = True,
    ) -> bytes:
        """Sign data; ECDSA values are raw, as XML signatures hold them, unless told otherwise."""
        algorithm = SignatureAlgorithm.for_key(self.certificate.public_key, digest)
        return sign_data(self.private_key, algorithm, data, ecdsa_raw=ecdsa_raw)


def issue(
    issuer: Identity,
    subject: x509.Name,
    public_key: PublicKey,
    kind: CertificateKind,
    *,
    at: datetime,
    days: float = DEFAULT_DAYS,
    alt_name: x509.SubjectAlternativeName | None = None,
) -> Certificate:
    """Issue a certificate of the lab's shape, valid until so many days after ``at``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # subjects may be longer than X.520 says
        issuer_name = issuer.certificate.x509.subject
        builder = _builder(subject, public_key, kind, at=at, days=days)
    builder = builder.issuer_name(issuer_name).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.certificate.public_key),
        critical=False,
    )
    if alt_name is not None:
        builder = builder.add_extension(alt_name, critical=False)
    return _signed(builder, issuer.private_key)


def self_signed(
    subject: x509.Name, key: PrivateKey, kind: CertificateKind, *, at: datetime, days: float
) -> Certificate:
    """Make a certificate that vouches for itself: a root."""
    builder = _builder(subject, key.public_key(), kind, at=at, days=days).issuer_name(subject)
    return _signed(builder, key)


def _builder(
    subject: x509.Name, public_key: PublicKey, kind: CertificateKind, *, at: datetime, days: float
) -> x509.CertificateBuilder:
    of_member = kind in (CertificateKind.SIGN, CertificateKind.AUTH)
    begin = at.replace(microsecond=0) - (_MEMBER_LEEWAY if of_member else _SERVICE_LEEWAY)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(at.replace(microsecond=0) + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )
    for extension, critical in extensions(kind):
        builder = builder.add_extension(extension, critical=critical)
    return builder


def _signed(builder: x509.CertificateBuilder, key: PrivateKey) -> Certificate:
    return Certificate.from_der(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))


def read_request(
    data: bytes,
) -> tuple[x509.Name, PublicKey, x509.SubjectAlternativeName | None]:
    """Read a PKCS#10 request, PEM or DER: subject, key and alternative names.

    Raises ``MalformedInput`` (``csr_failed``) if it's unreadable, too large, not signed by its own
    key, or its key is of a kind or size that isn't accepted.
    """
    if len(data) > MAX_REQUEST_BYTES:
        raise _refused(f"{len(data)} bytes are too many")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if b"-----BEGIN" in data:
                request = x509.load_pem_x509_csr(data)
            else:
                request = x509.load_der_x509_csr(data)
            if not request.is_signature_valid:
                raise _refused("its signature does not verify")
            key = request.public_key()
            subject = request.subject
            names = [
                extension.value
                for extension in request.extensions
                if isinstance(extension.value, x509.SubjectAlternativeName)
            ]
    except UNREADABLE as error:
        raise _refused(str(error)) from error
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise _refused("its key is neither RSA nor EC")
    try:
        check_key_strength(key)
    except TrustError as error:
        raise _refused(error.message) from error
    return subject, key, names[0] if names else None


def _refused(reason: str) -> MalformedInput:
    return MalformedInput(
        f"the certificate request cannot be used: {reason}", code=FaultCode.CSR_FAILED
    )
