"""Which versions a query asks for, and until when; serving is tested over a real port, too."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from postroad.centralserver.distribution import (
    distribution_application,
    expiry_of,
    requested_version,
)
from support.central_server import NOW, MovingClock

if TYPE_CHECKING:
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.signing_keys import SigningToken


@pytest.mark.parametrize(
    ("query", "version"),
    [
        (b"", "2"),
        (b"version=6", "6"),
        (b"version=2", "2"),
        (b"a=b&version=3", "3"),
        (b"version=3&a=b", "3"),
        (b"a=b&version=4&c=d", "4"),
        (b"version=5&version=6", "5"),
        (b"version=", "2"),
        (b"version=x", "2"),
        (b"version=6x", "2"),
        (b"version=-6", "2"),
        (b"version=6.0", "2"),
        (b"Version=6", "2"),
        (b"myversion=6", "2"),
        (b"version%3D6", "2"),
        (b"version=6;a=b", "2"),
        (b"version=06", "06"),
        (b"version=0", "0"),
        (b"version=" + b"9" * 5000, "9999"),
        ("version=६".encode(), "2"),
    ],
)
def test_the_raw_query_decides(query: bytes, version: str) -> None:
    assert requested_version(query) == version


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Expire-date: tomorrow\r\n",
        b"Expire-date: \xff\r\n",
        b"X-Expire-date: 2026-03-01T12:10:00Z\r\n",
        b"Expire-date: " + b"9" * 100,
    ],
)
def test_what_tells_no_expiry_has_none(data: bytes) -> None:
    assert expiry_of(data) is None


def test_what_has_expired_is_not_served(node: CentralServerNode, token: SigningToken) -> None:
    """What a node can't renew, because its database is away, ends with its validity."""
    node.generate(token)
    clock = MovingClock(NOW + timedelta(seconds=600))
    application = distribution_application(node.settings.public_path, clock, b"")

    def get(target: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport, base_url="http://cs") as client:
                return await client.get(target)

        return asyncio.run(ask())

    for name in ("internalconf", "externalconf"):
        assert get(f"/{name}?version=6").status_code == 200
    clock.pass_time(seconds=1)
    for name in ("internalconf", "externalconf"):
        answer = get(f"/{name}?version=6")
        assert answer.status_code == 503
        assert "expired at 2026-03-01T12:10:00Z" in answer.text
    assert get("/internalconf?version=9").status_code == 404, "it isn't made at all"
