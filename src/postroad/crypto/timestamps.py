"""When did this data exist, according to an approved time-stamping authority?

Requests, responses and tokens of RFC 3161; the token is a CMS SignedData (RFC 5652). Approved
authorities are known by their certificates in the global configuration: their chains and
revocation aren't judged, and certificates inside a token are ignored. Source: PR-SIGDOC;
reference: ``TimestampVerifier``, ``AbstractTimestampRequest``.

Steps of :func:`verify_token`:

1. the token is signed data over a TSTInfo, with exactly one signer
2. the signer's identifier (issuer and serial, or subject key identifier) is that of an approved
   certificate
3. the signed attributes hold: content type, message digest, signing certificate (RFC 3161 2.4.2)
4. the signature over the attributes verifies with the approved certificate
5. the imprint in the token equals the digest of the data

Beyond the reference, as warnings only, since the configuration vouches for the certificate: the
authority's certificate outside its validity at genTime, or without the time-stamping usage.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import asn1crypto.cms
import asn1crypto.core
import asn1crypto.tsp
import asn1crypto.x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, verify_signature
from postroad.crypto.identified import digest_by_oid, digest_oid, signature_algorithm
from postroad.crypto.names import NameKey, name_key
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import FaultCode, MalformedInput, RefusedRequest, TrustError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.crypto.certificates import Certificate

MAX_TOKEN_BYTES: Final = 256 * 1024
"""Largest response or token that is read at all; one with a whole chain has about 10 KiB."""

_GRANTED: Final = ("granted", "granted_with_mods")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedTimestamp:
    """A time-stamp that an approved authority signed over the data."""

    gen_time: datetime
    """The moment, UTC, to the precision the authority gave."""
    tsa: Certificate
    algorithm: DigestAlgorithm
    serial: int
    warnings: tuple[str, ...] = ()


def build_request(imprint: bytes, algorithm: DigestAlgorithm) -> bytes:
    """Build the DER of a request: version 1, no policy, no nonce, no wish for certificates."""
    if len(imprint) != algorithm.size:
        raise MalformedInput(
            f"imprint of {len(imprint)} bytes is no {algorithm.label} digest",
            code=FaultCode.TIMESTAMPING_FAILED,
        )
    request = asn1crypto.tsp.TimeStampReq(
        {
            "version": "v1",
            "message_imprint": {
                "hash_algorithm": {
                    "algorithm": digest_oid(algorithm),
                    "parameters": asn1crypto.core.Null(),
                },
                "hashed_message": imprint,
            },
        }
    )
    return bytes(request.dump())


def parse_response(der: bytes, *, imprint: bytes, algorithm: DigestAlgorithm) -> bytes:
    """Read an authority's answer to our request and return the token, not yet verified.

    Raises ``RefusedRequest`` (``mlog.timestamp_non_granted_response``) if the authority said no,
    ``MalformedInput`` if it isn't a response, ``TrustError`` (``timestamping_failed``) if its
    token stamps something else than was asked.
    """
    if len(der) > MAX_TOKEN_BYTES:
        raise _malformed(f"time-stamp response of {len(der)} bytes is too large")
    try:
        # The library's own type of the response knows no answer without a token.
        parts = asn1crypto.core.Sequence.load(der, strict=True)
        status = asn1crypto.tsp.PKIStatusInfo.load(parts[0].dump(), strict=True)
        if status["status"].native not in _GRANTED:
            raise RefusedRequest(
                f"time-stamping authority answered {_refusal(status)}",
                code=FaultCode.MLOG_TIMESTAMP_NON_GRANTED_RESPONSE,
            )
        token = bytes(parts[1].dump())
    except UNREADABLE as error:
        raise _malformed(f"not a readable time-stamp response: {error}") from error
    info = _Token.parse(token).info
    if info.algorithm is not algorithm or info.imprint != imprint:
        raise TrustError(
            "time-stamp is not over the data that was sent", code=FaultCode.TIMESTAMPING_FAILED
        )
    return token


def gen_time(token: bytes) -> datetime:
    """The moment a token claims, unverified: for picking configuration by time only."""
    return _Token.parse(token).info.gen_time


def verify_token(
    token: bytes,
    data: bytes,
    tsa_certificates: Sequence[Certificate],
    *,
    allow_legacy: bool = False,
) -> VerifiedTimestamp:
    """Verify that an approved authority stamped ``data``; see the steps above.

    Raises ``MalformedInput`` (``malformed_signature``) for what isn't a token, ``TrustError`` with
    ``mlog.tsp_certificate_not_found`` if its signer isn't approved,
    ``mlog.timestamp_signer_verification_failed`` if the signature doesn't hold, and
    ``malformed_signature`` if it stamps other data. ``allow_legacy`` admits SHA-1 and small RSA
    keys, for archives.
    """
    parsed = _Token.parse(token)
    candidates = [
        certificate for certificate in tsa_certificates if parsed.names_signer(certificate)
    ]
    if not candidates:
        raise TrustError(
            "the signer of the time-stamp is not an approved time-stamping authority",
            code=FaultCode.MLOG_TSP_CERTIFICATE_NOT_FOUND,
        )
    tsa = _verified_signer(parsed, candidates, allow_legacy=allow_legacy)
    info = parsed.info
    if info.algorithm is DigestAlgorithm.SHA1 and not allow_legacy:
        raise _signer_failed("time-stamp over a SHA-1 digest is not accepted any more")
    if info.imprint != info.algorithm.digest(data):
        raise TrustError("time-stamp is over other data", code=FaultCode.MALFORMED_SIGNATURE)
    return VerifiedTimestamp(
        gen_time=info.gen_time,
        tsa=tsa,
        algorithm=info.algorithm,
        serial=info.serial,
        warnings=tuple(_warnings(tsa, info.gen_time)),
    )


def with_certificate(token: bytes, certificate: Certificate) -> bytes:
    """Return the token with ``certificate`` in its certificate set, as peers store it.

    The signature isn't touched: certificates are outside of it. A token that holds the
    certificate already comes back unchanged.
    """
    parsed = _Token.parse(token)
    if certificate.der in parsed.certificates:
        return token
    certificates = [
        asn1crypto.cms.CertificateChoices.load(der)
        for der in (certificate.der, *parsed.certificates)
    ]
    # What was taken apart is put together again at each level below twice: start from a whole one.
    content_info = asn1crypto.cms.ContentInfo.load(token)
    content_info["content"]["certificates"] = asn1crypto.cms.CertificateSet(certificates)
    return bytes(content_info.dump())


@dataclass(frozen=True, slots=True)
class _StampInfo:
    """The parts of a TSTInfo that we use."""

    algorithm: DigestAlgorithm
    imprint: bytes
    gen_time: datetime
    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """A token taken apart (step 1); nothing in it is proven yet."""

    content_info: asn1crypto.cms.ContentInfo
    certificates: tuple[bytes, ...]
    """DER of the certificates sent along; they prove nothing."""
    content: bytes
    """The DER of the TSTInfo: what the message digest attribute covers."""
    info: _StampInfo
    signer: tuple[NameKey, int] | bytes
    """The signer's issuer and serial number, or its subject key identifier."""
    digest: DigestAlgorithm
    algorithm: SignatureAlgorithm
    signature: bytes
    signed: bytes
    """The DER of the signed attributes: what the signature covers."""
    content_types: tuple[str, ...]
    message_digests: tuple[bytes, ...]
    certificate_hashes: tuple[tuple[DigestAlgorithm, bytes], ...]
    """Digests of the signer's certificate, of each signing certificate attribute."""

    @classmethod
    def parse(cls, der: bytes) -> _Token:
        """Read everything we use at once: the library reads lazily and would fail later."""
        if len(der) > MAX_TOKEN_BYTES:
            raise _malformed(f"time-stamp token of {len(der)} bytes is too large")
        try:
            content_info = asn1crypto.cms.ContentInfo.load(der, strict=True)
            if content_info["content_type"].native != "signed_data":
                raise _malformed("time-stamp token is not signed data")
            signed_data = content_info["content"]
            encapsulated = signed_data["encap_content_info"]
            if encapsulated["content_type"].native != "tst_info":
                raise _malformed("time-stamp token does not hold a TSTInfo")
            signers = list(signed_data["signer_infos"])
            if len(signers) != 1:
                raise _malformed(f"time-stamp token has {len(signers)} signers instead of one")
            return cls._of_signer(signers[0], content_info, bytes(encapsulated["content"]))
        except UNREADABLE as error:
            raise _malformed(f"not a readable time-stamp token: {error}") from error

    @classmethod
    def _of_signer(
        cls,
        signer: asn1crypto.cms.SignerInfo,
        content_info: asn1crypto.cms.ContentInfo,
        content: bytes,
    ) -> _Token:
        digest = digest_by_oid(signer["digest_algorithm"]["algorithm"].dotted)
        attributes = signer["signed_attrs"]
        certificates = content_info["content"]["certificates"] or ()
        values: dict[str, list[asn1crypto.core.Asn1Value]] = {}
        for attribute in attributes or ():
            values.setdefault(attribute["type"].native, []).extend(attribute["values"])
        named = values.get("signing_certificate_v2", values.get("signing_certificate", []))
        return cls(
            content_info=content_info,
            certificates=tuple(bytes(item.dump()) for item in certificates),
            content=content,
            info=_stamp_info(content),
            signer=_signer_identifier(signer["sid"]),
            digest=digest,
            algorithm=signature_algorithm(signer["signature_algorithm"], beside=digest),
            signature=bytes(signer["signature"].native),
            signed=bytes(attributes.untag().dump()) if attributes else b"",
            content_types=tuple(value.native for value in values.get("content_type", ())),
            message_digests=tuple(value.native for value in values.get("message_digest", ())),
            certificate_hashes=tuple(_certificate_hash(value["certs"][0]) for value in named),
        )

    def names_signer(self, certificate: Certificate) -> bool:
        """Step 2: whether the signer identifier is that of the certificate."""
        if isinstance(self.signer, bytes):
            return certificate.subject_key_identifier == self.signer
        return self.signer == (certificate.issuer_key, certificate.serial)


