"""Global groups and who is in them. Source: reference ``GlobalGroupsApiController``."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from postroad.centralserver.api.clients import contains
from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.paging import PagingMetadata, PagingSorting, page_of
from postroad.centralserver.api.refusals import meaning
from postroad.centralserver.api.schemas import (
    ClientIdentifier,
    EncodedId,
    Payload,
    Text,
    encode_id,
    parse_client_id,
)
from postroad.centralserver.registry import groups, members
from postroad.centralserver.registry.refusals import Problem
from postroad.centralserver.roles import Permission
from postroad.identifiers import client_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.orm import Session

    from postroad.centralserver.models.parties import GlobalGroup, GlobalGroupMember


class GlobalGroupCodeAndDescription(Payload):
    """A global group to be."""

    code: Text
    description: Text


class GlobalGroupDescription(Payload):
    """What a global group is for."""

    description: Text


class GlobalGroupResource(Payload):
    """A global group."""

    code: str
    description: str
    created_at: datetime
    updated_at: datetime
    member_count: int


class Members(Payload):
    """Identifiers of members and subsystems."""

    items: list[EncodedId]


class GroupMembersFilter(Payload):
    """Which members of a group are wanted."""

    query: str | None = None
    member_class: str | None = None
    instance: str | None = None
    codes: list[str] | None = None
    subsystems: list[str] | None = None
    types: list[Literal["MEMBER", "SUBSYSTEM"]] | None = None
    paging_sorting: PagingSorting = PagingSorting()


class GroupMemberListView(Payload):
    """A member of a group."""

    id: int
    client_id: ClientIdentifier
    created_at: datetime
    name: str


class PagedGroupMemberListView(Payload):
    """One page of members of a group."""

    items: list[GroupMemberListView]
    paging_metadata: PagingMetadata


class GroupMembersFilterModel(Payload):
    """What the members of a group can be told by."""

    instances: list[str]
    member_classes: list[str]
    codes: list[str]
    subsystems: list[str]


_KEYS: Final[dict[str, Callable[[GroupMemberListView], str | int]]] = {
    "name": lambda member: member.name,
    "type": lambda member: member.client_id.type,
    "instance": lambda member: member.client_id.instance_id,
    "class": lambda member: member.client_id.member_class,
    "code": lambda member: member.client_id.member_code,
    "subsystem": lambda member: member.client_id.subsystem_code or "",
    "created_at": lambda member: member.created_at.isoformat(),
}


def list_groups(call: Call) -> list[GlobalGroupResource]:
    """All global groups."""
    with call.reading() as session:
        return [_payload(row) for row in groups.list_groups(session)]


def get_group(call: Call) -> GlobalGroupResource:
    """One global group."""
    with call.reading() as session:
        return _payload(_load(call, session))


def add_group(call: Call) -> GlobalGroupResource:
    """Add an empty global group."""
    body: GlobalGroupCodeAndDescription = call.body
    with call.changing() as change:
        return _payload(groups.add_group(change, body.code, body.description))


def describe_group(call: Call) -> GlobalGroupResource:
    """Change the description of a global group."""
    body: GlobalGroupDescription = call.body
    with call.changing() as change:
        groups.describe_group(change, call.path["group_code"], body.description)
        return _payload(_load(call, change.session))


def delete_group(call: Call) -> None:
    """Delete a global group."""
    with call.changing() as change:
        groups.delete_group(change, call.path["group_code"])


def add_members(call: Call) -> Members:
    """Put members and subsystems into a group; those that weren't in it before."""
    body: Members = call.body
    clients = [parse_client_id(item) for item in body.items]
    code = "cannot_add_member_to_owners_group"
    with meaning(Problem.OWNERS_GROUP, 400, code), call.changing() as change:
        added = groups.add_group_members(change, call.path["group_code"], clients)
    return Members(items=[encode_id(client) for client in added])


def remove_member(call: Call) -> None:
    """Take a member or subsystem out of a group."""
    client = parse_client_id(call.path["client_id"])
    code = "owners_global_group_member_cannot_be_deleted"
    with meaning(Problem.OWNERS_GROUP, 400, code), call.changing() as change:
        groups.remove_group_members(change, call.path["group_code"], [client])


def find_members(call: Call) -> PagedGroupMemberListView:
    """One page of the members of a group that are wanted."""
    body: GroupMembersFilter = call.body
    with call.reading() as session:
        found = [_member_payload(session, row) for row in _load(call, session).members]
    found = [member for member in found if _is_wanted(member, body)]
    page, metadata = page_of(found, body.paging_sorting, _KEYS)
    return PagedGroupMemberListView(items=page, paging_metadata=metadata)


