"""When does the configuration show what was asked for, and who has the server become?"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from postroad.identifiers import ClientId, MemberId, SecurityServerId, SubsystemId
from postroad.management.requests import ServiceCode
from postroad.securityserver.outcomes import (
    identity_after_owner_change,
    is_entry_fulfilled,
    is_fulfilled,
)
from support.trust import CLIENT, OWNER, SERVER, STRANGER, Ecosystem

LAB = Ecosystem().lab
CERTIFICATE = LAB.auth_certificate(SERVER).certificate
SHOP = SubsystemId("TEST", "GOV", "1", "shop")
INHERITED = SecurityServerId("TEST", "GOV", "9", "SS1")


@dataclass(frozen=True)
class Case:
    """A request, and configurations that don't show its outcome yet, and that do."""

    code: ServiceCode
    before: Ecosystem
    after: Ecosystem
    client: ClientId | None = None
    value: str = ""


def world(**changes: object) -> Ecosystem:
    return Ecosystem(lab=LAB, **changes)  # fields of the ecosystem


CASES = (
    Case(ServiceCode.CLIENT_REGISTRATION, world(), world(clients=(CLIENT, SHOP)), SHOP),
    Case(ServiceCode.CLIENT_ENABLING, world(), world(clients=(CLIENT, SHOP)), SHOP),
    Case(ServiceCode.CLIENT_DELETION, world(clients=(CLIENT, SHOP)), world(), SHOP),
    Case(ServiceCode.CLIENT_DISABLING, world(clients=(CLIENT, SHOP)), world(), SHOP),
    Case(ServiceCode.MAINTENANCE_START, world(), world(maintenance="")),
    Case(ServiceCode.MAINTENANCE_END, world(maintenance="Back at noon"), world()),
    Case(
        ServiceCode.AUTH_CERT_DELETION,
        world(auth_certificates=(CERTIFICATE.der,)),
        world(),
        value=CERTIFICATE.sha256.hex(),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code.value)
def test_a_request_is_fulfilled_when_the_configuration_says_so(case: Case) -> None:
    for ecosystem, expected in ((case.before, False), (case.after, True)):
        globalconf = ecosystem.globalconf()
        assert is_fulfilled(case.code, case.client, case.value, SERVER, globalconf) is expected
        client = "" if case.client is None else case.client.encoded()
        entry = (case.code.value, client, case.value)
        assert is_entry_fulfilled(entry, SERVER, globalconf) is expected


def test_an_address_and_a_name_must_be_exactly_those_asked_for() -> None:
    globalconf = world().globalconf()
    code = ServiceCode.ADDRESS_CHANGE
    assert is_fulfilled(code, None, "ss1.example", SERVER, globalconf)
    assert not is_fulfilled(code, None, "ss1.example.", SERVER, globalconf)
    assert not is_fulfilled(ServiceCode.CLIENT_RENAMING, CLIENT, "Another", SERVER, globalconf)


def test_an_owner_change_is_fulfilled_once_the_server_has_its_new_name() -> None:
    globalconf = world(owner=STRANGER).globalconf()
    assert not is_fulfilled(ServiceCode.OWNER_CHANGE, STRANGER, "", SERVER, globalconf)
    assert is_fulfilled(ServiceCode.OWNER_CHANGE, STRANGER, "", INHERITED, globalconf)


def identity(ecosystem: Ecosystem, *clients: ClientId) -> SecurityServerId | None:
    return identity_after_owner_change(
        SERVER, (OWNER, *clients), [CERTIFICATE.der], ecosystem.globalconf()
    )


def test_a_server_becomes_that_of_the_member_who_has_its_certificate_now() -> None:
    registered = (CERTIFICATE.der,)
    changed = world(owner=STRANGER, auth_certificates=registered, clients=(OWNER,))
    assert identity(changed, STRANGER) == INHERITED
    assert identity(world(auth_certificates=registered), STRANGER) is None, "nothing has changed"


def test_nobody_elses_server_is_taken_over() -> None:
    other = LAB.auth_certificate(INHERITED).certificate.der
    for ecosystem, clients in (
        (world(owner=STRANGER, auth_certificates=(other,)), (STRANGER,)),
        (world(owner=STRANGER), (STRANGER,)),
        (world(owner=STRANGER, auth_certificates=(CERTIFICATE.der,)), ()),
        (
            world(owner=MemberId("TEST", "GOV", "8"), auth_certificates=(CERTIFICATE.der,)),
            (STRANGER,),
        ),
    ):
        assert identity(ecosystem, *clients) is None
