"""Subsystems. Source: reference ``SubsystemsApiController``."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.parties import subsystem_payload
from postroad.centralserver.api.refusals import meaning
from postroad.centralserver.api.schemas import (
    Client,
    Payload,
    Text,
    parse_server_id,
    parse_subsystem_id,
)
from postroad.centralserver.registry import members, servers
from postroad.centralserver.registry.parameters import own_instance
from postroad.centralserver.registry.refusals import Problem
from postroad.centralserver.roles import Permission
from postroad.identifiers import SubsystemId

_Name = Annotated[str, msgspec.Meta(max_length=255)]


class NewSubsystemId(Payload):
    """The identifier of a subsystem to be, without the instance."""

    member_class: Text
    member_code: Text
    subsystem_code: Text


class SubsystemAdd(Payload):
    """A subsystem to be."""

    subsystem_id: NewSubsystemId
    subsystem_name: _Name | None = None


class SubsystemName(Payload):
    """The name of a subsystem; an empty one takes the name away."""

    subsystem_name: _Name | None = None


def add_subsystem(call: Call) -> Client:
    """Add a subsystem to a member."""
    body: SubsystemAdd = call.body
    new = body.subsystem_id
    with call.changing() as change:
        added = members.add_subsystem(
            change,
            SubsystemId(
                own_instance(change.session), new.member_class, new.member_code, new.subsystem_code
            ),
            body.subsystem_name,
        )
        return subsystem_payload(change.session, added)


def rename_subsystem(call: Call) -> Client:
    """Change the name of a subsystem."""
    body: SubsystemName = call.body
    subsystem = _subsystem_id(call)
    with call.changing() as change:
        members.rename_subsystem(change, subsystem, body.subsystem_name)
        return subsystem_payload(change.session, members.load_subsystem(change.session, subsystem))


def delete_subsystem(call: Call) -> None:
    """Delete a subsystem that is no server's client."""
    with call.changing() as change:
        members.delete_subsystem(change, _subsystem_id(call))


def unregister_subsystem(call: Call) -> None:
    """End the registration of a subsystem with a security server."""
    server = parse_server_id(call.path["server_id"])
    code = "subsystem_not_registered_to_security_server"
    with meaning(Problem.CLIENT_NOT_REGISTERED, 404, code), call.changing() as change:
        servers.unregister_client(change, server, _subsystem_id(call))


def _subsystem_id(call: Call) -> SubsystemId:
    return parse_subsystem_id(call.path["subsystem_id"])


OPERATIONS: Final = (
    Operation(
        method="POST",
        path="/subsystems",
        name="addSubsystem",
        handler=add_subsystem,
        needs=any_of(Permission.ADD_MEMBER_SUBSYSTEM),
        status=201,
        body=SubsystemAdd,
        answer=Client,
        event="Add subsystem",
    ),
    Operation(
        method="PATCH",
        path="/subsystems/{subsystem_id}",
        name="updateSubsystemName",
        handler=rename_subsystem,
        needs=any_of(Permission.EDIT_MEMBER_SUBSYSTEM),
        body=SubsystemName,
        answer=Client,
        event="Edit subsystem",
    ),
    Operation(
        method="DELETE",
        path="/subsystems/{subsystem_id}",
        name="deleteSubsystem",
        handler=delete_subsystem,
        needs=any_of(Permission.REMOVE_MEMBER_SUBSYSTEM),
        status=204,
        event="Delete subsystem",
    ),
    Operation(
        method="DELETE",
        path="/subsystems/{subsystem_id}/servers/{server_id}",
        name="unregisterSubsystem",
        handler=unregister_subsystem,
        needs=any_of(Permission.UNREGISTER_SUBSYSTEM),
        status=204,
        event="Unregister subsystem as security server client",
    ),
)
