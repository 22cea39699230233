from __future__ import annotations

import asyncio
import contextlib
import socket
import tracemalloc
from dataclasses import replace

import pytest

from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.errors import MalformedInput, PostroadError, UnavailablePeer
from support.sockets import Failures, Wire, calling, echo, run, serving, wire

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
FAST = ServerLimits(idle_timeout=0.2, head_timeout=0.2, body_timeout=0.2, linger_timeout=0.2)


def post(body: bytes, *, more: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n%b" % (more, len(body), body)


async def all_closed(server: HttpServer) -> None:
    while server.connections:
        await asyncio.sleep(0.01)


async def status_of(wire: Wire) -> int:
    head, _ = await wire.answer()
    return int(head.split(b" ")[1])


def test_target_header_case_and_order_reach_the_handler_untouched() -> None:
    seen: list[Request] = []

    async def keep(request: Request, responder: Responder) -> None:
        seen.append(request)
        await responder.respond(200)

    async def scenario() -> None:
        async with serving(keep) as (_, port), wire(port) as peer:
            peer.send(
                b"PATCH /r1/%2e%2E/a//b/../c%20d?x=%zz&&y HTTP/1.1\r\nhOsT: h\r\n"
                b"X-B: 2\r\nx-a:1\r\nX-b:  3 \r\nContent-Length: 0\r\n\r\n"
            )
            await peer.answer()

    run(scenario())
    assert seen[0].method == "PATCH"
    assert seen[0].target == "/r1/%2e%2E/a//b/../c%20d?x=%zz&&y"
    assert seen[0].headers == (
        ("hOsT", "h"),
        ("X-B", "2"),
        ("x-a", "1"),
        ("X-b", "3"),
        ("Content-Length", "0"),
    )
    assert seen[0].header("x-B") == "3"
    assert seen[0].header_values("x-b") == ("2", "3")
    assert seen[0].header("none") is None
    assert seen[0].peer.address == "127.0.0.1"
    assert seen[0].peer.certificate is None


def test_response_names_are_written_exactly_as_given_in_one_piece() -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.respond(
            200, [("x-hash-algorithm", "SHA-512"), ("Date", "d"), ("X-Ab", "1")], b"body"
        )

    async def scenario() -> bytes:
        async with serving(answer) as (_, port), wire(port) as peer:
            peer.send(GET)
            return await peer.until(b"body")

    assert run(scenario()) == (
        b"HTTP/1.1 200 OK\r\nx-hash-algorithm: SHA-512\r\nDate: d\r\nX-Ab: 1\r\n"
        b"content-length: 4\r\n\r\nbody"
    )


def test_connection_serves_many_requests() -> None:
    async def scenario() -> None:
        async with serving() as (server, port), wire(port) as peer:
            for number in range(20):
                peer.send(post(b"%d" % number))
                assert (await peer.answer())[1] == b"%d" % number
            assert server.connections == 1

    run(scenario())


def test_request_fed_byte_by_byte_is_answered() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), wire(port) as peer:
            request = post(b"abc")
            for index in range(len(request)):
                peer.send(request[index : index + 1])
                await asyncio.sleep(0)
            assert (await peer.answer())[1] == b"abc"

    run(scenario())


def test_requests_sent_ahead_are_answered_one_at_a_time_in_order() -> None:
    running = 0

    async def slow(request: Request, responder: Responder) -> None:
        nonlocal running
        running += 1
        assert running == 1
        body = await request.body.read_all(100)
        await asyncio.sleep(0.005)
        await responder.respond(200, [], body)
        running -= 1

    async def scenario() -> None:
        async with serving(slow) as (_, port), wire(port) as peer:
            peer.send(b"".join(post(b"%d" % number) for number in range(10)))
            peer.send(post(b"late")[:-2])
            for number in range(10):
                assert (await peer.answer())[1] == b"%d" % number
            peer.send(b"te")
            assert (await peer.answer())[1] == b"late"

    run(scenario())


def test_too_many_requests_ahead_close_the_connection_after_the_first() -> None:
    async def slow(request: Request, responder: Responder) -> None:
        await asyncio.sleep(0.05)
        await responder.respond(200, [], b"one")

    async def scenario() -> bytes:
        limits = ServerLimits(max_pipelined=3)
        async with serving(slow, limits) as (_, port), wire(port) as peer:
            peer.send(GET * 10)
            return await peer.rest()

    assert run(scenario()).count(b"HTTP/1.1") == 1


