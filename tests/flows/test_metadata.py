"""Metadata services through two servers: who sees what, signed and logged like any message."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from postroad.adapters.http_client import HttpClient
from postroad.evidence.digests import PartDigest
from postroad.evidence.verification import SignatureDocument, verify_message_signature
from postroad.identifiers import LocalGroupId, SubsystemId
from postroad.messages.soap import SoapEnvelope, check_correlation
from postroad.messages.soap_reading import read_soap
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES
from postroad.securityserver import metadata_services
from postroad.securityserver.messagelog.records import InlineBody
from postroad.securityserver.metadata_services import MetadataServices
from postroad.securityserver.serverconf.snapshot import (
    EndpointEntry,
    ServiceEntry,
    subject_text,
)
from postroad.securityserver.signing import DIGEST
from postroad.wire.mime import MediaType
from support.exchange import CLIENT, NOW, REGISTER, PlainServices, World
from support.soap_exchange import RELATED, XML, call, fault_of, message, package

if TYPE_CHECKING:
    from postroad.adapters.http_client import FetchedResponse
    from postroad.adapters.http_server import Request, Responder
    from postroad.identifiers import ClientId

VECTORS = Path(__file__).parents[1] / "data" / "reference" / "messages" / "metaservice"
P = "server.serverproxy"
OTHER = SubsystemId("TEST", "COM", "1", "other")
BASE = "/r1/TEST/GOV/2/reg"
WSDL = (
    b"<?xml version='1.0'?><d xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/'>"
    b"<s:address location='http://10.0.0.1/'/></d>"
)
MASKED_WSDL = WSDL.replace(b"'http://10.0.0.1/'", b'"http://example.org/xroad-endpoint"')


def entry(code: str, kind: str, version: str | None = None, **changes: object) -> ServiceEntry:
    values = {
        "service_code": code,
        "service_version": version,
        "type": kind,
        "url": "http://10.0.0.1/",
        "timeout": 10,
        "verify_tls": False,
        "disabled": False,
        "disabled_notice": "",
        "description_url": "http://10.0.0.1/",
    } | changes
    return ServiceEntry(**values)  # the values are those above


def endpoint(code: str, method: str, path: str, *subjects: object) -> EndpointEntry:
    return EndpointEntry(
        code, method, path, tuple(subject_text(each) for each in subjects)
    )  # subjects


def offer(world: World) -> None:
    """Offer services of every kind; CLIENT has rights on some of them."""
    description_url = world.service_url.replace("/api", "/description")
    world.provider.put_client(
        REGISTER,
        services=(
            entry("find", "WSDL", "v1", description_url=description_url, disabled=True),
            entry("find", "WSDL", "v2"),
            entry("hidden", "WSDL"),
            entry("persons", "REST"),
            entry("cars", "OPENAPI3", description_url=f"{description_url}.json"),
            entry("boats", "OPENAPI3", description_url=description_url),
        ),
        endpoints=(
            endpoint("find", "*", "**", LocalGroupId("friends")),
            endpoint("hidden", "*", "**", OTHER),
            endpoint("persons", "*", "**", CLIENT),
            endpoint("persons", "GET", "/a"),
            endpoint("cars", "*", "**"),
            endpoint("cars", "GET", "/cars/*", CLIENT),
            endpoint("cars", "DELETE", "/cars/*", OTHER),
            endpoint("boats", "*", "**"),
            endpoint("boats", "GET", "/boats"),
        ),
    )
    known = world.provider.clients[REGISTER]
    world.provider.clients[REGISTER] = msgspec.structs.replace(
        known, local_groups=(("friends", (CLIENT.encoded(),)),)
    )


Story = Callable[[World], Awaitable[None]]


def within(tmp_path: Path, story: Story) -> None:
    async def run() -> None:
        world = World(tmp_path)
        services = MetadataServices(PlainServices(world.provider.http), world.new_id)
        world.provider.builtin = services.builtin
        async with asyncio.timeout(30), world:
            offer(world)
            await story(world)
            assert world.provider.unexpected == []
            assert world.consumer.unexpected == []
        for server in (world.consumer, world.provider):
            assert list((server.home / "spool").iterdir()) == []

    asyncio.run(run())


def describe(world: World, data: bytes, content_type: str | None = None, status: int = 200) -> None:
    async def service(request: Request, responder: Responder) -> None:
        world.called.append((request.method, request.target, request.headers, b""))
        headers = [] if content_type is None else [("Content-Type", content_type)]
        await responder.respond(status, headers, data)

    world.service = service


async def ask(
    world: World, code: str, content: str = "", client: ClientId = CLIENT
) -> FetchedResponse:
    body = f"<x:{code}>{content}</x:{code}>"
    return await call(world, message(body, service_code=code, client=client))


def assert_logged(world: World) -> None:
    """Both servers hold question and answer, and their signatures hold."""
    for server in (world.consumer, world.provider):
        asked, answered = server.log.records
        for record, signer in ((asked, CLIENT), (answered, REGISTER)):
            parts = {"/message.xml": PartDigest.of("/message.xml", record.message, DIGEST)}
            for number, kept in enumerate(record.attachments, 1):
                assert isinstance(kept, InlineBody)
                name = f"/attachment{number}"
                parts[name] = PartDigest.of(name, kept.data, DIGEST)
            document = SignatureDocument(
                record.signature, record.hash_chain_result, record.hash_chain
            )
            verify_message_signature(
                document, signer=signer, parts=parts, globalconf=world.globalconf, at=NOW
            )


def codes(answer: FetchedResponse) -> list[tuple[str, list[str]]]:
    return [
        (
            f"{service['service_code']} {service['service_type']}",
            [f"{each['method']} {each['path']}" for each in service["endpoint_list"]],
        )
        for service in json.loads(answer.body)["service"]
    ]


# --- REST ----------------------------------------------------------------------------------------


def test_everybody_may_list_rest_services_and_gets_it_signed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.call("GET", f"{BASE}/listMethods", (("X-Own", "1"),))
        assert (answer.status, answer.header("content-type")) == (200, "application/json")
        assert codes(answer) == [
            ("persons REST", ["GET /a"]),
            ("cars OPENAPI", ["GET /cars/*", "DELETE /cars/*"]),
            ("boats OPENAPI", ["GET /boats"]),
        ]
        assert answer.header("x-own") is None  # headers of the question aren't repeated
        assert answer.header("x-road-request-hash")
        assert world.called == []
        assert_logged(world)

    within(tmp_path, story)


def test_allowed_methods_are_those_that_the_caller_has_rights_on(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await world.call("GET", f"{BASE}/allowedMethods")
        assert codes(answer) == [
            ("persons REST", ["GET /a"]),
            ("cars OPENAPI", ["GET /cars/*"]),
        ]

    within(tmp_path, story)


def test_other_methods_and_names_are_ordinary_services(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        for method, code in (("POST", "listMethods"), ("GET", "ListMethods"), ("GET", "getWsdl")):
            answer = await world.call(method, f"{BASE}/{code}")
            assert answer.header("X-Road-Error") == f"{P}.unknown_service"

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("code", "content_type", "data", "masked"),
    [
        ("cars", None, b'{"servers": [{"url":"http://h/v1"}]}', b'{"servers":[{"url":"/v1"}]}'),
        ("boats", None, b"servers: [{url: http://h/v1}] # c", b'servers: [{url: "/v1"}] # c'),
        ("boats", "application/json", b'{"a" : 1}', b'{"a":1}'),
        ("cars", "application/x-yaml", b"a: 1", b"a: 1"),
    ],
)
def test_an_openapi_document_comes_without_its_hosts(
    tmp_path: Path, code: str, content_type: str | None, data: bytes, masked: bytes
) -> None:
    async def story(world: World) -> None:
        describe(world, data, content_type)
        answer = await world.call("GET", f"{BASE}/getOpenAPI?x=1&SERVICECODE={code}")
        assert (answer.status, answer.body) == (200, masked)
        assert answer.header("content-type") == content_type or "text/plain"
        assert [called[0] for called in world.called] == ["GET"]
        assert_logged(world)

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 200, "invalid_request"),
        ("?serviceCode=", 200, "invalid_request"),
        ("?serviceCode=none", 200, "internal_error"),
        ("?serviceCode=persons", 200, "internal_error"),
        ("?serviceCode=find", 200, "internal_error"),
        ("?serviceCode=cars", 403, "internal_error"),
        ("?serviceCode=cars", 302, "internal_error"),
    ],
)
def test_no_openapi_document_is_told_with_the_code_of_the_reference(
    tmp_path: Path, query: str, status: int, code: str
) -> None:
    async def story(world: World) -> None:
        describe(world, b"{}", status=status)
        answer = await world.call("GET", f"{BASE}/getOpenAPI{query}")
        assert answer.header("X-Road-Error") == f"{P}.{code}"
        assert b"127.0.0.1" not in answer.body

    within(tmp_path, story)


# --- SOAP ----------------------------------------------------------------------------------------


def test_everybody_may_list_soap_services_and_gets_it_signed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await ask(world, "listMethods")
        assert answer.header("content-type") == XML
        for expected in (b">v1<", b">v2<", b">hidden<"):
            assert answer.body.count(expected) == 1
        assert b"persons" not in answer.body
        document = read_soap(answer.body)
        assert isinstance(document, SoapEnvelope)
        question = read_soap(message("<x:listMethods></x:listMethods>", service_code="listMethods"))
        assert isinstance(question, SoapEnvelope)
        check_correlation(question, document)
        assert_logged(world)

    within(tmp_path, story)


def test_allowed_soap_methods_are_those_that_the_caller_may_call(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        answer = await ask(world, "allowedMethods")
        assert (answer.body.count(b">find<"), answer.body.count(b">hidden<")) == (2, 0)
        world.consumer.put_client(OTHER)
        world.configure(consumer_clients=(CLIENT, OTHER))
        answer = await ask(world, "allowedMethods", client=OTHER)
        assert (answer.body.count(b">find<"), answer.body.count(b">hidden<")) == (0, 1)

    within(tmp_path, story)


def test_a_wsdl_comes_beside_the_answer_without_its_address(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        describe(world, WSDL)
        asked = "<x:serviceCode>find</x:serviceCode><x:serviceVersion>v1</x:serviceVersion>"
        answer = await ask(world, "getWsdl", asked)
        media_type = MediaType.parse(answer.header("content-type") or "")
        assert (media_type.base, media_type.parameter("type")) == ("multipart/related", "text/xml")
        assert b"<x:getWsdlResponse>" + asked.encode() + b"</x:getWsdlResponse>" in answer.body
        _first, soap, wsdl, _last = answer.body.split(f"--{media_type.boundary()}".encode())
        assert b"content-type: text/xml; charset=UTF-8\r\n" in soap.lower().replace(b"utf", b"UTF")
        head, _, data = wsdl.partition(b"\r\n\r\n")
        assert data == MASKED_WSDL + b"\r\n"
        lines = head.decode().lower().split("\r\n")[1:]
        assert lines[:2] == ["content-type: text/xml", "content-transfer-encoding: binary"]
        assert lines[2].startswith("content-id: <wsdl=")
        assert_logged(world)

    within(tmp_path, story)


def test_a_question_with_attachments_is_answered_too(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        question = message("<x:listMethods/>", service_code="listMethods")
        answer = await call(world, package(("text/xml", question), ("a/b", b"c")), RELATED)
        assert b"listMethodsResponse" in answer.body
        assert_logged(world)

    within(tmp_path, story)


@pytest.mark.parametrize(
    ("asked", "data", "status", "code"),
    [
        ("", WSDL, 200, "invalid_request"),
        ("<x:serviceCode>none</x:serviceCode>", WSDL, 200, "unknown_service"),
        ("<x:serviceCode>find</x:serviceCode>", WSDL, 200, "unknown_service"),
        ("<x:serviceCode>persons</x:serviceCode>", WSDL, 200, "service_type"),
        ("find", WSDL, 403, "internal_error"),
        ("find", b"not XML", 200, "internal_error"),
        ("find", b" " * (MAX_DESCRIPTION_BYTES + 1), 200, "internal_error"),
    ],
)
def test_no_wsdl_is_told_with_the_code_of_the_reference(
    tmp_path: Path, asked: str, data: bytes, status: int, code: str
) -> None:
    if asked == "find":
        asked = "<x:serviceCode>find</x:serviceCode><x:serviceVersion>v1</x:serviceVersion>"

    async def story(world: World) -> None:
        describe(world, data, status=status)
        assert fault_of(await ask(world, "getWsdl", asked)).code == f"{P}.{code}"

    within(tmp_path, story)


# --- what it may cost ----------------------------------------------------------------------------


def test_a_description_that_does_not_come_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_services, "FETCH_SECONDS", 0.3)

    async def story(world: World) -> None:
        async def service(request: Request, responder: Responder) -> None:
            await responder.start(200, [])
            while True:
                await responder.write(b"x")
                await asyncio.sleep(0.05)

        world.service = service
        answer = await world.call("GET", f"{BASE}/getOpenAPI?serviceCode=cars")
        assert answer.header("X-Road-Error") == f"{P}.network_error"
        world.provider.unexpected.clear()  # the service's own connection broke

    within(tmp_path, story)


def test_a_provider_that_is_not_registered_has_no_metadata(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        known = world.provider.clients[REGISTER]
        world.provider.clients[REGISTER] = msgspec.structs.replace(known, status="saved")
        fault = fault_of(await ask(world, "listMethods"))
        assert fault.code == f"{P}.service_failed.unknown_member"

    within(tmp_path, story)


# --- the reference's samples ---------------------------------------------------------------------

SAMPLES = {
    "allowedMethods.query": "allowedMethods",
    "getWsdl.query": "getWsdl",
    "listMethods.query": "listMethods",
    # Not metadata: an ordinary service, and monitoring, which others register.
    "dummy.query": None,
    "getMetrics.query": None,
    "getstate.query": None,
}


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.iterdir()))
def test_the_references_samples_are_metadata_or_not(name: str) -> None:
    document = read_soap((VECTORS / name).read_bytes())
    assert isinstance(document, SoapEnvelope)
    code = document.header.service.service_code
    offered = MetadataServices(PlainServices(HttpClient()), lambda: "id").builtin.soap
    assert (code in offered, code) == (SAMPLES[name] is not None, SAMPLES[name] or code)
