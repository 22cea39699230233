"""Decisions about access rights."""

from __future__ import annotations

import pytest

from postroad.authorization.rights import (
    BASE_ENDPOINT,
    AccessRight,
    Allowed,
    DenialReason,
    Denied,
    Endpoint,
    decide_access,
    parse_endpoint,
)
from postroad.errors import MalformedInput
from postroad.identifiers import (
    ClientId,
    GlobalGroupId,
    LocalGroupId,
    MemberId,
    ServiceId,
    SubsystemId,
)

CLIENT = SubsystemId("TEST", "GOV", "1", "app")
OTHER = SubsystemId("TEST", "GOV", "1", "other")
PROVIDER = SubsystemId("TEST", "COM", "2", "registry")
SERVICE = ServiceId(PROVIDER, "pets")
GROUP = GlobalGroupId("TEST", "everybody")
FRIENDS = LocalGroupId("friends")


def nobody(client: ClientId, group: GlobalGroupId | LocalGroupId) -> bool:
    del client, group
    return False


def decide(
    *rights: AccessRight,
    client: ClientId = CLIENT,
    service: ServiceId = SERVICE,
    method: str | None = "GET",
    path: str | None = "/1",
    members: frozenset[tuple[ClientId, GlobalGroupId | LocalGroupId]] = frozenset(),
) -> Allowed | Denied:
    return decide_access(
        client, service, method, path, rights, lambda who, group: (who, group) in members
    )


def test_denies_without_any_right() -> None:
    decision = decide()
    assert isinstance(decision, Denied)
    assert decision.reason is DenialReason.NO_RIGHT


def test_right_on_the_service_covers_every_method_and_path() -> None:
    right = AccessRight(CLIENT, "pets")
    assert decide(right, method="DELETE", path="/a/b/c") == Allowed(right)
    assert decide(right, method="GET", path="") == Allowed(right)


def test_right_of_another_subsystem_of_the_same_member_does_not_count() -> None:
    assert isinstance(decide(AccessRight(OTHER, "pets")), Denied)


def test_right_of_a_subsystem_does_not_cover_its_member() -> None:
    assert isinstance(decide(AccessRight(CLIENT, "pets"), client=CLIENT.member), Denied)


def test_right_on_another_service_code_does_not_count() -> None:
    assert isinstance(decide(AccessRight(CLIENT, "owners")), Denied)
    assert isinstance(decide(AccessRight(CLIENT, "Pets")), Denied)


def test_service_version_plays_no_role() -> None:
    right = AccessRight(CLIENT, "pets")
    versioned = ServiceId(PROVIDER, "pets", "v2")
    assert decide(right, service=versioned, method=None, path=None) == Allowed(right)


@pytest.mark.parametrize("group", [GROUP, FRIENDS])
def test_right_of_a_group_covers_its_members_only(group: GlobalGroupId | LocalGroupId) -> None:
    right = AccessRight(group, "pets")
    assert decide(right, members=frozenset({(CLIENT, group)})) == Allowed(right)
    assert isinstance(decide(right, members=frozenset({(OTHER, group)})), Denied)


def test_right_on_an_endpoint_covers_its_method_and_path_only() -> None:
    right = AccessRight(CLIENT, "pets", Endpoint("GET", "/pets/*"))
    assert decide(right, path="/pets/7") == Allowed(right)
    assert decide(right, method="get", path="/pets/%37") == Allowed(right)
    assert isinstance(decide(right, method="PUT", path="/pets/7"), Denied)
    assert isinstance(decide(right, path="/pets/7/photos"), Denied)


def test_soap_call_needs_a_right_on_the_service() -> None:
    endpoint = AccessRight(CLIENT, "pets", Endpoint("*", "/**"))
    assert isinstance(decide(endpoint, method=None, path=None), Denied)
    base = AccessRight(CLIENT, "pets", BASE_ENDPOINT)
    assert decide(endpoint, base, method=None, path=None) == Allowed(base)


def test_unsafe_path_is_denied_even_with_a_right_on_the_service() -> None:
    decision = decide(AccessRight(CLIENT, "pets"), path="/pets/../admin")
    assert isinstance(decision, Denied)
    assert decision.reason is DenialReason.UNSAFE_PATH


def test_member_may_be_in_a_group() -> None:
    member = MemberId("TEST", "GOV", "1")
    right = AccessRight(GROUP, "pets")
    assert decide(right, client=member, members=frozenset({(member, GROUP)})) == Allowed(right)


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/a"), ("*", "**"), ("get", "/a/*"), ("POST", "/"), ("PUT", r"/a\*"), ("*", "/**")],
)
def test_endpoint_accepts_what_the_reference_stores(method: str, path: str) -> None:
    assert parse_endpoint(method, path) == Endpoint(method.upper(), path)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("CONNECT", "/a"),
        ("", "/a"),
        ("GET", "a"),
        ("GET", ""),
        ("GET", "*"),
        ("GET", "/a?b"),
        ("GET", "/a#b"),
        ("GET", "/a//b"),
        ("GET", "/a/../b"),
        ("GET", "/a/.."),
        ("GET", "/a\nb"),
        ("GET", "/" + "a" * 2048),
    ],
)
def test_endpoint_refuses_what_no_safe_path_could_match(method: str, path: str) -> None:
    with pytest.raises(MalformedInput):
        parse_endpoint(method, path)
