"""Descriptions are fetched with the TLS rule of their service, over real TLS."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.http_client import HttpClient
from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import information_system_context, provider_client_context
from postroad.errors import PostroadError
from postroad.messages.rest import RestRequest
from postroad.securityserver.internal_tls import ensure_internal_identity
from postroad.securityserver.metadata_services import MetadataServices
from postroad.securityserver.provider_exchange import Call
from postroad.securityserver.serverconf.snapshot import ClientEntry, ClientView, ServiceEntry
from postroad.securityserver.service_caller import InformationSystems
from support.exchange import CLIENT, NOW, REGISTER, World

if TYPE_CHECKING:
    from pathlib import Path

REQUEST = RestRequest(
    "GET",
    "/r1/TEST/GOV/2/reg/getOpenAPI?serviceCode=pets",
    (("X-Road-Client", CLIENT.encoded()), ("x-road-request-id", "u")),
)


def provider(url: str, certificate: bytes, *, verify_tls: bool) -> ClientView:
    entry = ServiceEntry("pets", None, "OPENAPI3", "", 5, verify_tls, False, "", url)
    return ClientView(
        ClientEntry(REGISTER.encoded(), "registered", "NOSSL", (certificate,), (entry,), (), ())
    )


@pytest.mark.parametrize(
    ("verify", "registered", "accepted"),
    [(False, False, True), (True, True, True), (True, False, False)],
)
def test_a_description_comes_from_a_server_that_the_service_may_be(
    tmp_path: Path, verify: bool, registered: bool, accepted: bool
) -> None:
    seen: list[bytes | None] = []

    async def answer(request: Request, responder: Responder) -> None:
        seen.append(request.peer.certificate)
        await responder.respond(200, [("Content-Type", "application/json")], b'{"openapi":"3.0.0"}')

    async def run() -> bytes:
        theirs = ensure_internal_identity(tmp_path / "theirs", NOW)
        ours = ensure_internal_identity(tmp_path / "ours", NOW)
        tls = information_system_context(theirs.key_pem, theirs.chain_pem, [ours.certificate.der])
        server, client = HttpServer(answer), HttpClient()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(server.drain, 0.1)
            stack.callback(client.close)
            port = (await server.listen("127.0.0.1", 0, tls=tls)).port
            context = provider_client_context(ours.key_pem, ours.chain_pem)
            services = MetadataServices(InformationSystems(client, lambda: context), lambda: "id")
            known = (theirs if registered else ours).certificate.der
            view = provider(f"https://127.0.0.1:{port}/openapi.json", known, verify_tls=verify)
            snapshot = World(tmp_path / "world").provider.snapshot()
            found = await services.get_openapi(Call(snapshot, view, None), REQUEST)
            assert seen == [ours.certificate.der]
            return found.body

    if accepted:
        assert asyncio.run(run()) == b'{"openapi":"3.0.0"}'
    else:
        with pytest.raises(PostroadError) as caught:
            asyncio.run(run())
        assert caught.value.fault_code == "ssl_authentication_failed"
        assert seen == []
