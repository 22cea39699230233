"""What a peer, a service or a consumer could try with SOAP messages in particular."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import encode_pem, peer_server_context
from postroad.evidence.digests import PartDigest
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction, SoapMessage
from postroad.messages.faults import Fault, encode_soap_fault
from postroad.messages.soap import SoapEnvelope
from postroad.messages.soap_reading import read_soap
from postroad.messages.soap_writing import with_request_hash
from postroad.securityserver.messagelog.records import Direction as LogDirection
from postroad.securityserver.signing import DIGEST, MessageSignature
from postroad.trustlab.authority import Identity
from support.attacker import send, sign
from support.exchange import World, pem_of
from support.soap_exchange import (
    ANSWER,
    RELATED,
    XML,
    answer_with,
    call,
    fault_of,
    identifier,
    message,
)

P, Q, S = "server.serverproxy", "server.clientproxy", "service_failed"
Story = Callable[[World], Awaitable[None]]
HeaderList = tuple[tuple[str, str], ...]


def against(tmp_path: Path, story: Story) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), World(tmp_path) as world:
            world.offer(type="WSDL")
            answer_with(world)
            await story(world)
            assert world.provider.unexpected == []
            assert world.consumer.unexpected == []

    asyncio.run(run())


def parts_of(xml: bytes, attachments: tuple[bytes, ...]) -> list[PartDigest]:
    return [
        PartDigest.of("/message.xml", xml, DIGEST),
        *(
            PartDigest.of(f"/attachment{number}", octets, DIGEST)
            for number, octets in enumerate(attachments, 1)
        ),
    ]


def encode(
    world: World,
    direction: Direction,
    xml: bytes,
    attachments: tuple[bytes, ...] = (),
    *,
    signature: MessageSignature | None = None,
    signer: Identity | None = None,
) -> bytes:
    """A SOAP transport message with boundary ``b``, signed as it is unless a signature is given."""
    encoder = TransportEncoder("b", direction)
    data = b""
    own = world.consumer if direction is Direction.REQUEST else world.provider
    if direction is Direction.REQUEST:
        data += encoder.ocsp(own.ocsp.responses[own.auth.certificate.sha1])
    data += encoder.soap("text/xml", xml)
    for octets in attachments:
        data += encoder.attachment("a/b", nested_boundary="q") + encoder.attachment_data(octets)
    signature = signature or sign(world, signer or own.sign, parts_of(xml, attachments))
    if signature.hash_chain_result is not None:
        data += encoder.hash_chain_result(signature.hash_chain_result)
        data += encoder.hash_chain(signature.hash_chain or b"")
    return data + encoder.signature(signature.signature) + encoder.finish()


def headers(original_type: str = XML, action: str = "") -> HeaderList:
    return (
        ("Content-Type", "multipart/mixed; charset=UTF-8; boundary=b"),
        ("x-hash-algorithm", "SHA-512"),
        ("x-original-content-type", original_type),
        ("x-original-soapaction", action),
        ("x-road-request-id", "r"),
    )


async def ask(world: World, data: bytes, head: HeaderList | None = None) -> str:
    return await send(world, data, headers=head or headers())


def answer_to(request: SoapEnvelope, answer: bytes = ANSWER) -> bytes:
    document = read_soap(answer)
    assert isinstance(document, SoapEnvelope)
    return with_request_hash(document, request.digest)


async def become_provider(
    world: World, answer: Callable[[SoapEnvelope], bytes], original_type: str = XML
) -> None:
    """Take the provider's server's place."""

    async def handle(request: Request, responder: Responder) -> None:
        decoder = TransportDecoder(
            request.header("content-type") or "", direction=Direction.REQUEST
        )
        events = decoder.feed(await request.body.read_all(1 << 30))
        (soap,) = [event for event in events if isinstance(event, SoapMessage)]
        assert isinstance(soap.document, SoapEnvelope)
        await responder.respond(200, headers(original_type)[:3], answer(soap.document))

    context = peer_server_context(
        pem_of(world.provider.auth),
        encode_pem(world.provider.auth.certificate.der),
        [certificate.der for certificate in world.lab.ca_certificates],
    )
    server = HttpServer(handle)
    world.stack.push_async_callback(server.drain, 0.1)
    world.provider.peer_port = (await server.listen("127.0.0.1", 0, tls=context)).port


def test_an_honest_request_passes(tmp_path: Path) -> None:
    """The forged requests below differ from this in one point each."""

    async def story(world: World) -> None:
        data = encode(world, Direction.REQUEST, message(), (b"one",))
        assert await ask(world, data, headers(RELATED)) == ""
        assert b"\r\n\r\none\r\n--b--\r\n" in world.called[0][3]

    against(tmp_path, story)


def other_message(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(message(), ()))
    return encode(world, Direction.REQUEST, message(query_id="other"), signature=signature)


def other_spelling(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(message(), ()))
    return encode(world, Direction.REQUEST, message() + b"\n", signature=signature)


def other_attachment(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(message(), (b"one",)))
    return encode(world, Direction.REQUEST, message(), (b"two",), signature=signature)


def swapped_attachments(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(message(), (b"one", b"two")))
    return encode(world, Direction.REQUEST, message(), (b"two", b"one"), signature=signature)


def uncovered_attachment(world: World) -> bytes:
    signature = sign(world, world.consumer.sign, parts_of(message(), ()))
    return encode(world, Direction.REQUEST, message(), (b"one",), signature=signature)


def signed_by_the_provider(world: World) -> bytes:
    return encode(world, Direction.REQUEST, message(), signer=world.provider.sign)


def a_fault(world: World) -> bytes:
    return encode(world, Direction.REQUEST, encode_soap_fault(Fault("c", "s")))


def for_another_server(world: World) -> bytes:
    code = "<i:serverCode>SS1</i:serverCode>"
    extra = identifier("securityServer", "SERVER", world.consumer.owner, code)
    return encode(world, Direction.REQUEST, message(extra=extra))


def two_bodies(world: World) -> bytes:
    xml = message().replace(b"<s:Body>", b"<s:Body><persons>evil</persons></s:Body><s:Body>")
    return encode(world, Direction.REQUEST, xml)


def an_entity(world: World) -> bytes:
    xml = b"<!DOCTYPE x [<!ENTITY e 'q-1'>]>" + message(query_id="&e;")
    return encode(world, Direction.REQUEST, xml)


def too_deep(world: World) -> bytes:
    return encode(
        world, Direction.REQUEST, message(f"<persons>{'<a>' * 300}{'</a>' * 300}</persons>")
    )


V = f"{P}.signature_verification"


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (other_message, f"{V}.invalid_signature_value"),
        (other_spelling, f"{V}.invalid_signature_value"),
        (other_attachment, f"{V}.malformed_signature"),
        (swapped_attachments, f"{V}.malformed_signature"),
        (uncovered_attachment, f"{V}.malformed_signature"),
        (signed_by_the_provider, f"{V}.incorrect_certificate"),
        (a_fault, f"{P}.missing_soap"),
        (for_another_server, f"{P}.{S}.invalid_security_server"),
        (two_bodies, f"{P}.{S}.invalid_body"),
        (an_entity, f"{P}.{S}.invalid_soap"),
        (too_deep, f"{P}.{S}.invalid_soap"),
    ],
)
def test_refuses_a_forged_request(
    tmp_path: Path, forge: Callable[[World], bytes], code: str
) -> None:
    async def story(world: World) -> None:
        assert (await ask(world, forge(world), headers(RELATED))).startswith(code)
        assert world.called == []
        assert world.provider.log.records == []

    against(tmp_path, story)


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (headers(action="urn:x"), f"{P}.invalid_soap_action"),
        (headers("multipart/related"), f"{P}.invalid_content_type"),
        (headers("???"), f"{P}.invalid_content_type"),
        ((*headers(), ("x-road-message-type", "SOAP")), f"{P}.invalid_message"),
        ((*headers(), ("x-road-message-type", "REST")), f"{P}.invalid_message"),
    ],
)
def test_refuses_headers_that_mean_nothing(tmp_path: Path, head: HeaderList, code: str) -> None:
    async def story(world: World) -> None:
        assert await ask(world, encode(world, Direction.REQUEST, message()), head) == code
        assert world.called == []

    against(tmp_path, story)


SMUGGLED = b"signed\r\n--z\r\ncontent-type: a/b\r\n\r\nnever signed as a part of its own"


def test_a_peer_cannot_smuggle_parts_to_the_service(tmp_path: Path) -> None:
    """The boundary of the package isn't signed: chosen well, it would cut a signed part in two."""

    async def story(world: World) -> None:
        evil = headers("multipart/related; boundary=z")
        for data in (
            encode(world, Direction.REQUEST, message(), (SMUGGLED,)),
            encode(world, Direction.REQUEST, message("<persons>\n--z\n</persons>")),
        ):
            assert await ask(world, data, evil) == f"{P}.mime_parsing_failed"
        assert world.called == []
        data = encode(world, Direction.REQUEST, message(), (SMUGGLED,))
        assert await ask(world, data, headers(RELATED)) == ""

    against(tmp_path, story)