def test_continue_is_sent_when_the_body_is_wanted() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), wire(port) as peer:
            for _ in range(2):
                peer.send(post(b"ab", more=b"Expect: 100-continue\r\n")[:-2])
                assert await peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                peer.send(b"ab")
                assert (await peer.answer())[1] == b"ab"

    run(scenario())


def test_connection_closes_when_an_uninvited_body_may_follow() -> None:
    async def refuse(request: Request, responder: Responder) -> None:
        await responder.respond(403, [], b"no")

    async def scenario() -> bytes:
        async with serving(refuse) as (_, port), wire(port) as peer:
            peer.send(
                b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n"
            )
            return await peer.rest()

    answer = run(scenario())
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"100 Continue" not in answer


def test_head_request_gets_the_length_and_no_body() -> None:
    async def scenario() -> bytes:
        async with serving() as (_, port), wire(port) as peer:
            peer.send(b"HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc")
            head = await peer.until(b"\r\n\r\n")
            peer.send(post(b"next"))
            assert (await peer.answer())[1] == b"next"
            return head

    assert b"content-length: 3\r\n" in run(scenario())


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_body_have_none(status: int) -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.start(status)
        await responder.write(b"swallowed")
        await responder.finish(b"too")

    async def scenario() -> bytes:
        async with serving(answer) as (_, port), wire(port) as peer:
            peer.send(GET)
            first = await peer.until(b"\r\n\r\n")
            peer.send(GET)
            assert await peer.until(b"\r\n\r\n") == first
            return first

    head = run(scenario())
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-length" not in head
    assert b"transfer-encoding" not in head


def test_unknown_length_is_chunked_and_starts_with_the_head_in_one_piece() -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.start(200, [("Date", "d")])
        await responder.write(b"hello")
        await responder.write(b"")
        await responder.finish(b"x" * 16)

    async def scenario() -> bytes:
        async with serving(answer) as (_, port), wire(port) as peer:
            peer.send(GET)
            return await peer.until(b"0\r\n\r\n")

    assert run(scenario()) == (
        b"HTTP/1.1 200 OK\r\nDate: d\r\ntransfer-encoding: chunked\r\n\r\n"
        b"5\r\nhello\r\n10\r\nxxxxxxxxxxxxxxxx\r\n0\r\n\r\n"
    )


def test_http_1_0_gets_no_chunks_but_a_close() -> None:
    async def answer(request: Request, responder: Responder) -> None:
        await responder.start(200)
        await responder.finish(b"hello")

    async def scenario() -> bytes:
        async with serving(answer) as (_, port), wire(port) as peer:
            peer.send(b"GET / HTTP/1.0\r\n\r\n")
            return await peer.rest()

    head, _, body = run(scenario()).partition(b"\r\n\r\n")
    assert body == b"hello"
    assert b"connection: close" in head
    assert b"chunked" not in head


def test_http_1_0_can_keep_the_connection() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), wire(port) as peer:
            for _ in range(2):
                peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                assert b"connection: keep-alive" in (await peer.answer())[0]

    run(scenario())


def test_early_answer_arrives_and_the_rest_is_read_away() -> None:
    async def refuse(request: Request, responder: Responder) -> None:
        await responder.respond(413, [], b"too large")

    async def scenario() -> None:
        async with serving(refuse) as (_, port), wire(port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n")
            assert await status_of(peer) == 413
            peer.send(b"x" * 300000)
            peer.send(GET)
            assert await status_of(peer) == 413

    run(scenario())


def test_unwanted_body_that_is_too_long_closes() -> None:
    async def refuse(request: Request, responder: Responder) -> None:
        await responder.respond(413, [], b"")

    async def scenario() -> None:
        limits = ServerLimits(max_linger=10_000)
        async with serving(refuse, limits) as (server, port), wire(port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n")
            assert await status_of(peer) == 413
            peer.send(b"x" * 20_000)
            assert await peer.rest() == b""
            assert server.connections == 0

    run(scenario())


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(b"a", more=b"Transfer-Encoding: chunked\r\n"), 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400),
        (b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 17_000), 414),
        (b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n" % (b"a: b\r\n" * 201), 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\na: %b\r\n\r\n" % (b"x" * 66_000), 431),
        (b"GET / HTTP/1.1\r\nHost: h\r\na: %b" % (b"x" * 200_000), 431),
    ],
)
def test_broken_requests_are_refused_and_nothing_after_them_is_read(
    sent: bytes, status: int
) -> None:
    async def scenario() -> bytes:
        async with serving() as (_, port), wire(port) as peer:
            peer.send(sent + GET)
            return await peer.rest()

    answer = run(scenario())
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer


def test_broken_body_reaches_the_handler_as_an_error() -> None:
    async def scenario() -> None:
        errors: list[PostroadError] = []

        async def keep(request: Request, responder: Responder) -> None:
            try:
                await request.body.read_all(100)
            except PostroadError as error:
                errors.append(error)
            await responder.respond(400, [], b"told")

        async with serving(keep) as (_, port), wire(port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy")
            assert b"told" in await peer.rest()
        assert isinstance(errors[0], MalformedInput)

    run(scenario())


def test_chunk_extensions_without_end_are_refused() -> None:
    async def scenario() -> bytes:
        async with serving() as (_, port), wire(port) as peer:
            head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;"
            peer.send(head + b"x" * 10_000)
            for _ in range(9):
                await asyncio.sleep(0.002)
                peer.send(b"x" * 10_000)
            return await peer.rest()

    assert run(scenario()).startswith(b"HTTP/1.1 400")


def test_trailers_without_end_are_refused() -> None:
    async def scenario() -> bytes:
        async with serving() as (_, port), wire(port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
            for _ in range(40):
                peer.send(b"trailer: x\r\n" * 1000)
                await asyncio.sleep(0)
            return await peer.rest()

    assert run(scenario()).startswith(b"HTTP/1.1 400")


def test_many_tiny_chunks_are_no_attack() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), wire(port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(50):
                peer.send(b"1\r\nx\r\n" * 1000)
                await asyncio.sleep(0)
            peer.send(b"0\r\n\r\n")
            assert (await peer.answer())[1] == b"x" * 50_000

    run(scenario())


def test_idle_connection_is_closed() -> None:
    async def scenario() -> None:
        async with serving(limits=FAST) as (server, port), wire(port) as peer:
            assert await peer.rest() == b""
            assert server.connections == 0

    run(scenario())


def test_idle_time_begins_after_the_answer_and_not_before() -> None:
    async def slow(request: Request, responder: Responder) -> None:
        await asyncio.sleep(0.6)
        await responder.respond(200, [], b"late")

    async def scenario() -> bytes:
        async with serving(slow, FAST) as (_, port), wire(port) as peer:
            peer.send(GET)
            return await peer.rest()

    assert run(scenario()).endswith(b"late")


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost:"])
def test_head_that_comes_too_slowly_gets_408(sent: bytes) -> None:
    async def scenario() -> bytes:
        async with serving(limits=FAST) as (_, port), wire(port) as peer:
            for index in range(len(sent)):
                peer.send(sent[index : index + 1])
                await asyncio.sleep(0.005)
            return await peer.rest()

    assert run(scenario()).startswith(b"HTTP/1.1 408")


def test_body_that_trickles_is_cut_off() -> None:
    async def trickle(peer: Wire) -> None:
        while True:
            peer.send(b"x")
            await asyncio.sleep(0.02)

    async def scenario() -> bytes:
        limits = replace(FAST, body_progress=100)
        async with serving(echo, limits) as (_, port), wire(port) as peer:
            peer.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n")
            trickling = asyncio.ensure_future(trickle(peer))
            answer = await peer.rest()
            trickling.cancel()
            return answer

    assert b"too long" in run(scenario())


def test_slow_handler_does_not_count_against_the_sender_of_the_body() -> None:
    async def slow(request: Request, responder: Responder) -> None:
        size = 0
        await asyncio.sleep(0.5)
        async for piece in request.body:
            size += len(piece)
        await responder.respond(200, [], b"%d" % size)

    async def scenario() -> None:
        limits = replace(FAST, read_buffer=1000)
        async with serving(slow, limits) as (_, port), wire(port) as peer:
            peer.send(post(b"x" * 5_000_000))
            assert (await peer.answer())[1] == b"5000000"

    run(scenario())


def test_peer_that_reads_nothing_is_cut_off() -> None:
    async def scenario() -> None:
        failed = asyncio.Event()

        async def flood(request: Request, responder: Responder) -> None:
            await responder.start(200)
            try:
                while True:
                    await responder.write(b"x" * 100_000)
            except UnavailablePeer:
                failed.set()
                raise

        limits = ServerLimits(write_timeout=0.2)
        async with serving(flood, limits) as (server, port), wire(port) as peer:
            peer.writer.transport.pause_reading()
            peer.send(GET)
            await failed.wait()
            await all_closed(server)

    run(scenario())


def test_handler_waits_for_a_slow_reader() -> None:
    async def scenario() -> None:
        written = 0

        async def flood(request: Request, responder: Responder) -> None:
            nonlocal written
            await responder.start(200, content_length=20_000_000)
            for _ in range(200):
                await responder.write(b"x" * 100_000)
                written += 100_000
            await responder.finish()

        async with serving(flood) as (_, port), wire(port) as peer:
            transport = peer.writer.transport
            transport.pause_reading()
            peer.send(GET)
            await asyncio.sleep(0.1)
            assert written < 15_000_000
            transport.resume_reading()
            await peer.until(b"\r\n\r\n")
            await peer.reader.readexactly(20_000_000)
            assert written == 20_000_000

    run(scenario())


def test_half_closed_peer_still_gets_its_answer() -> None:
    async def scenario() -> bytes:
        async with serving() as (_, port), wire(port) as peer:
            peer.send(post(b"abc"))
            peer.writer.write_eof()
            return await peer.rest()

    assert run(scenario()).endswith(b"abc")


def test_peer_that_leaves_half_way_fails_the_body() -> None:
    async def scenario() -> None:
        failures = Failures()
        errors: list[PostroadError] = []
        done = asyncio.Event()

        async def keep(request: Request, responder: Responder) -> None:
            try:
                await request.body.read_all(100)
            except PostroadError as error:
                errors.append(error)
                raise
            finally:
                done.set()

        async with serving(keep, failures=failures) as (_, port), wire(port) as peer:
            peer.send(post(b"abc")[:-1])
            await asyncio.sleep(0.02)
            peer.writer.close()
            await done.wait()
            await asyncio.sleep(0.01)
        assert isinstance(errors[0], UnavailablePeer)
        assert failures.errors in ([], errors)

    run(scenario())


def test_failing_handler_is_reported_and_answered_with_500() -> None:
    async def scenario() -> bytes:
        failures = Failures()

        async def fail(request: Request, responder: Responder) -> None:
            raise LookupError("secret detail")

        async with serving(fail, failures=failures) as (_, port), wire(port) as peer:
            peer.send(GET)
            answer = await peer.rest()
        assert isinstance(failures.errors[0], LookupError)
        return answer

    answer = run(scenario())
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"secret" not in answer


def test_handler_that_fails_half_way_cuts_the_connection() -> None:
    async def scenario() -> bytes:
        async def fail(request: Request, responder: Responder) -> None:
            await responder.start(200)
            await responder.write(b"half")
            await asyncio.sleep(0.01)
            raise LookupError

        async with serving(fail, failures=Failures()) as (_, port), wire(port) as peer:
            peer.send(GET)
            return await peer.rest()

    assert not run(scenario()).endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("length", [3, 5])
def test_body_of_another_length_than_announced_is_cut(length: int) -> None:
    async def scenario() -> tuple[bytes, Failures]:
        failures = Failures()

        async def lie(request: Request, responder: Responder) -> None:
            await responder.start(200, content_length=4)
            await responder.finish(b"x" * length)

        async with serving(lie, failures=failures) as (_, port), wire(port) as peer:
            peer.send(GET)
            return await peer.rest(), failures

    answer, failures = run(scenario())
    assert answer == b""
    assert isinstance(failures.errors[0], MalformedInput)


def test_handler_that_never_answers_is_an_error() -> None:
    async def scenario() -> bytes:
        failures = Failures()

        async def forget(request: Request, responder: Responder) -> None:
            return

        async with serving(forget, failures=failures) as (_, port), wire(port) as peer:
            peer.send(GET)
            answer = await peer.rest()
        assert len(failures.errors) == 1
        return answer

    assert run(scenario()).startswith(b"HTTP/1.1 500")


def test_one_connection_too_many_gets_503_when_the_others_are_being_answered() -> None:
    async def scenario() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def wait(request: Request, responder: Responder) -> None:
            asked.set()
            await go_on.wait()
            await responder.respond(200, [], b"done")

        async with serving(wait, limits=ServerLimits(max_connections=1)) as (server, port):
            async with wire(port) as first:
                first.send(GET)
                await asked.wait()
                async with wire(port) as second:
                    assert (await second.rest()).startswith(b"HTTP/1.1 503")
                go_on.set()
                assert (await first.answer())[1] == b"done"
            await all_closed(server)
            async with wire(port) as third:
                third.send(GET)
                assert await status_of(third) == 200

    run(scenario())


def test_one_address_holds_no_more_connections_than_it_may() -> None:
    async def scenario() -> None:
        limits = ServerLimits(max_connections_per_address=2)
        async with serving(limits=limits) as (server, port):
            async with wire(port) as first, wire(port) as second:
                for each in (first, second):
                    each.send(GET)
                    assert await status_of(each) == 200
                async with wire(port) as third:
                    assert (await third.rest()).startswith(b"HTTP/1.1 503")
            await all_closed(server)
            async with wire(port) as later:
                later.send(GET)
                assert await status_of(later) == 200

    run(scenario())


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost:", GET])
def test_one_connection_too_many_takes_the_place_of_the_oldest_that_only_waits(
    sent: bytes,
) -> None:
    async def scenario() -> None:
        async with serving(limits=ServerLimits(max_connections=2)) as (server, port):
            async with wire(port) as oldest, wire(port) as younger:
                oldest.send(sent)
                if sent == GET:
                    await oldest.answer()
                younger.send(GET)
                await younger.answer()
                async with wire(port) as newest:
                    newest.send(post(b"a"))
                    assert (await newest.answer())[1] == b"a"
                    with contextlib.suppress(ConnectionError):
                        assert await oldest.rest() == b""
                    assert server.connections == 2
                    younger.send(post(b"b"))
                    assert (await younger.answer())[1] == b"b"

    run(scenario())


def test_connection_closes_after_its_share_of_requests() -> None:
    async def scenario() -> bytes:
        limits = ServerLimits(max_requests_per_connection=3)
        async with serving(limits=limits) as (_, port), wire(port) as peer:
            peer.send(GET * 4)
            return await peer.rest()

    answer = run(scenario())
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"connection: close") == 1


def test_drain_finishes_running_answers_and_takes_no_more() -> None:
    async def scenario() -> None:
        async def slow(request: Request, responder: Responder) -> None:
            await asyncio.sleep(0.1)
            await responder.respond(200, [], b"done")

        async with serving(slow) as (server, port), wire(port) as idle, wire(port) as busy:
            busy.send(GET)
            await asyncio.sleep(0.02)
            await server.drain(2)
            assert server.connections == 0
            assert await idle.rest() == b""
            answer = await busy.rest()
            assert answer.endswith(b"done")
            assert b"connection: close" in answer
            with pytest.raises(OSError, match="Connect"):
                await asyncio.open_connection("127.0.0.1", port)

    run(scenario())


def test_drain_cuts_what_takes_too_long() -> None:
    async def scenario() -> None:
        async def hang(request: Request, responder: Responder) -> None:
            await asyncio.sleep(3)
            await responder.respond(200)

        async with serving(hang) as (server, port), wire(port) as peer:
            peer.send(GET)
            await asyncio.sleep(0.02)
            await server.drain(0.05)
            assert await peer.rest() == b""

    run(scenario())


def test_cancelled_drain_leaves_no_connection_open() -> None:
    async def scenario() -> None:
        async def hang(request: Request, responder: Responder) -> None:
            await asyncio.sleep(3)

        async with serving(hang) as (server, port), wire(port) as peer:
            peer.send(GET)
            await asyncio.sleep(0.02)
            draining = asyncio.ensure_future(server.drain(60))
            await asyncio.sleep(0.02)
            draining.cancel()
            with pytest.raises(asyncio.CancelledError):
                await draining
            assert server.connections == 0
            assert await peer.rest() == b""

    run(scenario())


def test_drain_sees_the_connection_that_was_accepted_a_moment_before() -> None:
    async def scenario() -> None:
        async with serving() as (server, port):
            told = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
            await asyncio.sleep(0)  # the loop accepts, and hasn't told the server yet
            await server.drain(5)
            for peer in told:  # at once: the loop gets no turn to close them later
                peer.settimeout(2)
                with contextlib.suppress(ConnectionResetError):
                    peer.recv(4096)
                peer.close()

    run(scenario())


def test_two_servers_share_a_port() -> None:
    async def scenario() -> None:
        async with serving() as (_, port), serving() as (other, _):
            listener = await other.listen("127.0.0.1", port)
            assert listener.port == port

    run(scenario())


def test_100_mb_are_streamed_through_both_ways_in_little_memory() -> None:
    megabyte = bytes(1_000_000)

    async def mirror(request: Request, responder: Responder) -> None:
        await responder.start(200)
        async for piece in request.body:
            await responder.write(piece)
        await responder.finish()

    async def scenario() -> tuple[int, int]:
        async with serving(mirror) as (_, port), calling() as client:
            url = f"http://127.0.0.1:{port}/"
            async with await client.open("POST", url, content_length=None) as exchange:

                async def produce() -> None:
                    for _ in range(100):
                        await exchange.write(megabyte)
                    await exchange.finish()

                tracemalloc.start()
                try:
                    producer = asyncio.ensure_future(produce())
                    received = 0
                    while piece := await exchange.read_some():
                        received += len(piece)
                    await producer
                    return received, tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()

    received, peak = run(scenario())
    assert received == 100_000_000
    assert peak < 12_000_000
