"""What is refused unread, and the headers of every answer."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from postroad.centralserver.api.gate import Gate
from postroad.centralserver.settings import ManagementApiSection


async def hello(_request: object) -> PlainTextResponse:
    return PlainTextResponse("hello")


def ask(settings: ManagementApiSection, url: str, times: int = 1) -> list[httpx.Response]:
    gate = Middleware(Gate, settings=settings)
    application = Starlette(middleware=[gate], routes=[Route("/", hello)])

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport) as client:
            return [await client.get(url) for _ in range(times)]

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://cs.example/", 200),
        ("https://CS.example:4000/", 200),
        ("https://evil.example/", 400),
        ("https://cs.example.evil.example/", 400),
        ("https://127.0.0.1:4000/", 400),
    ],
)
def test_only_known_hosts_are_answered_when_they_are_named(url: str, status: int) -> None:
    settings = ManagementApiSection(allowed_hosts=("cs.example",))
    assert ask(settings, url)[0].status_code == status


def test_too_many_requests_are_refused_with_the_same_headers() -> None:
    settings = ManagementApiSection(requests_per_second=100, requests_per_minute=3)
    answers = ask(settings, "https://cs.example/", times=4)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    for answer in answers:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
