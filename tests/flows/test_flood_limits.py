"""A client that asks too often is told when to come again, and others go on."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import pytest

from postroad.securityserver.flood_limits import FloodLimit
from support.exchange import Server, World
from support.soap_exchange import answer_with, call, message

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.adapters.http_client import FetchedResponse
    from postroad.securityserver.client_proxy import ClientProxy
    from postroad.securityserver.server_proxy import ServerProxy


def limit() -> FloodLimit:
    return FloodLimit(0.5, lambda: 0.0)


@pytest.mark.parametrize("kind", ["REST", "WSDL"])
def test_the_consumers_server_refuses_with_retry_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    made = Server.client_proxy

    def limited(server: Server) -> ClientProxy:
        return dataclasses.replace(made(server), flood=limit())

    monkeypatch.setattr(Server, "client_proxy", limited)
    first, second = asyncio.run(_call_twice(tmp_path, kind))
    assert first.status == 200
    assert second.header("retry-after") == "2"
    assert b"server.clientproxy.bad_request" in second.body
    assert b"try again in 2 s" in second.body
    assert second.status == (500 if kind == "REST" else 200)
    assert first.header("retry-after") is None


def test_the_providers_server_refuses_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Server.server_proxy

    def limited(server: Server) -> ServerProxy:
        return dataclasses.replace(made(server), flood=limit())

    monkeypatch.setattr(Server, "server_proxy", limited)
    first, second = asyncio.run(_call_twice(tmp_path, "REST"))
    assert first.status == 200
    assert b"server.serverproxy.bad_request" in second.body


async def _call_twice(tmp_path: Path, kind: str) -> list[FetchedResponse]:
    async with asyncio.timeout(30), World(tmp_path) as world:
        world.offer(type=kind)
        if kind == "WSDL":
            answer_with(world)
        answers = [
            await (call(world, message()) if kind == "WSDL" else world.call()) for _ in range(2)
        ]
        assert len(world.called) == 1
        return answers
