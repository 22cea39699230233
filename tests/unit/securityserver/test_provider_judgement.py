from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from postroad.errors import MalformedInput, PostroadError, UnavailablePeer
from postroad.ports import FetchedResponse
from postroad.securityserver.provider_judgement import fetch_ocsp_responses, parse_ocsp_answer
from postroad.trustlab.authority import TrustLab
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
        timeout: float = 30.0,  # noqa: ASYNC109 - the port's signature
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
