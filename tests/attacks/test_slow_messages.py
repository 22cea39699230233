"""Who is slow enough to outlive a right, a registration or a configuration gains nothing by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from postroad.adapters.http_client import ClientTls
from postroad.adapters.tls import encode_pem, peer_client_context
from postroad.crypto.certificates import Certificate
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import ClientId, SubsystemId
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction
from postroad.messages.faults import parse_soap_fault
from postroad.securityserver import server_proxy
from postroad.securityserver.peer_certificates import PeerVerdicts, VerifiedPeer
from support.attacker import (
    MESSAGE_HEADERS,
    Asked,
    answer_block,
    become_provider,
    encode_message,
    parts_of,
    request_block,
    sign,
)
from support.exchange import CLIENT, INSTANCE, TARGET, World, pem_of

BODY = bytes(256 * 1024)


class NoticedVerdicts(PeerVerdicts):
    """Tells when the first judgement on a message was made."""

    def __init__(self) -> None:
        super().__init__()
        self.judged = asyncio.Event()

    def verify(
        self,
        chain: Sequence[Certificate],
        ocsp_responses: Sequence[bytes],
        *,
        client: ClientId,
        globalconf: GlobalConfiguration,
        at: datetime,
    ) -> VerifiedPeer:
        self.judged.set()
        return super().verify(chain, ocsp_responses, client=client, globalconf=globalconf, at=at)


def take_right_away(world: World) -> None:
    world.offer(subject=SubsystemId(INSTANCE, "COM", "1", "other"))


def disable_service(world: World) -> None:
    world.offer(disabled=True)


def take_provider_away(world: World) -> None:
    world.provider.clients.clear()


def take_client_from_its_server(world: World) -> None:
    world.configure(consumer_clients=())


def let_configuration_expire(world: World) -> None:
    own = world.globalconf.own
    expiring = InstanceConfiguration(
        instance=INSTANCE,
        index=own.index,
        shared_version=6,
        private=own.private,
        shared_expires_at=world.clock.at - timedelta(seconds=1),
    )
    world.globalconf = GlobalConfiguration(INSTANCE, [expiring])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (take_right_away, "server.serverproxy.access_denied"),
        (disable_service, "server.serverproxy.service_disabled"),
        (take_provider_away, "server.serverproxy.service_failed.unknown_member"),
        (take_client_from_its_server, "server.serverproxy.ssl_authentication_failed"),
    ],
)
def test_a_body_that_was_still_arriving_is_judged_by_what_holds_at_its_end(
    tmp_path: Path, change: Callable[[World], None], code: str
) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.provider.verdicts = noticed = NoticedVerdicts()
        async with asyncio.timeout(30), world:
            exchange = await world.client.open(
                "POST",
                f"http://127.0.0.1:{world.port}{TARGET}",
                headers=(("X-Road-Client", CLIENT.encoded()),),
                content_length=2 * len(BODY),
            )
            await exchange.write(BODY)
            await noticed.judged.wait()
            change(world)
            await exchange.finish(BODY)
            head = await exchange.response()
            assert head.header("X-Road-Error") == code
            assert world.called == []
            assert world.provider.log.records == []

    asyncio.run(run())


def test_a_refused_sender_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault waits for the rest of the message, so that it arrives; but not for ever."""
    monkeypatch.setattr(server_proxy, "_DRAIN_SECONDS", 0.1)

    async def run() -> None:
        async with asyncio.timeout(10), World(tmp_path) as world:
            auth = world.consumer.auth
            tls = ClientTls(peer_client_context(pem_of(auth), encode_pem(auth.certificate.der)))
            exchange = await world.client.open(
                "POST",
                f"https://127.0.0.1:{world.provider.peer_port}/",
                headers=MESSAGE_HEADERS,
                content_length=1 << 20,
                tls=tls,
            )
            encoder = TransportEncoder("b", Direction.REQUEST)
            # There is no OCSP response: the message is refused before its body arrives.
            await exchange.write(encoder.rest_request(request_block()) + encoder.body_start())
            await exchange.response()
            fault = parse_soap_fault(await exchange.body.read_all(1 << 20))
            assert fault.code == "server.serverproxy.ssl_authentication_failed"

    asyncio.run(run())


def let_client_go(world: World) -> None:
    world.consumer.clients.clear()


def ask_client_for_certificate(world: World) -> None:
    world.consumer.put_client(CLIENT, connection_type="SSLAUTH")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (let_client_go, "server.clientproxy.unknown_member"),
        (ask_client_for_certificate, "server.clientproxy.ssl_authentication_failed"),
        (let_configuration_expire, "server.clientproxy.global_conf_outdated"),
    ],
)
def test_a_consumer_that_lost_its_client_while_sending_gets_no_signature(
    tmp_path: Path, change: Callable[[World], None], code: str
) -> None:
    async def run() -> None:
        world = World(tmp_path)
        world.provider.verdicts = noticed = NoticedVerdicts()
        async with asyncio.timeout(30), world:
            exchange = await world.client.open(
                "POST",
                f"http://127.0.0.1:{world.port}{TARGET}",
                headers=(("X-Road-Client", CLIENT.encoded()),),
                content_length=2 * len(BODY),
            )
            await exchange.write(BODY)
            await noticed.judged.wait()
            change(world)
            await exchange.finish(BODY)
            assert (await exchange.response()).header("X-Road-Error") == code
            assert world.consumer.signer.signed == 0
            assert world.consumer.log.records == []
            assert world.called == []

    asyncio.run(run())


def test_an_answer_is_judged_by_the_configuration_that_holds_when_it_is_complete(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:

            def answer(asked: Asked) -> bytes:
                block = answer_block(asked)
                signature = sign(world, world.provider.sign, parts_of(block, None))
                own = world.globalconf.own
                assert own.index is not None
                # The provider's authority is given up while the provider answers.
                shared = replace(own.index.shared, approved_cas=())
                index = InstanceIndex(shared)
                world.globalconf = GlobalConfiguration(INSTANCE, [replace(own, index=index)])
                return encode_message(Direction.RESPONSE, block, None, signature)

            await become_provider(world, answer)
            refused = await world.call("GET")
            assert refused.header("X-Road-Error") == (
                "server.clientproxy.signature_verification.cannot_create_cert_path"
            )

    asyncio.run(run())
