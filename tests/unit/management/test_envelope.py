"""How management requests and their replies travel."""

from __future__ import annotations

import pytest

from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm
from postroad.errors import FaultCode, PostroadError, RemoteFault
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.management.envelope import (
    MAX_BODY,
    AttachedPart,
    encode_message,
    encode_multipart,
    encode_reply,
    parse_message,
    parse_reply,
    signature_part,
)
from postroad.management.requests import MaintenanceEnd, MaintenanceStart, ServiceCode
from postroad.messages.faults import Fault, encode_soap_fault

SERVER = SecurityServerId("EE", "GOV", "1", "SS1")
PROVIDER = SubsystemId("EE", "GOV", "0", "management")
PLAIN = "text/xml;charset=UTF-8"


def message(query_id: str = "q1") -> bytes:
    return encode_message(
        MaintenanceStart(SERVER, "õ"), sender=SERVER.owner, provider=PROVIDER, query_id=query_id
    )


def fault(content_type: str, body: bytes, *, plain: bool = False) -> str:
    with pytest.raises(PostroadError) as refused:
        parse_message(content_type, body, plain=plain)
    return refused.value.fault_code


def test_a_multipart_is_read_back_as_it_was_written() -> None:
    parts = (AttachedPart(b"\r\n--x\r\n\x00", "SHA512withRSA"), AttachedPart(b"DER"))
    content_type, body = encode_multipart(message(), parts, "xroadAbC")
    read = parse_message(content_type, body, plain=False)
    assert read.soap == message()
    assert read.parts == parts
    assert read.code is ServiceCode.MAINTENANCE_START
    assert (read.client, read.service.client) == (SERVER.owner, PROVIDER)


def test_the_wire_form_is_that_of_the_protocol() -> None:
    content_type, body = encode_multipart(b"<S/>", (AttachedPart(b"sig", "SHA512withRSA"),), "b")
    assert content_type == (
        'multipart/related; type="application/octet-stream"; charset=UTF-8; boundary=b'
    )
    assert body == (
        b"--b\r\ncontent-type: text/xml; charset=UTF-8\r\n\r\n<S/>\r\n"
        b"--b\r\ncontent-type: application/octet-stream\r\n"
        b"signature-algorithm-id: SHA512withRSA\r\n\r\nsig\r\n--b--\r\n"
    )


def test_the_algorithm_header_is_read_in_any_case() -> None:
    content_type, body = encode_multipart(message(), (AttachedPart(b"s", "SHA512withRSA"),), "b")
    body = body.replace(b"signature-algorithm-id", b"Signature-Algorithm-Id")
    assert parse_message(content_type, body, plain=False).parts[0].algorithm == "SHA512withRSA"


def test_elliptic_curve_signatures_are_sent_in_der() -> None:
    raw = b"\x01" * 64
    part = signature_part(SignatureAlgorithm.ECDSA_SHA512, raw)
    assert part.data.startswith(b"\x30\x44\x02\x20")
    assert part.algorithm == "SHA512withECDSA"
    rsa = SignatureAlgorithm.with_digest("RSA", DigestAlgorithm.SHA512)
    assert signature_part(rsa, raw).data == raw


def test_a_plain_message_is_for_the_exchange_only() -> None:
    assert parse_message(PLAIN, message(), plain=True).parts == ()
    assert fault(PLAIN, message()) == "invalid_content_type"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/json", "invalid_content_type"),
        ("multipart/mixed; boundary=b", "invalid_content_type"),
        ("multipart/related", "invalid_content_type"),
        ("multipart/related; boundary=b; boundary=c", "invalid_content_type"),
        ("multipart/related; boundary=other", "mime_parsing_failed"),
    ],
)
def test_refuses_other_content_types(content_type: str, expected: str) -> None:
    _type, body = encode_multipart(message(), (), "b")
    assert fault(content_type, body, plain=True) == expected


