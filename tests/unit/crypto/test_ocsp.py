"""Rules of believing an OCSP response."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import asn1crypto.ocsp
import pytest
from cryptography.x509 import ocsp as library

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.crypto.certificates import Certificate
from postroad.crypto.names import build_name
from postroad.crypto.ocsp import (
    MAX_RESPONSE_BYTES,
    CertificateStatus,
    OcspPolicy,
    OcspResponse,
    VerifiedOcsp,
    build_request,
    require_good,
    verify_ocsp,
)
from postroad.errors import FaultCode, MalformedInput, PostroadError, TrustError
from postroad.identifiers import MemberId
from postroad.trustlab import responders
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.issuing import Identity, KeyKind, issue
from postroad.trustlab.profiles import CertificateKind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
LAB = TrustLab.create(at=NOW)
MEMBER = MemberId("DEV", "GOV", "1")
SUBJECT = LAB.sign_certificate(MEMBER).certificate
OTHER_LAB = TrustLab.create(at=NOW, name="Another")
VECTOR = Path(__file__).parents[2] / "data" / "reference"


def judged(
    der: bytes,
    *,
    subject: Certificate = SUBJECT,
    issuer: Certificate = LAB.ca_certificate,
    at: datetime = NOW,
    policy: OcspPolicy = OcspPolicy(),  # noqa: B008 - a frozen value
    responders_of: tuple[Certificate, ...] = (),
    authorities: tuple[Certificate, ...] = (),
    **more: bool,
) -> VerifiedOcsp:
    return verify_ocsp(
        OcspResponse.parse(der),
        subject,
        issuer,
        at=at,
        policy=policy,
        responders=responders_of,
        ca_certificates=authorities,
        **more,  # only allow_legacy comes this way
    )


def refusal(der: bytes, **how: object) -> str:
    with pytest.raises(PostroadError) as caught:
        judged(der, **how)  # passed on as given
    assert caught.value.code is FaultCode.INCORRECT_VALIDATION_INFO
    return str(caught.value)


def delegate(
    lab: TrustLab,
    kind: CertificateKind = CertificateKind.OCSP,
    *,
    at: datetime = NOW,
    days: int = 9,
) -> Identity:
    key = KeyKind.EC_P256.generate()
    name = build_name([("CN", "another responder")])
    certificate = issue(lab.issuing.identity, name, key.public_key(), kind, at=at, days=days)
    return Identity(certificate, key)


# -- requests


def test_request_has_a_sha_1_certid_and_neither_nonce_nor_signature() -> None:
    der = build_request(SUBJECT, LAB.ca_certificate)
    request = library.load_der_ocsp_request(der)
    assert request.hash_algorithm.name == "sha1"
    assert request.serial_number == SUBJECT.serial
    assert request.issuer_key_hash == LAB.ca_certificate.spki_sha1
    expected = DigestAlgorithm.SHA1.digest(LAB.ca_certificate.subject_der)
    assert request.issuer_name_hash == expected
    assert list(request.extensions) == []
    assert not asn1crypto.ocsp.OCSPRequest.load(der)["optional_signature"].native


# -- what is believed


def test_delegated_responder_is_believed() -> None:
    verified = judged(LAB.ocsp(SUBJECT))
    assert verified.status is CertificateStatus.GOOD
    assert verified.responder == LAB.ocsp_certificate
    assert (verified.produced_at, verified.this_update) == (NOW, NOW)
    assert verified.next_update is None
    assert verified.warnings == ()
    require_good(verified)


def test_delegate_is_believed_when_it_is_only_known_from_the_configuration() -> None:
    der = LAB.ocsp(SUBJECT, embedded=())
    assert "no certificate is known" in refusal(der)
    assert judged(der, responders_of=(LAB.ocsp_certificate,)).responder == LAB.ocsp_certificate


def test_issuer_itself_is_believed() -> None:
    der = LAB.ocsp(SUBJECT, responder=LAB.issuing.identity, embedded=())
    assert judged(der).responder == LAB.ca_certificate
    assert judged(der, authorities=LAB.ca_certificates).responder == LAB.ca_certificate


def test_responder_may_name_itself_by_its_key() -> None:
    parsed = OcspResponse.parse(LAB.ocsp(SUBJECT, by_key=True))
    assert parsed.responder_name is None
    assert parsed.responder_key_hash == LAB.ocsp_certificate.spki_sha1
    assert judged(LAB.ocsp(SUBJECT, by_key=True)).responder == LAB.ocsp_certificate


def test_configured_responder_is_believed_whoever_issued_it() -> None:
    foreign = OTHER_LAB.tsa
    der = LAB.ocsp(SUBJECT, responder=foreign)
    assert judged(der, responders_of=(foreign.certificate,)).responder == foreign.certificate
    assert "may not answer for" in refusal(der)


def test_another_certificate_of_the_same_name_does_not_hide_the_right_one() -> None:
    namesake = TrustLab.create(at=NOW).ocsp_certificate
    assert namesake.subject_key == LAB.ocsp_certificate.subject_key
    verified = judged(LAB.ocsp(SUBJECT), responders_of=(namesake,))
    assert verified.responder == LAB.ocsp_certificate


def test_rsa_responder_is_believed() -> None:
    lab = TrustLab.create(at=NOW, keys=KeyKind.RSA_2048, intermediate=False)
    subject = lab.sign_certificate(MEMBER).certificate
    verified = judged(lab.ocsp(subject), subject=subject, issuer=lab.ca_certificate)
    assert verified.status is CertificateStatus.GOOD


# -- steps 1 to 4


def test_rejects_a_response_about_another_certificate() -> None:
    other = LAB.sign_certificate(MEMBER).certificate
    assert "not about" in refusal(LAB.ocsp(other))
    assert "not about" in refusal(LAB.ocsp(SUBJECT), issuer=LAB.root.certificate)


def test_rejects_a_certid_of_another_digest_than_sha_1() -> None:
    assert "SHA-1" in refusal(LAB.ocsp(SUBJECT, cert_id_digest=DigestAlgorithm.SHA256))


def test_only_the_first_single_response_counts() -> None:
    other = LAB.sign_certificate(MEMBER).certificate
    singles = [
        responders.SingleStatus(
            responders.cert_id(LAB.ca_certificate, certificate.serial),
            CertificateStatus.GOOD,
            NOW,
        )
        for certificate in (other, SUBJECT)
    ]
    key = LAB.issuing.ocsp_responder

    def response(statuses: list[responders.SingleStatus]) -> bytes:
        return responders.build_ocsp_response(
            statuses,
            responder=key.certificate,
            sign=responders.signer(key.private_key),
            produced_at=NOW,
            embedded=(key.certificate,),
        )

    assert "not about" in refusal(response(singles))
    assert judged(response(singles[::-1])).status is CertificateStatus.GOOD
    with pytest.raises(MalformedInput, match="no single response"):
        OcspResponse.parse(response([]))


def test_rejects_a_changed_response() -> None:
    der = bytearray(LAB.ocsp(SUBJECT, embedded=()))
    der[-1] ^= 1
    assert "not signed by" in refusal(bytes(der), responders_of=(LAB.ocsp_certificate,))


def test_rejects_a_responder_that_signed_with_another_key() -> None:
    impostor = Identity(LAB.ocsp_certificate, KeyKind.EC_P256.generate())
    assert "not signed by" in refusal(LAB.ocsp(SUBJECT, responder=impostor))


def test_rejects_a_delegate_without_the_ocsp_signing_usage() -> None:
    for kind in (CertificateKind.SIGN, CertificateKind.AUTH, CertificateKind.TSA):
        assert "may not answer" in refusal(LAB.ocsp(SUBJECT, responder=delegate(LAB, kind)))


def test_rejects_a_delegate_of_another_authority() -> None:
    der = LAB.ocsp(SUBJECT, responder=OTHER_LAB.issuing.ocsp_responder)
    assert "may not answer" in refusal(der, authorities=OTHER_LAB.ca_certificates)


def test_rejects_another_authority_as_responder() -> None:
    der = LAB.ocsp(SUBJECT, responder=LAB.root.identity)
    assert "may not answer" in refusal(der, authorities=LAB.ca_certificates)


def test_rejects_a_delegate_that_was_not_valid_when_it_answered() -> None:
    expired = delegate(LAB, at=NOW - timedelta(days=20), days=10)
    assert "was not valid" in refusal(LAB.ocsp(SUBJECT, responder=expired))
    future = delegate(LAB, at=NOW + timedelta(days=31))
    assert "was not valid" in refusal(LAB.ocsp(SUBJECT, responder=future))


def test_warns_of_a_configured_responder_that_was_not_valid_when_it_answered() -> None:
    expired = delegate(LAB, at=NOW - timedelta(days=20), days=10)
    verified = judged(LAB.ocsp(SUBJECT, responder=expired), responders_of=(expired.certificate,))
    assert len(verified.warnings) == 1
    assert "was not valid" in verified.warnings[0]


# -- steps 5 and 6


def test_rejects_ocsp_response_older_than_freshness_limit() -> None:
    policy = OcspPolicy(freshness=HOUR)
    der = LAB.ocsp(SUBJECT, at=NOW - HOUR)
    assert judged(der, policy=policy).status is CertificateStatus.GOOD
    assert "older than 3600 s" in refusal(der, policy=policy, at=NOW + SECOND)


def test_this_update_counts_not_produced_at() -> None:
    der = LAB.ocsp(SUBJECT, at=NOW, this_update=NOW - 2 * HOUR)
    assert "older than" in refusal(der)


def test_rejects_this_update_in_the_future_beyond_the_skew() -> None:
    minute = timedelta(minutes=1)
    assert judged(LAB.ocsp(SUBJECT, this_update=NOW + minute)).status is CertificateStatus.GOOD
    assert "future" in refusal(LAB.ocsp(SUBJECT, this_update=NOW + minute + SECOND))


def test_warns_of_produced_at_in_the_future() -> None:
    verified = judged(LAB.ocsp(SUBJECT, at=NOW + HOUR, this_update=NOW))
    assert [warning[:42] for warning in verified.warnings] == [
        "OCSP response claims to be produced in the"
    ]


def test_rejects_next_update_that_has_passed_where_it_is_checked() -> None:
    der = LAB.ocsp(SUBJECT, this_update=NOW - HOUR / 2, next_update=NOW - SECOND)
    assert "was good until" in refusal(der)
    unchecked = OcspPolicy(verify_next_update=False)
    assert judged(der, policy=unchecked).status is CertificateStatus.GOOD
    on_time = LAB.ocsp(SUBJECT, next_update=NOW)
    assert judged(on_time).next_update == NOW


def test_rejects_a_response_that_ends_before_it_begins() -> None:
    der = LAB.ocsp(SUBJECT, this_update=NOW, next_update=NOW - SECOND)
    unchecked = OcspPolicy(verify_next_update=False)
    assert "before it begins" in refusal(der, policy=unchecked)


# -- step 7


def test_revoked_status_is_reported_and_never_good() -> None:
    lab = TrustLab.create(at=NOW)
    subject = lab.sign_certificate(MEMBER).certificate
    lab.revoke(subject.serial, at=NOW - HOUR)
    verified = judged(lab.ocsp(subject), subject=subject, issuer=lab.ca_certificate)
    assert verified.status is CertificateStatus.REVOKED
    assert verified.revoked_at == NOW - HOUR
    with pytest.raises(TrustError, match="revoked since 2026-03-01T11:00") as caught:
        require_good(verified)
    assert caught.value.code is FaultCode.CERT_VALIDATION


def test_unknown_is_neither_good_nor_revoked() -> None:
    verified = judged(LAB.ocsp(SUBJECT, status=CertificateStatus.UNKNOWN))
    assert verified.status is CertificateStatus.UNKNOWN
    assert verified.revoked_at is None
    with pytest.raises(TrustError, match="doesn't know") as caught:
        require_good(verified)
    assert caught.value.code is FaultCode.CERT_VALIDATION


# -- parsing


@pytest.mark.parametrize("status", ["malformed_request", "try_later", "unauthorized"])
def test_a_response_of_failure_is_no_proof(status: str) -> None:
    with pytest.raises(TrustError, match=status.replace("_", ".")) as caught:
        OcspResponse.parse(responders.ocsp_failure(status))
    assert caught.value.code is FaultCode.INCORRECT_VALIDATION_INFO


@pytest.mark.parametrize(
    "der",
    [b"", b"junk", b"\x30\x00", LAB.ocsp(SUBJECT)[:-1], b"\x30" * (MAX_RESPONSE_BYTES + 1)],
    ids=["empty", "junk", "empty sequence", "cut", "too large"],
)
def test_refuses_what_is_no_response(der: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        OcspResponse.parse(der)
    assert caught.value.code is FaultCode.INCORRECT_VALIDATION_INFO


def test_refuses_critical_extensions() -> None:
    key = LAB.issuing.ocsp_responder
    good = asn1crypto.ocsp.OCSPResponse.load(LAB.ocsp(SUBJECT)).basic_ocsp_response
    data = good["tbs_response_data"].copy()
    data["response_extensions"] = [
        {"extn_id": "nonce", "critical": True, "extn_value": asn1crypto.core.OctetString(b"1234")}
    ]
    signature = responders.signer(key.private_key)(data.dump())
    basic = {
        "tbs_response_data": data,
        "signature_algorithm": good["signature_algorithm"],
        "signature": signature,
    }
    der = asn1crypto.ocsp.OCSPResponse(
        {
            "response_status": "successful",
            "response_bytes": {
                "response_type": "basic_ocsp_response",
                "response": asn1crypto.ocsp.BasicOCSPResponse(basic),
            },
        }
    ).dump()
    with pytest.raises(MalformedInput, match="critical extension"):
        OcspResponse.parse(der)


def test_unreadable_certificate_beside_does_not_hide_the_readable_one() -> None:
    version = b"\xa0\x03\x02\x01"
    broken = LAB.tsa_certificate.der.replace(version + b"\x02", version + b"\x01", 1)
    with pytest.raises(MalformedInput):
        Certificate.from_der(broken)
    key = LAB.issuing.ocsp_responder
    single = responders.SingleStatus(
        responders.cert_id(LAB.ca_certificate, SUBJECT.serial), CertificateStatus.GOOD, NOW
    )
    good = responders.build_ocsp_response(
        [single],
        responder=key.certificate,
        sign=responders.signer(key.private_key),
        produced_at=NOW,
        embedded=(LAB.tsa_certificate, key.certificate),
    )
    der = good.replace(LAB.tsa_certificate.der, broken)
    assert der != good
    assert judged(der).responder == LAB.ocsp_certificate


def test_refuses_a_response_of_an_unknown_signature_algorithm() -> None:
    ecdsa_with_sha256 = bytes.fromhex("06082a8648ce3d040302")
    good = LAB.ocsp(SUBJECT, embedded=())
    unknown = good.replace(ecdsa_with_sha256, ecdsa_with_sha256[:-1] + b"\x09")
    with pytest.raises(MalformedInput, match="unknown signature algorithm") as caught:
        OcspResponse.parse(unknown)
    assert caught.value.code is FaultCode.INCORRECT_VALIDATION_INFO


def test_no_request_can_be_made_about_a_serial_that_is_none() -> None:
    serial = SUBJECT.serial.to_bytes(20, "big").lstrip(b"\0")
    if serial[0] & 0x80:
        serial = b"\0" + serial
    zero = Certificate.from_der(SUBJECT.der.replace(serial, bytes([0x80] * len(serial)), 1))
    with pytest.raises(MalformedInput, match="no OCSP request") as caught:
        build_request(zero, LAB.ca_certificate)
    assert caught.value.code is FaultCode.INCORRECT_CERTIFICATE


def test_same_bytes_are_judged_anew_for_every_moment() -> None:
    der = LAB.ocsp(SUBJECT)
    assert judged(der).status is CertificateStatus.GOOD
    assert "older than" in refusal(der, at=NOW + 2 * HOUR)
    assert judged(der).status is CertificateStatus.GOOD
