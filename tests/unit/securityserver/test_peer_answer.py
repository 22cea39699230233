from __future__ import annotations

import asyncio

from postroad.messages.decoder import TransportDecoder
from postroad.messages.events import BodyData, Direction, End, FaultPart, SignaturePart
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.messages.rest import RestResponse
from postroad.securityserver.peer_answer import PeerAnswer
from postroad.securityserver.signing import MessageSignature

FAULT = encode_soap_fault(Fault("c", "s"))


class Recorder:
    """A responder that keeps what it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.data = b""
        self.finished = False

    async def start(
        self, status: int, headers: list[tuple[str, str]], content_length: int | None = None
    ) -> None:
        self.status, self.headers = status, dict(headers)

    async def write(self, data: bytes) -> None:
        self.data += data

    async def finish(self, last: bytes = b"") -> None:
        self.data += last
        self.finished = True

    async def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        await self.start(status, headers)
        await self.finish(body)


def told(recorder: Recorder) -> list[object]:
    decoder = TransportDecoder(recorder.headers["Content-Type"], direction=Direction.RESPONSE)
    events = decoder.feed(recorder.data)
    decoder.finish()
    return list(events)


def test_a_message_carries_the_hash_algorithm_in_lower_case() -> None:
    async def run() -> Recorder:
        recorder = Recorder()
        answer = PeerAnswer(recorder)  # a double
        await answer.start(RestResponse(200, "OK", ()))
        await answer.start_body()
        await answer.body_data(b"body")
        await answer.end_body()
        await answer.finish(MessageSignature(b"S", b"H", b"C"))
        return recorder

    recorder = asyncio.run(run())
    assert recorder.headers["x-hash-algorithm"] == "SHA-512"
    events = told(recorder)
    assert BodyData(b"body") in events
    assert events[-2:] == [SignaturePart(b"S"), End()]


def test_a_fault_before_the_message_is_the_whole_answer() -> None:
    async def run() -> Recorder:
        recorder = Recorder()
        await PeerAnswer(recorder).refuse(FAULT)  # a double
        return recorder

    recorder = asyncio.run(run())
    assert recorder.status == 200
    assert recorder.headers["Content-Type"] == "text/xml;charset=utf-8"
    assert recorder.data == FAULT


def test_a_fault_within_the_message_takes_the_place_of_the_rest() -> None:
    async def run() -> Recorder:
        recorder = Recorder()
        answer = PeerAnswer(recorder)  # a double
        await answer.start(RestResponse(200, "OK", ()))
        await answer.start_body()
        await answer.body_data(b"half")
        await answer.refuse(FAULT)
        return recorder

    assert told(asyncio.run(run()))[-2:] == [FaultPart(FAULT), End()]


def test_nothing_follows_a_finished_answer() -> None:
    async def run() -> Recorder:
        recorder = Recorder()
        answer = PeerAnswer(recorder)  # a double
        await answer.start(RestResponse(204, "", ()))
        await answer.finish(MessageSignature(b"S"))
        await answer.refuse(FAULT)
        return recorder

    assert told(asyncio.run(run()))[-1] == End()