def _signer_identifier(identifier: asn1crypto.cms.SignerIdentifier) -> tuple[NameKey, int] | bytes:
    if identifier.name == "subject_key_identifier":
        return bytes(identifier.chosen.native)
    named = identifier.chosen
    return name_key(named["issuer"]), named["serial_number"].native


def _certificate_hash(named: asn1crypto.core.Sequence) -> tuple[DigestAlgorithm, bytes]:
    """The digest in an ESSCertID (always SHA-1) or ESSCertIDv2 (RFC 5035 4, 5.4)."""
    if isinstance(named, asn1crypto.tsp.ESSCertIDv2):
        digest = digest_by_oid(named["hash_algorithm"]["algorithm"].dotted)
    else:
        digest = DigestAlgorithm.SHA1
    return digest, bytes(named["cert_hash"].native)


def _stamp_info(content: bytes) -> _StampInfo:
    info = asn1crypto.tsp.TSTInfo.load(content, strict=True)
    imprint = info["message_imprint"]
    moment = info["gen_time"].native
    if moment.tzinfo is None:
        raise _malformed("genTime of the time-stamp has no time zone")
    return _StampInfo(
        algorithm=digest_by_oid(imprint["hash_algorithm"]["algorithm"].dotted),
        imprint=bytes(imprint["hashed_message"].native),
        gen_time=moment.astimezone(UTC),
        serial=info["serial_number"].native,
    )


