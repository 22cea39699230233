"""Requests that say one thing to the exchange, which grants by the header, and another in the body.

Deletions carry no signature: what passes for one must be one, of the sender's own server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from postroad.centralserver.management_service import Answer, ManagementService
from postroad.centralserver.node import CentralServerNode
from postroad.centralserver.registry import servers
from postroad.centralserver.registry.change import list_change_log
from postroad.centralserver.registry.management_requests import approve_request
from postroad.identifiers import MemberId, SubsystemId
from postroad.management.envelope import AttachedPart, encode_multipart, parse_reply
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    AuthCertRegistration,
    ClientDeletion,
    ClientDisabling,
    ClientRegistration,
    ManagementRequest,
    service_code_of,
)
from postroad.messages.faults import Fault, encode_soap_fault, parse_soap_fault
from support.central_server import CLIENT, OTHER_SERVER, SERVER, auth_certificate
from support.management import BOUNDARY, Letter, asker_of, found_node

PLAIN = "text/xml;charset=UTF-8"
SHOP = SubsystemId("DEV", "GOV", "2", "shop")
MALLORY = asker_of(OTHER_SERVER)
OWN_DELETION = ClientDeletion(OTHER_SERVER, CLIENT)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralServerNode]:
    node = found_node(tmp_path_factory.mktemp("central"))
    yield node
    node.close()


def told(answer: Answer) -> Fault:
    assert answer.status == 500, answer.body
    return parse_soap_fault(answer.body)


def log_length(node: CentralServerNode) -> int:
    with node.reading() as session:
        return list_change_log(session, limit=1)[0].sequence


def disguised(request: ManagementRequest, header: ManagementRequest) -> bytes:
    """The body of one request under the header of another."""
    code, claimed = service_code_of(request).value, service_code_of(header).value
    old, new = (f"<id:serviceCode>{each}</id:serviceCode>".encode() for each in (code, claimed))
    soap = MALLORY.soap(request)
    assert old in soap
    return soap.replace(old, new)


def edited(*changes: tuple[bytes, bytes]) -> bytes:
    soap = MALLORY.soap(OWN_DELETION)
    for old, new in changes:
        assert old in soap
        soap = soap.replace(old, new)
    return soap


def body_of(soap: bytes) -> bytes:
    start, end = soap.index(b"<SOAP-ENV:Body>") + 15, soap.index(b"</SOAP-ENV:Body>")
    return soap[start:end]


def second_body() -> bytes:
    soap = MALLORY.soap(OWN_DELETION)
    stolen = body_of(MALLORY.soap(ClientDeletion(SERVER, CLIENT)))
    return soap.replace(b"</SOAP-ENV:Body>", stolen + b"</SOAP-ENV:Body>")


UNSIGNED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a signed kind as a deletion": (
        lambda: disguised(ClientDisabling(OTHER_SERVER, CLIENT), OWN_DELETION),
        "inconsistent_headers",
    ),
    "an address as a deletion": (
        lambda: disguised(AddressChange(OTHER_SERVER, "bad.example"), OWN_DELETION),
        "inconsistent_headers",
    ),
    "one deletion as the other": (
        lambda: disguised(
            AuthCertDeletion(OTHER_SERVER, auth_certificate(OTHER_SERVER)), OWN_DELETION
        ),
        "inconsistent_headers",
    ),
    "a registration where only exchanged requests come": (
        lambda: MALLORY.soap(
            AuthCertRegistration(OTHER_SERVER, auth_certificate(OTHER_SERVER, 5), "a.example")
        ),
        "invalid_request",
    ),
    "a signed kind without its signature": (
        lambda: MALLORY.soap(ClientRegistration(OTHER_SERVER, SHOP)),
        "invalid_request",
    ),
    "an unknown service": (
        lambda: edited((b"clientDeletion", b"memberDeletion")),
        "invalid_request",
    ),
    "a body of another namespace": (
        lambda: edited(
            (b"<xroad:clientDeletion ", b'<x:clientDeletion xmlns:x="urn:x" '),
            (b"</xroad:clientDeletion>", b"</x:clientDeletion>"),
        ),
        "invalid_request",
    ),
    "two requests in one body": (second_body, "invalid_body"),
    "a response": (
        lambda: edited(
            (b"<xroad:clientDeletion ", b"<xroad:clientDeletionResponse "),
            (b"</xroad:clientDeletion>", b"</xroad:clientDeletionResponse>"),
        ),
        "invalid_request",
    ),
    "a subsystem of the owner as the sender": (
        lambda: MALLORY.soap(OWN_DELETION, sender=CLIENT),  # on purpose
        "invalid_request",
    ),
    "a namesake from another instance": (
        lambda: MALLORY.soap(OWN_DELETION, sender=MemberId("FI", "GOV", "2")),
        "invalid_request",
    ),
    "a message to another provider": (
        lambda: MALLORY.soap(OWN_DELETION, provider=CLIENT),
        "invalid_request",
    ),
    "somebody else's certificate": (
        lambda: MALLORY.soap(AuthCertDeletion(OTHER_SERVER, auth_certificate(SERVER))),
        "internal_error",
    ),
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_an_unsigned_message_is_a_deletion_of_ones_own_or_nothing(
    node: CentralServerNode, name: str
) -> None:
    make, code = UNSIGNED[name]
    before = log_length(node)
    fault = told(ManagementService(node).answer_management(PLAIN, make(), "t"))
    assert fault.code == code, fault.string
    assert log_length(node) == before
    with node.reading() as session:
        assert len(servers.load_server(session, SERVER).auth_certificates) == 1


def test_what_is_beside_a_deletion_is_not_overlooked(node: CentralServerNode) -> None:
    """Somebody else's signed request must not ride on a message that needs no signature."""
    honest = asker_of(SERVER).signed(ClientRegistration(SERVER, SHOP))
    letter = Letter(soap=MALLORY.soap(OWN_DELETION), parts=honest.parts)
    assert told(ManagementService(node).answer_management(*letter.sent, "t")).code == (
        "invalid_request"
    )
    swapped = replace(honest, soap=b"\x00", parts=(AttachedPart(honest.soap), *honest.parts))
    fault = told(ManagementService(node).answer_management(*swapped.sent, "t"))
    assert fault.code in {"invalid_xml", "invalid_soap"}


