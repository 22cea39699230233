"""SOAP messages between the information systems of ``support.exchange``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.adapters.http_client import FetchedResponse
from postroad.identifiers import ClientId, SubsystemId
from postroad.messages.faults import Fault, parse_soap_fault
from support.exchange import CLIENT, REGISTER, World
from support.soap_messages import VERSION, body, envelope, header

if TYPE_CHECKING:
    from postroad.adapters.http_server import Request, Responder

HeaderList = tuple[tuple[str, str], ...]
XML = "text/xml; charset=UTF-8"
RELATED = "multipart/related; boundary=b"


def identifier(field: str, kind: str, client: ClientId, extra: str = "") -> str:
    names = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
    parts = "".join(
        f"<i:{name}>{part}</i:{name}>" for name, part in zip(names, client.parts, strict=False)
    )
    return f'<x:{field} i:objectType="{kind}">{parts}{extra}</x:{field}>'


def message(
    content: str = "<persons>1</persons>",
    *,
    client: ClientId = CLIENT,
    provider: SubsystemId = REGISTER,
    extra: str = "<x:userId>EE1</x:userId>",
    query_id: str = "q-1",
    service_code: str = "persons",
) -> bytes:
    """A message to the service ``persons``, or its answer."""
    code = f"<i:serviceCode>{service_code}</i:serviceCode>"
    fields = (
        identifier("client", "SUBSYSTEM", client)
        + identifier("service", "SERVICE", provider, code)
        + f"\n  <x:id>{query_id}</x:id>\n"
        + VERSION
        + extra
    )
    return envelope(header(fields), body(content))


ANSWER = message("<personsResponse>2</personsResponse>")


def package(*parts: tuple[str, bytes]) -> bytes:
    """A package with boundary ``b``."""
    content = b"".join(
        f"\r\n--b\r\ncontent-type: {kind}\r\n\r\n".encode() + octets for kind, octets in parts
    )
    return content.removeprefix(b"\r\n") + b"\r\n--b--\r\n"


async def call(
    world: World,
    data: bytes,
    content_type: str = XML,
    headers: HeaderList = (),
    method: str = "POST",
) -> FetchedResponse:
    """Call as the consumer's information system."""
    answer = await world.client.fetch(
        method,
        f"http://127.0.0.1:{world.port}/any/path",
        headers=(("Content-Type", content_type), *headers),
        body=data,
        timeout=20,
        max_body=1 << 30,
    )
    assert answer.status == 200
    return answer


def fault_of(answer: FetchedResponse) -> Fault:
    assert answer.header("content-type") == "text/xml;charset=utf-8"
    return parse_soap_fault(answer.body)


def answer_with(
    world: World, data: bytes = ANSWER, content_type: str | None = XML, status: int = 200
) -> None:
    """Let the service answer so."""

    async def service(request: Request, responder: Responder) -> None:
        asked = await request.body.read_all(1 << 30)
        world.called.append((request.method, request.target, request.headers, asked))
        headers = [] if content_type is None else [("Content-Type", content_type)]
        await responder.respond(status, headers, data)

    world.service = service
