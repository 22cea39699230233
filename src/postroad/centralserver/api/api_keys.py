"""API keys. Source: reference ``ApiKeysController``: by session, or by password from nearby."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.schemas import Payload
from postroad.centralserver.registry import administrators
from postroad.centralserver.roles import Permission

if TYPE_CHECKING:
    from postroad.centralserver.models.administrators import ApiKey


class PublicApiKeyData(Payload):
    """An API key; the key itself is told once, when it's made."""

    id: int
    roles: list[str]
    key: str | None = None


def list_keys(call: Call) -> list[PublicApiKeyData]:
    """All API keys."""
    with call.reading() as session:
        return [_payload(row) for row in administrators.list_api_keys(session)]


def get_key(call: Call) -> PublicApiKeyData:
    """One API key."""
    with call.reading() as session:
        return _payload(administrators.load_api_key(session, call.number("key_id")))


def add_key(call: Call) -> PublicApiKeyData:
    """Make an API key with roles that the caller has."""
    roles = administrators.parse_roles(call.body)
    with call.changing() as change:
        row, key = administrators.add_api_key(change, roles, maker=call.caller.roles)
        return PublicApiKeyData(id=row.id, roles=_roles(row), key=key)


def change_roles(call: Call) -> PublicApiKeyData:
    """Give an API key other roles."""
    roles = administrators.parse_roles(call.body)
    with call.changing() as change:
        row = administrators.change_api_key_roles(
            change, call.number("key_id"), roles, maker=call.caller.roles
        )
        return _payload(row)


def delete_key(call: Call) -> None:
    """Revoke an API key."""
    with call.changing() as change:
        administrators.delete_api_key(change, call.number("key_id"))


def _payload(row: ApiKey) -> PublicApiKeyData:
    return PublicApiKeyData(id=row.id, roles=_roles(row))


def _roles(row: ApiKey) -> list[str]:
    return sorted(administrators.roles_of(row))


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/api-keys",
        name="listApiKeys",
        handler=list_keys,
        needs=any_of(Permission.VIEW_API_KEYS),
        answer=list[PublicApiKeyData],
        keys_only_by_password=True,
    ),
    Operation(
        method="POST",
        path="/api-keys",
        name="createApiKey",
        handler=add_key,
        needs=any_of(Permission.CREATE_API_KEY),
        body=list[str],
        answer=PublicApiKeyData,
        event="API key create",
        keys_only_by_password=True,
    ),
    Operation(
        method="GET",
        path="/api-keys/{key_id}",
        name="getApiKey",
        handler=get_key,
        needs=any_of(Permission.VIEW_API_KEYS),
        answer=PublicApiKeyData,
        keys_only_by_password=True,
    ),
    Operation(
        method="PUT",
        path="/api-keys/{key_id}",
        name="updateApiKey",
        handler=change_roles,
        needs=any_of(Permission.UPDATE_API_KEY),
        body=list[str],
        answer=PublicApiKeyData,
        event="API key update",
        keys_only_by_password=True,
    ),
    Operation(
        method="DELETE",
        path="/api-keys/{key_id}",
        name="revokeApiKey",
        handler=delete_key,
        needs=any_of(Permission.REVOKE_API_KEY),
        event="API key remove",
        keys_only_by_password=True,
    ),
)