def _verified_signer(
    token: _Token, candidates: Sequence[Certificate], *, allow_legacy: bool
) -> Certificate:
    """Steps 3 and 4 against each certificate of the signer's identifier."""
    failure: TrustError | None = None
    for certificate in candidates:
        try:
            _check_attributes(token, certificate)
            _check_signature(token, certificate, allow_legacy=allow_legacy)
        except TrustError as error:
            failure = failure or error
        else:
            return certificate
    raise failure or _signer_failed("no certificate to verify the time-stamp with")


def _check_attributes(token: _Token, certificate: Certificate) -> None:
    for name, values in (
        ("contentType", token.content_types),
        ("messageDigest", token.message_digests),
        ("signingCertificate", token.certificate_hashes),
    ):
        if len(values) != 1:
            raise _signer_failed(f"time-stamp has {len(values)} signed attributes {name}")
    if token.content_types[0] != "tst_info":
        raise _signer_failed("signed content type of time-stamp is not TSTInfo")
    if token.message_digests[0] != token.digest.digest(token.content):
        raise _signer_failed("message digest of time-stamp does not match its content")
    digest, value = token.certificate_hashes[0]
    if value != digest.digest(certificate.der):
        raise _signer_failed("time-stamp was signed for another certificate than the approved one")


def _check_signature(token: _Token, certificate: Certificate, *, allow_legacy: bool) -> None:
    try:
        verify_signature(
            certificate.public_key,
            token.algorithm,
            token.signature,
            token.signed,
            ecdsa_raw=False,
            allow_legacy=allow_legacy,
        )
    except (TrustError, MalformedInput) as error:
        raise _signer_failed(f"time-stamp is not signed by {certificate!r}: {error}") from error


def _warnings(tsa: Certificate, moment: datetime) -> Iterator[str]:
    if not tsa.is_valid_at(moment):
        yield f"certificate of the time-stamping authority {tsa!r} was not valid at {moment}"
    if ExtendedKeyUsageOID.TIME_STAMPING.dotted_string not in tsa.extended_key_usage:
        yield f"certificate {tsa!r} does not state the time-stamping usage"


def _refusal(status: asn1crypto.tsp.PKIStatusInfo) -> str:
    texts = [str(text)[:200] for text in status["status_string"].native or ()][:5]
    failure = sorted(status["fail_info"].native or ())
    return " ".join([status["status"].native, *failure, *texts])


def _malformed(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.MALFORMED_SIGNATURE)


def _signer_failed(message: str) -> TrustError:
    return TrustError(message, code=FaultCode.MLOG_TIMESTAMP_SIGNER_VERIFICATION_FAILED)
