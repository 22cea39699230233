"""Does this signature hold over these parts, with the certificate that it carries?

This is the cryptographic half of the judgement: digests, signature value, and what is covered.
Whether the certificate may speak for a member is judged in ``verification``. Sources: XML
Signature (core validation), ETSI TS 101 903; reference: SignatureVerifier. What the reference
leaves out and we add: signed properties must be signed, they must name the certificate, a part
that is signed must be signed as it was sent (no transforms), and everything must be covered.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm, verify_signature
from postroad.errors import FaultCode, TrustError
from postroad.evidence.xades_parsing import CanonicalForm, malformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.evidence.digests import PartDigest
    from postroad.evidence.xades_parsing import SignatureFacts, SignatureReference

_WEAK: Final = frozenset({DigestAlgorithm.SHA1, DigestAlgorithm.SHA224})
_DEFAULT_FORM: Final = CanonicalForm()  # XML Signature 4.4.3.2: a node set is made octets by C14N


def verify_core(
    signature: SignatureFacts,
    parts: Mapping[str, PartDigest],
    *,
    allow_legacy: bool = False,
) -> None:
    """Verify digests and signature value of a signature document.

    ``parts`` holds everything a reference may name outside of the document. Raises
    ``MalformedInput`` or ``TrustError``: ``malformed_signature`` for a reference that doesn't
    resolve or properties that aren't signed, ``invalid_signature_value`` if a digest or the value
    differs, ``incorrect_certificate`` if the properties name another certificate.
    """
    # (1) Every reference resolves, and to what was digested.
    for reference in signature.references:
        _verify_reference(signature, reference, parts, allow_legacy=allow_legacy)
    # (2) The properties that we read are the ones that are signed.
    identifier = signature.properties_identifier
    if not identifier or len(signature.references_to(f"#{identifier}")) != 1:
        raise malformed("the signed properties are not signed")
    # (3) The signature value holds.
    verify_signature(
        signature.certificate.public_key,
        signature.algorithm,
        signature.value,
        signature.signed_info_octets(),
        ecdsa_raw=True,
        either_form=True,
        allow_legacy=allow_legacy,
    )
    # (4) The certificate is the one that the signer named.
    for named in signature.signing_certificates:
        _check_algorithm(named.algorithm, allow_legacy=allow_legacy)
    if not any(named.matches(signature.certificate) for named in signature.signing_certificates):
        raise TrustError(
            "the signed properties name another certificate than the one in the signature",
            code=FaultCode.INCORRECT_CERTIFICATE,
        )


def _verify_reference(
    signature: SignatureFacts,
    reference: SignatureReference,
    parts: Mapping[str, PartDigest],
    *,
    allow_legacy: bool,
) -> None:
    _check_algorithm(reference.algorithm, allow_legacy=allow_legacy)
    if not hmac.compare_digest(_digest(signature, reference, parts), reference.value):
        raise _invalid(f"{reference.uri[:100]!r} differs from its digest in the signature")


def _digest(
    signature: SignatureFacts, reference: SignatureReference, parts: Mapping[str, PartDigest]
) -> bytes:
    if reference.uri.startswith("#"):
        form = reference.transform or _DEFAULT_FORM
        return reference.algorithm.digest(signature.element_octets(reference.uri[1:], form))
    part = parts.get(reference.uri)
    if part is None:
        raise malformed(f"there is no {reference.uri[:100]!r}, which the signature refers to")
    if reference.transform is not None:
        # A canonical form may leave things out that a reader of the message sees.
        raise malformed(f"{reference.uri[:100]!r} must be signed as it was sent, not transformed")
    value = part.under(reference.algorithm)
    if value is None:
        raise _invalid(
            f"the {reference.algorithm.label} digest of {reference.uri[:100]!r} isn't known, "
            f"only that by {part.algorithm.label}"
        )
    return value


def _check_algorithm(algorithm: DigestAlgorithm, *, allow_legacy: bool) -> None:
    if algorithm in _WEAK and not allow_legacy:
        raise _invalid(f"digest algorithm {algorithm.label} is not accepted any more")


def _invalid(message: str) -> TrustError:
    return TrustError(message, code=FaultCode.INVALID_SIGNATURE_VALUE)
