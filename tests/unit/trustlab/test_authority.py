"""Rules of the lab as a whole: what it issues verifies, what it's told it says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import asn1crypto.ocsp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from postroad.crypto import ocsp, timestamps
from postroad.crypto.algorithms import DigestAlgorithm, verify_signature
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.crypto.names import build_name
from postroad.crypto.ocsp import CertificateStatus, OcspPolicy, OcspResponse, verify_ocsp
from postroad.crypto.profiles import CertificateProfile, member_of_sign_certificate
from postroad.errors import ConfigurationError, FaultCode
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from postroad.trustlab.authority import Identity, KeyKind, TrustLab
from postroad.trustlab.profiles import CertificateKind

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
SECOND = NOW.replace(microsecond=0)
MEMBER = MemberId("DEV", "GOV", "1")
SERVER = SecurityServerId("DEV", "GOV", "1", "ss1")


def asked(lab: TrustLab, certificate: Certificate, issuer: Certificate, **how: object) -> object:
    answer = lab.answer_ocsp(ocsp.build_request(certificate, issuer), at=NOW, **how)  # passed on
    return OcspResponse.parse(answer)


@pytest.mark.parametrize("keys", [KeyKind.EC_P256, KeyKind.RSA_2048])
@pytest.mark.parametrize("intermediate", [True, False])
def test_whatever_the_lab_issues_leads_to_its_root(keys: KeyKind, *, intermediate: bool) -> None:
    lab = TrustLab.create(at=NOW, keys=keys, intermediate=intermediate)
    for issued in (lab.sign_certificate(MEMBER), lab.auth_certificate(SERVER), lab.tsa):
        path = verify_chain(
            issued.certificate,
            [lab.root.certificate],
            at=NOW,
            intermediates=[lab.ca_certificate] if intermediate else [],
        )
        assert len(path) == (3 if intermediate else 2)
    assert len(lab.ca_certificates) == (2 if intermediate else 1)


def test_making_a_lab_takes_a_blink() -> None:
    begin = time.perf_counter()
    TrustLab.create(at=NOW).sign_certificate(MEMBER)
    assert time.perf_counter() - begin < 0.5


def test_signature_certificate_names_its_member() -> None:
    lab = TrustLab.create(at=NOW)
    subsystem = SubsystemId("DEV", "GOV", "1", "sub")
    issued = lab.sign_certificate(subsystem)
    assert member_of_sign_certificate(issued.certificate, lab.profile, "DEV") == MEMBER
    assert issued.certificate.is_signing()
    assert not issued.certificate.is_authentication()


@pytest.mark.parametrize(
    "profile", [each for each in CertificateProfile if each is not CertificateProfile.SK_ESTEID]
)
def test_lab_issues_by_every_profile(profile: CertificateProfile) -> None:
    lab = TrustLab.create(at=NOW, profile=profile)
    member = MemberId("DEV", "COM", "12345678")
    issued = lab.sign_certificate(member).certificate
    assert member_of_sign_certificate(issued, profile.class_name, "DEV") == member
    assert lab.auth_certificate(SERVER).certificate.is_authentication()


def test_identity_signs_messages() -> None:
    lab = TrustLab.create(at=NOW)
    for keys in (KeyKind.EC_P256, KeyKind.RSA_2048):
        signer = lab.sign_certificate(MEMBER, keys=keys)
        key = signer.certificate.public_key
        verify_signature(key, signer.algorithm, signer.sign(b"x"), b"x", ecdsa_raw=True)


def test_key_of_a_certificate_may_be_given() -> None:
    key = KeyKind.EC_P256.generate()
    lab = TrustLab.create(at=NOW)
    assert lab.sign_certificate(MEMBER, key=key) == Identity(
        next(reversed(lab.issued.values())), key
    )
    assert lab.auth_certificate(SERVER, key=key).private_key is key


def test_ocsp_response_is_what_was_ordered() -> None:
    lab = TrustLab.create(at=NOW)
    subject = lab.sign_certificate(MEMBER).certificate
    hour = timedelta(hours=1)
    der = lab.ocsp(
        subject,
        at=NOW + hour,
        this_update=NOW - hour,
        next_update=NOW + 2 * hour,
        status=CertificateStatus.REVOKED,
    )
    parsed = OcspResponse.parse(der)
    assert parsed.produced_at == SECOND + hour
    assert parsed.this_update == SECOND - hour
    assert parsed.next_update == SECOND + 2 * hour
    assert parsed.status is CertificateStatus.REVOKED
    assert parsed.revoked_at == SECOND + hour


def test_intermediate_authority_has_its_own_responder() -> None:
    lab = TrustLab.create(at=NOW)
    parsed = OcspResponse.parse(lab.ocsp(lab.ca_certificate))
    verified = verify_ocsp(
        parsed, lab.ca_certificate, lab.root.certificate, at=NOW, policy=OcspPolicy()
    )
    assert verified.status is CertificateStatus.GOOD
    assert verified.responder == lab.root.ocsp_responder.certificate


def test_responder_answers_from_its_register() -> None:
    lab, other = TrustLab.create(at=NOW), TrustLab.create(at=NOW)
    good, bad = (lab.sign_certificate(MEMBER).certificate for _ in range(2))
    lab.revoke(bad.serial, at=NOW - timedelta(days=1))
    issuer = lab.ca_certificate
    foreign = other.sign_certificate(MEMBER).certificate
    cases = [
        (good, issuer, CertificateStatus.GOOD),
        (bad, issuer, CertificateStatus.REVOKED),
        (foreign, issuer, CertificateStatus.UNKNOWN),
        (foreign, other.ca_certificate, CertificateStatus.UNKNOWN),
        (issuer, lab.root.certificate, CertificateStatus.GOOD),
    ]
    for certificate, authority, status in cases:
        response = asked(lab, certificate, authority)
        assert isinstance(response, OcspResponse)
        assert response.status is status
        assert response.matches(certificate, authority)


def test_responder_says_what_it_is_forced_to() -> None:
    lab = TrustLab.create(at=NOW)
    subject = lab.sign_certificate(MEMBER).certificate
    response = asked(lab, subject, lab.ca_certificate, force=CertificateStatus.UNKNOWN)
    assert isinstance(response, OcspResponse)
    assert response.status is CertificateStatus.UNKNOWN


def test_responder_repeats_the_nonce_and_answers_each_question() -> None:
    lab = TrustLab.create(at=NOW)
    subjects = [lab.sign_certificate(MEMBER).certificate for _ in range(2)]
    builder = x509.ocsp.OCSPRequestBuilder().add_extension(x509.OCSPNonce(b"12345678"), False)
    one = builder.add_certificate(
        subjects[0].x509, lab.ca_certificate.x509, hashes.SHA256()
    ).build()
    answer = x509.ocsp.load_der_ocsp_response(
        lab.answer_ocsp(one.public_bytes(Encoding.DER), at=NOW)
    )
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"12345678"
    assert isinstance(answer.hash_algorithm, hashes.SHA256)
    both = asn1crypto.ocsp.OCSPRequest(
        {
            "tbs_request": {
                "request_list": [
                    {
                        "req_cert": asn1crypto.ocsp.OCSPRequest.load(
                            ocsp.build_request(subject, lab.ca_certificate)
                        )["tbs_request"]["request_list"][0]["req_cert"]
                    }
                    for subject in subjects
                ]
            }
        }
    )
    many = x509.ocsp.load_der_ocsp_response(lab.answer_ocsp(both.dump(), at=NOW))
    serials = [single.serial_number for single in many.responses]
    assert serials == [subject.serial for subject in subjects]


def test_responder_refuses_noise() -> None:
    answer = x509.ocsp.load_der_ocsp_response(TrustLab.create(at=NOW).answer_ocsp(b"x", at=NOW))
    assert answer.response_status is x509.ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_only_what_was_issued_can_be_revoked() -> None:
    with pytest.raises(ConfigurationError) as caught:
        TrustLab.create(at=NOW).revoke(1)
    assert caught.value.code is FaultCode.CERT_NOT_FOUND


def test_request_is_signed_with_its_own_subject_and_key() -> None:
    lab = TrustLab.create(at=NOW)
    key = ec.generate_private_key(ec.SECP384R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(build_name([("C", "LONGER"), ("CN", "x")]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    for encoding in (Encoding.DER, Encoding.PEM):
        data = request.public_bytes(encoding)
        auth = lab.sign_request(data, CertificateKind.AUTH, at=NOW)
        sign = lab.sign_request(data, CertificateKind.SIGN)
        assert auth.subject_rfc2253 == sign.subject_rfc2253 == "CN=x,C=LONGER"
        assert auth.public_key == sign.public_key == key.public_key()
        assert lab.status_of(auth.serial) is CertificateStatus.GOOD
        names = auth.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.DNSName) == ["a.example"]
        with pytest.raises(x509.ExtensionNotFound):
            sign.x509.extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_time_stamp_says_the_moment_it_is_told() -> None:
    lab = TrustLab.create(at=NOW)
    at = NOW - timedelta(days=3)
    token = lab.timestamp(b"x", at=at, serial=5)
    verified = timestamps.verify_token(token, b"x", [lab.tsa_certificate])
    assert verified.gen_time == at.replace(microsecond=0)
    assert verified.serial == 5
    request = timestamps.build_request(DigestAlgorithm.SHA256.digest(b"x"), DigestAlgorithm.SHA256)
    assert lab.answer_timestamp(request, at=NOW)


def test_two_labs_share_nothing() -> None:
    one, two = TrustLab.create(at=NOW), TrustLab.create(at=NOW)
    assert one.root.certificate.subject_key == two.root.certificate.subject_key
    assert not set(one.service_certificates) & set(two.service_certificates)
