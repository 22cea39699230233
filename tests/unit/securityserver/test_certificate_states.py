"""The OCSP state that an administrator sees, and the warnings before a certificate ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from postroad.clock import FixedClock
from postroad.crypto.certificates import Certificate
from postroad.ports import KeyCertificate
from postroad.securityserver.certificate_states import (
    ExpiryJob,
    OcspState,
    expiry_warnings,
    ocsp_state,
)
from support.trust import NOW, OWNER, SERVER, Ecosystem, key_certificate

ECOSYSTEM = Ecosystem()
SIGN = ECOSYSTEM.lab.sign_certificate(OWNER, days=100).certificate
KEY = key_certificate(SIGN.der)


def state(response: bytes | None, key: KeyCertificate = KEY, days: float = 0) -> OcspState:
    responses = {} if response is None else {SIGN.sha1: response}
    return ocsp_state(key, responses, ECOSYSTEM.globalconf(), NOW + timedelta(days=days))


def on_hold(certificate: Certificate) -> bytes:
    """A response of our lab's CA itself that says certificateHold."""
    lab = ECOSYSTEM.lab
    issuer = lab.ca_certificates[1]
    builder = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate.x509,
        issuer=issuer.x509,
        algorithm=hashes.SHA1(),
        cert_status=ocsp.OCSPCertStatus.REVOKED,
        this_update=NOW,
        next_update=NOW + timedelta(hours=1),
        revocation_time=NOW,
        revocation_reason=x509.ReasonFlags.certificate_hold,
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.x509)
    from cryptography.hazmat.primitives.serialization import Encoding

    return builder.sign(lab.issuing.identity.private_key, hashes.SHA256()).public_bytes(
        Encoding.DER
    )


def test_good_suspended_and_revoked_are_told_apart() -> None:
    assert state(ECOSYSTEM.lab.ocsp(SIGN)) is OcspState.GOOD
    assert state(on_hold(SIGN)) is OcspState.SUSPENDED
    ecosystem = Ecosystem()
    certificate = ecosystem.lab.sign_certificate(OWNER).certificate
    ecosystem.lab.revoke(certificate.serial)
    responses = {certificate.sha1: ecosystem.lab.ocsp(certificate)}
    key = key_certificate(certificate.der)
    assert ocsp_state(key, responses, ecosystem.globalconf(), NOW) is OcspState.REVOKED


def test_nothing_to_believe_is_unknown() -> None:
    assert state(None) is OcspState.UNKNOWN
    assert state(b"junk") is OcspState.UNKNOWN
    stale = ECOSYSTEM.lab.ocsp(SIGN)
    assert state(stale, days=2) is OcspState.UNKNOWN
    other = ECOSYSTEM.lab.sign_certificate(OWNER).certificate
    assert state(ECOSYSTEM.lab.ocsp(other)) is OcspState.UNKNOWN


def test_inactive_comes_before_expired_and_expired_before_any_response() -> None:
    good = ECOSYSTEM.lab.ocsp(SIGN)
    inactive = replace(KEY, active=False)
    assert state(good, inactive) is OcspState.DISABLED
    assert state(good, inactive, days=200) is OcspState.DISABLED
    assert state(good, days=200) is OcspState.EXPIRED


@pytest.mark.parametrize(("days", "warned"), [(69, False), (71, True), (101, True)])
def test_warns_from_30_days_before_the_end(days: int, warned: bool) -> None:
    warnings = expiry_warnings([KEY], NOW + timedelta(days=days))
    assert bool(warnings) is warned


def test_warning_says_whose_certificate_ends_when() -> None:
    (soon,) = expiry_warnings([KEY], NOW + timedelta(days=90))
    assert "signing certificate of TEST/GOV/1" in soon.text
    assert "expires in 9 days" in soon.text or "expires in 10 days" in soon.text
    (late,) = expiry_warnings([KEY], NOW + timedelta(days=102))
    assert "has expired" in late.text


def test_successor_silences_the_warning_only_when_it_can_be_used() -> None:
    new = key_certificate(ECOSYSTEM.lab.sign_certificate(OWNER, days=365).certificate.der)
    at = NOW + timedelta(days=90)
    assert not expiry_warnings([KEY, new], at)
    assert expiry_warnings([KEY, replace(new, active=False)], at)
    assert expiry_warnings([KEY, replace(new, status="saved")], at)
    assert expiry_warnings([KEY, replace(new, member="TEST/GOV/9")], at)
    auth = ECOSYSTEM.lab.auth_certificate(SERVER, days=365).certificate
    assert expiry_warnings([KEY, key_certificate(auth.der, usage="AUTHENTICATION")], at)


def test_inactive_certificates_end_unnoticed() -> None:
    assert not expiry_warnings([replace(KEY, active=False)], NOW + timedelta(days=90))


def test_job_tells_the_log_and_its_status() -> None:
    told: list[str] = []

    async def certificates() -> list[KeyCertificate]:
        return [KEY]

    job = ExpiryJob(certificates, FixedClock(NOW + timedelta(days=90)), told.append)
    outcome = asyncio.run(job.run())
    assert outcome.facts["warnings"] == told
    assert len(told) == 1
