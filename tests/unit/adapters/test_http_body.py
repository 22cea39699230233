from __future__ import annotations

import asyncio

import pytest

from postroad.adapters.http_body import BodyStream
from postroad.errors import FaultCode, MalformedInput, UnavailablePeer


class Flow:
    """Notes whether the sender may send."""

    def __init__(self) -> None:
        self.states: list[bool] = []
        self.body = BodyStream(10, lambda: self.states.append(self.body.paused))


def test_pauses_above_the_mark_and_resumes_when_read() -> None:
    async def scenario() -> None:
        flow = Flow()
        flow.body.feed(b"x" * 10)
        assert flow.states == []
        flow.body.feed(b"y")
        flow.body.feed(b"z")
        assert flow.states == [True]
        assert await flow.body.read_some() == b"x" * 10 + b"yz"
        assert flow.states == [True, False]

    asyncio.run(scenario())


def test_reader_waits_for_bytes_and_sees_the_end() -> None:
    async def scenario() -> list[bytes]:
        body = Flow().body
        loop = asyncio.get_running_loop()
        loop.call_soon(body.feed, b"a")
        loop.call_soon(lambda: loop.call_soon(body.feed, b"b"))
        loop.call_later(0.01, body.end)
        return [piece async for piece in body]

    assert b"".join(asyncio.run(scenario())) == b"ab"


def test_failure_reaches_a_waiting_reader_after_what_arrived() -> None:
    async def scenario() -> None:
        body = Flow().body
        body.feed(b"a")
        body.fail(UnavailablePeer("gone"))
        body.feed(b"late")
        assert await body.read_some() == b"a"
        with pytest.raises(UnavailablePeer):
            await body.read_some()
        with pytest.raises(UnavailablePeer):
            await body.read_all(10)

    asyncio.run(scenario())


def test_failure_after_the_end_changes_nothing() -> None:
    async def scenario() -> bytes:
        body = Flow().body
        body.feed(b"a")
        body.end()
        body.fail(UnavailablePeer("gone"))
        return await body.read_all(10)

    assert asyncio.run(scenario()) == b"a"


def test_read_all_refuses_more_than_its_limit() -> None:
    async def scenario() -> None:
        body = Flow().body
        body.feed(b"abc")
        body.end()
        with pytest.raises(MalformedInput) as caught:
            await body.read_all(2)
        assert caught.value.code is FaultCode.INVALID_BODY

    asyncio.run(scenario())


def test_wanted_is_called_once_and_only_when_the_reader_must_wait() -> None:
    async def scenario() -> int:
        body = Flow().body
        calls: list[int] = []
        body.on_wanted = lambda: calls.append(1)
        body.feed(b"a")
        await body.read_some()
        assert calls == []
        asyncio.get_running_loop().call_later(0.01, body.feed, b"b")
        await body.read_some()
        asyncio.get_running_loop().call_later(0.01, body.end)
        await body.read_some()
        return len(calls)

    assert asyncio.run(scenario()) == 1


def test_discard_releases_the_sender() -> None:
    flow = Flow()
    flow.body.feed(b"x" * 11)
    flow.body.discard()
    assert flow.states == [True, False]
    assert flow.body.size == 0
    assert flow.body.received == 11


def test_cancelled_reader_leaves_the_body_usable() -> None:
    async def scenario() -> bytes:
        body = Flow().body
        task = asyncio.ensure_future(body.read_some())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        body.feed(b"a")
        return await body.read_some()

    assert asyncio.run(scenario()) == b"a"
