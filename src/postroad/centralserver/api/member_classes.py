"""Member classes. Source: reference ``MemberClassesApiController``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.centralserver.api.operations import Call, Operation, any_of
from postroad.centralserver.api.schemas import Payload, Text
from postroad.centralserver.registry import members
from postroad.centralserver.roles import Permission

if TYPE_CHECKING:
    from postroad.centralserver.models.parties import MemberClass as MemberClassRow


class MemberClass(Payload):
    """A member class."""

    code: Text
    description: Text


class MemberClassDescription(Payload):
    """What a member class is for."""

    description: Text


def list_member_classes(call: Call) -> list[MemberClass]:
    """All member classes."""
    with call.reading() as session:
        return [_payload(row) for row in members.list_member_classes(session)]


def add_member_class(call: Call) -> MemberClass:
    """Add one."""
    body: MemberClass = call.body
    with call.changing() as change:
        return _payload(members.add_member_class(change, body.code, body.description))


def describe_member_class(call: Call) -> MemberClass:
    """Change the description of one."""
    body: MemberClassDescription = call.body
    with call.changing() as change:
        members.describe_member_class(change, call.path["code"], body.description)
        return _payload(members.load_member_class(change.session, call.path["code"]))


def delete_member_class(call: Call) -> None:
    """Delete one that nobody is in."""
    with call.changing() as change:
        members.delete_member_class(change, call.path["code"])


def _payload(row: MemberClassRow) -> MemberClass:
    return MemberClass(code=row.code, description=row.description)


OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/member-classes",
        name="getMemberClasses",
        handler=list_member_classes,
        needs=any_of(Permission.VIEW_MEMBER_CLASSES),
        answer=list[MemberClass],
    ),
    Operation(
        method="POST",
        path="/member-classes",
        name="addMemberClass",
        handler=add_member_class,
        needs=any_of(Permission.ADD_MEMBER_CLASS),
        status=201,
        body=MemberClass,
        answer=MemberClass,
        event="Add member class",
    ),
    Operation(
        method="PATCH",
        path="/member-classes/{code}",
        name="updateMemberClass",
        handler=describe_member_class,
        needs=any_of(Permission.EDIT_MEMBER_CLASS),
        body=MemberClassDescription,
        answer=MemberClass,
        event="Edit member class description",
    ),
    Operation(
        method="DELETE",
        path="/member-classes/{code}",
        name="deleteMemberClass",
        handler=delete_member_class,
        needs=any_of(Permission.DELETE_MEMBER_CLASS),
        status=204,
        event="Delete member class",
    ),
)
