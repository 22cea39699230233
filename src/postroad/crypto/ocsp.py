"""What did an OCSP responder say about a certificate, and may we believe it at this moment?

Requests and responses of RFC 6960, judged by the rules of the ecosystem: reference
``OcspVerifier``; PR-MESSTRANSP 3.2 and 3.3. Steps of :func:`verify_ocsp`:

1. the first single response is about this certificate: CertID of the SHA-1 form equals ours
2. the responder's certificate is found: configured ones, authorities, certificates sent along
3. its key signed the response
4. it's authorised: configured for this authority, the authority itself, or a delegate that the
   authority issued with extended key usage OCSPSigning
5. thisUpdate isn't older than the freshness limit
6. nextUpdate hasn't passed, where the ecosystem wants that checked
7. (:func:`require_good`) the status is good

Beyond the reference. Errors: a delegate whose certificate wasn't valid at producedAt (its trust
comes from that certificate alone, so a stolen old key must end with it); thisUpdate further in the
future than the allowed skew; nextUpdate before thisUpdate; critical extensions. Warnings only: a
*configured* responder certificate outside its validity (the configuration itself vouches for it
today, and ecosystems live with expired ones), and producedAt in the future.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import asn1crypto.ocsp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags, ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import is_issued_by
from postroad.crypto.identified import signature_algorithm
from postroad.crypto.names import NameKey, name_key
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import FaultCode, MalformedInput, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cryptography.x509 import Extension, ExtensionType

MAX_RESPONSE_BYTES: Final = 64 * 1024
"""Largest OCSP response that is read at all."""
MAX_EMBEDDED_CERTIFICATES: Final = 10
DEFAULT_SKEW: Final = timedelta(seconds=60)
"""How far ahead of ours a responder's clock may run."""


class CertificateStatus(Enum):
    """What the responder says. ``UNKNOWN`` is neither yes nor no."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class OcspPolicy:
    """The ecosystem's rules on age, from the global configuration of the verifier's instance."""

    freshness: timedelta = timedelta(seconds=3600)
    verify_next_update: bool = True


@dataclass(frozen=True, slots=True)
class CertId:
    """Names a certificate by its issuer's hashes and its serial number (RFC 6960 4.1.1)."""

    issuer_name_hash: bytes
    issuer_key_hash: bytes
    serial: int

    @classmethod
    def of(cls, subject: Certificate, issuer: Certificate) -> CertId:
        """Build the identifier in its SHA-1 form, the only one used in the ecosystem."""
        return cls(
            DigestAlgorithm.SHA1.digest(issuer.subject_der), issuer.spki_sha1, subject.serial
        )


@dataclass(frozen=True, slots=True)
class OcspResponse:
    """A parsed response, not yet believed. Only its first single response is looked at."""

    der: bytes
    cert_id: CertId | None
    """None if the responder used another digest than SHA-1."""
    status: CertificateStatus
    produced_at: datetime
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None
    responder_name: NameKey | None
    """The responder's name, if it gave its name."""
    responder_key_hash: bytes | None
    """SHA-1 of the responder's key, if it gave that."""
    signature_algorithm: SignatureAlgorithm
    embedded: tuple[bytes, ...]
    """DER of certificates sent along, not yet parsed."""
    on_hold: bool = False
    """Whether a revoked certificate may come back (reason certificateHold)."""

    @classmethod
    def parse(cls, der: bytes) -> OcspResponse:
        """Parse DER bytes.

        Raises ``MalformedInput`` (``incorrect_validation_info``) for anything else, and
        ``TrustError`` of that code for a response that says no more than an error status.
        """
        return _parsed(bytes(der))

    def matches(self, subject: Certificate, issuer: Certificate) -> bool:
        """Whether the response is about ``subject`` issued by ``issuer``."""
        return self.cert_id == CertId.of(subject, issuer)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedOcsp:
    """What an authorised responder said about a certificate, fresh at the moment of judgement."""

    status: CertificateStatus
    produced_at: datetime
    this_update: datetime
    next_update: datetime | None
    revoked_at: datetime | None
    responder: Certificate
    warnings: tuple[str, ...] = ()


def build_request(subject: Certificate, issuer: Certificate) -> bytes:
    """Build the DER of a request about one certificate: unsigned, SHA-1 CertID, no nonce."""
    cert_id = CertId.of(subject, issuer)
    try:
        request = ocsp.OCSPRequestBuilder().add_certificate_by_hash(
            cert_id.issuer_name_hash,
            cert_id.issuer_key_hash,
            cert_id.serial,
            hashes.SHA1(),  # noqa: S303 - fixed form of CertIDs
        )
        return request.build().public_bytes(Encoding.DER)
    except ValueError as error:
        raise MalformedInput(
            f"no OCSP request can be made for {subject!r}: {error}",
            code=FaultCode.INCORRECT_CERTIFICATE,
        ) from error


