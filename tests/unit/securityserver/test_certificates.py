"""Requests, import and activation of a server's own certificates."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import KeyUsage
from postroad.clock import FixedClock
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, PostroadError, TrustError
from postroad.securityserver.certificates import (
    Applicant,
    activate_certificate,
    find_certificate,
    import_certificate,
    profile_of,
    request_for,
)
from postroad.securityserver.ocsp_fetching import OcspClient
from postroad.trustlab.authority import TrustLab
from support.trust import (
    CA_URL,
    NOW,
    OWNER,
    SERVER,
    STRANGER,
    Ecosystem,
    Responders,
    SignerDouble,
    key_certificate,
)

LOCAL = frozenset({OWNER})


class Signer(SignerDouble, SignerClient):
    """A double that passes for the client."""


@pytest.fixture
def ecosystem() -> Ecosystem:
    return Ecosystem()


def imported(
    ecosystem: Ecosystem, certificate: Certificate, at: datetime = NOW
) -> tuple[bytes, str | None]:
    signer = Signer()
    asyncio.run(
        import_certificate(
            signer,
            certificate.der,
            globalconf=ecosystem.globalconf(),
            local_members=LOCAL,
            at=at,
        )
    )
    return signer.imported[0]


def refused(ecosystem: Ecosystem, certificate: Certificate, at: datetime = NOW) -> FaultCode:
    with pytest.raises(ConfigurationError) as caught:
        imported(ecosystem, certificate, at)
    return caught.value.code


def test_signing_certificate_is_imported_for_the_member_it_names(ecosystem: Ecosystem) -> None:
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    assert imported(ecosystem, certificate) == (certificate.der, "TEST/GOV/1")


def test_authentication_certificate_is_imported_without_member(ecosystem: Ecosystem) -> None:
    certificate = ecosystem.lab.auth_certificate(SERVER).certificate
    assert imported(ecosystem, certificate) == (certificate.der, None)


def test_refuses_certificate_of_a_member_that_is_no_client(ecosystem: Ecosystem) -> None:
    certificate = ecosystem.lab.sign_certificate(STRANGER).certificate
    assert refused(ecosystem, certificate) is FaultCode.CERT_IMPORT_FAILED


def test_refuses_certificate_of_an_authority_that_is_not_approved(ecosystem: Ecosystem) -> None:
    foreign = TrustLab.create(at=NOW).sign_certificate(OWNER).certificate
    assert refused(ecosystem, foreign) is FaultCode.CERT_IMPORT_FAILED


def test_refuses_expired_certificate(ecosystem: Ecosystem) -> None:
    certificate = ecosystem.lab.sign_certificate(OWNER, days=1).certificate
    later = NOW + timedelta(days=2)
    assert refused(ecosystem, certificate, later) is FaultCode.CERT_IMPORT_FAILED


def test_refuses_signing_certificate_of_an_authority_for_authentication_only() -> None:
    ecosystem = Ecosystem(authentication_only=True)
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    assert refused(ecosystem, certificate) is FaultCode.CERT_IMPORT_FAILED
    assert imported(ecosystem, ecosystem.lab.auth_certificate(SERVER).certificate)


def activated(ecosystem: Ecosystem, certificate: Certificate, directory: Path) -> bool:
    signer = Signer(key_certificate(certificate.der, active=False))
    responders = Responders(ecosystem.lab)
    if not directory.exists():
        responders.broken.add(CA_URL)
    asyncio.run(
        activate_certificate(
            signer,
            certificate.sha256.hex(),
            globalconf=ecosystem.globalconf(),
            ocsp=OcspClient(directory, responders, FixedClock(NOW)),
            at=NOW,
        )
    )
    return signer.keys[0].active


def test_certificate_with_good_ocsp_responses_is_activated(
    ecosystem: Ecosystem, tmp_path: Path
) -> None:
    assert activated(ecosystem, ecosystem.lab.sign_certificate(OWNER).certificate, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_revoked_certificate_is_not_activated(ecosystem: Ecosystem, tmp_path: Path) -> None:
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    ecosystem.lab.revoke(certificate.serial)
    with pytest.raises(TrustError) as caught:
        activated(ecosystem, certificate, tmp_path)
    assert caught.value.code is FaultCode.CERT_VALIDATION


def test_certificate_whose_authority_is_revoked_is_not_activated(
    ecosystem: Ecosystem, tmp_path: Path
) -> None:
    ecosystem.lab.revoke(ecosystem.lab.ca_certificate.serial)
    with pytest.raises(TrustError):
        activated(ecosystem, ecosystem.lab.sign_certificate(OWNER).certificate, tmp_path)


def test_certificate_is_not_activated_while_no_responder_answers(
    ecosystem: Ecosystem, tmp_path: Path
) -> None:
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    with pytest.raises(PostroadError):
        activated(ecosystem, certificate, tmp_path / "missing")


def test_expired_certificate_is_not_activated(ecosystem: Ecosystem, tmp_path: Path) -> None:
    long_ago = NOW - timedelta(days=3)
    certificate = ecosystem.lab.sign_certificate(OWNER, at=long_ago, days=1).certificate
    with pytest.raises(ConfigurationError):
        activated(ecosystem, certificate, tmp_path)


def test_certificate_is_found_by_the_beginning_of_its_hash(ecosystem: Ecosystem) -> None:
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    signer = Signer(key_certificate(certificate.der))
    digest = certificate.sha256.hex()
    for name in (digest, digest.upper(), digest[:8], f"{digest[:2]}:{digest[2:8]}"):
        assert asyncio.run(find_certificate(signer, name)) == certificate
    for name in (digest[:7], "", "00" * 32):
        with pytest.raises(ConfigurationError) as caught:
            asyncio.run(find_certificate(signer, name))
        assert caught.value.code is FaultCode.CERT_NOT_FOUND


def test_request_carries_the_subject_of_the_profile(ecosystem: Ecosystem) -> None:
    profile = profile_of(ecosystem.globalconf(), None, KeyUsage.SIGNING)
    applicant = Applicant(server=SERVER, member=OWNER, name="Ministry")
    request = request_for("K1", applicant, profile, {"O": "Ministry of Tests"})
    assert request.usage is KeyUsage.SIGNING
    assert request.member == "TEST/GOV/1"
    assert ("O", "Ministry of Tests") in request.subject
    assert ("serialNumber", "TEST/SS1/GOV") in request.subject


def test_request_for_authentication_names_no_member(ecosystem: Ecosystem) -> None:
    profile = profile_of(ecosystem.globalconf(), "Lab CA", KeyUsage.AUTHENTICATION)
    applicant = Applicant(server=SERVER, member=None, name="Ministry", dns_name="ss1.example")
    request = request_for("K1", applicant, profile, {"O": "Ministry"})
    assert request.usage is KeyUsage.AUTHENTICATION
    assert request.member is None
    assert request.subject_alt_name == "ss1.example"


def test_authority_must_be_named_when_the_choice_is_not_clear() -> None:
    ecosystem = Ecosystem(authentication_only=True)
    for ca_name in (None, "Lab CA", "Other CA"):
        with pytest.raises(ConfigurationError) as caught:
            profile_of(ecosystem.globalconf(), ca_name, KeyUsage.SIGNING)
        assert caught.value.code is FaultCode.CSR_FAILED
