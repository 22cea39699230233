"""What a client's server makes of a provider's server that answers early, late or by halves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import encode_pem, peer_server_context
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.securityserver.messagelog.records import Direction
from support.attacker import MESSAGE_HEADERS
from support.exchange import TARGET, World, pem_of

Q = "server.clientproxy"
Handler = Callable[[Request, Responder], Awaitable[None]]
XML = (("Content-Type", "text/xml"),)


async def early_fault(_request: Request, responder: Responder) -> None:
    await responder.respond(200, XML, encode_soap_fault(Fault("server.x.early", "no")))


async def early_message(_request: Request, responder: Responder) -> None:
    await responder.respond(200, MESSAGE_HEADERS, b"--b\r\n\r\n\r\n--b--")


async def cut_before_the_answer(request: Request, responder: Responder) -> None:
    await request.body.read_all(1 << 30)
    responder._channel.abort()


async def cut_within_the_answer(request: Request, responder: Responder) -> None:
    await request.body.read_all(1 << 30)
    await responder.start(200, MESSAGE_HEADERS, 10_000)
    await responder.write(b"--b\r\n")
    responder._channel.abort()


async def endless_fault(_request: Request, responder: Responder) -> None:
    await responder.start(200, XML)
    for _ in range(40):
        await responder.write(b"x" * 65_536)
    await responder.finish()


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (early_fault, "server.x.early"),
        (early_message, f"{Q}.service_failed.invalid_content_type"),
        (cut_before_the_answer, f"{Q}.network_error"),
        (cut_within_the_answer, f"{Q}.service_failed.io_error"),
        (endless_fault, f"{Q}.service_failed.invalid_message"),
    ],
)
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_the_consumer_learns_what_broke(
    tmp_path: Path, handler: Handler, code: str, size: int
) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            auth = world.provider.auth
            context = peer_server_context(
                pem_of(auth),
                encode_pem(auth.certificate.der),
                [certificate.der for certificate in world.lab.ca_certificates],
            )
            server = HttpServer(handler)
            world.stack.push_async_callback(server.drain, 0.1)
            world.provider.peer_port = (await server.listen("127.0.0.1", 0, tls=context)).port
            answer = await world.call("POST", TARGET, (), bytes(size))
            error = answer.header("X-Road-Error")
            # Who is busy sending may see the connection break before reading why.
            broke = handler is endless_fault and size > 10 and error == f"{Q}.network_error"
            assert error == code or broke
            kinds = {record.direction for record in world.consumer.log.records}
            assert Direction.RESPONSE not in kinds
            assert list((world.consumer.home / "spool").iterdir()) == []

    asyncio.run(run())
