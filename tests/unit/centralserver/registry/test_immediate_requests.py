"""Requests that take effect at once."""

from __future__ import annotations

import pytest

from postroad.centralserver.registry import members, servers
from postroad.centralserver.registry.management_requests import add_request
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.requests import load_request
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.management.lifecycle import RequestOrigin
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    ManagementRequest,
)
from support.central_server import (
    CLIENT,
    MANAGEMENT,
    OTHER,
    OTHER_SERVER,
    SERVER,
    Registry,
    auth_certificate,
)

UNKNOWN = SecurityServerId("DEV", "GOV", "7", "SS1")


def carry_out(registry: Registry, request: ManagementRequest) -> int:
    with registry.changing() as change:
        return add_request(change, request, RequestOrigin.SECURITY_SERVER).id


def refused(registry: Registry, request: ManagementRequest) -> Problem:
    with pytest.raises(RegistryRefusal) as refusal:
        carry_out(registry, request)
    return refusal.value.problem


def test_a_certificate_is_deleted_and_the_request_remembered(filled: Registry) -> None:
    request_id = carry_out(filled, AuthCertDeletion(SERVER, auth_certificate(SERVER)))
    with filled.reading() as session:
        assert servers.load_server(session, SERVER).auth_certificates == []
        row = load_request(session, request_id)
        assert (row.request_type, row.status) == ("AuthCertDeletionRequest", None)
        assert row.auth_certificate == auth_certificate(SERVER)


def test_another_servers_certificate_is_not_deleted(filled: Registry) -> None:
    for server in (OTHER_SERVER, UNKNOWN):
        request = AuthCertDeletion(server, auth_certificate(SERVER))
        assert refused(filled, request) is Problem.REQUEST_AUTH_CERTIFICATE
    with filled.reading() as session:
        assert len(servers.load_server(session, SERVER).auth_certificates) == 1


def test_a_client_leaves_its_server(filled: Registry) -> None:
    carry_out(filled, ClientDeletion(OTHER_SERVER, CLIENT))
    with filled.reading() as session:
        assert servers.load_server(session, OTHER_SERVER).clients == []
    again = ClientDeletion(OTHER_SERVER, CLIENT)
    assert refused(filled, again) is Problem.REQUEST_REGISTRATION_NOT_FOUND


def test_a_client_of_another_server_is_not_touched(filled: Registry) -> None:
    for server in (SERVER, UNKNOWN):
        request = ClientDeletion(server, CLIENT)
        assert refused(filled, request) is Problem.REQUEST_REGISTRATION_NOT_FOUND
    for request in (
        ClientDisabling(SERVER, CLIENT),
        ClientEnabling(SERVER, CLIENT),
        ClientRenaming(SERVER, CLIENT, "Mine"),
    ):
        assert refused(filled, request) is Problem.CLIENT_NOT_REGISTERED


def test_a_client_is_disabled_and_enabled(filled: Registry) -> None:
    for request, enabled in (
        (ClientDisabling(OTHER_SERVER, CLIENT), False),
        (ClientEnabling(OTHER_SERVER, CLIENT), True),
    ):
        carry_out(filled, request)
        with filled.reading() as session:
            found = servers.load_server(session, OTHER_SERVER).clients[0]
            assert found.enabled is enabled


def test_the_provider_of_the_management_services_cannot_be_disabled(filled: Registry) -> None:
    request = ClientDisabling(SERVER, MANAGEMENT)
    assert refused(filled, request) is Problem.FORBIDDEN_DISABLE_PROVIDER


def test_a_subsystem_is_renamed_and_history_tells_both_names(filled: Registry) -> None:
    request_id = carry_out(filled, ClientRenaming(OTHER_SERVER, CLIENT, "Pood"))
    with filled.reading() as session:
        assert members.load_subsystem(session, CLIENT).name == "Pood"
        row = load_request(session, request_id)
        assert row.comments == "Changing subsystem name from '' to 'Pood'."
        assert row.subsystem_name == "Pood"


def test_members_are_not_renamed(filled: Registry) -> None:
    request = ClientRenaming(OTHER_SERVER, OTHER, "Mine")
    assert refused(filled, request) is Problem.REQUEST_RENAMES_MEMBER


def test_an_address_changes_and_history_tells_the_old_one(filled: Registry) -> None:
    request_id = carry_out(filled, AddressChange(SERVER, "new.example"))
    with filled.reading() as session:
        assert servers.load_server(session, SERVER).address == "new.example"
        assert load_request(session, request_id).comments == "Changing from 'ss1.example'."


def test_maintenance_begins_and_ends(filled: Registry) -> None:
    request_id = carry_out(filled, MaintenanceStart(OTHER_SERVER, "back at noon"))
    with filled.reading() as session:
        found = servers.load_server(session, OTHER_SERVER)
        assert (found.in_maintenance_mode, found.maintenance_mode_message) == (True, "back at noon")
        assert load_request(session, request_id).comments == "back at noon"
    assert refused(filled, MaintenanceStart(OTHER_SERVER)) is Problem.MAINTENANCE_ALREADY_ON
    carry_out(filled, MaintenanceEnd(OTHER_SERVER))
    assert refused(filled, MaintenanceEnd(OTHER_SERVER)) is Problem.MAINTENANCE_ALREADY_OFF


def test_the_server_of_the_management_services_takes_no_leave(filled: Registry) -> None:
    request = MaintenanceStart(SERVER)
    assert refused(filled, request) is Problem.SECURITY_SERVER_HOSTS_PROVIDER


@pytest.mark.parametrize(
    "request_",
    [
        ClientDisabling(UNKNOWN, CLIENT),
        ClientEnabling(UNKNOWN, CLIENT),
        ClientRenaming(UNKNOWN, CLIENT, "x"),
        AddressChange(UNKNOWN, "a.example"),
        MaintenanceStart(UNKNOWN),
        MaintenanceEnd(UNKNOWN),
    ],
    ids=lambda each: type(each).__name__,
)
def test_an_unknown_server_is_told_so(filled: Registry, request_: ManagementRequest) -> None:
    assert refused(filled, request_) is Problem.REQUEST_SERVER_NOT_FOUND


def test_nothing_of_another_instance_is_touched(filled: Registry) -> None:
    foreign = SecurityServerId("FI", "GOV", "1", "SS1")
    request = ClientDeletion(foreign, SubsystemId("FI", "GOV", "1", "x"))
    assert refused(filled, request) is Problem.FOREIGN_INSTANCE


def test_a_refused_request_leaves_no_trace(filled: Registry) -> None:
    refused(filled, MaintenanceStart(SERVER))
    with filled.reading() as session, pytest.raises(RegistryRefusal):
        load_request(session, 1)
