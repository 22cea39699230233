"""Who provides the management services, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry import members, provider, servers
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.identifiers import MemberId, SubsystemId
from support.central_server import CLIENT, MANAGEMENT, OTHER, OTHER_SERVER, OWNER, SERVER, lab

if TYPE_CHECKING:
    from support.central_server import Registry


def test_a_registered_client_is_named(filled: Registry) -> None:
    with filled.changing() as change:
        assert provider.set_management_provider(change, CLIENT)
        assert not provider.set_management_provider(change, CLIENT)
        assert provider.find_management_provider(change.session) == CLIENT
        assert provider.set_management_provider(change, OWNER)
        assert provider.find_management_provider(change.session) == OWNER


@pytest.mark.parametrize(
    "client", [MemberId("DEV", "GOV", "404"), SubsystemId("EE", "GOV", "1", "MANAGEMENT")]
)
def test_nobody_else_can_be_named(filled: Registry, client: MemberId) -> None:
    with pytest.raises(RegistryRefusal), filled.changing() as change:
        provider.set_management_provider(change, client)


def test_nobody_is_named_at_first(registry: Registry) -> None:
    with registry.reading() as session:
        assert provider.find_management_provider(session) is None
        assert list(provider.provider_servers(session)) == []
        assert provider.find_management_certificate(session) is None


def test_the_servers_that_host_a_subsystem_are_known(filled: Registry) -> None:
    with filled.changing() as change:
        servers.register_client(change, OTHER_SERVER, MANAGEMENT)
        hosts = provider.provider_servers(change.session)
        assert [servers.server_id(change.session, host) for host in hosts] == [SERVER, OTHER_SERVER]


def test_a_member_is_hosted_by_its_own_servers_too(filled: Registry) -> None:
    with filled.changing() as change:
        provider.set_management_provider(change, OTHER)
        servers.register_client(change, SERVER, OTHER)
        hosts = provider.provider_servers(change.session)
        assert {servers.server_id(change.session, host) for host in hosts} == {SERVER, OTHER_SERVER}


def test_a_provider_that_was_deleted_is_hosted_nowhere(filled: Registry) -> None:
    with filled.changing() as change:
        servers.unregister_client(change, SERVER, MANAGEMENT)
        members.delete_subsystem(change, MANAGEMENT)
        assert list(provider.provider_servers(change.session)) == []


def test_a_member_provider_that_was_deleted_is_hosted_nowhere(filled: Registry) -> None:
    with filled.changing() as change:
        provider.set_management_provider(change, OTHER)
        servers.delete_member(change, OTHER)
        assert list(provider.provider_servers(change.session)) == []


def test_the_certificate_is_kept_as_der(registry: Registry) -> None:
    first, second = lab().tsa_certificate, lab().ca_certificate
    with registry.changing() as change:
        assert provider.set_management_certificate(change, first.pem)
        assert not provider.set_management_certificate(change, first.der)
        assert provider.find_management_certificate(change.session) == first.der
        assert provider.set_management_certificate(change, second.der)
        assert provider.find_management_certificate(change.session) == second.der


def test_bytes_that_are_no_certificate_are_refused(registry: Registry) -> None:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        provider.set_management_certificate(change, b"nothing")
    assert refused.value.problem is Problem.INVALID_CERTIFICATE
