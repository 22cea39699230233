"""What bytes do an OCSP responder and a time-stamping authority answer?

Requests in, responses out (RFC 6960, RFC 3161); keys come in as a function that signs. Everything
a test may want to bend is an argument. Shapes follow the reference's test CA: OCSP responses have
no nextUpdate unless told, time-stamps are exact to the second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import asn1crypto.algos
import asn1crypto.cms
import asn1crypto.core
import asn1crypto.ocsp
import asn1crypto.tsp
import asn1crypto.x509

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_data
from postroad.crypto.identified import digest_by_oid, digest_oid
from postroad.crypto.ocsp import CertificateStatus
from postroad.crypto.unreadable import UNREADABLE
from postroad.errors import MalformedInput, PostroadError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.crypto.algorithms import PrivateKey
    from postroad.crypto.certificates import Certificate

MAX_OCSP_REQUEST_BYTES: Final = 100_000
MAX_TIMESTAMP_REQUEST_BYTES: Final = 10_000
MAX_REQUESTED_CERTIFICATES: Final = 50

POLICY: Final = "1.2.3.4.1"
"""The reference test authority's policy identifier, given when a request names none."""


class Signer(Protocol):
    """Signs responses: tells its algorithm and makes values in DER form."""

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """What the signature will be."""
        ...

    def __call__(self, data: bytes) -> bytes:
        """Sign the data."""
        ...


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A :class:`Signer` with a private key and SHA-256."""

    private_key: PrivateKey
    digest: DigestAlgorithm = DigestAlgorithm.SHA256

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """PKCS#1 v1.5 or ECDSA, by the key."""
        return SignatureAlgorithm.for_key(self.private_key.public_key(), self.digest)

    def __call__(self, data: bytes) -> bytes:
        """Sign the data."""
        return sign_data(self.private_key, self.algorithm, data, ecdsa_raw=False)


def signer(private_key: PrivateKey) -> KeySigner:
    """Make a signer of a private key."""
    return KeySigner(private_key)


@dataclass(frozen=True, slots=True)
class SingleStatus:
    """What to say about one certificate."""

    cert_id: asn1crypto.ocsp.CertId
    status: CertificateStatus
    this_update: datetime
    next_update: datetime | None = None
    revoked_at: datetime | None = None


def cert_id(
    issuer: Certificate, serial: int, digest: DigestAlgorithm = DigestAlgorithm.SHA1
) -> asn1crypto.ocsp.CertId:
    """Build the identifier of a certificate of ``issuer`` (RFC 6960 4.1.1)."""
    key = asn1crypto.x509.Certificate.load(issuer.der).public_key
    return asn1crypto.ocsp.CertId(
        {
            "hash_algorithm": {
                "algorithm": digest_oid(digest),
                "parameters": asn1crypto.core.Null(),
            },
            "issuer_name_hash": digest.digest(issuer.subject_der),
            "issuer_key_hash": digest.digest(bytes(key["public_key"])),
            "serial_number": serial,
        }
    )


def build_ocsp_response(
    statuses: Sequence[SingleStatus],
    *,
    responder: Certificate,
    sign: Signer,
    produced_at: datetime,
    embedded: Sequence[Certificate] = (),
    by_key: bool = False,
    nonce: asn1crypto.core.Asn1Value | None = None,
) -> bytes:
    """Build and sign a successful response."""
    if by_key:
        responder_id = asn1crypto.ocsp.ResponderId(name="by_key", value=responder.spki_sha1)
    else:
        name = asn1crypto.x509.Name.load(responder.subject_der)
        responder_id = asn1crypto.ocsp.ResponderId(name="by_name", value=name)
    data = {
        "responder_id": responder_id,
        "produced_at": _seconds(produced_at),
        "responses": [_single(status) for status in statuses],
    }
    if nonce is not None:
        data["response_extensions"] = [{"extn_id": "nonce", "critical": False, "extn_value": nonce}]
    signed = asn1crypto.ocsp.ResponseData(data)
    basic = asn1crypto.ocsp.BasicOCSPResponse(
        {
            "tbs_response_data": signed,
            "signature_algorithm": _identifier(sign.algorithm),
            "signature": sign(signed.dump()),
            "certs": [asn1crypto.x509.Certificate.load(item.der) for item in embedded] or None,
        }
    )
    response = asn1crypto.ocsp.OCSPResponse(
        {
            "response_status": "successful",
            "response_bytes": {
                "response_type": "basic_ocsp_response",
                "response": asn1crypto.core.ParsableOctetString(basic.dump()),
            },
        }
    )
    return bytes(response.dump())


