"""Attempts to change the registry without the right to: each is refused and leaves no trace."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from postroad.centralserver.management_service import Answer, ManagementService
from postroad.centralserver.node import CentralServerNode
from postroad.centralserver.registry.change import list_change_log, verify_change_log
from postroad.centralserver.registry.management_requests import approve_request, decline_request
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.requests import load_request
from postroad.crypto.ocsp import CertificateStatus
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from postroad.management.envelope import AttachedPart, parse_reply
from postroad.management.requests import (
    AddressChange,
    ClientDeletion,
    ClientDisabling,
    ClientRegistration,
    MaintenanceStart,
    OwnerChange,
)
from postroad.messages.faults import parse_soap_fault
from postroad.trustlab.authority import TrustLab
from support.central_server import (
    CLIENT,
    MANAGEMENT,
    NOW,
    OTHER,
    OTHER_SERVER,
    OWNER,
    SERVER,
    lab,
)
from support.management import Asker, Letter, asker_of, found_node, signature

PLAIN = "text/xml;charset=UTF-8"
SHOP = SubsystemId("DEV", "GOV", "2", "shop")
MALLORY = asker_of(OTHER_SERVER)
"""A lawful owner of a server of its own, who wants more."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralServerNode]:
    node = found_node(tmp_path_factory.mktemp("central"))
    yield node
    node.close()


def log_length(node: CentralServerNode) -> int:
    with node.reading() as session:
        return list_change_log(session, limit=1)[0].sequence


def ask(node: CentralServerNode, letter: Letter) -> Answer:
    service = ManagementService(node)
    if b"authCertReg" in letter.soap:
        return service.answer_registration(*letter.sent, "t")
    if letter.parts:
        return service.answer_management(*letter.sent, "t")
    return service.answer_management(PLAIN, letter.soap, "t")


def refused(node: CentralServerNode, letter: Letter) -> tuple[str, str]:
    before = log_length(node)
    answer = ask(node, letter)
    assert answer.status == 500
    assert log_length(node) == before
    fault = parse_soap_fault(answer.body)
    return fault.code, fault.string


STRANGER_LAB = TrustLab.create(at=NOW, name="Forger")

REGISTRATIONS: dict[str, tuple[Callable[[], Letter], str]] = {
    "signed by a self-made authority": (
        lambda: MALLORY.registration(
            auth=STRANGER_LAB.auth_certificate(OTHER_SERVER),
            owner=(owner := STRANGER_LAB.sign_certificate(OTHER)),
            ocsp=STRANGER_LAB.ocsp(owner.certificate),
        ),
        "cert_validation",
    ),
    "somebody else's server, signed by oneself": (
        lambda: MALLORY.registration(server=SERVER, sender=OWNER),
        "invalid_request",
    ),
    "somebody else's server in one's own name": (
        lambda: MALLORY.registration(server=SERVER),
        "invalid_request",
    ),
    "without holding the authentication key": (
        lambda: MALLORY.registration().with_part(0, signature(MALLORY.owner, b"x").data),
        "invalid_signature_value",
    ),
    "another certificate beside the signed one": (
        lambda: (
            letter := MALLORY.registration(inside=asker_of(SERVER).auth.certificate.der)
        ).with_part(2, letter.parts[2].data),
        "cert_validation",
    ),
    "address exchanged on the way": (
        lambda: MALLORY.registration().with_soap(
            lambda soap: soap.replace(b"new.example", b"bad.example")
        ),
        "invalid_signature_value",
    ),
    "an owner who is revoked": (
        lambda: MALLORY.registration(
            ocsp=lab().ocsp(MALLORY.owner.certificate, status=CertificateStatus.REVOKED)
        ),
        "cert_validation",
    ),
    "an OCSP response from before the revocation": (
        lambda: MALLORY.registration(
            ocsp=lab().ocsp(MALLORY.owner.certificate, at=NOW - timedelta(hours=2))
        ),
        "incorrect_validation_info",
    ),
    "an owner whose certificate has expired": (
        lambda: MALLORY.registration(
            owner=lab().sign_certificate(OTHER, at=NOW - timedelta(days=9), days=3)
        ),
        "cert_validation",
    ),
    "an owner's certificate for authentication": (
        lambda: MALLORY.registration(owner=lab().auth_certificate(OTHER_SERVER)),
        "cert_validation",
    ),
    "sent from another instance": (
        lambda: MALLORY.registration(sender=MemberId("FI", "GOV", "2")),
        "invalid_request",
    ),
    "sent to another service": (lambda: MALLORY.registration(provider=CLIENT), "invalid_request"),
    "a server code that would break out of identifiers": (
        lambda: MALLORY.registration(server=SecurityServerId("DEV", "GOV", "2", "S:;S1")),
        "invalid_client_identifier",
    ),
    "a name that no resolver takes": (
        lambda: MALLORY.registration(address=f"{'a' * 64}.example"),
        "invalid_request",
    ),
    "the SOAP message alone": (
        lambda: replace(MALLORY.registration(), parts=()),
        "invalid_request",
    ),
    "a part smuggled in": (
        lambda: replace(
            letter := MALLORY.registration(), parts=(*letter.parts, AttachedPart(b"more"))
        ),
        "invalid_request",
    ),
    "a document type": (
        lambda: MALLORY.registration(
            edit=lambda soap: soap.replace(
                b"<SOAP-ENV:Env", b'<!DOCTYPE a [<!ENTITY x "y">]><SOAP-ENV:Env', 1
            )
        ),
        "invalid_soap",
    ),
    "two servers in one body": (
        lambda: MALLORY.registration(
            edit=lambda soap: soap.replace(
                b"<xroad:address>", _server_element(SERVER) + b"<xroad:address>"
            )
        ),
        "invalid_request",
    ),
    "two senders in one header": (
        lambda: MALLORY.registration(
            edit=lambda soap: soap.replace(b"<xroad:client ", _client_element(soap), 1)
        ),
        "duplicate_header_field",
    ),
}


