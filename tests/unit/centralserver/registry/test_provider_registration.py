"""The one registration that the Central Server's operator makes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from postroad.centralserver.registry import members, servers
from postroad.centralserver.registry.provider import provider_servers, set_management_provider
from postroad.centralserver.registry.provider_registration import register_management_provider
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.requests import list_requests
from postroad.identifiers import SecurityServerId, SubsystemId
from support.central_server import (
    MANAGEMENT,
    OTHER_SERVER,
    OWNER,
    SERVER,
    Registry,
    registry_in_memory,
)

NEW = SubsystemId("DEV", "GOV", "1", "new-management")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with registry_in_memory(filled=True) as registry:
        yield registry


def register(registry: Registry, server: SecurityServerId) -> Problem | None:
    try:
        with registry.changing() as change:
            register_management_provider(change, server)
    except RegistryRefusal as refusal:
        return refusal.problem
    return None


def name(registry: Registry, provider: SubsystemId) -> None:
    with registry.changing() as change:
        members.add_subsystem(change, provider)
        set_management_provider(change, provider)


def test_the_provider_is_registered_by_an_approved_request_of_the_centre(
    registry: Registry,
) -> None:
    name(registry, NEW)
    assert register(registry, OTHER_SERVER) is None
    with registry.reading() as session:
        (host,) = provider_servers(session)
        assert servers.server_id(session, host) == OTHER_SERVER
        (request,) = list_requests(session)
        assert (request.request_type, request.origin, request.status) == (
            "ClientRegRequest",
            "CENTER",
            "APPROVED",
        )


def test_a_second_server_is_not_given_by_the_centre(registry: Registry) -> None:
    assert register(registry, OTHER_SERVER) is Problem.PROVIDER_REGISTERED
    assert Problem.PROVIDER_REGISTERED.http_status == 400
    assert MANAGEMENT.member == OWNER


def test_an_unknown_server_is_refused_and_leaves_no_request(registry: Registry) -> None:
    name(registry, NEW)
    unknown = SecurityServerId("DEV", "GOV", "1", "SS7")
    assert register(registry, unknown) is Problem.REQUEST_SERVER_NOT_FOUND
    with registry.reading() as session:
        assert list(list_requests(session)) == []


def test_nobody_is_registered_while_no_provider_is_named() -> None:
    with registry_in_memory(filled=False) as registry:
        assert register(registry, SERVER) is Problem.PROVIDER_NOT_SET
