"""Who am I, and what may I do? Source: reference ``UserApiController``."""

from __future__ import annotations

from typing import Final

from postroad.centralserver.api.operations import AUTHENTICATED, Call, Operation
from postroad.centralserver.api.schemas import Payload


class User(Payload):
    """The caller."""

    username: str
    roles: list[str]
    permissions: list[str]


def get_user(call: Call) -> User:
    """The caller with roles and permissions."""
    return User(
        username=call.caller.name, roles=list_roles(call), permissions=list_permissions(call)
    )


def list_roles(call: Call) -> list[str]:
    """The caller's roles, with the prefix that the reference gives them here."""
    return sorted(f"ROLE_{role.value}" for role in call.caller.roles)


def list_permissions(call: Call) -> list[str]:
    """The caller's permissions."""
    return sorted(permission.value for permission in call.caller.permissions)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/user",
        name="getUser",
        handler=get_user,
        needs=AUTHENTICATED,
        answer=User,
    ),
    Operation(
        method="GET",
        path="/user/roles",
        name="getUserRoles",
        handler=list_roles,
        needs=AUTHENTICATED,
        answer=list[str],
    ),
    Operation(
        method="GET",
        path="/user/permissions",
        name="getUserPermissions",
        handler=list_permissions,
        needs=AUTHENTICATED,
        answer=list[str],
    ),
)
