from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import Awaitable, Callable

import pytest

from postroad.adapters.http_client import ClientExchange, HttpClient
from postroad.adapters.http_dialing import dial_fastest
from postroad.adapters.http_limits import ClientLimits
from postroad.adapters.http_server import Request, Responder
from postroad.errors import (
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    UnavailablePeer,
)
from support.sockets import Wire, calling, echo, run, scripted, serving

HEAD_END = b"\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n"
OK_1 = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"


def answering(*answers: bytes, close: bool = False) -> Callable[[Wire], Awaitable[None]]:
    """Script: after each request head, the next answer."""

    async def script(peer: Wire) -> None:
        for answer in answers:
            await peer.until(HEAD_END)
            peer.send(answer)
        if not close:
            await peer.rest()

    return script


async def everything(exchange: ClientExchange) -> bytes:
    await exchange.response()
    return await exchange.body.read_all(100)


async def flood_with(exchange: ClientExchange) -> None:
    while await exchange.write(b"x" * 1_000_000):
        pass


def fetch_from(
    script: Callable[[Wire], Awaitable[None]],
    *,
    timeout: float = 5.0,
    max_body: int = 1 << 24,
    decompress: bool = False,
) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    async def scenario() -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        async with scripted(script) as port, calling() as client:
            found = await client.fetch(
                "GET",
                f"http://127.0.0.1:{port}/",
                timeout=timeout,
                max_body=max_body,
                decompress=decompress,
            )
            return found.status, found.headers, found.body

    return run(scenario())


def failure_of(
    script: Callable[[Wire], Awaitable[None]], *, timeout: float = 5.0, max_body: int = 1 << 24
) -> PostroadError:
    with pytest.raises(PostroadError) as caught:
        fetch_from(script, timeout=timeout, max_body=max_body)
    return caught.value


def test_request_is_written_exactly_as_given_in_one_piece() -> None:
    async def scenario() -> bytes:
        received = asyncio.get_running_loop().create_future()

        async def script(peer: Wire) -> None:
            received.set_result(await peer.until(b"body"))
            peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

        async with scripted(script) as port, calling() as client:
            await client.fetch(
                "POST",
                "http://never.resolved.invalid:81/a/../%2F?x=%zz",
                headers=[("x-road-client", "a"), ("X-Mixed", "b"), ("Connection", "close")],
                body=b"body",
                address=("127.0.0.1", port),
            )
            return bytes(await received)

    assert run(scenario()) == (
        b"POST /a/../%2F?x=%zz HTTP/1.1\r\nHost: never.resolved.invalid:81\r\n"
        b"x-road-client: a\r\nX-Mixed: b\r\ncontent-length: 4\r\n\r\nbody"
    )


def test_own_host_header_replaces_the_one_of_the_address() -> None:
    async def scenario() -> bytes:
        heads: list[bytes] = []

        async def script(peer: Wire) -> None:
            heads.append(await peer.until(HEAD_END))
            peer.send(b"HTTP/1.1 204 No Content\r\n\r\n")

        async with scripted(script) as port, calling() as client:
            url = f"http://127.0.0.1:{port}"
            await client.fetch("GET", url, headers=[("Host", "localhost:5500")])
            return heads[0]

    assert run(scenario()) == b"GET / HTTP/1.1\r\nHost: localhost:5500\r\n\r\n"


