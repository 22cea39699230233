"""Administrators and API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.passwords import verify_password
from postroad.centralserver.registry import administrators
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.roles import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.registry.change import Change
    from support.central_server import Registry

PASSWORD = "canary-password-0815"
OFFICER = frozenset({Role.REGISTRATION_OFFICER})


def problem_of(registry: Registry, operation: Callable[[Change], object]) -> Problem:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        operation(change)
    return refused.value.problem


def test_an_administrator_comes_changes_and_goes(registry: Registry) -> None:
    with registry.changing() as change:
        administrators.add_administrator(change, " alice ", PASSWORD, OFFICER)
    with registry.reading() as session:
        (row,) = administrators.list_administrators(session)
        assert (row.username, administrators.roles_of(row)) == ("alice", OFFICER)
        assert row.password_hash.startswith("$argon2id$")
        assert verify_password(PASSWORD, row.password_hash)
        assert not verify_password(PASSWORD + "x", row.password_hash)
    with registry.changing() as change:
        administrators.change_password(change, "alice", "another-password")
        administrators.delete_administrator(change, "alice")
    with registry.reading() as session:
        assert administrators.find_administrator(session, "alice") is None


def test_nobody_has_the_password_of_a_user_who_does_not_exist() -> None:
    assert not verify_password("", None)


@pytest.mark.parametrize("password", ["", "short", "a" * 20, "abab" * 4, "x1" * 200])
def test_a_weak_password_is_refused(registry: Registry, password: str) -> None:
    refused = problem_of(
        registry, lambda c: administrators.add_administrator(c, "a", password, OFFICER)
    )
    assert refused is Problem.WEAK_PASSWORD


def test_names_are_unique_and_known(registry: Registry) -> None:
    with registry.changing() as change:
        administrators.add_administrator(change, "alice", PASSWORD, OFFICER)
    again = problem_of(
        registry, lambda c: administrators.add_administrator(c, "alice", PASSWORD, OFFICER)
    )
    assert again is Problem.ADMINISTRATOR_EXISTS
    gone = problem_of(registry, lambda c: administrators.delete_administrator(c, "bob"))
    assert gone is Problem.ADMINISTRATOR_NOT_FOUND


def test_no_person_is_the_management_service(registry: Registry) -> None:
    roles = OFFICER | {Role.MANAGEMENT_SERVICE}
    refused = problem_of(
        registry, lambda c: administrators.add_administrator(c, "a", PASSWORD, roles)
    )
    assert refused is Problem.UNKNOWN_ROLE


def test_a_key_is_found_by_itself_only(registry: Registry) -> None:
    with registry.changing() as change:
        row, key = administrators.add_api_key(change, OFFICER, maker=OFFICER)
        identifier = row.id
    with registry.reading() as session:
        found = administrators.find_api_key(session, key)
        assert found is not None
        assert (found.id, found.created_by) == (identifier, "tester")
        assert administrators.find_api_key(session, found.key_hash) is None
        assert administrators.find_api_key(session, key.upper()) is None


def test_a_role_that_a_key_has_is_not_the_changers_to_give(registry: Registry) -> None:
    system = frozenset({Role.SYSTEM_ADMINISTRATOR})
    with registry.changing() as change:
        row, _key = administrators.add_api_key(change, OFFICER, maker=OFFICER)
        both = OFFICER | system
        administrators.change_api_key_roles(change, row.id, both, maker=system)
        assert administrators.roles_of(row) == both
        administrators.change_api_key_roles(change, row.id, system, maker=system)
        assert administrators.roles_of(row) == system
    refused = problem_of(
        registry, lambda c: administrators.change_api_key_roles(c, 1, OFFICER, maker=system)
    )
    assert refused is Problem.MISSING_ROLE


def test_only_a_system_administrator_lets_programs_speak_for_servers(registry: Registry) -> None:
    wanted = frozenset({Role.MANAGEMENT_SERVICE})
    refused = problem_of(registry, lambda c: administrators.add_api_key(c, wanted, maker=OFFICER))
    assert refused is Problem.MISSING_ROLE
    with registry.changing() as change:
        administrators.add_api_key(change, wanted, maker=frozenset({Role.SYSTEM_ADMINISTRATOR}))


@pytest.mark.parametrize("names", [[], ["XROAD_GOD"], ["XROAD_SECURITY_OFFICER", ""]])
def test_unknown_roles_are_refused(names: list[str]) -> None:
    with pytest.raises(RegistryRefusal) as refused:
        administrators.parse_roles(names)
    assert refused.value.problem is Problem.UNKNOWN_ROLE
