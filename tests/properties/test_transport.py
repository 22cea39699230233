from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.errors import MalformedInput
from postroad.messages.decoder import TransportDecoder, TransportLimits
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import (
    BodyData,
    BodyEnd,
    BodyStart,
    Direction,
    End,
    Event,
    HashChain,
    HashChainResult,
    OcspPart,
    RestMessage,
    SignaturePart,
)
from postroad.messages.exact_message import read_exact_message
from postroad.messages.rest import RestRequest, RestResponse
from postroad.wire.mime import MediaType, MultipartReader

BOUNDARY = "xtopABCDEFGHIJKLMNOPQRSTUVWXYZabcd"
TYPE = f"multipart/mixed; charset=UTF-8; boundary={BOUNDARY}"
DER = b"\x30\x03\x02\x01\x01"

# Bodies made of what delimiters are made of, so that near misses are common.
tricky = st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"--", b"-", b"x", b"\r\n--xtop", BOUNDARY[:-1].encode(), b"--xtop"]
    ),
    max_size=12,
).map(b"".join)
octets = st.one_of(st.binary(max_size=200), tricky)


@st.composite
def messages(draw: st.DrawFn) -> tuple[bytes, list[Event], bytes | None]:
    encoder = TransportEncoder(BOUNDARY, Direction.REQUEST)
    written: list[bytes] = []
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 3))):
        written.append(encoder.ocsp(DER))
        events.append(OcspPart(DER))
    block = draw(octets)
    written.append(encoder.rest_request(block))
    events.append(RestMessage(block))
    body: bytes | None = None
    if draw(st.booleans()):
        pieces = draw(st.lists(octets, max_size=4))
        written.append(encoder.body_start())
        written.extend(encoder.body_data(piece) for piece in pieces)
        written.append(encoder.body_end())
        body = b"".join(pieces)
        events += [BodyStart(), BodyEnd()]
    if draw(st.booleans()):
        result, chain = draw(octets), draw(octets)
        written += [encoder.hash_chain_result(result), encoder.hash_chain(chain)]
        events += [HashChainResult(result), HashChain(chain)]
    signature = draw(octets)
    written += [encoder.signature(signature), encoder.finish()]
    events += [SignaturePart(signature), End()]
    return b"".join(written), events, body


def decode(chunks: list[bytes]) -> tuple[list[Event], bytes]:
    decoder = TransportDecoder(TYPE, direction=Direction.REQUEST)
    events: list[Event] = []
    for chunk in chunks:
        events.extend(decoder.feed(chunk))
    decoder.finish()
    body = b"".join(event.data for event in events if isinstance(event, BodyData))
    return [event for event in events if not isinstance(event, BodyData)], body


def slice_by_slice(data: bytes, direction: Direction) -> list[Event] | None:
    """What the decoder says when it never sees the whole; bodies in one slice, None if refused."""
    decoder = TransportDecoder(TYPE, direction=direction)
    events: list[Event] = []
    try:
        for slice_ in (b"", data):
            events += decoder.feed(slice_)
        decoder.finish()
    except MalformedInput:
        return None
    return events


def whole(data: bytes, direction: Direction) -> list[Event] | None:
    return read_exact_message(data, BOUNDARY.encode(), direction, TransportLimits().by_kind())


@given(messages())
def test_a_whole_message_is_read_at_once_as_in_slices(
    message: tuple[bytes, list[Event], bytes | None],
) -> None:
    exact = whole(message[0], Direction.REQUEST)
    assert exact == slice_by_slice(message[0], Direction.REQUEST)
    assert exact is not None


SNIPPETS = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\n\n",
        b" ",
        b"\t",
        b"--",
        b"--\r\n",
        b":",
        b";",
        b"x",
        b"\0",
    ),
    *(b"\n--" + BOUNDARY.encode(), b"\r\n--" + BOUNDARY.encode() + b"\r\n", BOUNDARY.encode()),
    b"\r\ncontent-type: signature/bdoc-1.0/ts\r\n\r\n",
    b"Content-Type: application/hash-chain",
    b"application/x-road-rest-response",
)


@settings(max_examples=1500)
@given(messages(), st.data())
def test_a_changed_message_is_read_at_once_as_in_slices_or_left_alone(
    message: tuple[bytes, list[Event], bytes | None], data: st.DataObject
) -> None:
    octets = message[0]
    direction = data.draw(st.sampled_from(Direction))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(octets)))
        gone = data.draw(st.sampled_from([0, 0, 1, 2, 4, 40]))
        new = data.draw(st.sampled_from(SNIPPETS) | st.binary(max_size=2))
        octets = octets[:at] + new + octets[at + gone :]
    exact = whole(octets, direction)
    if exact is not None:
        assert exact == slice_by_slice(octets, direction)


@given(messages(), st.lists(st.integers(0, 3000), max_size=8))
@settings(deadline=None, max_examples=100)
def test_any_message_in_any_slices_is_read_as_it_was_written(
    message: tuple[bytes, list[Event], bytes | None], cuts: list[int]
) -> None:
    data, expected, body = message
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in pairwise(edges)]
    events, read_body = decode(chunks)
    assert events == expected
    assert read_body == (body or b"")


@given(messages(), st.integers(0, 2000), st.binary(min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_a_damaged_message_is_read_or_refused_with_a_typed_error(
    message: tuple[bytes, list[Event], bytes | None], at: int, junk: bytes
) -> None:
    data = message[0]
    at %= len(data)
    damaged = data[:at] + junk + data[at + len(junk) :]
    try:
        events, _ = decode([damaged[i : i + 13] for i in range(0, len(damaged), 13)])
    except MalformedInput:
        return
    assert events[-1] == End()


@given(messages(), st.integers(0, 2000))
@settings(deadline=None, max_examples=50)
def test_a_message_that_stops_early_is_refused(
    message: tuple[bytes, list[Event], bytes | None], at: int
) -> None:
    data = message[0].removesuffix(b"--\r\n")
    try:
        decode([data[: at % len(data)]])
    except MalformedInput:
        return
    raise AssertionError


@given(st.lists(octets, max_size=6))
@settings(deadline=None, max_examples=100)
def test_garbage_never_hangs_the_multipart_reader(chunks: list[bytes]) -> None:
    reader = MultipartReader("xtop")
    try:
        for chunk in [b"--xtop\r\nA: 1\r\n\r\n", *chunks]:
            reader.feed(chunk)
        reader.finish()
    except MalformedInput:
        return


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=100)
def test_any_text_is_a_content_type_or_refused(text: str) -> None:
    try:
        MediaType.parse(f"a/b;{text}").boundary()
    except MalformedInput:
        return


lines = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "GET",
                "200",
                "",
                "/r1/A/B/C/D/E",
                "X-Road-Client:A/B/C",
                "x-road-id:1",
                "Host:a",
                "a: b ",
            ]
        ),
        st.text(max_size=20),
    ),
    max_size=8,
).map(lambda parts: "".join(f"{part}\r\n" for part in parts).encode("utf-8", "surrogatepass"))


@given(st.one_of(st.binary(max_size=100), lines))
@settings(deadline=None, max_examples=100)
def test_a_rest_block_is_read_back_identically_or_refused(block: bytes) -> None:
    for kind in (RestRequest, RestResponse):
        try:
            parsed = kind.parse(block)
        except MalformedInput:
            continue
        assert parsed.encode() == block
