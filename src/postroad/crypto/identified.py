"""Which signature algorithm does this ASN.1 algorithm identifier name?

Certificates, OCSP responses and time-stamp tokens state their algorithm as an AlgorithmIdentifier
(RFC 5280 4.1.1.2). Most are a bare object identifier; RSA-PSS carries its digest, mask and salt as
parameters (RFC 4055 3.1), and a CMS signer may say only ``rsaEncryption`` and leave the digest to
the field beside it (RFC 3370 3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from asn1crypto.algos import SignedDigestAlgorithm

_RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_MGF1: Final = "mgf1"

DIGEST_OIDS: Final = {
    "1.3.14.3.2.26": DigestAlgorithm.SHA1,
    "2.16.840.1.101.3.4.2.4": DigestAlgorithm.SHA224,
    "2.16.840.1.101.3.4.2.1": DigestAlgorithm.SHA256,
    "2.16.840.1.101.3.4.2.2": DigestAlgorithm.SHA384,
    "2.16.840.1.101.3.4.2.3": DigestAlgorithm.SHA512,
}


def digest_by_oid(oid: str) -> DigestAlgorithm:
    """The digest algorithm of an object identifier; ``MalformedInput`` if we don't know it."""
    try:
        return DIGEST_OIDS[oid]
    except KeyError:
        raise MalformedInput(
            f"unknown digest algorithm {oid}", code=FaultCode.CRYPTOGRAPHY_ERROR
        ) from None


def digest_oid(algorithm: DigestAlgorithm) -> str:
    """The object identifier of a digest algorithm."""
    return next(oid for oid, known in DIGEST_OIDS.items() if known is algorithm)


def signature_algorithm(
    identifier: SignedDigestAlgorithm, *, beside: DigestAlgorithm | None = None
) -> SignatureAlgorithm:
    """The algorithm an identifier names; ``beside`` is the digest stated next to it, if any.

    Raises ``MalformedInput`` for unknown algorithms, for RSA-PSS parameters other than MGF1 with
    the same digest and a salt of the digest's length, and where ``beside`` contradicts.
    """
    try:
        oid = identifier["algorithm"].dotted
    except UNREADABLE as error:
        raise MalformedInput(
            f"algorithm cannot be read: {error}", code=FaultCode.CRYPTOGRAPHY_ERROR
        ) from error
    if oid == _RSA_PSS:
        algorithm = _pss(identifier)
    elif oid in (_RSA_ENCRYPTION, _EC_PUBLIC_KEY) and beside is not None:
        algorithm = SignatureAlgorithm.with_digest(
            "RSA" if oid == _RSA_ENCRYPTION else "EC", beside
        )
    else:
        algorithm = SignatureAlgorithm.by_oid(oid)
    if beside is not None and algorithm.digest is not beside:
        raise MalformedInput(
            f"signature algorithm {algorithm.jca_name} contradicts its digest {beside.label}",
            code=FaultCode.CRYPTOGRAPHY_ERROR,
        )
    return algorithm


def _pss(identifier: SignedDigestAlgorithm) -> SignatureAlgorithm:
    try:
        parameters = identifier["parameters"]
        digest = digest_by_oid(parameters["hash_algorithm"]["algorithm"].dotted)
        mask = parameters["mask_gen_algorithm"]
        mask_digest = digest_by_oid(mask["parameters"]["algorithm"].dotted)
        salt = parameters["salt_length"].native
        plain = mask["algorithm"].native == _MGF1 and mask_digest is digest
    except UNREADABLE as error:
        raise MalformedInput(
            f"RSA-PSS parameters cannot be read: {error}", code=FaultCode.CRYPTOGRAPHY_ERROR
        ) from error
    if not plain or salt != digest.size:
        raise MalformedInput(
            "RSA-PSS with a foreign mask, digest or salt length", code=FaultCode.CRYPTOGRAPHY_ERROR
        )
    return SignatureAlgorithm.with_digest("RSA-PSS", digest)