def test_connections_are_kept_and_shared() -> None:
    async def scenario() -> None:
        async with serving() as (server, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            for number in range(10):
                body = b"%d" % number
                assert (await client.fetch("POST", url, body=body)).body == body
            assert server.connections == client.connections == 1
            together = [client.fetch("POST", url, body=b"x" * 1000) for _ in range(20)]
            assert {len(found.body) for found in await asyncio.gather(*together)} == {1000}
            assert server.connections == 20

    run(scenario())


def test_pool_keeps_no_more_than_its_limit() -> None:
    async def scenario() -> None:
        limits = ClientLimits(max_idle_per_destination=2)
        async with serving() as (server, port), calling(limits) as client:
            url = f"http://127.0.0.1:{port}/"
            await asyncio.gather(*[client.fetch("POST", url, body=b"x") for _ in range(5)])
            await asyncio.sleep(0.02)
            assert server.connections == client.connections == 2

    run(scenario())


def test_idle_connections_are_closed() -> None:
    async def scenario() -> None:
        async with serving() as (server, port), calling(ClientLimits(idle_timeout=0.1)) as client:
            await client.fetch("GET", f"http://127.0.0.1:{port}/")
            await asyncio.sleep(0.5)
            assert server.connections == client.connections == 0

    run(scenario())


def test_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    async def scenario() -> None:
        async def once(peer: Wire) -> None:
            await peer.until(HEAD_END)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async with scripted(once) as port, calling() as client:
            for _ in range(5):
                found = await client.fetch("POST", f"http://127.0.0.1:{port}/", body=b"")
                assert found.body == b"ok"

    run(scenario())


def test_stale_connection_is_noticed_before_the_loop_has_seen_the_close() -> None:
    async def scenario() -> None:
        async with serving() as (server, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            await client.fetch("GET", url)
            for connection in tuple(server._connections):
                connection.abort()
            # no other turn of the loop in between: the reset is in the kernel only
            connection_before = client._idle[("127.0.0.1", port, None)][0]
            await asyncio.sleep(0)
            found = await client.fetch("POST", url, body=b"fresh")
            assert found.body == b"fresh"
            assert connection_before.lost

    run(scenario())


def test_connection_lost_while_its_server_is_judged_is_replaced() -> None:
    async def scenario() -> None:
        async with serving() as (server, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            await client.fetch("GET", url)
            judged = 0

            async def slowly(leaf: bytes, chain: tuple[bytes, ...]) -> None:
                nonlocal judged
                judged += 1
                if judged == 1:
                    for connection in tuple(server._connections):
                        connection.abort()
                    await asyncio.sleep(0.05)

            found = await client.fetch("POST", url, body=b"fresh", verify_peer=slowly)
            assert (found.body, judged) == (b"fresh", 2)

    run(scenario())


def test_judging_may_take_longer_than_a_connection_may_idle() -> None:
    async def slowly(leaf: bytes, chain: tuple[bytes, ...]) -> None:
        await asyncio.sleep(0.5)

    async def scenario() -> None:
        async with serving() as (server, port), calling(ClientLimits(idle_timeout=0.1)) as client:
            url = f"http://127.0.0.1:{port}/"
            await client.fetch("GET", url)
            assert (await client.fetch("GET", url, verify_peer=slowly)).status == 200
            assert server.connections == 1

    run(scenario())


def test_get_is_repeated_when_a_kept_connection_breaks_and_post_is_not() -> None:
    async def scenario() -> None:
        requests = 0

        async def script(peer: Wire) -> None:
            nonlocal requests
            await peer.until(HEAD_END)
            requests += 1
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await peer.until(HEAD_END)  # the second request on a connection breaks it
            requests += 1

        async with scripted(script) as port, calling() as client:
            url = f"http://127.0.0.1:{port}/"
            await client.fetch("GET", url)
            assert (await client.fetch("GET", url)).body == b"ok"
            assert requests == 3
            with pytest.raises(UnavailablePeer):
                await client.fetch("POST", url, body=b"")
            assert requests == 4

    run(scenario())


def test_head_has_no_body_whatever_its_length_says() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            head = await client.fetch("HEAD", url, body=b"abc")
            assert head.header("content-length") == "3"
            assert head.body == b""
            assert (await client.fetch("POST", url, body=b"next")).body == b"next"
            assert client.connections == 1

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", b""),
        (CHUNKED + b"1;x\r\na\r\n2\r\nbc\r\n0\r\nT: v\r\n\r\n", b"abc"),
        (b"HTTP/1.1 204 No\r\n\r\n", b""),
        (b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 103 Hint\r\nLink: x\r\n\r\n" + OK_1 + b"\r\na", b"a"),
        (OK_1 + b"Upgrade: h2\r\nConnection: Upgrade\r\n\r\na", b"a"),
    ],
)
def test_reads_responses_fed_byte_by_byte(answer: bytes, body: bytes) -> None:
    async def script(peer: Wire) -> None:
        for _ in range(2):
            await peer.until(HEAD_END)
            for index in range(len(answer)):
                peer.send(answer[index : index + 1])
                await asyncio.sleep(0)

    async def scenario() -> None:
        async with scripted(script) as port, calling() as client:
            for _ in range(2):
                found = await client.fetch("GET", f"http://127.0.0.1:{port}/")
                assert found.body == body
                assert found.header("Link") is None
            assert client.connections == 1

    run(scenario())


def test_response_without_length_lasts_until_the_close() -> None:
    status, _, body = fetch_from(answering(b"HTTP/1.1 200 OK\r\n\r\nall of it", close=True))
    assert (status, body) == (200, b"all of it")


def test_close_right_after_the_last_chunk_is_no_error() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )
    assert fetch_from(answering(answer, close=True))[2] == b"abc"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"",
    ],
)
def test_response_that_ends_early_is_an_error(answer: bytes) -> None:
    assert isinstance(failure_of(answering(answer, close=True)), UnavailablePeer)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: %b\r\n\r\n" % (b"x" * 200_000),
        b"HTTP/1.1 200 OK\r\nA: %b" % (b"x" * 300_000),
        b"HTTP/1.1 200 OK\r\n%b\r\n" % (b"a: b\r\n" * 300),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 9,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_response_that_is_not_strict_http_is_refused(answer: bytes) -> None:
    error = failure_of(answering(answer))
    assert isinstance(error, MalformedInput)
    assert error.code is FaultCode.HTTP_ERROR


