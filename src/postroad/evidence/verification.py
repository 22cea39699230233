"""Did this member sign this message, with a certificate that was good at that moment?

:func:`verify_message_signature` judges what a peer sent, :func:`verify_signature_at` what was
archived (for ``container_verification``). Both follow one recipe, PR-SIGDOC and
PR-MESSTRANSP 3.2/3.3 (reference: SignatureVerifier), in the order of the reference, so that a
document with several defects is refused for the same one:

1. the signature document keeps to its structure, and refers to the message or a chain result
2. the hash chain, if there is one, leads from every part to the result that is signed
3. the certificate may sign: key usage nonRepudiation
4. it names the sender, by the profile of the authority that issued it
5. digests and value of the signature hold, and it covers every part
6. an approved authority of the sender's instance issued the certificate, valid at the moment
7. an OCSP response in the signature says, freshly and by an authorised responder, that it's good

The reference omits, and we check: that the signature refers to the message at all and covers
every part that was received (1, 5), that a hash chain that was sent is used (2), and all that
``xades_verification`` and ``hashchain_verification`` list. Old manifests inside signatures (6.x
time-stamp manifests) aren't followed: they can't make a signature valid here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.crypto.ocsp import OcspResponse, VerifiedOcsp, require_good, verify_ocsp
from postroad.crypto.profiles import member_of_sign_certificate
from postroad.errors import FaultCode, PostroadError, TrustError
from postroad.evidence.digests import (
    HASH_CHAIN_PART,
    HASH_CHAIN_RESULT_PART,
    MESSAGE_PART,
    PartDigest,
)
from postroad.evidence.exact_form import read_signature
from postroad.evidence.hashchain_verification import (
    ChainPolicy,
    VerifiedHashChain,
    verify_hash_chain,
)
from postroad.evidence.verdicts import (
    MAX_KEPT_DOCUMENT_BYTES,
    CertificateEvidence,
    SoundDocument,
    TrustedCertificate,
    VerificationCache,
)
from postroad.evidence.xades_parsing import malformed
from postroad.evidence.xades_verification import verify_core
from postroad.identifiers import ClientId, MemberId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from postroad.evidence.xades_parsing import SignatureFacts, SignatureReference
    from postroad.globalconf.indexes import ApprovedCertificate
    from postroad.globalconf.view import GlobalConfiguration

__all__ = [
    "SignatureDocument",
    "VerificationCache",
    "VerifiedSignature",
    "require_signed_message",
    "verify_message_signature",
    "verify_signature_at",
]

SIGNING_TIME_TOLERANCE: Final = timedelta(minutes=5)
"""How far the signer's own clock may be off before we remark on it."""


@dataclass(frozen=True, slots=True)
class SignatureDocument:
    """A signature as it travels: the document, and for batch signatures the hash chain."""

    signature: bytes
    hash_chain_result: bytes | None = None
    hash_chain: bytes | None = None


