"""Who may use the management interface: administrators with passwords, programs with API keys?

Source: reference ``ApiKeyService``. Nobody hands out a role that they don't have themselves; only
a system administrator may speak of the management service's role, which no person has.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.administrators import (
    Administrator,
    AdministratorRole,
    ApiKey,
    ApiKeyRole,
)
from postroad.centralserver.passwords import hash_password
from postroad.centralserver.registry.names import check_name
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.roles import Role

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


def parse_roles(names: Iterable[str]) -> frozenset[Role]:
    """The roles of these names; refused for an unknown one, and when there is none."""
    roles = set()
    for name in names:
        try:
            roles.add(Role(name))
        except ValueError:
            known = ", ".join(role.value for role in Role)
            raise RegistryRefusal(
                Problem.UNKNOWN_ROLE, f"no role {name!r}; there are: {known}"
            ) from None
    if not roles:
        raise RegistryRefusal(Problem.UNKNOWN_ROLE, "at least one role is needed")
    return frozenset(roles)


def list_administrators(session: Session) -> Sequence[Administrator]:
    """All administrators, by name."""
    return session.scalars(select(Administrator).order_by(Administrator.username)).all()


def find_administrator(session: Session, username: str) -> Administrator | None:
    """The administrator of that name, None when there is none."""
    wanted = select(Administrator).where(Administrator.username == username)
    return session.scalars(wanted).one_or_none()


def add_administrator(
    change: Change,
    username: str,
    password: str,
    roles: frozenset[Role],
    *,
    allow_weak: bool = False,
) -> Administrator:
    """Let somebody log in; refused for a name that is taken and for a weak password."""
    username = check_name("the user name", username)
    if Role.MANAGEMENT_SERVICE in roles or not roles:
        raise RegistryRefusal(
            Problem.UNKNOWN_ROLE, "a person has at least one role, and never the management service"
        )
    if find_administrator(change.session, username) is not None:
        raise RegistryRefusal(
            Problem.ADMINISTRATOR_EXISTS, f"administrator {username!r} exists already"
        )
    added = Administrator(
        username=username,
        password_hash=hash_password(password, allow_weak=allow_weak),
        created_at=change.at,
        roles=[AdministratorRole(role=role.value) for role in sorted(roles)],
    )
    change.session.add(added)
    change.record("Add administrator", username=username, roles=_names(roles))
    return added


def change_password(
    change: Change, username: str, password: str, *, allow_weak: bool = False
) -> None:
    """Give an administrator another password; whoever is logged in by the old one no longer is."""
    found = _load_administrator(change.session, username)
    found.password_hash = hash_password(password, allow_weak=allow_weak)
    change.record("Change administrator password", username=username)


def delete_administrator(change: Change, username: str) -> None:
    """No longer let somebody log in."""
    change.session.delete(_load_administrator(change.session, username))
    change.record("Delete administrator", username=username)


def roles_of(owner: Administrator | ApiKey) -> frozenset[Role]:
    """The roles of an administrator or API key."""
    return frozenset(Role(row.role) for row in owner.roles)


def list_api_keys(session: Session) -> Sequence[ApiKey]:
    """All API keys in the order they were made."""
    return session.scalars(select(ApiKey).order_by(ApiKey.id)).all()


def find_api_key(session: Session, key: str) -> ApiKey | None:
    """The API key that somebody shows, None when there is none."""
    return session.scalars(select(ApiKey).where(ApiKey.key_hash == _key_hash(key))).one_or_none()


def load_api_key(session: Session, key_id: int) -> ApiKey:
    """The API key of that id; refused when there is none."""
    found = session.get(ApiKey, key_id)
    if found is None:
        raise RegistryRefusal(Problem.API_KEY_NOT_FOUND, f"no API key {key_id}")
    return found


def add_api_key(
    change: Change, roles: frozenset[Role], *, maker: frozenset[Role]
) -> tuple[ApiKey, str]:
    """Make an API key; the second value is the key itself, which is told only this once.

    ``maker`` are the roles of who makes it: refused when the key would have more than they have.
    """
    _check_assignable(roles, maker)
    key = str(uuid.uuid4())
    row = ApiKey(
        key_hash=_key_hash(key),
        created_by=change.actor,
        created_at=change.at,
        roles=[ApiKeyRole(role=role.value) for role in sorted(roles)],
    )
    change.session.add(row)
    change.session.flush()
    change.record("API key create", apiKeyId=row.id, apiKeyRoles=_names(roles))
    return row, key


def change_api_key_roles(
    change: Change, key_id: int, roles: frozenset[Role], *, maker: frozenset[Role]
) -> ApiKey:
    """Give an API key other roles; what it hasn't had before must be the changer's to give."""
    row = load_api_key(change.session, key_id)
    before = roles_of(row)
    _check_assignable(roles - before, maker)
    for each in [each for each in row.roles if Role(each.role) not in roles]:
        row.roles.remove(each)
    row.roles += [ApiKeyRole(role=role.value) for role in sorted(roles - before)]
    change.session.flush()
    change.record("API key update", apiKeyId=row.id, apiKeyRoles=_names(roles))
    return row


def delete_api_key(change: Change, key_id: int) -> None:
    """Revoke an API key, from this moment on."""
    row = load_api_key(change.session, key_id)
    change.session.delete(row)
    change.record("API key remove", apiKeyId=key_id, apiKeyRoles=_names(roles_of(row)))


def _load_administrator(session: Session, username: str) -> Administrator:
    found = find_administrator(session, username)
    if found is None:
        raise RegistryRefusal(Problem.ADMINISTRATOR_NOT_FOUND, f"no administrator {username!r}")
    return found


def _check_assignable(roles: frozenset[Role], maker: frozenset[Role]) -> None:
    assignable = set(maker)
    if Role.SYSTEM_ADMINISTRATOR in maker:
        assignable.add(Role.MANAGEMENT_SERVICE)
    missing = roles - assignable
    if missing:
        raise RegistryRefusal(
            Problem.MISSING_ROLE, f"nobody gives away roles they lack: {', '.join(sorted(missing))}"
        )


def _key_hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _names(roles: Iterable[Role]) -> list[str]:
    return sorted(role.value for role in roles)
