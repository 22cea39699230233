from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.crypto.ocsp import CertificateStatus
from postroad.errors import MalformedInput, PostroadError, TrustError, UnavailablePeer
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.view import GlobalConfiguration
from postroad.ports import FetchedResponse
from postroad.securityserver.peer_certificates import PeerVerdicts
from postroad.securityserver.provider_judgement import (
    ProviderJudge,
    fetch_ocsp_responses,
    parse_ocsp_answer,
)
from postroad.trustlab.authority import TrustLab
from support.exchange import CLIENT, REGISTER, World
from support.exchange import NOW as EXCHANGE_NOW
from support.signing import NOW

LAB = TrustLab.create(at=NOW)
CERTIFICATES = [LAB.ca_certificate, LAB.ocsp_certificate]
TYPE = 'multipart/related; type="application/ocsp-response"; charset=UTF-8; boundary=b'
PART = b"--b\r\ncontent-type: application/ocsp-response\r\n\r\n%b\r\n"


class OneAnswer:
    """An HTTP fetcher that always answers the same."""

    def __init__(self, status: int, content_type: str, body: bytes) -> None:
        self.response = FetchedResponse(status, (("Content-Type", content_type),), body)
        self.url = ""

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        self.url = url
        return self.response


def fetch(answer: OneAnswer, host: str = "ss.example.org") -> list[bytes]:
    return asyncio.run(fetch_ocsp_responses(answer, host, 5577, CERTIFICATES))


def test_asks_with_both_hashes_and_reads_the_parts_in_order() -> None:
    answer = OneAnswer(200, TYPE, PART % b"one" + PART % b"two" + b"--b--\r\n")
    assert fetch(answer) == [b"one", b"two"]
    one, two = CERTIFICATES
    assert answer.url == (
        f"http://ss.example.org:5577/?cert={one.sha1.hex()}&cert={two.sha1.hex()}"
        f"&cert_hash={one.sha256.hex()}&cert_hash={two.sha256.hex()}"
    )


def test_an_ipv6_address_stands_in_brackets() -> None:
    answer = OneAnswer(200, TYPE, PART % b"one" + PART % b"two" + b"--b--\r\n")
    fetch(answer, "::1")
    assert answer.url.startswith("http://[::1]:5577/")


@pytest.mark.parametrize(
    ("status", "content_type", "body", "error"),
    [
        (500, "text/plain", b"no", UnavailablePeer),
        (200, TYPE, PART % b"one" + b"--b--\r\n", MalformedInput),
        (200, TYPE, b"", MalformedInput),
        (200, TYPE, PART % b"one", MalformedInput),
        (200, "multipart/mixed; boundary=b", b"--b--", MalformedInput),
        (200, "multipart/related", b"", MalformedInput),
        (200, "", b"", MalformedInput),
        (200, TYPE, (PART % b"x").replace(b"ocsp-response", b"other") + b"--b--", MalformedInput),
    ],
)
def test_refuses_any_other_answer(
    status: int, content_type: str, body: bytes, error: type[PostroadError]
) -> None:
    with pytest.raises(error):
        fetch(OneAnswer(status, content_type, body))


def test_an_empty_part_is_an_empty_response() -> None:
    assert parse_ocsp_answer(TYPE, PART % b"" + b"--b--\r\n") == [b""]


class Judging:
    """A provider's server below an authority that isn't approved itself, and its OCSP port."""

    def __init__(self, tmp_path: Path) -> None:
        self.world = World(tmp_path)
        own = self.world.globalconf.own
        assert own.index is not None
        (approved,) = own.index.shared.approved_cas
        shared = replace(own.index.shared, approved_cas=(replace(approved, intermediates=()),))
        index = InstanceIndex(shared)
        self.world.globalconf = GlobalConfiguration("TEST", [replace(own, index=index)])
        self.leaf = self.world.provider.auth.certificate
        self.authority = self.world.lab.ca_certificate
        self.asked = 0
        self.answer: list[bytes] | PostroadError = []
        self.store = self.world.consumer.ocsp
        self.store.responses = {}
        self.judge = ProviderJudge(
            self, self.store, PeerVerdicts(), self.world.clock, ocsp_port=lambda _host: 5577
        )

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        self.asked += 1
        await asyncio.sleep(0)
        if isinstance(self.answer, PostroadError):
            raise self.answer
        body = b"".join(PART % der for der in self.answer) + b"--b--\r\n"
        return FetchedResponse(200, (("Content-Type", TYPE),), body)

    async def __call__(self) -> str:
        chain = (self.leaf.der, self.authority.der)
        return await self.judge.judge(self.world.consumer.snapshot(), REGISTER, "ss2", chain)


