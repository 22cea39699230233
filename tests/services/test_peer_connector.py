from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from postroad.adapters.http_client import ClientExchange, ClientTls, HttpClient
from postroad.adapters.http_limits import ClientLimits
from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import peer_client_context, peer_server_context
from postroad.errors import FaultCode, PostroadError, TrustError, UnavailablePeer
from postroad.globalconf.view import ProviderServer
from postroad.identifiers import SecurityServerId
from postroad.securityserver.peer_connector import PeerConnector, random_order
from postroad.securityserver.routing import Winners
from postroad.trustlab.authority import KeyKind
from support.sockets import Wire, calling, run, scripted
from support.tls import lab, peer

DEAD = "127.0.0.9"
"""Nobody listens on this loopback address."""


def servers(*addresses: str) -> list[ProviderServer]:
    return [
        ProviderServer(SecurityServerId("PR", "GOV", "1", f"s{number}"), address, None)
        for number, address in enumerate(addresses)
    ]


async def accept(host: str, chain: tuple[bytes, ...]) -> None:
    return


def in_given_order(count: int) -> list[int]:
    return list(range(count))


class Peers:
    """Security servers on several loopback addresses, all on one port."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: list[str] = []
        self.servers: dict[str, HttpServer] = {}
        self.close_after_response = False
        self.headers: list[tuple[tuple[str, str], ...]] = []

    async def open(self, host: str, *, other_lab: bool = False) -> None:
        async def answer(request: Request, responder: Responder) -> None:
            self.calls.append(host)
            self.headers.append(request.headers)
            assert (request.method, request.target) == ("POST", "/")
            body = await request.body.read_all(1 << 24)
            responder.keep_alive = not self.close_after_response
            await responder.start(200)
            await responder.write(body)
            await responder.finish()

        own = peer(KeyKind.EC_P256)
        authorities = [] if other_lab else [c.der for c in lab().ca_certificates]
        server = HttpServer(answer)
        context = peer_server_context(own.key, own.chain, authorities)
        self.port = (await server.listen(host, self.port, tls=context)).port
        self.servers[host] = server

    def connector(self, client: HttpClient, **options: object) -> PeerConnector:
        own = peer()
        tls = ClientTls(peer_client_context(own.key, own.chain))
        options.setdefault("order", in_given_order)
        return PeerConnector(client, lambda: tls, self.port, connect_timeout=2, **options)


@asynccontextmanager
async def peers(*hosts: str) -> AsyncIterator[Peers]:
    found = Peers()
    for host in hosts:
        await found.open(host)
    try:
        yield found
    finally:
        for server in found.servers.values():
            await server.drain(0.2)


async def talk(exchange: ClientExchange) -> bytes:
    async with exchange:
        await exchange.write(b"some ")
        await exchange.finish(b"bytes")
        assert (await exchange.response()).status == 200
        return await exchange.body.read_all(1000)


async def ask(
    connector: PeerConnector,
    candidates: Sequence[ProviderServer],
    judge: Callable[[str, tuple[bytes, ...]], Awaitable[None]] = accept,
) -> bytes:
    return await talk(await connector.open(candidates, judge, [("x-hash-algorithm", "SHA-512")]))


def test_only_server_is_connected_to_and_the_connection_kept() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.1") as found, calling() as client:
            connector = found.connector(client)
            for _ in range(3):
                assert await ask(connector, servers("127.0.0.1")) == b"some bytes"
            assert client.connections == 1
            names = dict(found.headers[0])
            assert names["Host"] == f"127.0.0.1:{found.port}"
            assert names["x-hash-algorithm"] == "SHA-512"
            assert names["transfer-encoding"] == "chunked"

    run(scenario())


def test_without_reuse_no_connection_carries_a_second_request() -> None:
    async def scenario() -> None:
        limits = ClientLimits(max_idle_per_destination=0)
        async with peers("127.0.0.1") as found, calling(limits) as client:
            connector = found.connector(client)
            for _ in range(3):
                assert await ask(connector, servers("127.0.0.1")) == b"some bytes"
                await asyncio.sleep(0.05)
                assert client.connections == 0

    run(scenario())


def test_peers_that_close_after_each_answer_are_survived() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.1") as found, calling() as client:
            found.close_after_response = True
            connector = found.connector(client)
            for _ in range(4):
                assert await ask(connector, servers("127.0.0.1")) == b"some bytes"
            await asyncio.sleep(0.05)
            assert client.connections == 0

    run(scenario())


def test_dead_servers_are_passed_over() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.2") as found, calling() as client:
            connector = found.connector(client)
            candidates = servers(DEAD, "no-such-name.invalid", "127.0.0.2")
            assert await ask(connector, candidates) == b"some bytes"

    run(scenario())


def test_winner_is_asked_again_and_another_one_when_it_fails() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.1", "127.0.0.2", "127.0.0.3") as found, calling() as client:
            winners = Winners()
            connector = found.connector(client, winners=winners)
            candidates = servers("127.0.0.1", "127.0.0.2", "127.0.0.3")
            for _ in range(5):
                await ask(connector, candidates)
            (first,) = set(found.calls)
            await found.servers.pop(first).drain(0)
            await asyncio.sleep(0.05)
            found.calls.clear()
            for _ in range(3):
                await ask(connector, candidates)
            (second,) = set(found.calls)
            assert second != first
            now = asyncio.get_running_loop().time()
            assert winners.find([entry.address for entry in candidates], now) == second

    run(scenario())


def test_server_whose_certificate_is_refused_is_left_out() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.1", "127.0.0.2") as found, calling() as client:
            judged: list[str] = []

            async def only_second(host: str, chain: tuple[bytes, ...]) -> None:
                judged.append(host)
                assert chain[0] == peer().der
                if host == "127.0.0.1":
                    raise TrustError("not registered", code=FaultCode.SSL_AUTHENTICATION_FAILED)

            connector = found.connector(client)
            for _ in range(3):
                await ask(connector, servers("127.0.0.1", "127.0.0.2"), only_second)
            assert set(found.calls) == {"127.0.0.2"}
            assert judged.count("127.0.0.2") == 3

    run(scenario())


def test_last_refusal_is_told_when_every_server_is_refused() -> None:
    async def scenario() -> PostroadError:
        async with peers("127.0.0.1", "127.0.0.2") as found, calling() as client:

            async def refuse(host: str, chain: tuple[bytes, ...]) -> None:
                raise TrustError(f"{host} refused", code=FaultCode.SSL_AUTHENTICATION_FAILED)

            with pytest.raises(TrustError) as caught:
                await ask(found.connector(client), servers("127.0.0.1", "127.0.0.2", DEAD), refuse)
            assert found.calls == []
            assert client.connections == 0
            return caught.value

    assert run(scenario()).code is FaultCode.SSL_AUTHENTICATION_FAILED


def test_failed_handshake_leads_to_the_next_server() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.1") as found, calling() as client:
            await found.open("127.0.0.2", other_lab=True)
            connector = found.connector(client)
            for _ in range(4):
                assert await ask(connector, servers("127.0.0.2", "127.0.0.1")) == b"some bytes"
            with pytest.raises(PostroadError):
                await ask(connector, servers("127.0.0.2"))
            assert set(found.calls) == {"127.0.0.1"}

    run(scenario())


def test_nothing_reachable_is_a_network_error() -> None:
    async def scenario() -> PostroadError:
        async with calling() as client:
            own = peer()
            tls = ClientTls(peer_client_context(own.key, own.chain))
            connector = PeerConnector(client, lambda: tls, 1, connect_timeout=1)
            with pytest.raises(UnavailablePeer) as caught:
                await ask(connector, servers("127.0.0.1", DEAD))
            return caught.value

    assert run(scenario()).code is FaultCode.NETWORK_ERROR


def test_peer_that_is_silent_in_the_handshake_is_given_up() -> None:
    async def silent(wire: Wire) -> None:
        await wire.rest()

    async def scenario() -> None:
        async with scripted(silent) as port, calling() as client:
            own = peer()
            tls = ClientTls(peer_client_context(own.key, own.chain))
            connector = PeerConnector(client, lambda: tls, port, connect_timeout=0.2)
            with pytest.raises(UnavailablePeer):
                await ask(connector, servers("127.0.0.1"))

    run(scenario())


def test_plain_http_between_servers_is_possible() -> None:
    async def scenario() -> None:
        async def answer(request: Request, responder: Responder) -> None:
            await responder.respond(200, [], await request.body.read_all(100))

        server = HttpServer(answer)
        port = (await server.listen("127.0.0.1", 0)).port
        async with calling() as client:
            connector = PeerConnector(client, lambda: None, port)
            assert await ask(connector, servers("127.0.0.1")) == b"some bytes"
        await server.drain(0.1)

    run(scenario())


def test_good_server_becomes_the_winner_although_a_refused_one_is_faster() -> None:
    async def scenario() -> None:
        async with peers("127.0.0.1", "127.0.0.2") as found, calling() as client:
            refusals = 0

            async def only_second(host: str, chain: tuple[bytes, ...]) -> None:
                nonlocal refusals
                if host == "127.0.0.1":
                    refusals += 1
                    raise TrustError("not registered")

            connector = found.connector(client)
            for _ in range(5):
                await ask(connector, servers("127.0.0.1", "127.0.0.2"), only_second)
            assert refusals <= 1

    run(scenario())


def test_default_order_is_a_permutation_that_varies() -> None:
    orders = {tuple(random_order(5)) for _ in range(200)}
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2, 3, 4)}
    assert len(orders) > 50
