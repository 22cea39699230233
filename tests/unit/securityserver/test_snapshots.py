from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from postroad.crypto.certificates import Certificate
from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.snapshots import OcspDirectory, OwnCertificates
from support.exchange import CONSUMER, NOW, PROVIDER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_signing_key_carries_its_ocsp_response(world: World) -> None:
    own, server = OwnCertificates(), world.consumer
    key = own.signing_key(server.snapshot(), CONSUMER, NOW)
    assert key.certificate == server.sign.certificate
    assert key.ocsp_responses == (server.ocsp.responses[server.sign.certificate.sha1],)
    assert key.intermediates == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"usage": "AUTHENTICATION"},
        {"active": False},
        {"token_active": False},
        {"status": "saved"},
        {"status": "global error"},
        {"member": PROVIDER.encoded()},
        {"member": None},
        {"member": "broken"},
        {"der": b"broken"},
    ],
)
def test_an_unusable_key_is_not_used(world: World, changes: dict[str, object]) -> None:
    world.consumer.signer.listed = [world.consumer.listed_key(**changes)]
    with pytest.raises(ConfigurationError) as caught:
        OwnCertificates().signing_key(world.consumer.snapshot(), CONSUMER, NOW)
    assert caught.value.code is FaultCode.CANNOT_CREATE_SIGNATURE


def test_a_usable_key_behind_an_unusable_one_is_found(world: World) -> None:
    server = world.consumer
    server.signer.listed = [server.listed_key(active=False), server.listed_key()]
    assert OwnCertificates().signing_key(server.snapshot(), CONSUMER, NOW).key_id == "sign-key"


@pytest.mark.parametrize(
    "minutes",
    [61, -61],
)
def test_a_key_without_a_fresh_ocsp_response_is_not_used(world: World, minutes: int) -> None:
    at = NOW + timedelta(minutes=minutes)
    with pytest.raises(ConfigurationError):
        OwnCertificates().signing_key(world.consumer.snapshot(), CONSUMER, at)


def test_a_key_without_any_ocsp_response_is_not_used(world: World) -> None:
    world.consumer.ocsp.responses = {}
    with pytest.raises(ConfigurationError, match="no OCSP response"):
        OwnCertificates().signing_key(world.consumer.snapshot(), CONSUMER, NOW)


def test_a_revoked_key_is_not_used_from_the_next_response_on(world: World) -> None:
    own, server = OwnCertificates(), world.consumer
    own.signing_key(server.snapshot(), CONSUMER, NOW)
    revoked = world.lab.ocsp(server.sign.certificate, at=NOW, status=CertificateStatus.REVOKED)
    server.ocsp.responses = {**server.ocsp.responses, server.sign.certificate.sha1: revoked}
    with pytest.raises(ConfigurationError, match="revoked"):
        own.signing_key(server.snapshot(), CONSUMER, NOW)


def test_a_remembered_verdict_ends_with_the_freshness_of_its_response(world: World) -> None:
    own, server = OwnCertificates(), world.consumer
    snapshot = server.snapshot()
    own.signing_key(snapshot, CONSUMER, NOW)
    own.signing_key(snapshot, CONSUMER, NOW + timedelta(minutes=60))
    with pytest.raises(ConfigurationError):
        own.signing_key(snapshot, CONSUMER, NOW + timedelta(minutes=60, seconds=1))


def test_a_remembered_key_is_judged_again_when_the_clock_goes_back(world: World) -> None:
    own, snapshot = OwnCertificates(), world.consumer.snapshot()
    own.signing_key(snapshot, CONSUMER, NOW)
    with pytest.raises(ConfigurationError):
        own.signing_key(snapshot, CONSUMER, NOW - timedelta(minutes=61))


def test_a_key_that_becomes_good_with_time_is_preferred_then(world: World) -> None:
    own, server = OwnCertificates(), world.consumer
    soon = world.lab.sign_certificate(CONSUMER)
    minute = timedelta(minutes=1)
    server.ocsp.responses = {
        **server.ocsp.responses,
        soon.certificate.sha1: world.lab.ocsp(soon.certificate, at=NOW + 5 * minute),
    }
    server.signer.listed = [
        server.listed_key(key_id="soon", der=soon.certificate.der),
        server.listed_key(),
    ]
    snapshot = server.snapshot()
    assert own.signing_key(snapshot, CONSUMER, NOW).key_id == "sign-key"
    assert own.signing_key(snapshot, CONSUMER, NOW + 5 * minute).key_id == "soon"


def test_the_authentication_certificate_needs_its_response_too(world: World) -> None:
    server = world.consumer
    own, certificate = OwnCertificates(), server.auth.certificate
    given = own.authentication_ocsp(server.snapshot(), certificate, NOW)
    assert given == (server.ocsp.responses[certificate.sha1],)
    with pytest.raises(ConfigurationError) as caught:
        own.authentication_ocsp(server.snapshot(), certificate, NOW + timedelta(hours=2))
    assert caught.value.code is FaultCode.SSL_AUTHENTICATION_FAILED


def test_ocsp_responses_are_kept_by_the_hash_of_the_certificate(
    world: World, tmp_path: Path
) -> None:
    certificate: Certificate = world.consumer.sign.certificate
    directory = tmp_path / "responses"
    directory.mkdir()
    one, two = OcspDirectory(directory), OcspDirectory(directory)
    one.store(certificate, b"response")
    assert one.responses == {certificate.sha1: b"response"}
    assert two.refresh()
    assert two.responses == {certificate.sha1: b"response"}
    assert not two.refresh()


def test_what_is_no_ocsp_response_file_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "nothex.ocsp").write_bytes(b"x")
    (tmp_path / "00.txt").write_bytes(b"x")
    (tmp_path / "01.ocsp").write_bytes(bytes(100_000))
    (tmp_path / "02.ocsp").write_bytes(b"x")
    directory = OcspDirectory(tmp_path)
    directory.refresh()
    assert directory.responses == {b"\x02": b"x"}


def test_a_missing_directory_holds_nothing(tmp_path: Path) -> None:
    directory = OcspDirectory(tmp_path / "none")
    assert not directory.refresh()
    assert directory.responses == {}
