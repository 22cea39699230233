from __future__ import annotations

import gc
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroad.crypto.certificates import Certificate
from postroad.errors import FaultCode, TrustError
from postroad.identifiers import SubsystemId
from postroad.securityserver import peer_certificates
from postroad.securityserver.peer_certificates import (
    MAX_CHAIN,
    PeerVerdicts,
    VerifiedPeer,
    certificates_of,
)
from support.exchange import CLIENT, NOW, REGISTER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def judge(
    world: World,
    verdicts: PeerVerdicts,
    *,
    chain: tuple[Certificate, ...] | None = None,
    ocsp: tuple[bytes, ...] | None = None,
    client: SubsystemId = CLIENT,
    at: datetime = NOW,
) -> VerifiedPeer:
    auth = world.consumer.auth.certificate
    return verdicts.verify(
        (auth,) if chain is None else chain,
        (world.lab.ocsp(auth, at=NOW),) if ocsp is None else ocsp,
        client=client,
        globalconf=world.globalconf,
        at=at,
    )


def refused(error: pytest.ExceptionInfo[TrustError]) -> bool:
    return error.value.code is FaultCode.SSL_AUTHENTICATION_FAILED


def test_names_the_server_and_how_long_the_verdict_holds(world: World) -> None:
    verdict = judge(world, PeerVerdicts())
    assert str(verdict.server_id) == "TEST/COM/1/SS1"
    assert verdict.valid_until == NOW + timedelta(hours=1)


def test_intermediates_that_a_peer_sends_do_no_harm(world: World) -> None:
    chain = (world.consumer.auth.certificate, world.lab.ca_certificate)
    assert judge(world, PeerVerdicts(), chain=chain).certificate == chain[0]


@pytest.mark.parametrize("chain_of", ["nothing", "sign", "other server"])
def test_refuses_a_certificate_that_is_not_the_registered_one(world: World, chain_of: str) -> None:
    chain = {
        "nothing": (),
        "sign": (world.consumer.sign.certificate,),
        "other server": (world.provider.auth.certificate,),
    }[chain_of]
    with pytest.raises(TrustError) as caught:
        judge(world, PeerVerdicts(), chain=chain)
    assert refused(caught)


def test_refuses_a_server_for_a_client_that_it_does_not_host(world: World) -> None:
    for client in (REGISTER, SubsystemId("TEST", "COM", "1", "other")):
        with pytest.raises(TrustError) as caught:
            judge(world, PeerVerdicts(), client=client)
        assert refused(caught)


@pytest.mark.parametrize("ocsp", [(), (b"",), (b"junk",)])
def test_refuses_without_a_readable_ocsp_response(world: World, ocsp: tuple[bytes, ...]) -> None:
    with pytest.raises(TrustError) as caught:
        judge(world, PeerVerdicts(), ocsp=ocsp)
    assert refused(caught)


def test_the_same_evidence_is_judged_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = PeerVerdicts()
    ocsp = (world.lab.ocsp(world.consumer.auth.certificate, at=NOW),)
    first = judge(world, verdicts, ocsp=ocsp)
    monkeypatch.setattr(peer_certificates, "verify_peer", None)
    assert judge(world, verdicts, ocsp=ocsp, at=NOW + timedelta(minutes=59)) is first


@pytest.mark.parametrize("change", ["time", "past", "ocsp", "client", "configuration"])
def test_any_change_of_the_evidence_is_judged_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    verdicts = PeerVerdicts()
    ocsp = (world.lab.ocsp(world.consumer.auth.certificate, at=NOW),)
    judge(world, verdicts, ocsp=ocsp)
    monkeypatch.setattr(peer_certificates, "verify_peer", _judged_anew)
    at, client = NOW, CLIENT
    if change == "time":
        at = NOW + timedelta(hours=1, seconds=1)
    elif change == "past":
        at = NOW - timedelta(seconds=1)
    elif change == "ocsp":
        ocsp = (world.lab.ocsp(world.consumer.auth.certificate, at=NOW, by_key=True),)
    elif change == "client":
        client = REGISTER
    else:
        world.configure()
    with pytest.raises(AssertionError, match="anew"):
        judge(world, verdicts, ocsp=ocsp, client=client, at=at)


def _judged_anew(*_: object, **__: object) -> VerifiedPeer:
    raise AssertionError("anew")


def test_refusals_are_not_remembered(world: World) -> None:
    verdicts = PeerVerdicts()
    with pytest.raises(TrustError):
        judge(world, verdicts, ocsp=())
    assert judge(world, verdicts)


def test_the_memory_is_bounded(world: World) -> None:
    verdicts = PeerVerdicts(size=2)
    auth = world.consumer.auth.certificate
    for minutes in range(5):
        judge(world, verdicts, ocsp=(world.lab.ocsp(auth, at=NOW - timedelta(minutes=minutes)),))
    assert len(verdicts._verdicts) == 2


def test_a_verdict_is_a_value(world: World) -> None:
    verdict = judge(world, PeerVerdicts())
    assert replace(verdict) == verdict


def test_a_chain_is_bounded_and_must_parse(world: World) -> None:
    der = world.consumer.auth.certificate.der
    assert certificates_of([der]) == (world.consumer.auth.certificate,)
    for ders in ([der] * (MAX_CHAIN + 1), [b"junk"], [b""]):
        with pytest.raises(TrustError) as caught:
            certificates_of(ders)
        assert refused(caught)


def test_remembers_verdicts_and_not_the_octets_that_a_peer_sent(world: World) -> None:
    """A registered server may send a mebibyte of OCSP responses with each message."""
    padding = world.lab.ocsp(world.provider.auth.certificate, at=NOW)
    good = world.lab.ocsp(world.consumer.auth.certificate, at=NOW)
    verdicts = PeerVerdicts()
    judge(world, verdicts, ocsp=(good, padding))
    kept = gc.get_referents(verdicts._verdicts)
    for _ in range(3):
        kept += [inner for value in kept for inner in gc.get_referents(value)]
    assert any(isinstance(value, VerifiedPeer) for value in kept)
    assert all(value is not padding for value in kept)