def test_a_peer_cannot_smuggle_parts_to_the_consumer(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        def answer(request: SoapEnvelope) -> bytes:
            return encode(world, Direction.RESPONSE, answer_to(request), (SMUGGLED,))

        await become_provider(world, answer, "multipart/related; boundary=z")
        assert fault_of(await call(world, message())).code == f"{Q}.{S}.mime_parsing_failed"

    against(tmp_path, story)


def test_an_honest_answer_passes(tmp_path: Path) -> None:
    """The forged answers below differ from this in one point each."""

    async def story(world: World) -> None:
        await become_provider(
            world, lambda request: encode(world, Direction.RESPONSE, answer_to(request))
        )
        assert b"<personsResponse>2</personsResponse>" in (await call(world, message())).body

    against(tmp_path, story)


Forge = Callable[[World], Callable[[SoapEnvelope], bytes]]


def without_hash(world: World) -> Callable[[SoapEnvelope], bytes]:
    return lambda _request: encode(world, Direction.RESPONSE, ANSWER)


def to_another_request(world: World) -> Callable[[SoapEnvelope], bytes]:
    other = read_soap(message("<persons>other</persons>"))
    assert isinstance(other, SoapEnvelope)
    return lambda _request: encode(world, Direction.RESPONSE, answer_to(other))


def for_another_client(world: World) -> Callable[[SoapEnvelope], bytes]:
    answer = ANSWER.replace(b"app<", b"other<")
    return lambda request: encode(world, Direction.RESPONSE, answer_to(request, answer))


def hash_put_in_later(world: World) -> Callable[[SoapEnvelope], bytes]:
    def forge(request: SoapEnvelope) -> bytes:
        signature = sign(world, world.provider.sign, parts_of(ANSWER, ()))
        return encode(world, Direction.RESPONSE, answer_to(request), signature=signature)

    return forge


def signed_by_the_client(world: World) -> Callable[[SoapEnvelope], bytes]:
    return lambda request: encode(
        world, Direction.RESPONSE, answer_to(request), signer=world.consumer.sign
    )


def not_signed(_world: World) -> Callable[[SoapEnvelope], bytes]:
    def forge(request: SoapEnvelope) -> bytes:
        part = TransportEncoder("b", Direction.RESPONSE).soap("text/xml", answer_to(request))
        return part + b"\r\n--b--\r\n"

    return forge


def rest_instead(_world: World) -> Callable[[SoapEnvelope], bytes]:
    def forge(_request: SoapEnvelope) -> bytes:
        encoder = TransportEncoder("b", Direction.RESPONSE)
        return encoder.rest_response(b"200\r\n\r\n") + encoder.signature(b"s") + encoder.finish()

    return forge


@pytest.mark.parametrize(
    ("forge", "code"),
    [
        (without_hash, f"{Q}.inconsistent_response"),
        (to_another_request, f"{Q}.inconsistent_response"),
        (for_another_client, f"{Q}.{S}.inconsistent_response"),
        (hash_put_in_later, f"{Q}.signature_verification.invalid_signature_value"),
        (signed_by_the_client, f"{Q}.signature_verification.incorrect_certificate"),
        (not_signed, f"{Q}.missing_signature"),
        (rest_instead, f"{Q}.{S}.invalid_message"),
    ],
)
def test_refuses_a_forged_answer(tmp_path: Path, forge: Forge, code: str) -> None:
    async def story(world: World) -> None:
        await become_provider(world, forge(world))
        assert fault_of(await call(world, message())).code == code
        directions = [record.direction for record in world.consumer.log.records]
        assert directions == [LogDirection.REQUEST]

    against(tmp_path, story)


@pytest.mark.parametrize(
    "xml",
    [
        b"<!DOCTYPE a [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>"
        + message("<persons>&e;</persons>"),
        b"\xff\xfe" + f"<!DOCTYPE a>{message().decode()}".encode("utf-16-le"),
        message("<persons>" + "<a>" * 1000 + "</a>" * 1000 + "</persons>"),
        message(extra="<x:y/>" * 1000),
        message(extra=f"<x:userId>{'x' * 200_000}</x:userId>"),
        message() + b"<a/>",
    ],
)
def test_a_consumers_xml_costs_nothing_but_a_fault(tmp_path: Path, xml: bytes) -> None:
    async def story(world: World) -> None:
        assert fault_of(await call(world, xml)).code == "client.invalid_soap"
        assert world.called == []

    against(tmp_path, story)


def test_a_services_xml_costs_nothing_but_a_fault(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer_with(world, b"<!DOCTYPE a [<!ENTITY e 'x'>]>" + ANSWER)
        assert fault_of(await call(world, message())).code == f"{P}.{S}.invalid_soap"

    against(tmp_path, story)