class VerifiedSignature(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that holds: who signed, with what, and what the proof rests on."""

    signer: ClientId
    """The sender the message names; the certificate vouches for its member."""
    member: MemberId
    certificate: Certificate
    path: tuple[Certificate, ...]
    """From the certificate to the approved authority."""
    ocsp: VerifiedOcsp
    algorithm: SignatureAlgorithm
    digest: DigestAlgorithm
    """How the message, or the hash chain result, was digested."""
    chain: VerifiedHashChain | None
    signing_time: datetime | None
    """The signer's own claim."""
    warnings: tuple[str, ...]

    @property
    def batch(self) -> bool:
        """Whether several parts or messages share the signature through a hash chain."""
        return self.chain is not None

    @property
    def issuer(self) -> Certificate:
        """The authority that issued the certificate."""
        return self.path[1]


def verify_message_signature(
    document: SignatureDocument,
    *,
    signer: ClientId,
    parts: Mapping[str, PartDigest],
    globalconf: GlobalConfiguration,
    at: datetime,
    cache: VerificationCache | None = None,
) -> VerifiedSignature:
    """Verify the signature of a message that was just received; see the steps above.

    ``parts`` holds *every* part received: ``/message.xml`` and, with a body or attachments,
    ``/attachment1``… Give the octets of ``/message.xml`` with its digest, so that peers may use
    another digest algorithm for it. ``cache`` saves what was judged a moment ago on the same
    evidence: trust in the certificate (3, 4, 6, 7), and the part of (5) that a batch has in common.

    Raises ``MalformedInput`` or ``TrustError`` with the codes of the protocol, without the prefix
    ``signature_verification`` (the caller knows whether it belongs there).
    """
    if MESSAGE_PART not in parts:
        raise ValueError(f"{MESSAGE_PART} is always a part")
    sound = None
    if cache is not None and document.hash_chain_result is not None:
        sound = cache.sound(document.signature, document.hash_chain_result)
    signature = read_signature(document.signature) if sound is None else sound.facts
    has_chain = document.hash_chain_result is not None or document.hash_chain is not None
    if has_chain and not signature.references_to(HASH_CHAIN_RESULT_PART):
        raise malformed("a hash chain was sent that is not signed")
    return _verify(
        signature,
        document,
        signer=signer,
        parts=parts,
        globalconf=globalconf,
        at=at,
        cache=cache,
        sound=sound,
    )


def _may_come_again(
    document: SignatureDocument, signature: SignatureFacts, reference: SignatureReference
) -> bool:
    """Whether other messages share the signature, and it holds for all of them or none.

    One that refers to more than the result, such as a part of one message, is judged each time.
    """
    is_shared = document.hash_chain is not None and b"HashValue" in document.hash_chain
    return (
        is_shared
        and len(document.signature) <= MAX_KEPT_DOCUMENT_BYTES
        and all(each is reference or each.uri.startswith("#") for each in signature.references)
    )


def verify_signature_at(
    signature: SignatureFacts,
    document: SignatureDocument,
    *,
    signer: ClientId,
    parts: Mapping[str, PartDigest],
    globalconf: GlobalConfiguration,
    at: datetime,
    archived: bool = False,
) -> VerifiedSignature:
    """Verify a signature as of the moment ``at``, without any memory; see the steps above.

    ``archived`` judges evidence of old: legacy algorithms are admitted with a warning, and a hash
    chain may name parts that were never archived; those are listed as unverified.
    """
    return _verify(
        signature,
        document,
        signer=signer,
        parts=parts,
        globalconf=globalconf,
        at=at,
        archived=archived,
    )


def _verify(
    signature: SignatureFacts,
    document: SignatureDocument,
    *,
    signer: ClientId,
    parts: Mapping[str, PartDigest],
    globalconf: GlobalConfiguration,
    at: datetime,
    archived: bool = False,
    cache: VerificationCache | None = None,
    sound: SoundDocument | None = None,
) -> VerifiedSignature:
    reference = require_signed_message(signature) if sound is None else sound.reference  # (1)
    chain = _verify_chain(reference, document, parts, archived=archived)  # (2)
    if sound is not None and sound.evidence.signer == signer:
        evidence = sound.evidence
    else:
        evidence = CertificateEvidence(signature, signer)
    trusted = None if cache is None else cache.trusted(evidence, globalconf, at)
    issuers: Sequence[ApprovedCertificate] = ()
    if trusted is None:
        _require_signing_certificate(signature.certificate)  # (3)
        issuers = _issuers_naming(signature.certificate, signer, globalconf)  # (4)
    if sound is None:
        signed_parts = _signed_parts(parts, document)
        verify_core(signature, signed_parts, allow_legacy=archived)  # (5)
    if chain is None:
        _require_all_covered(signature, parts)
    if trusted is None:
        trusted = _judge_certificate(  # (6) (7)
            evidence, issuers, globalconf, at=at, archived=archived
        )
        if cache is not None:
            cache.keep_trusted(evidence, globalconf, at, trusted)
    if cache is not None and sound is None and _may_come_again(document, signature, reference):
        result = document.hash_chain_result or b""
        cache.keep_sound(SoundDocument(document.signature, result, signature, reference, evidence))
    return VerifiedSignature(
        signer=signer,
        member=trusted.member,
        certificate=signature.certificate,
        path=trusted.path,
        ocsp=trusted.ocsp[0],
        algorithm=signature.algorithm,
        digest=reference.algorithm,
        chain=chain,
        signing_time=signature.signing_time,
        warnings=(*_warnings(signature, at=at), *trusted.warnings),
    )


def _judge_certificate(
    evidence: CertificateEvidence,
    issuers: Sequence[ApprovedCertificate],
    globalconf: GlobalConfiguration,
    *,
    at: datetime,
    archived: bool,
) -> TrustedCertificate:
    """Steps 6 and 7: the certificate leads to one of these authorities, and nothing is revoked."""
    path = verify_chain(
        evidence.certificate,
        [issuer.certificate for issuer in issuers],
        at=at,
        intermediates=evidence.extra_certificates,
        allow_legacy=archived,
    )
    ocsp = tuple(
        _verify_status(evidence, subject, issuer, globalconf, at=at, archived=archived)
        for subject, issuer in pairwise(path)
    )
    warnings = [warning for status in ocsp for warning in status.warnings]
    if any(i.certificate == path[-1] and i.authentication_only for i in issuers):
        warnings.insert(0, "the authority is approved for authentication certificates only")
    return TrustedCertificate(
        member=evidence.signer.member, path=path, ocsp=ocsp, warnings=tuple(warnings)
    )


def require_signed_message(signature: SignatureFacts) -> SignatureReference:
    """Step 1: return the reference to the message or chain result, or raise ``MalformedInput``."""
    names = (MESSAGE_PART, HASH_CHAIN_RESULT_PART)
    found = [reference for name in names for reference in signature.references_to(name)]
    if not found:
        raise malformed(f"it refers neither to {names[0]} nor to {names[1]}")
    if len(found) > 1:
        raise malformed(f"it refers more than once to {names[0]} or {names[1]}")
    return found[0]


def _verify_chain(
    reference: SignatureReference,
    document: SignatureDocument,
    parts: Mapping[str, PartDigest],
    *,
    archived: bool,
) -> VerifiedHashChain | None:
    if reference.uri != HASH_CHAIN_RESULT_PART:
        return None
    if document.hash_chain_result is None or document.hash_chain is None:
        raise malformed("it is over a hash chain, and the chain or its result is missing")
    # Archived parts are digested anew, so that the chain's own digests are compared with them.
    inputs: Mapping[str, PartDigest | bytes] = (
        {name: part if part.data is None else part.data for name, part in parts.items()}
        if archived
        else parts
    )
    # Transforms could hide parts of a message from the digest; nobody makes them.
    policy = ChainPolicy(accept_missing=archived, allow_transforms=False, allow_legacy=archived)
    try:
        return verify_hash_chain(
            document.hash_chain_result,
            {HASH_CHAIN_PART: document.hash_chain},
            inputs,
            policy=policy,
        )
    except PostroadError as error:
        error.within(FaultCode.MALFORMED_SIGNATURE.value)
        raise


def _require_signing_certificate(certificate: Certificate) -> None:
    if not certificate.is_signing():
        raise malformed(f"{certificate!r} may not sign: it lacks key usage nonRepudiation")


def _issuers_naming(
    certificate: Certificate, signer: ClientId, globalconf: GlobalConfiguration
) -> Sequence[ApprovedCertificate]:
    """Return the approved authorities by whose profile the certificate names the sender."""
    approved = globalconf.issuers_of(certificate, signer.instance)
    if not approved:
        raise TrustError(
            f"{certificate.issuer_rfc2253!r} is not an approved certification service of "
            f"{signer.instance}",
            code=FaultCode.CANNOT_CREATE_CERT_PATH,
        )
    naming = []
    named = None
    for issuer in approved:
        named = _member_of(certificate, issuer.profile, signer.instance)
        if named == signer.member:
            naming.append(issuer)
    if not naming:
        raise TrustError(
            f"the certificate was issued to {named}, and {signer} is said to have signed",
            code=FaultCode.INCORRECT_CERTIFICATE,
        )
    return naming


@lru_cache(maxsize=1024)
def _member_of(certificate: Certificate, profile: str, instance: str) -> MemberId:
    """Remember what a certificate says: the same ones come with every message."""
    return member_of_sign_certificate(certificate, profile, instance)


def _signed_parts(
    parts: Mapping[str, PartDigest], document: SignatureDocument
) -> Mapping[str, PartDigest]:
    if document.hash_chain_result is None:
        return parts
    algorithm = parts[MESSAGE_PART].algorithm
    result = PartDigest.of(HASH_CHAIN_RESULT_PART, document.hash_chain_result, algorithm)
    return {**parts, HASH_CHAIN_RESULT_PART: result}


def _require_all_covered(signature: SignatureFacts, parts: Mapping[str, PartDigest]) -> None:
    uncovered = sorted(name for name in parts if not signature.references_to(name))
    if uncovered:
        raise malformed(f"it does not cover {', '.join(uncovered)}")


def _verify_status(
    evidence: CertificateEvidence,
    subject: Certificate,
    issuer: Certificate,
    globalconf: GlobalConfiguration,
    *,
    at: datetime,
    archived: bool,
) -> VerifiedOcsp:
    if not evidence.ocsp_responses:
        raise malformed("there is no OCSP response in it")
    responses = [OcspResponse.parse(der) for der in evidence.ocsp_responses]
    response = next((r for r in responses if r.matches(subject, issuer)), None)
    if response is None:
        raise TrustError(
            f"there is no OCSP response about {subject!r} in the signature",
            code=FaultCode.CERT_VALIDATION,
        )
    verified = verify_ocsp(
        response,
        subject,
        issuer,
        at=at,
        policy=globalconf.ocsp_policy,
        responders=[
            responder.certificate
            for responder in globalconf.responders_of(issuer, evidence.signer.instance)
            if responder.certificate is not None
        ],
        ca_certificates=globalconf.ca_certificates(),
        allow_legacy=archived,
    )
    require_good(verified)
    return verified


def _warnings(signature: SignatureFacts, *, at: datetime) -> list[str]:
    """Things that an honest party may do, and that a reader of the proof should know."""
    warnings = []
    if not signature.algorithm.accepted:
        warnings.append(
            f"signed with {signature.algorithm.jca_name}, which is not accepted for new messages"
        )
    if signature.signing_time is None:
        warnings.append("the signature does not tell when it was made")
    elif signature.signing_time > at + SIGNING_TIME_TOLERANCE:
        warnings.append(f"the signer claims to have signed later, at {signature.signing_time}")
    return warnings