def test_bytes_after_the_response_are_never_taken_for_the_next_one() -> None:
    forged = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"

    async def script(peer: Wire) -> None:
        await peer.until(HEAD_END)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + forged)
        await peer.rest()

    async def scenario() -> None:
        async with scripted(script) as port, calling() as client:
            for _ in range(3):
                found = await client.fetch("POST", f"http://127.0.0.1:{port}/", body=b"")
                assert found.body == b"ok"

    run(scenario())


def test_unasked_answer_on_an_idle_connection_discards_it() -> None:
    async def script(peer: Wire) -> None:
        await peer.until(HEAD_END)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await asyncio.sleep(0.02)
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async def scenario() -> None:
        async with scripted(script) as port, calling() as client:
            url = f"http://127.0.0.1:{port}/"
            assert (await client.fetch("POST", url)).status == 200
            await asyncio.sleep(0.05)
            assert client.connections == 0
            assert (await client.fetch("POST", url)).status == 200

    run(scenario())


def test_body_larger_than_allowed_is_refused_and_not_read_on() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 100_000
    error = failure_of(answering(answer), max_body=1000)
    assert isinstance(error, MalformedInput)
    assert error.code is FaultCode.INVALID_BODY


def test_decompresses_only_when_asked() -> None:
    packed = gzip.compress(b"text" * 100)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    assert fetch_from(answering(head + packed))[2] == packed
    _, headers, body = fetch_from(answering(head + packed), decompress=True)
    assert (headers, body) == ((), b"text" * 100)


def test_redirects_are_not_followed() -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    status, headers, _ = fetch_from(answering(answer))
    assert (status, headers[0]) == (302, ("Location", "http://127.0.0.1:1/"))


def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch_from(answering(b"HTTP/1.1 204 No\r\n\r\n"))[0] == 204


def test_no_answer_in_time_is_an_unavailable_peer() -> None:
    async def silent(peer: Wire) -> None:
        await peer.rest()

    assert isinstance(failure_of(silent, timeout=0.1), UnavailablePeer)


