from __future__ import annotations

import hashlib

import pytest

from postroad.crypto.certificates import Certificate
from postroad.errors import MalformedInput, PostroadError, UnavailablePeer
from postroad.ports import FetchedResponse
from postroad.securityserver.ocsp_responder import OcspResponder
from postroad.securityserver.provider_judgement import fetch_ocsp_responses
from support.sockets import calling, run, serving
from support.tls import lab

CERTIFICATES = lab().ca_certificates
STORED = {certificate.sha1: b"response of " + certificate.sha1 for certificate in CERTIFICATES}
STORED |= {certificate.sha256: STORED[certificate.sha1] for certificate in CERTIFICATES}


def fetch(target: str, method: str = "GET") -> FetchedResponse:
    async def scenario() -> FetchedResponse:
        async with serving(OcspResponder(STORED.get)) as (_, port), calling() as client:
            return await client.fetch(method, f"http://127.0.0.1:{port}{target}")

    return run(scenario())


def ask(*certificates: Certificate) -> list[bytes]:
    async def scenario() -> list[bytes]:
        async with serving(OcspResponder(STORED.get)) as (_, port), calling() as client:
            return await fetch_ocsp_responses(client, "127.0.0.1", port, certificates)

    return run(scenario())


def test_peer_gets_one_response_per_certificate_in_its_order() -> None:
    first, second = CERTIFICATES
    assert ask(second, first) == [STORED[second.sha1], STORED[first.sha1]]


def test_answer_says_what_it_is() -> None:
    answer = fetch(f"/?cert={CERTIFICATES[0].sha1.hex()}")
    assert answer.status == 200
    content_type = answer.header("content-type") or ""
    assert content_type.startswith('multipart/related; type="application/ocsp-response"; ')


def test_newer_hash_alone_is_accepted() -> None:
    answer = fetch(f"/?cert_hash={hashlib.sha256(CERTIFICATES[0].der).hexdigest()}")
    assert STORED[CERTIFICATES[0].sha1] in answer.body


def test_unknown_certificate_is_500_with_a_text() -> None:
    answer = fetch(f"/?cert={'ab' * 20}")
    assert answer.status == 500
    assert b"abab" in answer.body
    unknown = lab("Other").ca_certificates[0]
    with pytest.raises(UnavailablePeer):
        ask(CERTIFICATES[0], unknown)


def test_heartbeat_is_answered() -> None:
    assert fetch("/", "HEAD").status == 200


@pytest.mark.parametrize(("method", "target"), [("GET", "/"), ("GET", "/?cert=x"), ("POST", "/")])
def test_other_requests_are_500(method: str, target: str) -> None:
    assert fetch(target, method).status == 500


def test_number_of_responses_must_match() -> None:
    async def scenario() -> PostroadError:
        class Deaf(OcspResponder):
            """Answers only the first certificate."""

            def _collect(self, request: object) -> list[bytes]:
                return [b"one"]

        async with serving(Deaf(STORED.get)) as (_, port), calling() as client:
            with pytest.raises(MalformedInput) as caught:
                await fetch_ocsp_responses(client, "127.0.0.1", port, CERTIFICATES)
            return caught.value

    assert "1 OCSP responses came for 2" in str(run(scenario()))