def test_stores_nothing_that_was_not_judged(tmp_path: Path) -> None:
    """What a server says about its authority is not looked at while we know better."""
    judging = Judging(tmp_path)
    lab = judging.world.lab
    known = lab.ocsp(judging.authority, at=EXCHANGE_NOW)
    judging.store.responses = {judging.authority.sha1: known}
    leaf = lab.ocsp(judging.leaf, at=EXCHANGE_NOW)
    judging.answer = [leaf, b"junk"]
    assert asyncio.run(judging()) == "TEST/GOV/2/SS2"
    assert judging.store.responses == {judging.authority.sha1: known, judging.leaf.sha1: leaf}


def test_a_failing_ocsp_port_is_asked_once_by_those_who_wait_for_it(tmp_path: Path) -> None:
    judging = Judging(tmp_path)
    judging.answer = UnavailablePeer("no answer in time")

    async def run() -> list[str | BaseException]:
        return await asyncio.gather(*(judging() for _ in range(20)), return_exceptions=True)

    outcomes = asyncio.run(run())
    assert all(isinstance(outcome, TrustError) for outcome in outcomes)
    assert len({id(outcome) for outcome in outcomes}) == 20  # each may be given its own prefix
    assert judging.asked == 1
    asyncio.run(run())
    assert judging.asked == 2  # who comes later asks again


@pytest.fixture
def judged(tmp_path: Path) -> Judging:
    """A server that was found good by the responses in our store, and now has no OCSP port."""
    judging = Judging(tmp_path)
    lab = judging.world.lab
    judging.store.responses = {
        certificate.sha1: lab.ocsp(certificate, at=EXCHANGE_NOW)
        for certificate in (judging.leaf, judging.authority)
    }
    assert asyncio.run(judging()) == "TEST/GOV/2/SS2"
    judging.answer = UnavailablePeer("no answer in time")
    return judging


def test_a_verdict_lasts_as_long_as_its_responses_are_fresh(judged: Judging) -> None:
    clock = judged.world.clock
    clock.at = EXCHANGE_NOW + timedelta(minutes=60)
    assert asyncio.run(judged()) == "TEST/GOV/2/SS2"
    clock.at += timedelta(seconds=1)
    with pytest.raises(TrustError):
        asyncio.run(judged())


def test_a_response_that_says_revoked_counts_at_once(judged: Judging) -> None:
    revoked = judged.world.lab.ocsp(judged.leaf, at=EXCHANGE_NOW, status=CertificateStatus.REVOKED)
    judged.store.responses = {**judged.store.responses, judged.leaf.sha1: revoked}
    with pytest.raises(TrustError):
        asyncio.run(judged())


def test_a_new_configuration_counts_at_once(judged: Judging) -> None:
    own = judged.world.globalconf.own
    assert own.index is not None
    shared = replace(own.index.shared, security_servers=())
    judged.world.globalconf = GlobalConfiguration(
        "TEST", [replace(own, index=InstanceIndex(shared))]
    )
    with pytest.raises(TrustError, match="not registered"):
        asyncio.run(judged())


def test_a_verdict_is_about_one_provider_and_one_chain(judged: Judging) -> None:
    snapshot = judged.world.consumer.snapshot()
    chain = (judged.leaf.der, judged.authority.der)
    with pytest.raises(TrustError, match="not registered"):
        asyncio.run(judged.judge.judge(snapshot, CLIENT, "ss2", chain))
    other = judged.world.consumer.auth.certificate.der
    with pytest.raises(TrustError, match="not registered"):
        asyncio.run(judged.judge.judge(snapshot, REGISTER, "ss2", (other, judged.authority.der)))