def ocsp_failure(status: str) -> bytes:
    """Build a response without content, such as ``malformed_request`` or ``try_later``."""
    return bytes(asn1crypto.ocsp.OCSPResponse({"response_status": status}).dump())


def _single(status: SingleStatus) -> asn1crypto.ocsp.SingleResponse:
    if status.status is CertificateStatus.REVOKED:
        revoked = {"revocation_time": _seconds(status.revoked_at or status.this_update)}
        said = asn1crypto.ocsp.CertStatus(name="revoked", value=revoked)
    else:
        said = asn1crypto.ocsp.CertStatus(name=status.status.value, value=asn1crypto.core.Null())
    return asn1crypto.ocsp.SingleResponse(
        {
            "cert_id": status.cert_id,
            "cert_status": said,
            "this_update": _seconds(status.this_update),
            "next_update": None if status.next_update is None else _seconds(status.next_update),
        }
    )


@dataclass(frozen=True, slots=True)
class OcspQuestion:
    """What a client asked: identifiers of certificates, and its nonce to repeat."""

    cert_ids: tuple[asn1crypto.ocsp.CertId, ...]
    nonce: asn1crypto.core.Asn1Value | None


def read_ocsp_request(der: bytes) -> OcspQuestion:
    """Read an OCSP request; ``MalformedInput`` if it isn't one. Its signature is not looked at."""
    if len(der) > MAX_OCSP_REQUEST_BYTES:
        raise MalformedInput(f"OCSP request of {len(der)} bytes is too large")
    try:
        request = asn1crypto.ocsp.OCSPRequest.load(der, strict=True)["tbs_request"]
        identifiers = tuple(item["req_cert"] for item in request["request_list"])
        if not 0 < len(identifiers) <= MAX_REQUESTED_CERTIFICATES:
            raise MalformedInput(f"OCSP request asks for {len(identifiers)} certificates")
        for identifier in identifiers:
            issuer_digest(identifier)
            identifier["serial_number"].native  # noqa: B018 - read now, so that it fails now
        nonces = [
            extension["extn_value"].parsed
            for extension in request["request_extensions"] or ()
            if extension["extn_id"].native == "nonce"
        ]
    except UNREADABLE as error:
        raise MalformedInput(f"not a readable OCSP request: {error}") from error
    return OcspQuestion(identifiers, nonces[0] if nonces else None)


def issuer_digest(identifier: asn1crypto.ocsp.CertId) -> DigestAlgorithm:
    """The digest algorithm that a certificate identifier uses."""
    return digest_by_oid(identifier["hash_algorithm"]["algorithm"].dotted)


def names_issuer(identifier: asn1crypto.ocsp.CertId, issuer: Certificate) -> bool:
    """Whether the identifier is of a certificate of ``issuer``."""
    ours = cert_id(issuer, 1, issuer_digest(identifier))
    return all(
        identifier[part].native == ours[part].native
        for part in ("issuer_name_hash", "issuer_key_hash")
    )


def build_token(
    imprint: bytes,
    algorithm: DigestAlgorithm,
    *,
    tsa: Certificate,
    sign: Signer,
    at: datetime,
    serial: int,
    nonce: int | None = None,
    policy: str = POLICY,
    embed: bool = False,
    certificate_digest: DigestAlgorithm = DigestAlgorithm.SHA256,
) -> bytes:
    """Build and sign a time-stamp token; ``embed`` puts the authority's certificate inside."""
    tsa_name = asn1crypto.x509.GeneralName(
        name="directory_name", value=asn1crypto.x509.Name.load(tsa.subject_der)
    )
    info = asn1crypto.tsp.TSTInfo(
        {
            "version": "v1",
            "policy": policy,
            "message_imprint": {
                "hash_algorithm": _digest_identifier(algorithm),
                "hashed_message": imprint,
            },
            "serial_number": serial,
            "gen_time": _seconds(at),
            "accuracy": {"seconds": 1},
            "nonce": nonce,
            "tsa": tsa_name,
        }
    ).dump()
    attributes = _signed_attributes(info, tsa, sign.algorithm.digest, certificate_digest, at)
    parsed_tsa = asn1crypto.x509.Certificate.load(tsa.der)
    signer_info = {
        "version": "v1",
        "sid": asn1crypto.cms.SignerIdentifier(
            name="issuer_and_serial_number",
            value={"issuer": parsed_tsa.issuer, "serial_number": tsa.serial},
        ),
        "digest_algorithm": _digest_identifier(sign.algorithm.digest),
        "signed_attrs": attributes,
        "signature_algorithm": _identifier(sign.algorithm),
        "signature": sign(attributes.dump()),
    }
    signed_data = {
        "version": "v3",
        "digest_algorithms": [_digest_identifier(sign.algorithm.digest)],
        "encap_content_info": {
            "content_type": "tst_info",
            "content": asn1crypto.core.ParsableOctetString(info),
        },
        "signer_infos": [signer_info],
    }
    if embed:
        signed_data["certificates"] = [
            asn1crypto.cms.CertificateChoices(name="certificate", value=parsed_tsa)
        ]
    token = asn1crypto.cms.ContentInfo({"content_type": "signed_data", "content": signed_data})
    return bytes(token.dump())


