from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.decoder import TransportDecoder, TransportLimits
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import (
    AttachmentData,
    AttachmentEnd,
    AttachmentStart,
    BodyData,
    BodyEnd,
    BodyStart,
    Direction,
    End,
    Event,
    FaultPart,
    HashChain,
    HashChainResult,
    OcspPart,
    RestMessage,
    SignaturePart,
    SoapMessage,
    Stage,
)
from postroad.messages.faults import Fault, encode_soap_fault

VECTORS = Path(__file__).parents[2] / "data" / "reference" / "messages" / "transport"
DER = b"\x30\x03\x02\x01\x01"
FAULT = encode_soap_fault(Fault("c", "s"))
SOAP = (VECTORS.parent / "proxy" / "simple.query").read_bytes()


def decode(
    message: bytes,
    direction: Direction,
    *,
    boundary: str = "b",
    size: int = 1 << 20,
    limits: TransportLimits | None = None,
) -> list[Event]:
    decoder = TransportDecoder(
        f"multipart/mixed; charset=UTF-8; boundary={boundary}", direction=direction, limits=limits
    )
    events: list[Event] = []
    for start in range(0, len(message), size):
        events.extend(decoder.feed(message[start : start + size]))
    decoder.finish()
    return joined(events)


def joined(events: list[Event]) -> list[Event]:
    result: list[Event] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, BodyData) and isinstance(last, BodyData):
            result[-1] = BodyData(last.data + event.data)
        elif isinstance(event, AttachmentData) and isinstance(last, AttachmentData):
            result[-1] = AttachmentData(last.data + event.data)
        else:
            result.append(event)
    return result


def rest_request_message() -> bytes:
    encoder = TransportEncoder("b", Direction.REQUEST)
    return b"".join(
        [
            encoder.ocsp(DER),
            encoder.rest_request(b"GET\r\n/\r\n"),
            encoder.body_start(),
            encoder.body_data(b"\r\n--"),
            encoder.body_data(b"body\r"),
            encoder.body_end(),
            encoder.hash_chain_result(b"<r/>"),
            encoder.hash_chain(b"<c/>"),
            encoder.signature(b"<s/>"),
            encoder.finish(),
        ]
    )


REST_EVENTS: list[Event] = [
    OcspPart(DER),
    RestMessage(b"GET\r\n/\r\n"),
    BodyStart(),
    BodyData(b"\r\n--body\r"),
    BodyEnd(),
    HashChainResult(b"<r/>"),
    HashChain(b"<c/>"),
    SignaturePart(b"<s/>"),
    End(),
]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_reads_a_whole_rest_request_in_slices_of_any_size(size: int) -> None:
    assert decode(rest_request_message(), Direction.REQUEST, size=size) == REST_EVENTS


@pytest.mark.parametrize("cut", range(1, 600, 1))
def test_reads_a_rest_request_split_at_any_byte(cut: int) -> None:
    message = rest_request_message()
    decoder = TransportDecoder("multipart/mixed; boundary=b", direction=Direction.REQUEST)
    events = decoder.feed(message[:cut]) + decoder.feed(message[cut:])
    decoder.finish()
    assert joined(events) == REST_EVENTS


def test_an_empty_body_part_is_still_a_part() -> None:
    encoder = TransportEncoder("b", Direction.REQUEST)
    message = encoder.rest_request(b"x") + encoder.body_start() + encoder.body_end()
    message += encoder.signature(b"<s/>") + encoder.finish()
    assert decode(message, Direction.REQUEST)[1:3] == [BodyStart(), BodyEnd()]


def test_reads_soap_with_attachments() -> None:
    encoder = TransportEncoder("b", Direction.RESPONSE)
    message = b"".join(
        [
            encoder.soap("text/xml", SOAP, (("X-A", "1"),)),
            encoder.attachment("a/b", (("Content-ID", "<1>"),), nested_boundary="xatt"),
            encoder.attachment_data(b"one"),
            encoder.attachment("c/d", nested_boundary="xatt"),
            encoder.attachment_data(b"two"),
            encoder.signature(b"<s/>"),
            encoder.finish(),
        ]
    )
    events = decode(message, Direction.RESPONSE, size=5)
    assert isinstance(events[0], SoapMessage)
    assert events[0].headers == (("X-A", "1"),)
    assert events[0].xml == SOAP
    assert events[1:] == [
        AttachmentStart(1, "a/b", (("Content-ID", "<1>"),)),
        AttachmentData(b"one"),
        AttachmentEnd(),
        AttachmentStart(2, "c/d", ()),
        AttachmentData(b"two"),
        AttachmentEnd(),
        SignaturePart(b"<s/>"),
        End(),
    ]


