"""What a service behind the provider's server may answer, and what becomes of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.exchange import World

HTTP_ERROR = "server.serverproxy.service_failed.http_error"
GONE = "server.serverproxy.service_failed.network_error"
OK = b"HTTP/1.1 200 OK\r\n"


async def offer_answer(world: World, answer: bytes) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    world.stack.callback(server.close)
    world.offer(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nx", HTTP_ERROR),
        (b"HTTP/1.1 103 Early\r\n\r\n" * 50 + OK + b"Content-Length: 0\r\n\r\n", HTTP_ERROR),
        (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HTTP_ERROR),
        (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", HTTP_ERROR),
        (OK + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\nhi", HTTP_ERROR),
        (OK + b"X: a\rY: b\r\nContent-Length: 2\r\n\r\nhi", HTTP_ERROR),
        (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", HTTP_ERROR),
        (OK + b"X: " + b"a" * 300_000 + b"\r\n\r\n", HTTP_ERROR),
        (OK + b"X: a\r\n" * 300 + b"\r\n", HTTP_ERROR),
        (b"hi there\r\n", HTTP_ERROR),
        (OK + b"Content-Length: 20\r\n\r\nhi", GONE),
    ],
)
def test_an_answer_that_two_could_read_differently_is_none(
    tmp_path: Path, answer: bytes, code: str
) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            await offer_answer(world, answer)
            refused = await world.call("GET")
            assert (refused.status, refused.header("X-Road-Error")) == (500, code)
            assert world.provider.unexpected == world.consumer.unexpected == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 103 Early\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nhi", 204, b""),
        (b"HTTP/1.1 205 Reset\r\nContent-Length: 2\r\n\r\nhi", 205, b""),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 2\r\n\r\nhi", 304, b""),
        (b"HTTP/1.1 999\r\nContent-Length: 0\r\n\r\n", 999, b""),
        (OK + b"\r\nhi", 200, b"hi"),
    ],
)
def test_an_answer_without_doubt_is_passed_on(
    tmp_path: Path, answer: bytes, status: int, body: bytes
) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            await offer_answer(world, answer)
            passed = await world.call("GET")
            assert (passed.status, passed.body) == (status, body)

    asyncio.run(run())


def test_an_encoded_body_is_signed_and_passed_on_as_it_came(tmp_path: Path) -> None:
    """Nothing is unpacked on the way, so nothing can grow there."""

    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            head = b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n"
            await offer_answer(world, OK + head + b"hi")
            passed = await world.call("GET", headers=(("Accept-Encoding", "gzip"),))
            assert passed.header("Content-Encoding") == "gzip"
            assert passed.body == b"hi"

    asyncio.run(run())


def test_a_service_cannot_speak_in_the_servers_name(tmp_path: Path) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            own = b"X-Road-Id: evil\r\nX-Road-Client: evil\r\nX-Road-Request-Id: evil\r\n"
            own += b"X-Road-Request-Hash: evil\r\nServer: evil\r\nContent-Length: 0\r\n\r\n"
            await offer_answer(world, OK + own)
            passed = await world.call("GET")
            assert passed.status == 200
            assert all(value != "evil" for _name, value in passed.headers)

    asyncio.run(run())
