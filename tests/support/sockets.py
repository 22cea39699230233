"""Servers and clients over real sockets for tests, raw bytes where it matters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TypeVar

import uvloop

from postroad.adapters.http_client import HttpClient
from postroad.adapters.http_limits import ClientLimits, ServerLimits
from postroad.adapters.http_server import HttpServer, Request, Responder

T = TypeVar("T")
Handler = Callable[[Request, Responder], Awaitable[None]]


def run(scenario: Coroutine[object, object, T], seconds: float = 10.0) -> T:
    """Run a scenario on a fresh uvloop; it fails instead of hanging."""

    async def bounded() -> T:
        async with asyncio.timeout(seconds):
            return await scenario

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


async def echo(request: Request, responder: Responder) -> None:
    """Answer with the body that came."""
    body = await request.body.read_all(1 << 30)
    await responder.respond(200, [("Content-Type", "text/plain")], body)


class Failures:
    """What handlers raised."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []

    def __call__(self, request: Request, error: Exception) -> None:
        self.errors.append(error)


@asynccontextmanager
async def serving(
    handler: Handler = echo, limits: ServerLimits | None = None, failures: Failures | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    """A plain server on a free port of loopback; yields it and the port."""
    server = HttpServer(handler, limits, on_failure=failures)
    listener = await server.listen("127.0.0.1", 0)
    try:
        yield server, listener.port
    finally:
        await server.drain(0.2)


@asynccontextmanager
async def calling(limits: ClientLimits | None = None) -> AsyncIterator[HttpClient]:
    """A client whose connections are cut at the end."""
    client = HttpClient(limits)
    try:
        yield client
    finally:
        client.close()
        await asyncio.sleep(0.01)


class Wire:
    """A raw connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a closed connection swallows them."""
        if not self.writer.transport.is_closing():
            self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        """Read up to and including some bytes."""
        return await self.reader.readuntil(end)

    async def answer(self) -> tuple[bytes, bytes]:
        """Read one answer with a Content-Length: its head and its body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length: "):
                length = int(line.partition(b": ")[2])
        return head, await self.reader.readexactly(length)

    async def rest(self) -> bytes:
        """Read until the server closes."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """Connect to a port of loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def scripted(
    script: Callable[[Wire], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server that does what the script says with each connection; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(Wire(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.sleep(0.01)