@lru_cache(maxsize=256)
def _parsed(der: bytes) -> OcspResponse:
    if len(der) > MAX_RESPONSE_BYTES:
        raise _malformed(f"OCSP response of {len(der)} bytes is too large")
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _untrusted(f"OCSP responder answered {response.response_status.name.lower()}")
        single = next(iter(response.responses), None)
        if single is None:
            raise _malformed("OCSP response holds no single response")
        if any(extension.critical for extension in _extensions(response)):
            raise _malformed("OCSP response has a critical extension")
        basic = asn1crypto.ocsp.OCSPResponse.load(der).basic_ocsp_response
        sent = list(basic["certs"] or ())[:MAX_EMBEDDED_CERTIFICATES]
        return OcspResponse(
            der=der,
            cert_id=_cert_id(single),
            status=CertificateStatus[single.certificate_status.name],
            produced_at=_utc(response.produced_at_utc),
            this_update=_utc(single.this_update_utc),
            next_update=None if single.next_update_utc is None else _utc(single.next_update_utc),
            revoked_at=(
                None if single.revocation_time_utc is None else _utc(single.revocation_time_utc)
            ),
            responder_name=_responder_name(basic),
            responder_key_hash=response.responder_key_hash,
            signature_algorithm=_algorithm(basic),
            embedded=tuple(bytes(item.dump()) for item in sent),
            on_hold=single.revocation_reason is ReasonFlags.certificate_hold,
        )
    except UNREADABLE as error:
        raise _malformed(f"not a readable OCSP response: {error}") from error


def _extensions(response: ocsp.OCSPResponse) -> Iterator[Extension[ExtensionType]]:
    """Extensions of the response; of its single responses where there's but one."""
    yield from response.extensions
    if len(list(response.responses)) == 1:
        yield from response.single_extensions


def _algorithm(basic: asn1crypto.ocsp.BasicOCSPResponse) -> SignatureAlgorithm:
    try:
        return signature_algorithm(basic["signature_algorithm"])
    except MalformedInput as error:
        raise _malformed(f"OCSP response cannot be judged: {error}") from error


def _responder_name(basic: asn1crypto.ocsp.BasicOCSPResponse) -> NameKey | None:
    identifier = basic["tbs_response_data"]["responder_id"]
    return name_key(identifier.chosen) if identifier.name == "by_name" else None


def _cert_id(single: ocsp.OCSPSingleResponse) -> CertId | None:
    if not isinstance(single.hash_algorithm, hashes.SHA1):
        return None
    return CertId(single.issuer_name_hash, single.issuer_key_hash, single.serial_number)


def verify_ocsp(
    response: OcspResponse,
    subject: Certificate,
    issuer: Certificate,
    *,
    at: datetime,
    policy: OcspPolicy,
    responders: Sequence[Certificate] = (),
    ca_certificates: Sequence[Certificate] = (),
    skew: timedelta = DEFAULT_SKEW,
    allow_legacy: bool = False,
) -> VerifiedOcsp:
    """Judge a response about ``subject`` at the moment ``at``; see the steps above.

    ``responders`` are the responder certificates configured for this very issuer,
    ``ca_certificates`` all authorities of the global configuration (``issuer`` needn't be among
    them). Raises ``TrustError`` (``incorrect_validation_info``) if the response can't be
    believed. The status is reported whatever it is: :func:`require_good` judges it.
    """
    responder = verify_responder(
        response,
        subject,
        issuer,
        responders=responders,
        ca_certificates=ca_certificates,
        allow_legacy=allow_legacy,
    )
    _check_moment(response, at=at, policy=policy, skew=skew)  # steps 5 and 6
    return VerifiedOcsp(
        status=response.status,
        produced_at=response.produced_at,
        this_update=response.this_update,
        next_update=response.next_update,
        revoked_at=response.revoked_at,
        responder=responder,
        warnings=tuple(_warnings(response, responder, at=at, skew=skew)),
    )


def require_good(verified: VerifiedOcsp) -> None:
    """Step 7: raise ``TrustError`` (``cert_validation``) unless the status is good."""
    if verified.status is CertificateStatus.GOOD:
        return
    if verified.status is CertificateStatus.REVOKED:
        when = "" if verified.revoked_at is None else f" since {verified.revoked_at.isoformat()}"
        message = f"certificate is revoked{when}"
    else:
        message = "OCSP responder doesn't know the certificate"
    raise TrustError(message, code=FaultCode.CERT_VALIDATION)


