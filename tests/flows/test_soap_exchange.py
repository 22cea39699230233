"""Whole SOAP exchanges through two servers: what arrives, what is signed and logged, what fails."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.digests import PartDigest
from postroad.evidence.verification import SignatureDocument, verify_message_signature
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.messages.soap import SoapEnvelope, check_correlation
from postroad.messages.soap_reading import read_soap
from postroad.securityserver.messagelog.records import (
    Direction,
    InlineBody,
    MessageRecord,
    Side,
    SpooledBody,
)
from postroad.securityserver.signing import DIGEST
from support.exchange import CLIENT, NOW, REGISTER, World
from support.soap_exchange import (
    ANSWER,
    RELATED,
    XML,
    answer_with,
    call,
    fault_of,
    identifier,
    message,
    package,
)

if TYPE_CHECKING:
    from pathlib import Path

P, Q, S = "server.serverproxy", "server.clientproxy", "service_failed"


def within(tmp_path: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            world.offer(type="WSDL")
            answer_with(world)
            await story(world)
            assert world.provider.unexpected == []
            assert world.consumer.unexpected == []
        for server in (world.consumer, world.provider):
            assert list((server.home / "spool").iterdir()) == []

    asyncio.run(run())


def read(xml: bytes) -> SoapEnvelope:
    document = read_soap(xml)
    assert isinstance(document, SoapEnvelope)
    return document


def test_a_message_reaches_the_service_byte_for_byte(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        request = b"\xef\xbb\xbf" + message("<persons><!-- c --><a  b = '1'/></persons>") + b"\r\n"
        answer = await call(world, request, headers=(("SOAPAction", '"urn:find"'),))
        method, target, headers, body = world.called[0]
        assert (method, target, body) == ("POST", "/api", request)
        assert dict(headers)["SOAPAction"] == '"urn:find"'
        assert dict(headers)["Content-Type"] == XML
        assert answer.header("content-type") == XML
        check_correlation(read(request), read(answer.body))

    within(tmp_path, story)


def test_the_consumer_gets_the_answer_with_the_hash_of_its_request(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        request = message()
        answer = await call(world, request)
        start, end = (
            answer.body.index(b"\n  <x:requestHash"),
            answer.body.index(b"</x:requestHash>"),
        )
        assert answer.body[:start] + answer.body[end + len("</x:requestHash>") :] == ANSWER
        assert read(answer.body).header.request_hash is not None
        assert hashlib.sha512(request).digest() == read(request).digest

    within(tmp_path, story)


def test_both_sides_log_exactly_what_was_signed(tmp_path: Path) -> None:
    def verified(world: World, record: MessageRecord, signer: SubsystemId) -> None:
        parts = {"/message.xml": PartDigest.of("/message.xml", record.message, DIGEST)}
        for number, kept in enumerate(record.attachments, 1):
            assert isinstance(kept, InlineBody)
            name = f"/attachment{number}"
            parts[name] = PartDigest.of(name, kept.data, DIGEST)
        document = SignatureDocument(record.signature, record.hash_chain_result, record.hash_chain)
        verify_message_signature(
            document, signer=signer, parts=parts, globalconf=world.globalconf, at=NOW
        )

    async def story(world: World) -> None:
        request = package(("text/xml", message()), ("a/b", b"one"), ("c/d", b"two"))
        answer_with(world, package(("text/xml", ANSWER), ("a/b", b"three")), RELATED)
        await call(world, request, RELATED)
        for server, side in ((world.consumer, Side.CLIENT), (world.provider, Side.SERVER)):
            asked, answered = server.log.records
            assert (asked.direction, answered.direction) == (Direction.REQUEST, Direction.RESPONSE)
            assert {asked.side, answered.side} == {side}
            assert asked.message == message()
            assert asked.query_id == answered.query_id == "q-1"
            assert asked.request_id == answered.request_id
            assert len(asked.attachments) == 2
            assert len(answered.attachments) == 1
            verified(world, asked, CLIENT)
            verified(world, answered, REGISTER)
        ours, theirs = world.consumer.log.records[1], world.provider.log.records[1]
        assert ours.message == theirs.message

    within(tmp_path, story)


def test_attachments_travel_with_their_headers_in_the_senders_package(tmp_path: Path) -> None:
    original = 'Multipart/Related; type="application/xop+xml"; start="<m>"; boundary="b"'
    xop = 'application/xop+xml; type="text/xml"\r\nContent-ID: <m>'

    async def story(world: World) -> None:
        octets = b"\x00\r\n--x\r\n=41"
        parts = ((xop, message()), ("a/b\r\nContent-ID: <1>\r\nX-Own: 1", octets), ("c/d", b""))
        answer_with(world, package((xop, ANSWER), ("e/f\r\nContent-ID: <2>", octets)), original)
        answer = await call(world, package(*parts), original)
        _, _, headers, body = world.called[0]
        assert dict(headers)["Content-Type"] == original
        assert body == package(*parts)
        assert answer.header("content-type") == original
        assert (
            b"content-type: e/f\r\nContent-ID: <2>\r\n\r\n" + octets + b"\r\n--b--" in answer.body
        )

    within(tmp_path, story)


def test_a_package_of_soap_alone_stays_a_package(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer_with(world, package(("text/xml", ANSWER)), RELATED)
        answer = await call(world, package(("text/xml", message())), RELATED)
        assert world.called[0][3] == package(("text/xml", message()))
        assert answer.header("content-type") == RELATED
        assert answer.body.startswith(b"--b\r\ncontent-type: text/xml\r\n\r\n<s:Envelope")

    within(tmp_path, story)


def test_a_nested_multipart_arrives_as_its_parts(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        inner = b"\r\n--q\r\ncontent-type: a/b\r\nX: 1\r\n\r\none\r\n--q--\r\n"
        request = package(("text/xml", message()), ("multipart/mixed; boundary=q", inner))
        await call(world, request, RELATED)
        flat = package(("text/xml", message()), ("a/b\r\nX: 1", b"one"))
        assert world.called[0][3] == flat
        assert len(world.provider.log.records[0].attachments) == 1

    within(tmp_path, story)


@pytest.mark.parametrize("size", [0, 64 * 1024 + 1, 3_000_000])
def test_attachments_of_any_size_pass_both_ways(tmp_path: Path, size: int) -> None:
    async def story(world: World) -> None:
        data = package(("text/xml", message()), ("a/b", bytes(size)), ("a/b", b"x" * size))
        answer_with(
            world,
            package(("text/xml", ANSWER), ("a/b", bytes(size)), ("a/b", b"x" * size)),
            RELATED,
        )
        answer = await call(world, data, RELATED)
        assert world.called[0][3] == data
        assert answer.body.endswith(b"x" * size + b"\r\n--b--\r\n")
        for record in world.consumer.log.records:
            kinds = {type(kept) for kept in record.attachments}
            assert kinds == ({SpooledBody} if size > 64 * 1024 else {InlineBody})

    within(tmp_path, story)


def test_another_encoding_is_kept_and_named(tmp_path: Path) -> None:
    declaration = '<?xml version="1.0" encoding="ISO-8859-1"?>'

    async def story(world: World) -> None:
        request = (declaration + message("<persons>ä</persons>").decode()).encode("latin-1")
        answer = (declaration + message("<personsResponse>ö</personsResponse>").decode()).encode(
            "latin-1"
        )
        answer_with(world, answer, "text/xml; charset=ISO-8859-1")
        given = await call(world, request, "text/xml; charset=ISO-8859-1")
        assert world.called[0][3] == request
        assert dict(world.called[0][2])["Content-Type"] == "text/xml; charset=ISO-8859-1"
        assert given.header("content-type") == "text/xml; charset=ISO-8859-1"
        assert b"<personsResponse>\xf6</personsResponse>" in given.body

    within(tmp_path, story)


def test_a_fault_of_the_service_is_relayed_unsigned_and_unlogged(tmp_path: Path) -> None:
    xml = encode_soap_fault(Fault("soap:Own", "sorry", "me", "why")).replace(b"><", b">\n<")

    async def story(world: World) -> None:
        for status, data, content_type in (
            (500, xml, "text/xml"),
            (200, package(("text/xml", xml), ("a/b", b"x")), RELATED),
        ):
            answer_with(world, data, content_type, status)
            answer = await call(world, message())
            assert answer.body == xml
            assert answer.header("content-type") == "text/xml;charset=utf-8"
            assert answer.header("SOAPAction") == ""
        for server in (world.consumer, world.provider):
            assert {record.direction for record in server.log.records} == {Direction.REQUEST}

    within(tmp_path, story)


def test_the_headers_between_the_servers_are_those_of_soap(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        await call(world, message())
        client, server = world.consumer.reports[0], world.provider.reports[0]
        assert client.request_id == server.request_id == world.provider.log.records[0].request_id
        assert (client.method, client.status, client.service_status) == ("POST", 200, 200)
        assert client.service == server.service == "TEST/GOV/2/reg/persons"

    within(tmp_path, story)


def test_a_message_may_ask_for_a_server(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        wanted = SecurityServerId("TEST", "GOV", "2", "SS2")
        extra = identifier(
            "securityServer",
            "SERVER",
            world.provider.owner,
            f"<i:serverCode>{wanted.server_code}</i:serverCode>",
        )
        answer_with(world, message("<personsResponse/>", extra=""))
        answer = await call(world, message(extra=extra))
        assert read(answer.body).header.request_hash is not None
        answer = await call(world, message(extra=extra.replace("SS2", "SS9")))
        assert fault_of(answer).code == f"{Q}.invalid_security_server"

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("data", "content_type", "headers", "method", "code"),
    [
        (message(), XML, (), "GET", "client.invalid_http_method"),
        (message(), XML, (), "PUT", "client.invalid_http_method"),
        (message(), "blah", (), "POST", "client.invalid_content_type"),
        (message(), XML, (("SOAPAction", "urn:x"),), "POST", "client.invalid_soap_action"),
        (b"", XML, (), "POST", "client.invalid_soap"),
        (b"", RELATED, (), "POST", "client.missing_soap"),
        (message().replace(b"4.0", b"3.0"), XML, (), "POST", "client.invalid_protocol_version"),
        (message("<other/>"), XML, (), "POST", "client.inconsistent_headers"),
        (message(query_id=""), XML, (), "POST", "client.internal_error"),
        (
            package(("text/xml", message())).replace(b"--b--", b"--b\r\nX: 1\r\n\r\n1\r\n--b--"),
            RELATED,
            (),
            "POST",
            "client.invalid_content_type",
        ),
        (
            package(("text/xml", message()), ("a/b", bytes(200_000)))[:-9],
            RELATED,
            (),
            "POST",
            "client.mime_parsing_failed",
        ),
        (encode_soap_fault(Fault("CODE", "s")), XML, (), "POST", "client.CODE"),
    ],
)
def test_what_the_consumer_did_wrong_is_its_own_fault(
    tmp_path: Path,
    *,
    data: bytes,
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    method: str,
    code: str,
) -> None:
    async def story(world: World) -> None:
        answer = await call(world, data, content_type, headers, method)
        assert fault_of(answer).code == code
        assert world.called == []
        assert world.consumer.log.records == []

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (ANSWER, XML, 404, "http_error"),
        (ANSWER, XML, 302, "http_error"),
        (ANSWER, None, 200, "invalid_content_type"),
        (ANSWER, "text/plain", 200, "invalid_content_type"),
        (b"", XML, 200, "invalid_soap"),
        (b"", RELATED, 200, "invalid_message"),
        (b"no parts", RELATED, 200, "invalid_message"),
        (ANSWER.replace(b"4.0", b"5"), XML, 200, "invalid_protocol_version"),
        (ANSWER.replace(b"<x:id>q-1</x:id>", b""), XML, 200, "missing_header_field"),
        (ANSWER.replace(b"s:Header", b"s:Head"), XML, 200, "missing_header"),
        (ANSWER.replace(b"s:Body", b"s:Bod"), XML, 200, "missing_body"),
        (message("<personsResponse/><b/>"), XML, 200, "invalid_body"),
        (
            package(("text/xml", ANSWER)).replace(b"--b--", b"--b\r\nX: 1\r\n\r\n1\r\n--b--"),
            RELATED,
            200,
            "invalid_content_type",
        ),
        (package(("text/xml", ANSWER), ("a/b", b"1"))[:-9], RELATED, 200, "mime_parsing_failed"),
    ],
)
def test_what_the_service_did_wrong_is_told_as_its_failure(
    tmp_path: Path, data: bytes, content_type: str | None, status: int, code: str
) -> None:
    async def story(world: World) -> None:
        answer_with(world, data, content_type, status)
        answer = await call(world, message())
        assert fault_of(answer).code == f"{P}.{S}.{code}"
        for server in (world.consumer, world.provider):
            assert [record.direction for record in server.log.records] == [Direction.REQUEST]

    within(tmp_path, story)


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER.replace(b"q-1", b"q-2"),
        ANSWER.replace(b"EE1", b"EE2"),
        ANSWER.replace(b"app<", b"other<"),
        ANSWER.replace(b"persons<", b"person<"),
        message("<personsResponse/>", extra=""),
    ],
)
def test_an_answer_to_something_else_is_refused(tmp_path: Path, answer: bytes) -> None:
    async def story(world: World) -> None:
        answer_with(world, answer)
        assert fault_of(await call(world, message())).code == f"{Q}.{S}.inconsistent_response"
        assert len(world.consumer.log.records) == 1

    within(tmp_path, story)


def test_an_older_hash_of_the_service_is_replaced(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer_with(
            world,
            message(
                "<personsResponse/>",
                extra="<x:requestHash>x</x:requestHash><x:userId>EE1</x:userId>",
            ),
        )
        answer = await call(world, message())
        check_correlation(read(message()), read(answer.body))

    within(tmp_path, story)


Arrange = Callable[[World], None]


def unknown_client(world: World) -> None:
    world.consumer.clients.clear()


def tls_required(world: World) -> None:
    world.consumer.put_client(CLIENT, connection_type="SSLNOAUTH")


def no_sign_certificate(world: World) -> None:
    world.consumer.signer.listed = []


def client_log_fails(world: World) -> None:
    world.consumer.log.failure = ConfigurationError("full", code=FaultCode.LOGGING_FAILED)


def provider_log_fails(world: World) -> None:
    world.provider.log.failure = ConfigurationError("full", code=FaultCode.LOGGING_FAILED)


def rest_service(world: World) -> None:
    world.offer()


def no_service(world: World) -> None:
    world.provider.put_client(REGISTER)


def no_right(world: World) -> None:
    world.offer(type="WSDL", subject=SubsystemId("TEST", "COM", "1", "other"))


def right_to_one_endpoint(world: World) -> None:
    world.offer(type="WSDL", endpoint=("POST", "/**"))


def disabled(world: World) -> None:
    world.offer(type="WSDL", disabled=True, disabled_notice="gone")


def no_address(world: World) -> None:
    world.offer(type="WSDL", url="")


def service_down(world: World) -> None:
    world.offer(type="WSDL", url="http://127.0.0.1:1/")


def provider_unregistered(world: World) -> None:
    world.provider.clients[REGISTER] = msgspec.structs.replace(
        world.provider.clients[REGISTER], status="saved"
    )


@pytest.mark.parametrize(
    ("arrange", "code"),
    [
        (unknown_client, f"{Q}.unknown_member"),
        (tls_required, f"{Q}.ssl_authentication_failed"),
        (no_sign_certificate, f"{Q}.cannot_create_signature"),
        (client_log_fails, f"{Q}.logging_failed"),
        (provider_log_fails, f"{P}.logging_failed"),
        (provider_unregistered, f"{P}.{S}.unknown_member"),
        (no_service, f"{P}.unknown_service"),
        (rest_service, f"{P}.service_type"),
        (no_right, f"{P}.access_denied"),
        (right_to_one_endpoint, f"{P}.access_denied"),
        (disabled, f"{P}.service_disabled"),
        (no_address, f"{P}.service_missing_url"),
        (service_down, f"{P}.{S}.network_error"),
    ],
)
def test_a_refusal_names_its_rule(tmp_path: Path, arrange: Arrange, code: str) -> None:
    async def story(world: World) -> None:
        arrange(world)
        answer = await call(world, message())
        fault = fault_of(answer)
        assert fault.code == code
        assert fault.detail.startswith("id-")
        assert world.called == []

    within(tmp_path, story)


def test_the_version_of_a_service_must_exist_but_rights_are_for_its_code(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        versioned = b"persons</i:serviceCode><i:serviceVersion>v1</i:serviceVersion>"
        request = message().replace(b"persons</i:serviceCode>", versioned)
        assert fault_of(await call(world, request)).code == f"{P}.unknown_service"
        world.offer(type="WSDL", service_version="v1")
        answer_with(world, ANSWER.replace(b"persons</i:serviceCode>", versioned))
        check_correlation(read(request), read((await call(world, request)).body))

    within(tmp_path, story)