def test_refuses_a_body_without_parts_and_one_that_begins_with_something_else() -> None:
    assert fault("multipart/related; boundary=b", b"--b--\r\n") == "invalid_request"
    content_type, body = encode_multipart(message(), (), "b")
    other = body.replace(b"text/xml; charset=UTF-8", b"application/json")
    assert fault(content_type, other) == "invalid_request"


@pytest.mark.parametrize("body", [b"", b"<a/>", b"--b", b"--b\r\ncontent-type: text/xml\r\n\r\n"])
def test_refuses_what_is_no_multipart(body: bytes) -> None:
    assert fault("multipart/related; boundary=b", body) == "mime_parsing_failed"


def test_refuses_more_than_the_limit() -> None:
    content_type, body = encode_multipart(message(), (AttachedPart(b"x" * MAX_BODY),), "b")
    assert fault(content_type, body) == "invalid_request"


def test_refuses_many_parts() -> None:
    content_type, body = encode_multipart(message(), (AttachedPart(b"x"),) * 8, "b")
    assert fault(content_type, body) == "mime_parsing_failed"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("maintenanceModeEnable<", "steal<", "inconsistent_headers"),
        ("maintenanceModeEnable", "steal", "invalid_request"),
        ("http://schemas.xmlsoap.org/soap/envelope/", "urn:x", "invalid_soap"),
        ("<xroad:id>q1</xroad:id>", "", "missing_header_field"),
        ('encoding="UTF-8"', 'encoding="ISO-8859-1"', "invalid_request"),
        ("<SOAP-ENV:Header>", "<!DOCTYPE a><SOAP-ENV:Header>", "invalid_soap"),
    ],
)
def test_refuses_messages_that_are_not_requests(old: str, new: str, expected: str) -> None:
    text = message().decode()
    assert old in text
    assert fault(PLAIN, text.replace(old, new).encode(), plain=True) == expected


def test_a_fault_is_no_request() -> None:
    with pytest.raises(RemoteFault):
        parse_message(PLAIN, encode_soap_fault(Fault("x", "y")), plain=True)


def test_the_reply_is_the_request_with_its_number() -> None:
    asked = parse_message(PLAIN, message(), plain=True)
    reply = encode_reply(asked, 42)
    assert b"<xroad:maintenanceModeEnableResponse" in reply
    assert b"<xroad:requestId>42</xroad:requestId></xroad:maintenanceModeEnableResponse>" in reply
    before, after = message().split(b"<SOAP-ENV:Body>")[0], reply.split(b"<SOAP-ENV:Body>")[0]
    assert after.endswith(before.partition(b"?>")[2])
    assert parse_reply(reply, message()) == 42


@pytest.mark.parametrize("number", ["", "x", "-1", "9" * 19, "٣"])
def test_a_reply_must_tell_a_number(number: str) -> None:
    reply = encode_reply(parse_message(PLAIN, message(), plain=True), 42)
    with pytest.raises(PostroadError) as refused:
        parse_reply(reply.replace(b">42<", f">{number}<".encode()), message())
    assert refused.value.code is FaultCode.INVALID_RESPONSE


def test_a_reply_to_another_request_is_refused() -> None:
    reply = encode_reply(parse_message(PLAIN, message("q2"), plain=True), 42)
    other = encode_message(
        MaintenanceEnd(SERVER), sender=SERVER.owner, provider=PROVIDER, query_id="q1"
    )
    for asked in (message("q1"), other):
        with pytest.raises(PostroadError) as refused:
            parse_reply(reply, asked)
        assert refused.value.code is FaultCode.INCONSISTENT_RESPONSE


def test_a_request_is_not_its_own_reply() -> None:
    with pytest.raises(PostroadError) as refused:
        parse_reply(message(), message())
    assert refused.value.code is FaultCode.INCONSISTENT_RESPONSE


def test_a_fault_in_reply_is_raised_as_it_came() -> None:
    with pytest.raises(RemoteFault) as refused:
        parse_reply(encode_soap_fault(Fault("InvalidRequest", "why", "", "trace")), message())
    assert (refused.value.code_text, refused.value.message) == ("InvalidRequest", "why")
