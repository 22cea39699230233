"""Fetching OCSP responses for own certificates."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.clock import FixedClock
from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import ConfigurationError, FaultCode, PostroadError, UnavailablePeer
from postroad.securityserver.ocsp_fetching import FetchedOcsp, OcspClient, targets_of
from postroad.trustlab.authority import TrustLab
from support.trust import CA_URL, NOW, OWNER, ROOT_URL, Ecosystem, Responders


@pytest.fixture(scope="module")
def ecosystem() -> Ecosystem:
    return Ecosystem()


@pytest.fixture
def responders(ecosystem: Ecosystem) -> Responders:
    return Responders(ecosystem.lab)


def fetch(
    ecosystem: Ecosystem, responders: Responders, directory: Path, *, index: int = 0
) -> FetchedOcsp:
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    globalconf = ecosystem.globalconf()
    client = OcspClient(directory, responders, FixedClock(NOW))
    return asyncio.run(client.fetch(targets_of(certificate, globalconf)[index], globalconf))


def test_certificate_and_every_authority_below_the_root_need_responses(
    ecosystem: Ecosystem,
) -> None:
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    root, issuing = ecosystem.lab.ca_certificates
    targets = targets_of(certificate, ecosystem.globalconf())
    assert [(target.subject, target.issuer) for target in targets] == [
        (certificate, issuing),
        (issuing, root),
    ]


def test_certificate_of_an_authority_that_is_not_approved_has_no_targets(
    ecosystem: Ecosystem,
) -> None:
    foreign = TrustLab.create(at=NOW).sign_certificate(OWNER).certificate
    with pytest.raises(ConfigurationError) as caught:
        targets_of(foreign, ecosystem.globalconf())
    assert caught.value.code is FaultCode.CANNOT_CREATE_CERT_PATH


def test_proven_response_is_stored_under_the_sha1_of_the_certificate(
    ecosystem: Ecosystem, responders: Responders, tmp_path: Path
) -> None:
    fetched = fetch(ecosystem, responders, tmp_path / "ocsp")
    assert fetched.verified.status is CertificateStatus.GOOD
    assert fetched.url == CA_URL
    (path,) = (tmp_path / "ocsp").iterdir()
    assert path.name == f"{fetched.target.subject.sha1.hex()}.ocsp"
    assert path.stat().st_mode & 0o777 == 0o600


def test_authority_is_asked_about_at_its_own_issuers_responder(
    ecosystem: Ecosystem, responders: Responders, tmp_path: Path
) -> None:
    assert fetch(ecosystem, responders, tmp_path, index=1).url == ROOT_URL


def test_bad_news_is_stored_too(tmp_path: Path) -> None:
    ecosystem = Ecosystem()
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    ecosystem.lab.revoke(certificate.serial)
    globalconf = ecosystem.globalconf()
    client = OcspClient(tmp_path, Responders(ecosystem.lab), FixedClock(NOW))
    fetched = asyncio.run(client.fetch(targets_of(certificate, globalconf)[0], globalconf))
    assert fetched.verified.status is CertificateStatus.REVOKED
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("answer", [b"junk", b"\x30\x03\x0a\x01\x06"])
def test_unreadable_or_refusing_answer_is_not_stored(
    ecosystem: Ecosystem, responders: Responders, tmp_path: Path, answer: bytes
) -> None:
    responders.replaced[CA_URL] = answer
    with pytest.raises(PostroadError):
        fetch(ecosystem, responders, tmp_path)
    assert not list(tmp_path.iterdir())


def test_stale_answer_is_not_stored(ecosystem: Ecosystem, tmp_path: Path) -> None:
    stale = Responders(ecosystem.lab, at=NOW - timedelta(hours=2))
    with pytest.raises(PostroadError) as caught:
        fetch(ecosystem, stale, tmp_path)
    assert caught.value.code is FaultCode.INCORRECT_VALIDATION_INFO
    assert not list(tmp_path.iterdir())


def test_answer_about_another_certificate_is_not_stored(
    ecosystem: Ecosystem, responders: Responders, tmp_path: Path
) -> None:
    other = ecosystem.lab.sign_certificate(OWNER).certificate
    responders.replaced[CA_URL] = ecosystem.lab.ocsp(other, at=NOW)
    with pytest.raises(PostroadError):
        fetch(ecosystem, responders, tmp_path)
    assert not list(tmp_path.iterdir())


def test_unreachable_responder_is_told(
    ecosystem: Ecosystem, responders: Responders, tmp_path: Path
) -> None:
    responders.broken.add(CA_URL)
    with pytest.raises(UnavailablePeer):
        fetch(ecosystem, responders, tmp_path)