def _server_element(server: SecurityServerId) -> bytes:
    names = ("xRoadInstance", "memberClass", "memberCode", "serverCode")
    parts = zip(names, server.parts, strict=True)
    inner = "".join(f"<id:{name}>{part}</id:{name}>" for name, part in parts)
    return f'<xroad:server id:objectType="SERVER">{inner}</xroad:server>'.encode()


def _client_element(soap: bytes) -> bytes:
    start, end = soap.index(b"<xroad:client "), soap.index(b"</xroad:client>")
    return soap[start:end] + b"</xroad:client><xroad:client "


@pytest.mark.parametrize("name", REGISTRATIONS)
def test_a_forged_registration_is_refused(node: CentralServerNode, name: str) -> None:
    make, code = REGISTRATIONS[name]
    assert refused(node, make())[0] == code


@pytest.mark.parametrize(
    ("request_", "signer"),
    [
        (ClientRegistration(OTHER_SERVER, MANAGEMENT), OTHER),
        (ClientRegistration(OTHER_SERVER, OWNER), OTHER),
        (OwnerChange(OTHER_SERVER, OWNER), OTHER),
        (ClientDisabling(OTHER_SERVER, MANAGEMENT), OTHER),
        (AddressChange(OTHER_SERVER, "a.example"), OWNER),
        (MaintenanceStart(OTHER_SERVER), OWNER),
    ],
)
def test_nobody_signs_for_somebody_else(
    node: CentralServerNode, request_: ClientRegistration, signer: MemberId
) -> None:
    letter = MALLORY.signed(request_, signer=lab().sign_certificate(signer))
    assert refused(node, letter)[0] == "invalid_request"


def test_a_stolen_signature_does_not_fit_another_request(node: CentralServerNode) -> None:
    honest = asker_of(SERVER).signed(ClientRegistration(SERVER, SHOP))
    bent = replace(honest, soap=MALLORY.soap(ClientRegistration(OTHER_SERVER, SHOP), sender=OTHER))
    assert refused(node, bent)[0] == "invalid_signature_value"


@pytest.mark.parametrize(
    "request_", [ClientDeletion(SERVER, MANAGEMENT), ClientDisabling(SERVER, CLIENT)]
)
def test_nobody_changes_somebody_elses_server(
    node: CentralServerNode, request_: ClientDeletion
) -> None:
    soap = MALLORY.soap(request_, sender=OTHER)
    letter = Letter(soap=soap)
    if isinstance(request_, ClientDisabling):
        letter = MALLORY.signed(request_, sender=OTHER)
    assert refused(node, letter) == ("invalid_request", "Sender does not match server owner.")


def test_a_replayed_request_is_refused_whatever_became_of_it(node: CentralServerNode) -> None:
    asker = Asker(lab(), SERVER, MANAGEMENT)
    letters = [
        asker.signed(AddressChange(SERVER, "first.example")),
        asker.signed(AddressChange(SERVER, "second.example")),
        asker.registration(),
    ]
    answers = [ask(node, letter) for letter in letters]
    assert [answer.status for answer in answers] == [200, 200, 200]
    registration = parse_reply(answers[2].body, letters[2].soap)
    with node.changing("tester") as change:
        decline_request(change, registration)
    for letter in letters:
        code, text = refused(node, letter)
        assert (code, text) == ("internal_error", "management_request_exists with statusCode 409")


def test_a_replay_with_other_boundaries_is_the_same_message(node: CentralServerNode) -> None:
    from postroad.management.envelope import encode_multipart

    asker = Asker(lab(), SERVER, MANAGEMENT)
    letter = asker.registration()
    assert ask(node, letter).status == 200
    content_type, body = encode_multipart(letter.soap, letter.parts, "other")
    answer = ManagementService(node).answer_registration(content_type, body, "t")
    assert "management_request_exists" in parse_soap_fault(answer.body).string


def test_of_concurrent_approvals_one_counts(node: CentralServerNode) -> None:
    asker = Asker(lab(), SERVER, MANAGEMENT)
    letter = asker.registration()
    request_id = parse_reply(ask(node, letter).body, letter.soap)
    outcomes: list[object] = []
    barrier = threading.Barrier(6)

    def decide(number: int) -> None:
        barrier.wait()
        try:
            with node.changing(f"officer {number}") as change:
                (decline_request if number % 2 else approve_request)(change, request_id)
            outcomes.append("decided")
        except RegistryRefusal as refusal:
            outcomes.append(refusal.problem)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("decided") == 1
    outcomes.remove("decided")
    assert set(outcomes) <= {Problem.REQUEST_STATE, Problem.REQUEST_APPROVAL_STATE}
    with node.reading() as session:
        assert load_request(session, request_id).status in {"APPROVED", "DECLINED"}
        verify_change_log(session)


def test_of_concurrent_registrations_of_one_certificate_one_waits(node: CentralServerNode) -> None:
    asker = Asker(lab(), SERVER, MANAGEMENT)
    letters = [asker.registration() for _ in range(4)]
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda letter=letter: answers.append(ask(node, letter)))
        for letter in letters
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [200, 500, 500, 500]