@pytest.mark.parametrize("steps", range(4))
def test_a_response_may_break_off_with_a_fault(steps: int) -> None:
    encoder = TransportEncoder("b", Direction.RESPONSE)
    parts: list[Callable[[], bytes]] = [
        lambda: encoder.rest_response(b"200\r\n\r\n"),
        encoder.body_start,
        lambda: encoder.body_data(b"half"),
    ]
    message = b"".join(part() for part in parts[:steps]) + encoder.fault(FAULT) + encoder.finish()
    assert decode(message, Direction.RESPONSE)[-2:] == [FaultPart(FAULT), End()]


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("normal.request", Direction.REQUEST),
        ("attachment.request", Direction.REQUEST),
        ("ocsp.request", Direction.REQUEST),
        ("normal-soapfault.request", Direction.RESPONSE),
        ("fault-signature.request", Direction.RESPONSE),
    ],
)
@pytest.mark.parametrize("size", [1, 11, 1 << 20])
def test_accepts_the_reference_samples(name: str, direction: Direction, size: int) -> None:
    message, boundary = vector(name)
    events = decode(message, direction, boundary=boundary, size=size)
    assert events[-1] == End()
    kinds = {type(event) for event in events}
    assert (OcspPart in kinds) == (name == "ocsp.request")
    assert (AttachmentData in kinds) == (name == "attachment.request")
    assert (FaultPart in kinds) == ("fault" in name)


def test_refuses_a_sample_with_the_headers_of_an_older_protocol() -> None:
    message, boundary = vector("normal.response")
    with pytest.raises(MalformedInput) as caught:
        decode(message, Direction.RESPONSE, boundary=boundary)
    assert caught.value.code is FaultCode.INVALID_XML


def test_a_fault_is_no_request() -> None:
    message, boundary = vector("normal-soapfault.request")
    with pytest.raises(MalformedInput) as caught:
        decode(message, Direction.REQUEST, boundary=boundary)
    assert caught.value.code is FaultCode.MISSING_SOAP


@pytest.mark.parametrize(
    ("name", "content_type", "code"),
    [
        (
            "no-signature.query",
            "multipart/mixed; boundary=jetty42534330h7vzfqv2",
            "missing_signature",
        ),
        ("attachm.query", "multipart/mixed; boundary=jetty771207119h3h10dty", "missing_signature"),
        ("no-soap.query", "multipart/mixed; boundary=jetty771207119h3h10dty", "invalid_soap"),
        ("attachm-error.query", "multipart/mixed; boundary=jetty771207119h3h10dty", None),
        ("getstate.query", "oih", "invalid_content_type"),
        ("getstate.query", "multipart/mixed", "invalid_content_type"),
    ],
)
@pytest.mark.parametrize("direction", Direction)
def test_refuses_the_reference_queries_that_are_no_transport_messages(
    name: str, content_type: str, code: str | None, direction: Direction
) -> None:
    message = (VECTORS.parent / "proxy" / name).read_bytes()

    def read() -> None:
        decoder = TransportDecoder(content_type, direction=direction)
        decoder.feed(message)
        decoder.finish()

    with pytest.raises(MalformedInput) as caught:
        read()
    assert caught.value.code == (code or "invalid_content_type")


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("extracontent.request", FaultCode.INVALID_MESSAGE),
        ("invalid-ocsp.request", FaultCode.IO_ERROR),
        ("invalid-soap-contenttype.request", FaultCode.INVALID_CONTENT_TYPE),
        ("invalid-contenttype-signature.request", FaultCode.INVALID_CONTENT_TYPE),
        ("fault-signature.request", FaultCode.INVALID_CONTENT_TYPE),  # no faults in requests
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_refuses_the_broken_reference_samples(name: str, code: FaultCode, size: int) -> None:
    message, boundary = vector(name)
    with pytest.raises(MalformedInput) as caught:
        decode(message, Direction.REQUEST, boundary=boundary, size=size)
    assert caught.value.code is code


def vector(name: str) -> tuple[bytes, str]:
    message = (VECTORS / name).read_bytes()
    match = re.match(rb"--(\S+)", message)
    assert match is not None
    return message, match[1].decode()


def part(content_type: str, body: bytes = b"x") -> bytes:
    return f"\r\n--b\r\nContent-Type: {content_type}\r\n\r\n".encode() + body