def test_the_first_part_must_be_the_message(node: CentralServerNode) -> None:
    content_type, body = encode_multipart(MALLORY.soap(OWN_DELETION), (), BOUNDARY)
    moved = body.replace(b"text/xml", b"text/html", 1)
    assert moved != body
    fault = told(ManagementService(node).answer_management(content_type, moved, "t"))
    assert fault.code == "invalid_request"


def test_a_fault_is_no_request(node: CentralServerNode) -> None:
    soap = encode_soap_fault(Fault("invalid_request", "do as I say"))
    assert ManagementService(node).answer_management(PLAIN, soap, "t").status == 500


def test_a_replayed_deletion_does_not_end_the_next_registration(node: CentralServerNode) -> None:
    service = ManagementService(node)
    registration = MALLORY.signed(ClientRegistration(OTHER_SERVER, SHOP))
    deletion = MALLORY.soap(ClientDeletion(OTHER_SERVER, SHOP))

    def register(letter: Letter) -> None:
        number = parse_reply(service.answer_management(*letter.sent, "t").body, letter.soap)
        with node.changing("tester") as change:
            approve_request(change, number)

    register(registration)
    assert service.answer_management(PLAIN, deletion, "t").status == 200
    register(MALLORY.signed(ClientRegistration(OTHER_SERVER, SHOP)))
    fault = told(service.answer_management(PLAIN, deletion, "t"))
    assert fault.string == "management_request_exists with statusCode 409"
    with node.reading() as session:
        found = servers.load_server(session, OTHER_SERVER)
        assert SHOP in {servers.client_of(session, row) for row in found.clients}
