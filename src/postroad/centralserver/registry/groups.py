"""Which global groups are there, and who is in them?

Source: reference global group service. The group of security server owners is kept by the
registry itself: nobody edits or deletes it by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.parties import GlobalGroup, GlobalGroupMember, SecurityServer
from postroad.centralserver.registry.members import load_client, load_member
from postroad.centralserver.registry.names import check_code, check_name
from postroad.centralserver.registry.parameters import Parameter, find_parameter, own_instance
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.identifiers import ClientId, MemberId, client_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change

OWNERS_GROUP = "security-server-owners"
"""The group that every owner of a security server is in, unless a parameter names another."""


def list_groups(session: Session) -> Sequence[GlobalGroup]:
    """All global groups in the order they were added."""
    return session.scalars(select(GlobalGroup).order_by(GlobalGroup.id)).all()


def find_group(session: Session, code: str) -> GlobalGroup | None:
    """The global group of that code, None when there is none."""
    return session.scalars(select(GlobalGroup).where(GlobalGroup.group_code == code)).one_or_none()


def load_group(session: Session, code: str) -> GlobalGroup:
    """The global group of that code; refused when there is none."""
    found = find_group(session, code)
    if found is None:
        raise RegistryRefusal(Problem.GLOBAL_GROUP_NOT_FOUND, f"no global group {code!r}")
    return found


def owners_group_code(session: Session) -> str:
    """The code of the group that holds every owner of a security server."""
    return find_parameter(session, Parameter.OWNERS_GROUP) or OWNERS_GROUP


def add_group(change: Change, code: str, description: str) -> GlobalGroup:
    """Add an empty global group."""
    check_code(change, "the group code", code)
    if find_group(change.session, code) is not None:
        raise RegistryRefusal(Problem.GLOBAL_GROUP_EXISTS, f"global group {code!r} exists already")
    added = GlobalGroup(
        group_code=code,
        description=check_name("the description", description),
        created_at=change.at,
        updated_at=change.at,
    )
    change.session.add(added)
    change.record("Add global group", code=code, description=added.description)
    return added


def describe_group(change: Change, code: str, description: str) -> bool:
    """Change the description of a global group; False when it was that already."""
    found = _load_editable(change.session, code)
    description = check_name("the description", description)
    if found.description == description:
        return False
    found.description = description
    found.updated_at = change.at
    change.record("Edit global group description", code=code, description=description)
    return True


def delete_group(change: Change, code: str) -> None:
    """Delete a global group and all memberships in it."""
    change.session.delete(_load_editable(change.session, code))
    change.record("Delete global group", code=code)


def add_group_members(change: Change, code: str, clients: Iterable[ClientId]) -> list[ClientId]:
    """Put clients into a group; returns those that weren't in it before.

    Clients of this instance must be registered; those of another instance are taken at their word.
    """
    group = _load_editable(change.session, code)
    own = own_instance(change.session)
    present = set(group_clients(group))
    added: list[ClientId] = []
    for client in clients:
        if client.instance == own:
            load_client(change.session, client)
        if client not in present:
            present.add(client)
            added.append(client)
            _join(change, group, client)
    if added:
        change.record("Add members to global group", code=code, members=_written(added))
    return added


def remove_group_members(change: Change, code: str, clients: Iterable[ClientId]) -> None:
    """Take clients out of a group; refused when one of them isn't in it."""
    group = _load_editable(change.session, code)
    rows = {_client_of(row): row for row in group.members}
    removed = list(dict.fromkeys(clients))
    for client in removed:
        if client not in rows:
            raise RegistryRefusal(
                Problem.GLOBAL_GROUP_MEMBER_NOT_FOUND, f"{client} is not in global group {code!r}"
            )
        group.members.remove(rows[client])
    if removed:
        group.updated_at = change.at
        change.record("Remove members from global group", code=code, members=_written(removed))


def group_clients(group: GlobalGroup) -> list[ClientId]:
    """The identifiers of the members of a group, in the order they joined."""
    return [_client_of(row) for row in group.members]


def update_owners_group(change: Change, owner: MemberId) -> None:
    """Make the owners' group tell the truth about one member, after servers came or went."""
    session = change.session
    group = find_group(session, owners_group_code(session))
    if group is None:
        group = GlobalGroup(
            group_code=owners_group_code(session),
            description="Security server owners",
            created_at=change.at,
            updated_at=change.at,
        )
        session.add(group)
        session.flush()
    member = load_member(session, owner)
    owns = select(SecurityServer.id).where(SecurityServer.owner_id == member.id).limit(1)
    row = next((row for row in group.members if _client_of(row) == owner), None)
    if session.scalar(owns) is None:
        if row is not None:
            group.members.remove(row)
            group.updated_at = change.at
    elif row is None:
        _join(change, group, owner)


def _join(change: Change, group: GlobalGroup, client: ClientId) -> None:
    group.members.append(
        GlobalGroupMember(
            instance=client.instance,
            member_class=client.member_class,
            member_code=client.member_code,
            subsystem_code=client.subsystem_code or "",
            created_at=change.at,
        )
    )
    group.updated_at = change.at


def _load_editable(session: Session, code: str) -> GlobalGroup:
    group = load_group(session, code)
    if code == owners_group_code(session):
        raise RegistryRefusal(
            Problem.OWNERS_GROUP,
            f"global group {code!r} follows the registered servers; it can't be edited by hand",
        )
    return group


def _client_of(row: GlobalGroupMember) -> ClientId:
    return client_id(row.instance, row.member_class, row.member_code, row.subsystem_code or None)


def _written(clients: Iterable[ClientId]) -> list[str]:
    return [client.encoded() for client in clients]