def verify_responder(
    response: OcspResponse,
    subject: Certificate,
    issuer: Certificate,
    *,
    responders: Sequence[Certificate] = (),
    ca_certificates: Sequence[Certificate] = (),
    allow_legacy: bool = False,
) -> Certificate:
    """Steps 1 to 4: return the certificate of the authorised responder that signed.

    The outcome depends on no clock, so it's remembered for arguments seen before.
    """
    return _responder(
        response, subject, issuer, tuple(responders), tuple(ca_certificates), allow_legacy
    )


@lru_cache(maxsize=256)
def _responder(  # noqa: PLR0917 - the key of the memory
    response: OcspResponse,
    subject: Certificate,
    issuer: Certificate,
    responders: tuple[Certificate, ...],
    ca_certificates: tuple[Certificate, ...],
    allow_legacy: bool,  # noqa: FBT001 - private, and the memory takes it by position
) -> Certificate:
    if not response.matches(subject, issuer):  # step 1
        raise _untrusted(f"OCSP response is not about {subject!r}, or its CertID is not SHA-1")
    failure: TrustError | None = None
    for candidate in _candidates(response, (*responders, issuer, *ca_certificates)):  # step 2
        try:
            _check_signature(response, candidate, allow_legacy=allow_legacy)  # step 3
            _check_authority(  # step 4
                candidate, issuer, responders, response.produced_at, allow_legacy=allow_legacy
            )
        except TrustError as error:
            failure = failure or error
            continue
        return candidate
    raise failure or _untrusted("no certificate is known for the responder that the response names")


def _candidates(response: OcspResponse, known: Sequence[Certificate]) -> Iterator[Certificate]:
    """Certificates that fit the responder's identifier: known ones first, then those sent."""
    for certificate in dict.fromkeys((*known, *_embedded(response))):
        if response.responder_key_hash is not None:
            fits = certificate.spki_sha1 == response.responder_key_hash
        else:
            fits = certificate.subject_key == response.responder_name
        if fits:
            yield certificate


def _embedded(response: OcspResponse) -> Iterator[Certificate]:
    for der in response.embedded:
        with suppress(MalformedInput):  # an unreadable extra must not hide a readable one
            yield Certificate.from_der(der)


def _check_signature(response: OcspResponse, responder: Certificate, *, allow_legacy: bool) -> None:
    signed = ocsp.load_der_ocsp_response(response.der)
    try:
        verify_signature(
            responder.public_key,
            response.signature_algorithm,
            signed.signature,
            signed.tbs_response_bytes,
            ecdsa_raw=False,
            allow_legacy=allow_legacy,
        )
    except (TrustError, MalformedInput) as error:
        raise _untrusted(f"OCSP response is not signed by {responder!r}: {error}") from error


def _check_authority(
    responder: Certificate,
    issuer: Certificate,
    configured: Sequence[Certificate],
    produced_at: datetime,
    *,
    allow_legacy: bool,
) -> None:
    if responder in configured or responder == issuer:
        return
    delegated = (
        ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string in responder.extended_key_usage
        and is_issued_by(responder, issuer, allow_legacy=allow_legacy)
    )
    if not delegated:
        raise _untrusted(f"{responder!r} may not answer for {issuer.subject_rfc2253}")
    if not responder.is_valid_at(produced_at):
        raise _untrusted(
            f"delegated responder {responder!r} was not valid at {produced_at.isoformat()}"
        )


def _check_moment(
    response: OcspResponse, *, at: datetime, policy: OcspPolicy, skew: timedelta
) -> None:
    this_update, next_update = response.this_update, response.next_update
    if this_update < at - policy.freshness:
        raise _untrusted(
            f"OCSP response of {this_update.isoformat()} is older than "
            f"{int(policy.freshness.total_seconds())} s at {at.isoformat()}"
        )
    if this_update > at + skew:
        raise _untrusted(
            f"OCSP response of {this_update.isoformat()} lies in the future of {at.isoformat()}"
        )
    if next_update is not None and next_update < this_update:
        raise _untrusted("OCSP response ends before it begins")
    if policy.verify_next_update and next_update is not None and next_update < at:
        raise _untrusted(
            f"OCSP response was good until {next_update.isoformat()}, not at {at.isoformat()}"
        )


def _warnings(
    response: OcspResponse, responder: Certificate, *, at: datetime, skew: timedelta
) -> Iterator[str]:
    if not responder.is_valid_at(response.produced_at):
        yield f"OCSP responder certificate {responder!r} was not valid when it answered"
    if response.produced_at > at + skew:
        yield f"OCSP response claims to be produced in the future: {response.produced_at}"


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _malformed(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INCORRECT_VALIDATION_INFO)


def _untrusted(message: str) -> TrustError:
    return TrustError(message, code=FaultCode.INCORRECT_VALIDATION_INFO)
