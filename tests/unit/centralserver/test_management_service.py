"""What the Central Server answers, byte for byte where other servers look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from postroad.centralserver.management_service import Answer, ManagementService
from postroad.centralserver.node import CentralServerNode
from postroad.centralserver.registry.requests import list_requests, load_request
from postroad.centralserver.registry.servers import load_server
from postroad.identifiers import SubsystemId
from postroad.management.envelope import parse_reply
from postroad.management.requests import (
    AuthCertRegistration,
    ClientDeletion,
    ClientDisabling,
    ClientRegistration,
    MaintenanceEnd,
    OwnerChange,
)
from postroad.messages.faults import Fault, parse_soap_fault
from support.central_server import CLIENT, OTHER_SERVER, OWNER, SERVER, MovingClock
from support.management import Asker, Letter, asker_of, found_node, with_settings

PLAIN = "text/xml;charset=UTF-8"
SHOP = SubsystemId("DEV", "GOV", "2", "shop")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralServerNode]:
    node = found_node(tmp_path_factory.mktemp("central"))
    yield node
    node.close()


@pytest.fixture
def service(node: CentralServerNode) -> ManagementService:
    return ManagementService(node)


@pytest.fixture
def asker() -> Asker:
    return asker_of(OTHER_SERVER)


def register(service: ManagementService, letter: Letter) -> Answer:
    return service.answer_registration(*letter.sent, "trace-1")


def manage(service: ManagementService, letter: Letter) -> Answer:
    if letter.parts:
        return service.answer_management(*letter.sent, "trace-1")
    return service.answer_management(PLAIN, letter.soap, "trace-1")


def fault(answer: Answer) -> Fault:
    assert answer.status == 500
    return parse_soap_fault(answer.body)


def test_an_accepted_registration_is_echoed_with_its_number(
    node: CentralServerNode, service: ManagementService, asker: Asker
) -> None:
    letter = asker.registration()
    answer = register(service, letter)
    assert answer.status == 200
    assert answer.headers == (
        ("Content-Type", "text/xml;charset=UTF-8"),
        ("Cache-Control", "no-store"),
        ("Pragma", "no-cache"),
        ("Expires", "0"),
    )
    with node.reading() as session:
        row = load_request(session, parse_reply(answer.body, letter.soap))
        assert (row.request_type, row.status) == ("AuthCertRegRequest", "WAITING")
        assert row.origin == "SECURITY_SERVER"
        assert row.auth_certificate == asker.auth.certificate.der


def test_a_dry_run_is_judged_and_changes_nothing(
    node: CentralServerNode, service: ManagementService, asker: Asker
) -> None:
    with node.reading() as session:
        before = len(list_requests(session))
    letter = asker.registration(dry_run=True)
    assert parse_reply(register(service, letter).body, letter.soap) == 0
    forged = letter.with_part(0, letter.parts[1])
    assert fault(register(service, forged)).code == "invalid_signature_value"
    with node.reading() as session:
        assert len(list_requests(session)) == before


def test_a_connection_test_is_answered_as_servers_expect(
    service: ManagementService, asker: Asker
) -> None:
    request = AuthCertRegistration(OTHER_SERVER, b"", dry_run=True)
    told = fault(register(service, Letter(soap=asker.soap(request))))
    assert (told.code, told.string) == (
        "invalid_request",
        "Auth signature algorithm id is missing",
    )
    assert told.detail == "trace-1"


def test_what_the_registry_refuses_is_told_as_the_reference_does(
    service: ManagementService, asker: Asker
) -> None:
    register(service, asker.registration())
    told = fault(register(service, asker.registration()))
    assert told.code == "internal_error"
    assert told.string == "management_request_exists with statusCode 409"
    for request, expected in (
        (
            MaintenanceEnd(OTHER_SERVER),
            "management_request_server_not_in_maintenance_mode with statusCode 409",
        ),
        (
            ClientDisabling(OTHER_SERVER, SHOP),
            "management_request_server_client_not_found with statusCode 409",
        ),
        (
            OwnerChange(OTHER_SERVER, OWNER),
            "management_request_owner_must_be_client with statusCode 400",
        ),
    ):
        assert fault(manage(service, asker.signed(request))).string == expected
    unknown = Letter(soap=asker.soap(ClientDeletion(OTHER_SERVER, SHOP)))
    told = fault(manage(service, unknown))
    assert told.string == "management_request_client_registration_not_found with statusCode 404"


def test_automatic_approval_takes_effect_at_once(node: CentralServerNode) -> None:
    generous = with_settings(
        node,
        "management_requests",
        auto_approve_auth_cert_registrations=True,
        auto_approve_client_registrations=True,
    )
    service, asker = ManagementService(generous), asker_of(SERVER)
    assert register(service, asker.registration(address="moved.example")).status == 200
    assert manage(service, asker.signed(ClientRegistration(SERVER, SHOP))).status == 200
    with node.reading() as session:
        found = load_server(session, SERVER)
        assert found.address == "moved.example"
        assert asker.auth.certificate.der in [row.certificate for row in found.auth_certificates]
        assert len(found.clients) == 2


def test_an_unsigned_deletion_comes_as_plain_xml(
    node: CentralServerNode, service: ManagementService, asker: Asker
) -> None:
    letter = Letter(soap=asker.soap(ClientDeletion(OTHER_SERVER, CLIENT)))
    answer = manage(service, letter)
    assert parse_reply(answer.body, letter.soap) > 0
    with node.reading() as session:
        assert load_server(session, OTHER_SERVER).clients == []


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("multipart/related; boundary=b", b"", "mime_parsing_failed"),
        ("multipart/related; boundary=b", b"--b--", "invalid_request"),
        ("text/xml", b"<a/>", "invalid_content_type"),
        ("nonsense", b"", "invalid_content_type"),
    ],
)
def test_nonsense_gets_a_fault(
    service: ManagementService, content_type: str, body: bytes, code: str
) -> None:
    assert fault(service.answer_registration(content_type, body, "t")).code == code


def test_nothing_is_taken_in_by_an_outdated_configuration(
    node: CentralServerNode, asker: Asker
) -> None:
    clock = MovingClock()
    clock.at += timedelta(seconds=601)
    service = ManagementService(replace(node, clock=clock))
    assert fault(register(service, asker.registration())).code == "global_conf_outdated"


def test_nothing_is_taken_in_before_the_first_configuration(
    node: CentralServerNode, asker: Asker
) -> None:
    nowhere = replace(node, settings=with_home(node, "/nonexistent"))
    assert fault(register(ManagementService(nowhere), asker.registration())).code in {
        "global_conf_outdated",
        "malformed_global_conf",
    }


def with_home(node: CentralServerNode, home: str) -> object:
    import msgspec

    return msgspec.structs.replace(node.settings, home=home)


def test_our_own_troubles_are_not_told(
    node: CentralServerNode, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from postroad.errors import ConfigurationError

    def broken(*_: object, **__: object) -> None:
        raise ConfigurationError("the database can't be used: secret-host")

    monkeypatch.setattr("postroad.centralserver.management_service.add_request", broken)
    told = fault(register(ManagementService(node), asker.registration()))
    assert (told.code, told.string) == ("internal_error", "Internal error")
