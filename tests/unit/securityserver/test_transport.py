from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from postroad.errors import MalformedInput, RefusedRequest
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction
from postroad.securityserver.resources import Resources
from postroad.securityserver.signing import MessageSignature
from postroad.securityserver.transport import (
    GATHERED_BYTES,
    GatheringWriter,
    ReceivedMessage,
    header_text,
    new_boundary,
    receive_message,
    signature_parts,
)


class Slices:
    """A body that arrives in slices of a size."""

    def __init__(self, data: bytes, size: int) -> None:
        self.slices = [data[i : i + size] for i in range(0, len(data), size)]

    async def read_some(self) -> bytes:
        return self.slices.pop(0) if self.slices else b""


def message(body: bytes) -> bytes:
    encoder = TransportEncoder("b", Direction.REQUEST)
    data = encoder.ocsp(b"\x30\x00") + encoder.rest_request(b"R") + encoder.body_start()
    data += encoder.body_data(body) + encoder.body_end()
    return data + signature_parts(encoder, MessageSignature(b"S", b"H", b"C"))


def decoder() -> TransportDecoder:
    return TransportDecoder("multipart/mixed; boundary=b", direction=Direction.REQUEST)


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_receives_a_message_in_slices_of_any_size(tmp_path: Path, size: int) -> None:
    async def run(resources: Resources) -> ReceivedMessage:
        return await receive_message(
            Slices(message(b"body"), size), decoder(), spool=tmp_path, resources=resources
        )

    with Resources() as resources:
        received = asyncio.run(run(resources))
        assert received.block == b"R"
        assert received.ocsp_responses == [b"\x30\x00"]
        assert received.document.hash_chain == b"C"
        assert list(received.parts) == ["/message.xml", "/attachment1"]
        assert received.parts["/message.xml"].data == b"R"


def test_a_refusal_at_the_message_keeps_nothing_of_its_body(tmp_path: Path) -> None:
    async def refuse(received: ReceivedMessage) -> None:
        assert received.block == b"R"
        raise RefusedRequest("no")

    async def run(resources: Resources) -> None:
        source = Slices(message(bytes(200_000)), 1000)
        with pytest.raises(RefusedRequest):
            await receive_message(
                source, decoder(), spool=tmp_path, resources=resources, on_message=refuse
            )
        assert len(source.slices) > 100

    with Resources() as resources:
        asyncio.run(run(resources))
    assert list(tmp_path.iterdir()) == []


def test_spooled_bodies_go_with_the_exchange(tmp_path: Path) -> None:
    async def run(resources: Resources) -> None:
        await receive_message(
            Slices(message(bytes(200_000)), 1000), decoder(), spool=tmp_path, resources=resources
        )

    with Resources() as resources:
        asyncio.run(run(resources))
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_soap_is_refused_where_rest_is_expected(tmp_path: Path) -> None:
    encoder = TransportEncoder("b", Direction.REQUEST)
    data = encoder.soap("text/xml", b"<a/>") + encoder.signature(b"S") + encoder.finish()

    async def run(resources: Resources) -> None:
        await receive_message(Slices(data, 999), decoder(), spool=tmp_path, resources=resources)

    with Resources() as resources, pytest.raises(MalformedInput):
        asyncio.run(run(resources))


def test_boundaries_are_thirty_random_letters() -> None:
    boundaries = {new_boundary() for _ in range(50)}
    assert len(boundaries) == 50
    assert all(re.fullmatch(r"xtop[A-Za-z]{30}", boundary) for boundary in boundaries)


def test_small_pieces_are_gathered_and_large_ones_written() -> None:
    written: list[bytes] = []

    async def write(data: bytes) -> bool:
        written.append(data)
        return False

    async def run() -> None:
        writer = GatheringWriter(write)
        assert await writer.write(b"a")
        assert await writer.write(b"b")
        assert not await writer.write(bytes(GATHERED_BYTES))
        assert await writer.write(b"c")
        assert writer.take() == b"c"
        assert writer.take() == b""

    asyncio.run(run())
    assert written == [b"ab" + bytes(GATHERED_BYTES)]


def test_header_text_beyond_latin_1_goes_as_utf_8() -> None:
    assert header_text("ä") == "ä"
    assert header_text("€").encode("latin-1") == "€".encode()
