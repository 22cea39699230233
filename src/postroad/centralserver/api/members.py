"""Members. Source: reference ``MembersApiController``."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.parties import member_payload, server_payload
from postroad.centralserver.api.refusals import meaning
from postroad.centralserver.api.schemas import (
    Client,
    ClientIdentifier,
    Payload,
    SecurityServer,
    Text,
    encode_id,
    parse_member_id,
    parse_server_id,
)
from postroad.centralserver.registry import groups, members, servers
from postroad.centralserver.registry.parameters import own_instance
from postroad.centralserver.registry.refusals import Problem
from postroad.centralserver.roles import Permission
from postroad.identifiers import MemberId


class NewMemberId(Payload):
    """The identifier of a member to be, without the instance."""

    member_class: Text
    member_code: Text


class MemberAdd(Payload):
    """A member to be."""

    member_id: NewMemberId
    member_name: Text


class MemberName(Payload):
    """The name of a member."""

    member_name: Text


class UsedSecurityServer(Payload):
    """A security server that a subsystem is a client of."""

    encoded_id: str
    server_code: str
    server_owner: str
    status: str


class MemberSubsystem(Payload):
    """A subsystem of a member."""

    subsystem_id: ClientIdentifier
    used_security_servers: list[UsedSecurityServer]
    subsystem_name: str | None = None


class MemberGlobalGroup(Payload):
    """A global group that a member or one of its subsystems is in."""

    group_code: str
    added_to_group: datetime
    subsystem: str | None = None


def add_member(call: Call) -> Client:
    """Add a member of this instance."""
    body: MemberAdd = call.body
    with call.changing() as change:
        instance = own_instance(change.session)
        new = MemberId(instance, body.member_id.member_class, body.member_id.member_code)
        return member_payload(change.session, members.add_member(change, new, body.member_name))


def get_member(call: Call) -> Client:
    """One member."""
    with call.reading() as session:
        return member_payload(session, members.load_member(session, _member_id(call)))


def rename_member(call: Call) -> Client:
    """Change the name of a member."""
    body: MemberName = call.body
    member = _member_id(call)
    with call.changing() as change:
        members.rename_member(change, member, body.member_name)
        return member_payload(change.session, members.load_member(change.session, member))


def delete_member(call: Call) -> None:
    """Delete a member with its subsystems, servers and registrations."""
    with call.changing() as change:
        servers.delete_member(change, _member_id(call))


def list_subsystems(call: Call) -> list[MemberSubsystem]:
    """The subsystems of a member, each with its servers."""
    with call.reading() as session:
        found = members.load_member(session, _member_id(call))
        return [
            MemberSubsystem(
                subsystem_id=ClientIdentifier.of(members.subsystem_id(session, row)),
                subsystem_name=row.name,
                used_security_servers=[
                    UsedSecurityServer(
                        encoded_id=encode_id(
                            servers.server_id(session, registration.security_server)
                        ),
                        server_code=registration.security_server.server_code,
                        server_owner=registration.security_server.owner.name,
                        status="APPROVED" if registration.enabled else "DISABLED",
                    )
                    for registration in row.registrations
                ],
            )
            for row in found.subsystems
        ]


def list_global_groups(call: Call) -> list[MemberGlobalGroup]:
    """The global groups that a member or its subsystems are in."""
    with call.reading() as session:
        member = members.member_id(session, members.load_member(session, _member_id(call)))
        return [
            MemberGlobalGroup(
                group_code=group.group_code,
                added_to_group=row.created_at,
                subsystem=row.subsystem_code or None,
            )
            for group in groups.list_groups(session)
            for row in group.members
            if (row.instance, row.member_class, row.member_code) == member.parts
        ]


def list_owned_servers(call: Call) -> list[SecurityServer]:
    """The security servers that a member owns."""
    with call.reading() as session:
        found = members.load_member(session, _member_id(call))
        return [server_payload(session, row) for row in found.owned_servers]


def list_used_servers(call: Call) -> list[SecurityServer]:
    """The security servers that a member itself is a client of, besides its own."""
    with call.reading() as session:
        found = members.load_member(session, _member_id(call))
        return [
            server_payload(session, row)
            for row in servers.list_servers(session)
            if any(registration.member_id == found.id for registration in row.clients)
        ]


def unregister_member(call: Call) -> None:
    """End the registration of a member with a security server."""
    server = parse_server_id(call.path["server_id"])
    code = "member_not_registered_to_security_server"
    with meaning(Problem.CLIENT_NOT_REGISTERED, 404, code), call.changing() as change:
        servers.unregister_client(change, server, _member_id(call))


def _member_id(call: Call) -> MemberId:
    return parse_member_id(call.path["member_id"])


_VIEW: Final = any_of(Permission.VIEW_MEMBER_DETAILS)
OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/members",
        name="addMember",
        handler=add_member,
        needs=any_of(Permission.ADD_NEW_MEMBER),
        status=201,
        body=MemberAdd,
        answer=Client,
        event="Add member",
    ),
    Operation(
        method="GET",
        path="/members/{member_id}",
        name="getMember",
        handler=get_member,
        needs=_VIEW,
        answer=Client,
    ),
    Operation(
        method="PATCH",
        path="/members/{member_id}",
        name="updateMemberName",
        handler=rename_member,
        needs=any_of(Permission.EDIT_MEMBER_NAME),
        body=MemberName,
        answer=Client,
        event="Edit member name",
    ),
    Operation(
        method="DELETE",
        path="/members/{member_id}",
        name="deleteMember",
        handler=delete_member,
        needs=any_of(Permission.DELETE_MEMBER),
        status=204,
        event="Delete member",
    ),
    Operation(
        method="GET",
        path="/members/{member_id}/subsystems",
        name="getSubsystems",
        handler=list_subsystems,
        needs=_VIEW,
        answer=list[MemberSubsystem],
    ),
    Operation(
        method="GET",
        path="/members/{member_id}/global-groups",
        name="getMemberGlobalGroups",
        handler=list_global_groups,
        needs=_VIEW,
        answer=list[MemberGlobalGroup],
    ),
    Operation(
        method="GET",
        path="/members/{member_id}/owned-servers",
        name="getOwnedServers",
        handler=list_owned_servers,
        needs=_VIEW,
        answer=list[SecurityServer],
    ),
    Operation(
        method="GET",
        path="/members/{member_id}/used-servers",
        name="getUsedServers",
        handler=list_used_servers,
        needs=_VIEW,
        answer=list[SecurityServer],
    ),
    Operation(
        method="DELETE",
        path="/members/{member_id}/servers/{server_id}",
        name="unregisterMember",
        handler=unregister_member,
        needs=any_of(Permission.UNREGISTER_MEMBER),
        status=204,
        event="Unregister member as security server client",
    ),
)
