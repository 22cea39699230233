"""Asking an OCSP responder."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from postroad.adapters.trust_services import MAX_ANSWER_BYTES, fetch_ocsp_response
from postroad.errors import MalformedInput, PostroadError, UnavailablePeer
from postroad.ports import FetchedResponse

URL = "http://ocsp.example/"


class Responder:
    def __init__(self, answer: FetchedResponse | PostroadError) -> None:
        self.answer = answer
        self.asked: list[tuple[str, str, Sequence[tuple[str, str]], bytes, int]] = []

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
        self.asked.append((method, url, headers, body, max_body))
        if isinstance(self.answer, PostroadError):
            raise self.answer
        return self.answer


def ask(responder: Responder) -> bytes:
    return asyncio.run(fetch_ocsp_response(responder, URL, b"request"))


def answered(status: int, kind: str) -> FetchedResponse:
    return FetchedResponse(status, (("Content-Type", kind),), b"response")


@pytest.mark.parametrize(
    "kind", ["application/ocsp-response", "Application/OCSP-Response; charset=binary"]
)
def test_posts_the_request_and_returns_the_body(kind: str) -> None:
    responder = Responder(answered(200, kind))
    assert ask(responder) == b"response"
    ((method, url, headers, body, max_body),) = responder.asked
    assert (method, url, body, max_body) == ("POST", URL, b"request", MAX_ANSWER_BYTES)
    assert ("Content-Type", "application/ocsp-request") in headers


@pytest.mark.parametrize(
    "answer",
    [
        answered(500, "application/ocsp-response"),
        answered(200, "text/html"),
        FetchedResponse(200, (), b"response"),
        UnavailablePeer("no answer"),
        MalformedInput("too large"),
    ],
)
def test_anything_else_is_no_answer(answer: FetchedResponse | PostroadError) -> None:
    with pytest.raises(UnavailablePeer) as caught:
        ask(Responder(answer))
    assert URL in caught.value.message
