from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from postroad.adapters.http_client import HttpClient
from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import information_system_context, provider_client_context
from postroad.errors import PostroadError
from postroad.securityserver.internal_tls import ensure_internal_identity
from postroad.securityserver.serverconf.snapshot import ClientEntry, ClientView, ServiceEntry
from postroad.securityserver.service_caller import InformationSystems
from support.exchange import NOW, REGISTER


def service(*, verify_tls: bool) -> ServiceEntry:
    return ServiceEntry("persons", None, "REST", "", 5, verify_tls, False, "", "")


def provider(*certificates: bytes) -> ClientView:
    return ClientView(
        ClientEntry(REGISTER.encoded(), "registered", "NOSSL", certificates, (), (), ())
    )


async def answer(request: Request, responder: Responder) -> None:
    seen = request.peer.certificate or b""
    await responder.respond(200, [("X-Target", request.target)], seen)


@pytest.mark.parametrize(
    ("verify", "registered", "accepted"),
    [(False, False, True), (True, True, True), (True, False, False)],
)
def test_a_services_certificate_must_be_registered_where_that_is_asked(
    tmp_path: Path, verify: bool, registered: bool, accepted: bool
) -> None:
    async def run() -> tuple[str, bytes]:
        theirs = ensure_internal_identity(tmp_path / "theirs", NOW)
        ours = ensure_internal_identity(tmp_path / "ours", NOW)
        tls = information_system_context(theirs.key_pem, theirs.chain_pem, [ours.certificate.der])
        server, client = HttpServer(answer), HttpClient()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(server.drain, 0.1)
            stack.callback(client.close)
            port = (await server.listen("127.0.0.1", 0, tls=tls)).port
            context = provider_client_context(ours.key_pem, ours.chain_pem)
            caller = InformationSystems(client, lambda: context)
            known = [theirs.certificate.der] if registered else [ours.certificate.der]
            exchange = await caller.open(
                "GET",
                f"https://127.0.0.1:{port}/a%2Fb?c",
                (),
                content_length=0,
                service=service(verify_tls=verify),
                provider=provider(*known),
            )
            async with exchange:
                await exchange.finish()
                head = await exchange.response()
                body = await exchange.body.read_all(10_000)
                assert body == ours.certificate.der
                return head.header("X-Target") or "", body

    if accepted:
        assert asyncio.run(run())[0] == "/a%2Fb?c"
    else:
        with pytest.raises(PostroadError) as caught:
            asyncio.run(run())
        assert caught.value.fault_code == "ssl_authentication_failed"


def test_connections_are_told_apart_by_host_and_key(tmp_path: Path) -> None:
    context = provider_client_context()
    caller = InformationSystems(HttpClient(), lambda: context)
    assert caller._tls_for("a.example") is caller._tls_for("a.example")
    assert caller._tls_for("a.example") is not caller._tls_for("b.example")
    assert caller._tls_for("a.example").server_name == "a.example"
    assert caller._tls_for("127.0.0.1").server_name is None
    assert caller._tls_for("::1").server_name is None
