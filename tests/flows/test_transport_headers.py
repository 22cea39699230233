"""What does a client's server say in HTTP headers to the provider's server?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support.exchange import DirectConnector, World
from support.soap_exchange import answer_with, call, message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from postroad.globalconf.view import ProviderServer
    from postroad.securityserver.outgoing import OutgoingExchange
    from postroad.wire.headers import HeaderList


class Listening(DirectConnector):
    """Notes the headers of the last request."""

    heard: HeaderList = ()

    async def open(
        self,
        servers: Sequence[ProviderServer],
        judge: Callable[[str, tuple[bytes, ...]], Awaitable[None]],
        headers: HeaderList,
    ) -> OutgoingExchange:
        Listening.heard = headers
        return await super().open(servers, judge, headers)


@pytest.mark.parametrize("is_soap", [False, True])
def test_every_message_names_the_version_that_it_was_sent_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_soap: bool
) -> None:
    monkeypatch.setattr("support.exchange.DirectConnector", Listening)

    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            if is_soap:
                world.offer(type="WSDL")
                answer_with(world)
                await call(world, message())
            else:
                await world.call()

    asyncio.run(run())
    heard = [(name, value) for name, value in Listening.heard if name == "x-proxy-version"]
    assert heard == [("x-proxy-version", "7.8.0")]