def filter_model(call: Call) -> GroupMembersFilterModel:
    """What the members of a group can be told by."""
    with call.reading() as session:
        rows = _load(call, session).members
        return GroupMembersFilterModel(
            instances=sorted({row.instance for row in rows}),
            member_classes=sorted({row.member_class for row in rows}),
            codes=sorted({row.member_code for row in rows}),
            subsystems=sorted({row.subsystem_code for row in rows if row.subsystem_code}),
        )


def _load(call: Call, session: Session) -> GlobalGroup:
    return groups.load_group(session, call.path["group_code"])


def _payload(row: GlobalGroup) -> GlobalGroupResource:
    return GlobalGroupResource(
        code=row.group_code,
        description=row.description,
        created_at=row.created_at,
        updated_at=row.updated_at,
        member_count=len(row.members),
    )


def _member_payload(session: Session, row: GlobalGroupMember) -> GroupMemberListView:
    client = client_id(row.instance, row.member_class, row.member_code, row.subsystem_code or None)
    member = members.find_member(session, client.member)
    return GroupMemberListView(
        id=row.id,
        client_id=ClientIdentifier.of(client),
        created_at=row.created_at,
        name=member.name if member is not None else row.member_code,
    )


def _is_wanted(member: GroupMemberListView, wanted: GroupMembersFilter) -> bool:
    client = member.client_id
    rules = (
        wanted.member_class in {None, "", client.member_class},
        wanted.instance in {None, "", client.instance_id},
        not wanted.codes or client.member_code in wanted.codes,
        not wanted.subsystems or client.subsystem_code in wanted.subsystems,
        not wanted.types or client.type in wanted.types,
        not wanted.query
        or contains(
            wanted.query,
            (
                member.name,
                client.instance_id,
                client.member_class,
                client.member_code,
                client.subsystem_code,
            ),
        ),
    )
    return all(rules)


_VIEW: Final = any_of(Permission.VIEW_GROUP_DETAILS)
_MEMBERS: Final = any_of(Permission.ADD_AND_REMOVE_GROUP_MEMBERS)
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/global-groups",
        name="findGlobalGroups",
        handler=list_groups,
        needs=any_of(Permission.VIEW_GLOBAL_GROUPS),
        answer=list[GlobalGroupResource],
    ),
    Operation(
        method="POST",
        path="/global-groups",
        name="addGlobalGroup",
        handler=add_group,
        needs=any_of(Permission.ADD_GLOBAL_GROUP),
        status=201,
        body=GlobalGroupCodeAndDescription,
        answer=GlobalGroupResource,
        event="Add global group",
    ),
    Operation(
        method="GET",
        path="/global-groups/{group_code}",
        name="getGlobalGroup",
        handler=get_group,
        needs=_VIEW,
        answer=GlobalGroupResource,
    ),
    Operation(
        method="PATCH",
        path="/global-groups/{group_code}",
        name="updateGlobalGroupDescription",
        handler=describe_group,
        needs=any_of(Permission.EDIT_GROUP_DESCRIPTION),
        body=GlobalGroupDescription,
        answer=GlobalGroupResource,
        event="Edit global group description",
    ),
    Operation(
        method="DELETE",
        path="/global-groups/{group_code}",
        name="deleteGlobalGroup",
        handler=delete_group,
        needs=any_of(Permission.DELETE_GROUP),
        status=204,
        event="Delete global group",
    ),
    Operation(
        method="GET",
        path="/global-groups/{group_code}/members/filter-model",
        name="getGroupMembersFilterModel",
        handler=filter_model,
        needs=_VIEW,
        answer=GroupMembersFilterModel,
    ),
    Operation(
        method="POST",
        path="/global-groups/{group_code}/members",
        name="findGlobalGroupMembers",
        handler=find_members,
        needs=_VIEW,
        body=GroupMembersFilter,
        answer=PagedGroupMemberListView,
    ),
    Operation(
        method="POST",
        path="/global-groups/{group_code}/members/add",
        name="addGlobalGroupMembers",
        handler=add_members,
        needs=_MEMBERS,
        status=201,
        body=Members,
        answer=Members,
        event="Add members to global group",
    ),
    Operation(
        method="DELETE",
        path="/global-groups/{group_code}/members/{client_id}",
        name="deleteGlobalGroupMember",
        handler=remove_member,
        needs=_MEMBERS,
        status=204,
        event="Remove members from global group",
    ),
)
