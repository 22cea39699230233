"""What was judged, signed and logged is what the service gets, byte for byte, or it gets nothing.

A raw-socket consumer sends exact bytes, a raw-socket service notes exact bytes. Between the two:
the path of the access decision, the signed block in both logs, the forwarded request.
"""

from __future__ import annotations

import asyncio
import contextlib
import posixpath
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postroad.messages.rest import RestRequest
from support.exchange import CLIENT, TARGET, World

BASE = "/api"
OWN = {b"host", b"content-length", b"connection"}
"""Fields that belong to the hop to the service."""
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


@dataclass
class RawService:
    """Notes all bytes of every connection, answers each once, and reads on until its end."""

    received: list[bytes] = field(default_factory=list)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = b""
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while not _is_whole(data) and (more := await reader.read(65536)):
                data += more
            writer.write(HELLO)
            await writer.drain()
            data += await reader.read()
        self.received.append(data)


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


async def say(port: int, request: bytes) -> bytes:
    """Send exact bytes as a consumer; all bytes of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.closing(writer):
        writer.write(request)
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                return await reader.read()
    return b""


def raw(
    target: str,
    fields: Sequence[tuple[bytes, bytes]] = (),
    method: str = "GET",
    body: bytes | None = None,
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: consumer"]
    lines += [name + b": " + value for name, value in fields]
    lines += [b"X-Road-Client: " + CLIENT.encoded().encode(), b"Connection: close"]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


async def exchange(world: World, service: RawService, request: bytes) -> bytes | None:
    """Send one request; what the service got, after comparing it with what was judged."""
    for server in (world.consumer, world.provider):
        server.log.records.clear()
    service.received.clear()
    answer = await say(world.port, request)
    assert world.consumer.unexpected == []
    assert world.provider.unexpected == []
    if not service.received:
        assert not answer.endswith(b"hello")
        assert world.provider.log.records == []
        return None
    assert len(service.received) == 1
    forwarded = service.received[0]
    ours, theirs = (server.log.records[0].message for server in (world.consumer, world.provider))
    assert ours == theirs
    _compare(RestRequest.parse(theirs), forwarded)
    return forwarded


def _compare(judged: RestRequest, forwarded: bytes) -> None:
    """The forwarded head is the judged block and what belongs to the hop, and nothing follows."""
    head, _, body = forwarded.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    target = f"{BASE}{judged.service_path}"
    if judged.query is not None:
        target += f"?{judged.query}"
    assert line == f"{judged.method} {target} HTTP/1.1".encode()
    pairs = [tuple(text.split(b": ", 1)) for text in fields]
    theirs = [pair for pair in pairs if pair[0].lower() not in OWN]
    # HTTP carries Latin-1; in the block the same characters stand as UTF-8.
    assert theirs == [(name.encode(), value.encode("latin-1")) for name, value in judged.headers]
    lengths = [value for name, value in pairs if name.lower() == b"content-length"]
    assert len(lengths) <= 1
    assert len(body) == (int(lengths[0]) if lengths else 0)
    assert b"transfer-encoding" not in head.lower()


def readings(path: str) -> list[str]:
    """What servers of the world might take a raw path for."""
    ways: tuple[Callable[[str], str], ...] = (
        lambda text: text,
        unquote,
        lambda text: unquote(unquote(text)),
        lambda text: unquote(text, "latin-1"),
        lambda text: re.sub(r";[^/]*", "", text),
        lambda text: re.sub(r";[^/]*", "", unquote(text)),
        lambda text: unquote(text).replace("\\", "/"),
        lambda text: re.sub(r"/+", "/", unquote(text)),
        lambda text: unquote(text).split("\0")[0],
        lambda text: unquote(text).split("#")[0].split("?")[0],
        lambda text: re.sub(r"[. ]+(/|$)", r"\1", unquote(text)) if ".." not in text else text,
    )
    return [posixpath.normpath(way(path)) for way in ways]


def run(tmp_path: Path, story: Callable[[World, RawService], object]) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            service = RawService()
            server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
            service.port = server.sockets[0].getsockname()[1]
            async with server:
                world.offer(url=f"http://127.0.0.1:{service.port}{BASE}")
                done = story(world, service)
                if asyncio.iscoroutine(done):
                    await done

    asyncio.run(main())


NASTY_FIELDS: dict[str, Sequence[tuple[bytes, bytes]]] = {
    "duplicate client": [(b"X-Road-Client", b"TEST/COM/1/other")],
    "client in another case": [(b"x-rOAD-cLIENT", b"TEST/COM/1/other")],
    "two ids": [(b"X-Road-Id", b"1"), (b"x-road-id", b"2")],
    "somebody's request id": [(b"x-road-request-id", b"forged")],
    "somebody's request hash": [(b"X-Road-Request-Hash", b"forged")],
    "hop by hop": [(b"TE", b"trailers"), (b"Keep-Alive", b"1"), (b"Proxy-Authorization", b"x")],
    "an underscore for a dash": [(b"X_Road_Client", b"TEST/COM/1/other")],
    "tabs and blanks": [(b"X-Blank", b" \ta\t b \t")],
    "latin-1": [(b"X-Name", "Jürgen".encode("latin-1"))],
    "utf-8": [(b"X-Name", "Guðrún €".encode())],
    "empty value": [(b"X-Empty", b"")],
    "the same field thrice": [(b"X-A", b"1"), (b"x-a", b"2"), (b"X-A", b"1")],
    "a colon in the value": [(b"X-Colon", b"a: b: c")],
    "what looks like a line": [(b"X-Line", b"a\\r\\nX-Evil: 1")],
    "forwarded": [(b"X-Forwarded-For", b"1.2.3.4"), (b"Forwarded", b"for=1.2.3.4")],
    "another method": [(b"X-HTTP-Method-Override", b"DELETE")],
    "original url": [(b"X-Original-URL", b"/secret"), (b"X-Rewrite-URL", b"/secret")],
    "expect": [(b"Expect", b"100-continue")],
    "upgrade": [(b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AAMAAABk")],
    "odd names": [(b"!#$%&'*+-.^_`|~", b"1")],
    "a long value": [(b"X-Long", b"v" * 20_000)],
    "many": [(b"X-%d" % number, b"v") for number in range(150)],
}


@pytest.mark.parametrize("name", NASTY_FIELDS)
@pytest.mark.parametrize("body", [None, b"", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"])
def test_fields_are_forwarded_as_judged_or_not_at_all(
    tmp_path: Path, name: str, body: bytes | None
) -> None:
    async def story(world: World, service: RawService) -> None:
        method = "GET" if body is None else "POST"
        got = await exchange(world, service, raw(f"{TARGET}/x", NASTY_FIELDS[name], method, body))
        if got is not None:
            assert b"forged" not in got

    run(tmp_path, story)


BROKEN_REQUESTS = {
    "bare line feeds": raw(f"{TARGET}/x").replace(b"\r\n", b"\n"),
    "a folded line": raw(f"{TARGET}/x", [(b"X-A", b"1\r\n X-Evil: 2")]),
    "a bare carriage return": raw(f"{TARGET}/x", [(b"X-A", b"1\rX-Evil: 2")]),
    "a zero byte": raw(f"{TARGET}/x", [(b"X-A", b"1\0X-Evil: 2")]),
    "a blank before the colon": raw(f"{TARGET}/x", [(b"X-A ", b"1")]),
    "a blank in the target": raw(f"{TARGET}/x /y"),
    "a tab in the target": raw(f"{TARGET}/x\t/y"),
    "a fragment": raw(f"{TARGET}/x#/../secret"),
    "an absolute target": raw(f"http://consumer{TARGET}/x"),
    "chunked and sized": raw(
        f"{TARGET}/x", [(b"Transfer-Encoding", b"chunked")], "POST", b"0\r\n\r\n"
    ),
    "chunked, oddly spelt": raw(
        f"{TARGET}/x", [(b"Transfer-Encoding", b"xchunked")], "POST", b"0\r\n\r\n"
    ),
    "two sizes": raw(f"{TARGET}/x", [(b"Content-Length", b"0")], "POST", b"abc"),
    "a signed size": raw(f"{TARGET}/x", [], "POST").replace(
        b"\r\n\r\n", b"\r\nContent-Length: +3\r\n\r\nabc"
    ),
    "a body of GET": raw(f"{TARGET}/x", [], "GET", b"GET /smuggled HTTP/1.1\r\n\r\n"),
    "an unknown method": raw(f"{TARGET}/x", [], "SMUGGLE"),
    "a lower case method": raw(f"{TARGET}/x", [], "get"),
}


@pytest.mark.parametrize("name", BROKEN_REQUESTS)
def test_broken_requests_are_refused_or_read_in_one_way(tmp_path: Path, name: str) -> None:
    async def story(world: World, service: RawService) -> None:
        got = await exchange(world, service, BROKEN_REQUESTS[name])
        if got is not None:
            assert b"Evil" not in got.split(b"\r\n\r\n")[0].replace(b"\\r", b"")
            assert b"smuggled" not in got
            assert b"secret" not in got

    run(tmp_path, story)


PIECES = st.sampled_from(
    [
        "/",
        "//",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        "%2f",
        "%5c",
        "\\",
        ";",
        ";x=1",
        "%3b",
        "%00",
        "%25",
        "%252e",
        "%c0%af",
        "%e0%80%ae",
        "a",
        "b",
        "secret",
        "public",
        "%70ublic",
        "~",
        "*",
        "%20",
        "+",
        "?",
        "&",
        "=",
        "%3f",
        "%23",
        "@",
        ":",
        "%0d%0a",
        "é",
        "%C3%A9",
        "%EF%BC%8F",
        "%E2%88%95",
        "|",
        "{",
        "[",
        "]",
        "'",
        "%",
    ]
)
PATHS = st.lists(PIECES, min_size=1, max_size=10).map("".join)


def test_no_reading_of_a_forwarded_path_leaves_what_was_allowed(tmp_path: Path) -> None:
    """With a right to ``/public/*`` alone, whatever the service makes of the path."""
    forwarded: list[str] = []
    loop = asyncio.new_event_loop()
    service = RawService()
    world = World(tmp_path)

    async def start() -> asyncio.Server:
        await world.__aenter__()
        server = await asyncio.start_server(service.serve, "127.0.0.1", 0)
        service.port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{service.port}{BASE}"
        world.offer(url=url, endpoint=("GET", "/public/*"))
        return server

    @settings(
        max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(PATHS)
    def try_path(path: str) -> None:
        target = f"{TARGET}/public/{path}"
        got = loop.run_until_complete(
            exchange(world, service, raw(target.encode().decode("latin-1")))
        )
        if got is None:
            return
        line = got.split(b"\r\n", 1)[0].decode()
        asked = line.split(" ")[1].partition("?")[0]
        forwarded.append(asked)
        for reading in readings(asked):
            assert reading == f"{BASE}/public" or reading.startswith(f"{BASE}/public/"), asked
            assert reading.count("/") <= 3, asked

    try:
        server = loop.run_until_complete(start())
        try_path()
        server.close()
        loop.run_until_complete(world.__aexit__())
    finally:
        loop.close()
    assert forwarded
