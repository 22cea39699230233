"""How servers, their certificates and their clients are registered, and what leaves with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry import groups, members, requests, servers
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.crypto.certificates import Certificate
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from support.central_server import (
    CLIENT,
    MANAGEMENT,
    OTHER,
    OTHER_SERVER,
    OWNER,
    SERVER,
    Registry,
    auth_certificate,
    lab,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.registry.change import Change

NEW_SERVER = SecurityServerId("DEV", "GOV", "2", "NEW")


def problem_of(registry: Registry, operation: Callable[[Change], object]) -> Problem:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        operation(change)
    return refused.value.problem


def owners(registry: Registry) -> list[object]:
    with registry.reading() as session:
        return list(groups.group_clients(groups.load_group(session, "security-server-owners")))


def register_new(change: Change, **options: bool) -> None:
    servers.register_server(
        change,
        NEW_SERVER,
        auth_certificate=auth_certificate(NEW_SERVER),
        address="new.example",
        **options,
    )


def test_a_registered_server_has_owner_address_and_certificate(filled: Registry) -> None:
    with filled.reading() as session:
        found = servers.load_server(session, SERVER)
        assert servers.server_id(session, found) == SERVER
        assert found.address == "ss1.example"
        assert [c.certificate for c in found.auth_certificates] == [auth_certificate(SERVER)]
        assert [servers.server_id(session, row) for row in servers.list_servers(session)] == [
            SERVER,
            OTHER_SERVER,
        ]


def test_the_certificate_may_be_pem_and_is_kept_as_der(filled: Registry) -> None:
    pem = Certificate.from_der(auth_certificate(SERVER, 1)).pem
    with filled.changing() as change:
        found = servers.register_server(change, SERVER, auth_certificate=pem)
        assert found.auth_certificates[1].certificate == auth_certificate(SERVER, 1)
        assert found.address == "ss1.example"


def test_registering_twice_changes_nothing(filled: Registry) -> None:
    with filled.changing() as change:
        servers.register_server(
            change, SERVER, auth_certificate=auth_certificate(SERVER), address="ss1.example"
        )
        servers.register_client(change, SERVER, MANAGEMENT)
        assert change.entries == []


def test_a_certificate_belongs_to_one_server(filled: Registry) -> None:
    problem = problem_of(
        filled,
        lambda change: servers.register_server(
            change, OTHER_SERVER, auth_certificate=auth_certificate(SERVER)
        ),
    )
    assert problem is Problem.CERTIFICATE_ALREADY_REGISTERED


@pytest.mark.parametrize("certificate", [b"", b"not a certificate", lab().ca_certificate.der])
def test_only_an_authentication_certificate_is_registered(
    filled: Registry, certificate: bytes
) -> None:
    problem = problem_of(
        filled,
        lambda change: servers.register_server(change, SERVER, auth_certificate=certificate),
    )
    assert problem is Problem.INVALID_CERTIFICATE


def test_a_signing_certificate_is_refused(filled: Registry) -> None:
    signing = lab().sign_certificate(OWNER).certificate.der
    problem = problem_of(
        filled, lambda change: servers.register_server(change, SERVER, auth_certificate=signing)
    )
    assert problem is Problem.INVALID_CERTIFICATE


def test_an_unknown_owner_is_created_only_when_asked_for(filled: Registry) -> None:
    stranger = SecurityServerId("DEV", "GOV", "3", "SS3")

    def register(change: Change, *, create_owner: bool) -> None:
        servers.register_server(
            change,
            stranger,
            auth_certificate=auth_certificate(stranger),
            create_owner=create_owner,
        )

    problem = problem_of(filled, lambda change: register(change, create_owner=False))
    assert problem is Problem.MEMBER_NOT_FOUND
    with filled.changing() as change:
        register(change, create_owner=True)
        assert members.load_member(change.session, stranger.owner).name == "3"


def test_a_server_of_another_instance_is_refused(filled: Registry) -> None:
    foreign = SecurityServerId("EE", "GOV", "1", "SS1")
    problem = problem_of(
        filled,
        lambda change: servers.register_server(
            change, foreign, auth_certificate=auth_certificate(foreign)
        ),
    )
    assert problem is Problem.FOREIGN_INSTANCE


def test_owners_join_and_leave_their_group(filled: Registry) -> None:
    assert owners(filled) == [OWNER, OTHER]
    with filled.changing() as change:
        register_new(change)
    assert owners(filled) == [OWNER, OTHER]
    with filled.changing() as change:
        servers.delete_server(change, OTHER_SERVER)
    assert owners(filled) == [OWNER, OTHER]
    with filled.changing() as change:
        servers.delete_server(change, NEW_SERVER)
    assert owners(filled) == [OWNER]


def test_an_address_changes_only_when_it_differs(filled: Registry) -> None:
    with filled.changing() as change:
        assert servers.update_server_address(change, SERVER, "192.0.2.7")
        assert not servers.update_server_address(change, SERVER, " 192.0.2.7 ")
    with filled.reading() as session:
        assert requests.list_requests(session) == []


def test_maintenance_begins_and_ends_once(filled: Registry) -> None:
    with filled.changing() as change:
        servers.start_maintenance(change, OTHER_SERVER, " back at noon ")
        found = servers.load_server(change.session, OTHER_SERVER)
        assert (found.in_maintenance_mode, found.maintenance_mode_message) == (
            True,
            "back at noon",
        )
    assert (
        problem_of(filled, lambda change: servers.start_maintenance(change, OTHER_SERVER))
        is Problem.MAINTENANCE_ALREADY_ON
    )
    with filled.changing() as change:
        servers.end_maintenance(change, OTHER_SERVER)
        found = servers.load_server(change.session, OTHER_SERVER)
        assert (found.in_maintenance_mode, found.maintenance_mode_message) == (False, None)
    assert (
        problem_of(filled, lambda change: servers.end_maintenance(change, OTHER_SERVER))
        is Problem.MAINTENANCE_ALREADY_OFF
    )


def test_the_server_of_the_management_services_has_no_maintenance(filled: Registry) -> None:
    problem = problem_of(filled, lambda change: servers.start_maintenance(change, SERVER))
    assert problem is Problem.SECURITY_SERVER_HOSTS_PROVIDER


def test_the_owner_is_never_registered_as_a_client(filled: Registry) -> None:
    problem = problem_of(filled, lambda change: servers.register_client(change, SERVER, OWNER))
    assert problem is Problem.CANNOT_REGISTER_OWNER


def test_a_member_may_be_the_client_of_anothers_server(filled: Registry) -> None:
    with filled.changing() as change:
        registration = servers.register_client(change, SERVER, OTHER)
        assert servers.client_of(change.session, registration) == OTHER
        assert servers.register_client(change, SERVER, OTHER) is registration


def test_registering_creates_or_names_the_subsystem(filled: Registry) -> None:
    new = SubsystemId("DEV", "GOV", "2", "new")
    with filled.changing() as change:
        servers.register_client(change, SERVER, new, subsystem_name="New one")
        assert members.load_subsystem(change.session, new).name == "New one"
        servers.register_client(change, OTHER_SERVER, CLIENT, subsystem_name="Named")
        assert members.load_subsystem(change.session, CLIENT).name == "Named"
        servers.register_client(change, OTHER_SERVER, CLIENT, subsystem_name=" ")
        assert members.load_subsystem(change.session, CLIENT).name == "Named"


def test_an_unknown_subsystem_is_not_created_when_forbidden(filled: Registry) -> None:
    new = SubsystemId("DEV", "GOV", "2", "new")
    problem = problem_of(
        filled,
        lambda change: servers.register_client(change, SERVER, new, create_subsystem=False),
    )
    assert problem is Problem.SUBSYSTEM_NOT_FOUND


@pytest.mark.parametrize("client", [MemberId("DEV", "GOV", "404"), MemberId("EE", "GOV", "1")])
def test_only_our_members_are_registered(filled: Registry, client: MemberId) -> None:
    problem = problem_of(filled, lambda change: servers.register_client(change, SERVER, client))
    assert problem is Problem.MEMBER_NOT_FOUND


def test_a_client_is_disabled_and_enabled(filled: Registry) -> None:
    with filled.changing() as change:
        assert servers.set_client_enabled(change, OTHER_SERVER, CLIENT, enabled=False)
        assert not servers.set_client_enabled(change, OTHER_SERVER, CLIENT, enabled=False)
        assert servers.set_client_enabled(change, OTHER_SERVER, CLIENT, enabled=True)
        assert [entry.event for entry in change.entries] == [
            "Disable client of security server",
            "Enable client of security server",
        ]


def test_the_management_service_provider_cannot_be_disabled(filled: Registry) -> None:
    problem = problem_of(
        filled,
        lambda change: servers.set_client_enabled(change, SERVER, MANAGEMENT, enabled=False),
    )
    assert problem is Problem.FORBIDDEN_DISABLE_PROVIDER


@pytest.mark.parametrize("client", [OTHER, MANAGEMENT, SubsystemId("DEV", "GOV", "9", "x"), OWNER])
def test_only_a_client_can_be_unregistered(
    filled: Registry, client: MemberId | SubsystemId
) -> None:
    problem = problem_of(
        filled, lambda change: servers.unregister_client(change, OTHER_SERVER, client)
    )
    assert problem is Problem.CLIENT_NOT_REGISTERED


def test_unregistering_writes_a_request_of_the_centre(filled: Registry) -> None:
    with filled.changing() as change:
        servers.unregister_client(change, OTHER_SERVER, CLIENT)
    with filled.reading() as session:
        (request,) = requests.list_requests(session)
        assert (request.request_type, request.origin, request.status) == (
            "ClientDeletionRequest",
            "CENTER",
            None,
        )
        assert request.client_subsystem_code == "client"
        assert not servers.load_server(session, OTHER_SERVER).clients


def test_a_certificate_is_removed_by_its_fingerprint(filled: Registry) -> None:
    digest = Certificate.from_der(auth_certificate(SERVER)).sha256.hex(":").upper()
    with filled.changing() as change:
        servers.delete_auth_certificate(change, SERVER, digest)
    with filled.reading() as session:
        assert not servers.load_server(session, SERVER).auth_certificates
        (request,) = requests.list_requests(session)
        assert request.auth_certificate == auth_certificate(SERVER)
    problem = problem_of(
        filled, lambda change: servers.delete_auth_certificate(change, SERVER, digest)
    )
    assert problem is Problem.CERTIFICATE_NOT_FOUND


def test_deleting_a_server_first_writes_the_deletion_of_what_it_had(filled: Registry) -> None:
    with filled.changing() as change:
        servers.delete_server(change, OTHER_SERVER)
    with filled.reading() as session:
        found = requests.list_requests(session)
        assert [request.request_type for request in found] == [
            "AuthCertDeletionRequest",
            "ClientDeletionRequest",
        ]
        assert {request.comments for request in found} == {"DEV/GOV/2/SS2 deletion"}
        assert servers.find_server(session, OTHER_SERVER) is None
    problem = problem_of(filled, lambda change: servers.delete_server(change, OTHER_SERVER))
    assert problem is Problem.SECURITY_SERVER_NOT_FOUND


def test_a_certificate_of_a_deleted_server_can_be_registered_again(filled: Registry) -> None:
    with filled.changing() as change:
        servers.delete_server(change, OTHER_SERVER)
        servers.register_server(
            change, OTHER_SERVER, auth_certificate=auth_certificate(OTHER_SERVER)
        )


def test_a_deleted_member_takes_everything_of_it_along(filled: Registry) -> None:
    with filled.changing() as change:
        servers.register_client(change, SERVER, CLIENT)
        servers.register_client(change, SERVER, OTHER)
        groups.add_group(change, "group", "A group")
        groups.add_group_members(change, "group", [OTHER, CLIENT, OWNER])
    with filled.changing() as change:
        servers.delete_member(change, OTHER)
    with filled.reading() as session:
        assert members.find_member(session, OTHER) is None
        assert members.find_subsystem(session, CLIENT) is None
        assert [servers.server_id(session, s) for s in servers.list_servers(session)] == [SERVER]
        registered = servers.load_server(session, SERVER).clients
        assert [servers.client_of(session, row) for row in registered] == [MANAGEMENT]
        assert groups.group_clients(groups.load_group(session, "group")) == [OWNER]
    assert owners(filled) == [OWNER]
