"""Headers by which a caller could be taken for somebody else; the service never hears of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.identifiers import SubsystemId
from postroad.messages.events import Direction
from support.attacker import encode_message, parts_of, send, sign
from support.exchange import CLIENT, TARGET, World

VICTIM = SubsystemId("TEST", "COM", "9", "victim").encoded()


@pytest.mark.parametrize(
    "header",
    [
        # The last one counts here, and the first one at many a service behind us.
        ("X-Road-Client", VICTIM),
        # Gateways that make variables of headers (CGI, WSGI) take these names for X-Road-Client.
        ("X_Road_Client", VICTIM),
        ("X-Road_Client", VICTIM),
        ("X_ROAD_CLIENT", VICTIM),
        ("x_road_userid", "victim"),
    ],
)
def test_a_consumer_cannot_show_the_service_a_second_client(
    tmp_path: Path, header: tuple[str, str]
) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            answer = await world.client.fetch(
                "GET",
                f"http://127.0.0.1:{world.port}{TARGET}",
                headers=(header, ("X-Road-Client", CLIENT.encoded())),
            )
            assert answer.status == 500
            assert (answer.header("X-Road-Error") or "").startswith("server.clientproxy.")
            assert world.called == []
            assert world.consumer.log.records == []

    asyncio.run(run())


@pytest.mark.parametrize(
    "line", [f"x-road-client:{VICTIM}", f"X_Road_Client:{VICTIM}", "X-Road-Id:other"]
)
def test_a_server_cannot_show_the_service_a_second_client(tmp_path: Path, line: str) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            lines = ("GET", TARGET, line, f"X-Road-Client:{CLIENT.encoded()}", "x-road-id:query")
            block = "".join(f"{text}\r\n" for text in lines).encode()
            signature = sign(world, world.consumer.sign, parts_of(block, None))
            ocsp = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
            message = encode_message(Direction.REQUEST, block, None, signature, ocsp=ocsp)
            assert (await send(world, message)).startswith("server.serverproxy.")
            assert world.called == []
            assert world.provider.log.records == []

    asyncio.run(run())


def test_the_same_client_said_twice_is_one_client(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            same = ("x-road-client", CLIENT.encoded())
            assert (await world.call("GET", headers=(same,))).status == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    "headers",
    [
        (("Connection", "close, X-Road-Client"),),
        (("Transfer-Encoding", "chunked"), ("Connection", "Transfer-Encoding")),
        (("Trailer", "X-Road-Client"), ("TE", "trailers"), ("Upgrade", "h2c")),
        (("Expect", "200-ok"), ("Keep-Alive", "timeout=1"), ("Proxy-Authorization", "Basic eA==")),
    ],
)
def test_headers_of_one_hop_reach_neither_peer_nor_service(
    tmp_path: Path, headers: tuple[tuple[str, str], ...]
) -> None:
    """Told by a peer they are refused; told by a consumer they end at its own server."""

    async def run() -> None:
        async with World(tmp_path) as world:
            ocsp = [world.consumer.ocsp.responses[world.consumer.auth.certificate.sha1]]
            own = (f"X-Road-Client:{CLIENT.encoded()}", "x-road-id:query")
            lines = ("GET", TARGET, *(f"{name}:{value}" for name, value in headers), *own)
            block = "".join(f"{text}\r\n" for text in lines).encode()
            signature = sign(world, world.consumer.sign, parts_of(block, None))
            message = encode_message(Direction.REQUEST, block, None, signature, ocsp=ocsp)
            assert (await send(world, message)).endswith("internal_error")
            assert world.called == []

    asyncio.run(run())
