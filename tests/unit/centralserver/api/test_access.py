"""Who may ask for what: every operation refuses every role that lacks its permission."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.api.operations import Operation
from postroad.centralserver.api.resources import OPERATIONS
from postroad.centralserver.roles import ROLES_OF, Permission, Role, permissions_of
from support.management_api import PREFIX, ManagementApi

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = [operation.name for operation in OPERATIONS]


def lacking(operation: Operation) -> Iterator[Role]:
    return (
        role for role in Role if operation.needs and not operation.needs & permissions_of([role])
    )


def path_of(operation: Operation) -> str:
    return PREFIX + re.sub(r"\{\w+\}", "1", operation.path)


@pytest.fixture
def keys(empty: ManagementApi) -> dict[Role, dict[str, str]]:
    return {role: empty.key(role) for role in Role}


def test_each_role_without_permission_is_refused_by_each_operation(
    empty: ManagementApi, keys: dict[Role, dict[str, str]]
) -> None:
    tried = 0
    for operation in OPERATIONS:
        if operation.keys_only_by_password:
            continue
        for role in lacking(operation):
            answer = empty.client.request(operation.method, path_of(operation), headers=keys[role])
            assert answer.status_code == 403, (operation.name, role)
            assert answer.json()["error"]["code"] == "access_denied"
            tried += 1
    assert tried > 50


def test_each_role_with_permission_is_let_through(
    empty: ManagementApi, keys: dict[Role, dict[str, str]]
) -> None:
    for operation in OPERATIONS:
        if operation.keys_only_by_password:
            continue
        for role in set(Role) - set(lacking(operation)):
            answer = empty.client.request(operation.method, path_of(operation), headers=keys[role])
            assert answer.status_code not in {401, 403}, (operation.name, role)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_nobody(empty: ManagementApi, name: str) -> None:
    operation = OPERATIONS[NAMES.index(name)]
    answer = empty.client.request(operation.method, path_of(operation))
    assert answer.status_code == 401
    assert answer.json() == {"status": 401, "error": {"code": "unauthorized"}}


def test_names_are_unique_and_every_change_is_audited() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for operation in OPERATIONS:
        reads = operation.method == "GET" or operation.name in {
            "findGlobalGroupMembers",
            "previewTrustedAnchor",
        }
        assert (operation.event is None) == reads, operation.name


def test_every_permission_has_somebody() -> None:
    assert set(ROLES_OF) == set(Permission)
    assert all(ROLES_OF.values())


def test_no_person_speaks_for_security_servers() -> None:
    people = permissions_of(set(Role) - {Role.MANAGEMENT_SERVICE})
    assert Permission.IMPERSONATE_SECURITY_SERVER not in people