REQUEST = part("application/x-road-rest-request")
SIGNATURE = part("signature/bdoc-1.0/ts")
CLOSE = b"\r\n--b--\r\n"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (CLOSE, FaultCode.MISSING_REST),
        (part("application/ocsp-response", DER) + CLOSE, FaultCode.MISSING_REST),
        (REQUEST + CLOSE, FaultCode.MISSING_SIGNATURE),
        (REQUEST + part("application/hash-chain-result") + CLOSE, FaultCode.MISSING_SIGNATURE),
        (REQUEST, FaultCode.MIME_PARSING_FAILED),
        (REQUEST + SIGNATURE, FaultCode.MIME_PARSING_FAILED),
        (REQUEST + SIGNATURE + SIGNATURE + CLOSE, FaultCode.INVALID_MESSAGE),
        (REQUEST + REQUEST, FaultCode.INVALID_CONTENT_TYPE),
        (SIGNATURE, FaultCode.INVALID_CONTENT_TYPE),
        (part("application/x-road-rest-body"), FaultCode.INVALID_CONTENT_TYPE),
        (part("application/x-road-rest-response"), FaultCode.INVALID_CONTENT_TYPE),
        (REQUEST + part("application/hash-chain"), FaultCode.INVALID_CONTENT_TYPE),
        (REQUEST + part("text/xml", FAULT), FaultCode.INVALID_CONTENT_TYPE),
        (REQUEST + part("multipart/mixed; boundary=q"), FaultCode.INVALID_CONTENT_TYPE),
        (REQUEST + part("application/ocsp-response", DER), FaultCode.INVALID_CONTENT_TYPE),
        (b"--b\r\nX: 1\r\n\r\nx" + CLOSE, FaultCode.INVALID_CONTENT_TYPE),
        (part("application/ocsp-response", DER + b"x") + CLOSE, FaultCode.IO_ERROR),
    ],
)
def test_refuses_any_order_that_the_protocol_does_not_have(message: bytes, code: FaultCode) -> None:
    with pytest.raises(MalformedInput) as caught:
        decode(message, Direction.REQUEST)
    assert caught.value.code is code


def test_matches_part_types_in_any_case() -> None:
    message = part("APPLICATION/X-Road-Rest-Request; a=b") + part("Signature/BDOC-1.0/TS") + CLOSE
    assert decode(message, Direction.REQUEST)[-1] == End()


@pytest.mark.parametrize(
    "content_type", ["text/xml", "oih", "multipart/mixed", "multipart/related; boundary=b"]
)
def test_refuses_a_message_that_is_not_multipart_mixed(content_type: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        TransportDecoder(content_type, direction=Direction.REQUEST)
    assert caught.value.code is FaultCode.INVALID_CONTENT_TYPE


def test_a_fault_part_must_hold_a_fault() -> None:
    message = part("application/x-road-rest-response") + part("text/xml", b"<a/>") + CLOSE
    with pytest.raises(MalformedInput) as caught:
        decode(message, Direction.RESPONSE)
    assert caught.value.code is FaultCode.INVALID_SOAP


@pytest.mark.parametrize(
    "limits",
    [
        TransportLimits(ocsp_parts=0),
        TransportLimits(ocsp_bytes=2),
        TransportLimits(rest_bytes=2),
        TransportLimits(hash_chain_bytes=2),
        TransportLimits(signature_bytes=2),
        TransportLimits(body_bytes=2),
    ],
)
def test_refuses_what_exceeds_a_limit(limits: TransportLimits) -> None:
    with pytest.raises(MalformedInput) as caught:
        decode(rest_request_message(), Direction.REQUEST, limits=limits)
    assert caught.value.code is FaultCode.INVALID_MESSAGE


def test_the_nested_multipart_must_be_closed() -> None:
    inner = b"\r\n--q\r\nContent-Type: a/b\r\n\r\nx"
    message = part("text/xml", SOAP) + part("multipart/mixed; boundary=q", inner) + SIGNATURE
    with pytest.raises(MalformedInput) as caught:
        decode(message + CLOSE, Direction.REQUEST)
    assert caught.value.code is FaultCode.MIME_PARSING_FAILED


def test_knows_how_far_the_message_has_come() -> None:
    decoder = TransportDecoder("multipart/mixed; boundary=b", direction=Direction.REQUEST)
    stages = [decoder.stage]
    decoder.feed(REQUEST + SIGNATURE + CLOSE)
    assert [*stages, decoder.stage] == [Stage.START, Stage.SIGNED]


def test_a_soap_part_and_a_fault_have_limits_too() -> None:
    limits = TransportLimits(soap_bytes=2, fault_bytes=2)
    for message, direction in (
        (part("text/xml", b"<a/>"), Direction.REQUEST),
        (part("application/x-road-rest-response") + part("text/xml", FAULT), Direction.RESPONSE),
    ):
        with pytest.raises(MalformedInput, match="exceeds"):
            decode(message + CLOSE, direction, limits=limits)


def test_an_attachment_needs_a_content_type() -> None:
    inner = b"\r\n--q\r\nX: 1\r\n\r\nx\r\n--q--"
    message = part("text/xml", SOAP) + part("multipart/mixed; boundary=q", inner)
    with pytest.raises(MalformedInput) as caught:
        decode(message + CLOSE, Direction.REQUEST)
    assert caught.value.code is FaultCode.INVALID_CONTENT_TYPE


@pytest.mark.parametrize("content", [b"\x30\x81\x80" + bytes(128), b"\x30\x00"])
def test_an_ocsp_part_may_have_a_long_length(content: bytes) -> None:
    message = part("application/ocsp-response", content) + REQUEST + SIGNATURE + CLOSE
    assert decode(message, Direction.REQUEST)[0] == OcspPart(content)