def test_silence_after_the_request_and_within_the_body_is_given_up() -> None:
    async def scenario(answer: bytes) -> None:
        async with (
            scripted(answering(answer)) as port,
            calling(ClientLimits(body_timeout=0.1)) as c,
        ):
            exchange = await c.open("GET", f"http://127.0.0.1:{port}/", response_timeout=0.1)
            async with exchange:
                await exchange.finish()
                with pytest.raises(UnavailablePeer):
                    await everything(exchange)

    run(scenario(b""))
    run(scenario(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"))


def test_infinite_patience_is_possible() -> None:
    async def slow(request: Request, responder: Responder) -> None:
        await asyncio.sleep(0.5)
        await responder.respond(200)

    async def scenario() -> int:
        async with (
            serving(slow) as (_, port),
            calling(ClientLimits(response_timeout=0.1)) as client,
        ):
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("GET", url, response_timeout=math.inf) as exchange:
                await exchange.finish()
                return (await exchange.response()).status

    assert run(scenario()) == 200


def test_closed_port_and_unknown_name_have_their_codes() -> None:
    async def scenario(url: str) -> PostroadError:
        async with calling() as client:
            with pytest.raises(UnavailablePeer) as caught:
                await client.fetch("GET", url, timeout=2)
            return caught.value

    assert run(scenario("http://127.0.0.1:1/")).code is FaultCode.NETWORK_ERROR
    assert run(scenario("http://no-such-name.invalid/")).code is FaultCode.UNKNOWN_HOST


def test_guard_judges_the_resolved_address_before_anything_is_sent() -> None:
    judged: list[str] = []

    def guard(address: str) -> None:
        judged.append(address)
        raise RefusedRequest(f"{address} is ours")

    async def scenario() -> None:
        async with serving() as (server, port), calling() as client:
            with pytest.raises(RefusedRequest):
                await client.fetch("GET", f"http://localhost:{port}/", guard=guard)
            assert server.connections == 0

    run(scenario())
    assert judged[0] in {"127.0.0.1", "::1"}


def test_streams_both_ways_at_the_same_time() -> None:
    async def mirror(request: Request, responder: Responder) -> None:
        await responder.start(200)
        await responder.flush()
        async for piece in request.body:
            await responder.write(piece.upper())
        await responder.finish()

    async def scenario() -> None:
        async with serving(mirror) as (_, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=None) as exchange:
                assert not exchange.responded
                assert await exchange.write(b"one")
                assert (await exchange.response()).status == 200
                assert await exchange.read_some() == b"ONE"
                assert await exchange.write(b"two")
                assert await exchange.read_some() == b"TWO"
                await exchange.finish(b"three")
                assert await exchange.body.read_all(100) == b"THREE"
            assert client.connections == 1
            assert (await client.fetch("POST", url, body=b"x")).body == b"X"
            assert client.connections == 1

    run(scenario())


def test_early_answer_ends_the_sending() -> None:
    async def refuse(request: Request, responder: Responder) -> None:
        responder.keep_alive = False
        await responder.respond(413, [], b"too large")

    async def scenario() -> None:
        async with serving(refuse) as (_, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=None) as exchange:
                pieces = 0
                while await exchange.write(b"x" * 10_000):
                    pieces += 1
                    assert pieces < 10_000
                await exchange.finish()
                assert (await exchange.response()).status == 413
                assert await exchange.body.read_all(100) == b"too large"
            await asyncio.sleep(0.01)
            assert client.connections == 0

    run(scenario())


def test_early_answer_frees_a_producer_that_waits_for_a_server_that_stopped_reading() -> None:
    async def deaf(peer: Wire) -> None:
        await peer.until(HEAD_END)
        peer.writer.transport.pause_reading()
        await asyncio.sleep(0.1)
        peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
        await asyncio.sleep(5)

    async def scenario() -> int:
        async with scripted(deaf) as port, calling() as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=None) as exchange:
                await flood_with(exchange)
                return (await exchange.response()).status

    assert run(scenario()) == 503


def test_server_that_stops_reading_without_an_answer_is_given_up() -> None:
    async def deaf(peer: Wire) -> None:
        await peer.until(HEAD_END)
        peer.writer.transport.pause_reading()
        await asyncio.sleep(5)

    async def scenario() -> None:
        async with scripted(deaf) as port, calling(ClientLimits(write_timeout=0.2)) as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=None) as exchange:
                with pytest.raises(UnavailablePeer):
                    await flood_with(exchange)

    run(scenario())