def _signed_attributes(
    info: bytes,
    tsa: Certificate,
    digest: DigestAlgorithm,
    certificate_digest: DigestAlgorithm,
    at: datetime,
) -> asn1crypto.cms.CMSAttributes:
    if certificate_digest is DigestAlgorithm.SHA1:
        kind = "signing_certificate"
        named = asn1crypto.tsp.ESSCertID({"cert_hash": certificate_digest.digest(tsa.der)})
    else:
        kind = "signing_certificate_v2"
        named = asn1crypto.tsp.ESSCertIDv2(
            {
                "hash_algorithm": {"algorithm": digest_oid(certificate_digest)},
                "cert_hash": certificate_digest.digest(tsa.der),
            }
        )
    return asn1crypto.cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["tst_info"]},
            {
                "type": "signing_time",
                "values": [asn1crypto.cms.Time(name="utc_time", value=_seconds(at))],
            },
            {"type": kind, "values": [{"certs": [named]}]},
            {"type": "message_digest", "values": [digest.digest(info)]},
        ]
    )


def answer_timestamp(
    request: bytes, *, tsa: Certificate, sign: Signer, at: datetime, serial: int
) -> bytes:
    """Answer a time-stamp request, with a token or with a rejection that says why."""
    if len(request) > MAX_TIMESTAMP_REQUEST_BYTES:
        return rejection("bad_request", "the request is too large")
    try:
        asked = asn1crypto.tsp.TimeStampReq.load(request, strict=True)
        algorithm = digest_by_oid(asked["message_imprint"]["hash_algorithm"]["algorithm"].dotted)
        imprint = asked["message_imprint"]["hashed_message"].native
        nonce = asked["nonce"].native
        policy = asked["req_policy"].dotted if asked["req_policy"] else POLICY
        embed = bool(asked["cert_req"].native)
    except PostroadError as error:
        return rejection("bad_alg", str(error))
    except UNREADABLE as error:
        return rejection("bad_data_format", str(error))
    if len(imprint) != algorithm.size:
        return rejection("bad_data_format", "the imprint's length is not that of its algorithm")
    if asked["extensions"]:
        return rejection("unaccepted_extensions", "no extension is supported")
    token = build_token(
        imprint,
        algorithm,
        tsa=tsa,
        sign=sign,
        at=at,
        serial=serial,
        nonce=nonce,
        policy=policy,
        embed=embed,
    )
    response = asn1crypto.tsp.TimeStampResp(
        {
            "status": {"status": "granted"},
            "time_stamp_token": asn1crypto.cms.ContentInfo.load(token),
        }
    )
    return bytes(response.dump())


def rejection(failure: str, text: str) -> bytes:
    """Build a time-stamp response that says no (``bad_alg``, ``time_not_available`` …)."""
    status = asn1crypto.tsp.PKIStatusInfo(
        {"status": "rejection", "status_string": [text], "fail_info": {failure}}
    )
    # The library's own type of the response knows no answer without a token.
    return bytes(asn1crypto.core.Sequence(contents=status.dump()).dump())


def _identifier(algorithm: SignatureAlgorithm) -> asn1crypto.algos.SignedDigestAlgorithm:
    name = algorithm.digest.label.replace("-", "").lower()
    if algorithm.family == "EC":
        return asn1crypto.algos.SignedDigestAlgorithm({"algorithm": f"{name}_ecdsa"})
    return asn1crypto.algos.SignedDigestAlgorithm(
        {"algorithm": f"{name}_rsa", "parameters": asn1crypto.core.Null()}
    )


def _digest_identifier(algorithm: DigestAlgorithm) -> dict[str, object]:
    return {"algorithm": digest_oid(algorithm), "parameters": asn1crypto.core.Null()}


def _seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