def test_slow_reader_slows_the_server_down() -> None:
    sent = 0

    async def flood(request: Request, responder: Responder) -> None:
        nonlocal sent
        await responder.start(200, content_length=20_000_000)
        for _ in range(200):
            await responder.write(b"x" * 100_000)
            sent += 100_000
        await responder.finish()

    async def scenario() -> None:
        async with serving(flood) as (_, port), calling() as client:
            exchange = await client.open("GET", f"http://127.0.0.1:{port}/")
            await exchange.finish()
            await exchange.response()
            await asyncio.sleep(0.1)
            assert sent < 15_000_000
            assert exchange.body.size < 2_000_000
            assert len(await exchange.body.read_all(20_000_000)) == 20_000_000

    run(scenario())


def test_exchange_that_is_given_up_cuts_its_connection() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=5) as exchange:
                await exchange.write(b"ab")
            await asyncio.sleep(0.01)
            assert client.connections == 0
            with pytest.raises(UnavailablePeer):
                await exchange.response()

    run(scenario())


@pytest.mark.parametrize("body", [b"abc", b"abcde"])
def test_body_of_another_length_than_announced_is_never_sent(body: bytes) -> None:
    async def scenario() -> None:
        async with serving() as (_, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=4) as exchange:
                with pytest.raises(MalformedInput):
                    await exchange.finish(body)
            await asyncio.sleep(0.01)
            assert client.connections == 0

    run(scenario())


def test_broken_header_is_refused_before_anything_is_sent() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), calling() as client:
            with pytest.raises(MalformedInput):
                await client.fetch(
                    "GET", f"http://127.0.0.1:{port}/", headers=[("X", "a\r\nInjected: b")]
                )

    run(scenario())


def test_fastest_of_several_hosts_wins_and_the_others_are_closed() -> None:
    async def scenario() -> None:
        async with serving() as (server, port):
            host, sock = await dial_fastest(["192.0.2.1", "127.0.0.1"], port, timeout=2)
            assert host == "127.0.0.1"
            sock.close()
            hosts = ["127.0.0.1", "127.0.0.2", "localhost"]
            _, sock = await dial_fastest(hosts, port, timeout=2)
            await asyncio.sleep(0.05)
            assert server.connections == 1
            sock.close()
            with pytest.raises(UnavailablePeer):
                await dial_fastest(["127.0.0.1", "no-such-name.invalid"], 1, timeout=2)

    run(scenario())


def test_closing_the_client_fails_what_is_under_way() -> None:
    async def hang(request: Request, responder: Responder) -> None:
        await asyncio.sleep(1)
        await responder.respond(200)

    async def scenario() -> None:
        async with serving(hang) as (_, port):
            client = HttpClient()
            waiting = asyncio.ensure_future(client.fetch("GET", f"http://127.0.0.1:{port}/"))
            await asyncio.sleep(0.05)
            client.close()
            with pytest.raises(UnavailablePeer):
                await waiting

    run(scenario())


def test_echo_survives_many_sizes() -> None:
    async def scenario() -> None:
        async with serving(echo) as (_, port), calling() as client:
            for size in (0, 1, 1000, 65_535, 65_536, 262_144, 1_000_001):
                body = bytes(size)
                url = f"http://127.0.0.1:{port}/"
                assert (await client.fetch("POST", url, body=body)).body == body

    run(scenario())
