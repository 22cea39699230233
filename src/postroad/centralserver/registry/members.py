"""Which members, member classes and subsystems are there, and how do they come and go?

Source: reference member, member class and subsystem services of the Central Server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from postroad.centralserver.models.parties import (
    GlobalGroupMember,
    Member,
    MemberClass,
    Subsystem,
)
from postroad.centralserver.registry.names import check_code, check_name
from postroad.centralserver.registry.parameters import own_instance
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.identifiers import ClientId, MemberId, SubsystemId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


def list_member_classes(session: Session) -> Sequence[MemberClass]:
    """All member classes, by code."""
    return session.scalars(select(MemberClass).order_by(MemberClass.code)).all()


def load_member_class(session: Session, code: str) -> MemberClass:
    """The member class of that code; refused when there is none."""
    found = session.scalars(select(MemberClass).where(MemberClass.code == code)).one_or_none()
    if found is None:
        raise RegistryRefusal(Problem.MEMBER_CLASS_NOT_FOUND, f"no member class {code!r}")
    return found


def add_member_class(change: Change, code: str, description: str) -> MemberClass:
    """Add a member class."""
    check_code(change, "the member class code", code)
    if change.session.scalars(select(MemberClass).where(MemberClass.code == code)).first():
        raise RegistryRefusal(Problem.MEMBER_CLASS_EXISTS, f"member class {code!r} exists already")
    added = MemberClass(code=code, description=check_name("the description", description))
    change.session.add(added)
    change.record("Add member class", code=code, description=added.description)
    return added


def describe_member_class(change: Change, code: str, description: str) -> bool:
    """Change the description of a member class; False when it was that already."""
    found = load_member_class(change.session, code)
    description = check_name("the description", description)
    if found.description == description:
        return False
    found.description = description
    change.record("Edit member class description", code=code, description=description)
    return True


def delete_member_class(change: Change, code: str) -> None:
    """Delete a member class that no member is in."""
    found = load_member_class(change.session, code)
    used = select(func.count()).select_from(Member).where(Member.member_class_id == found.id)
    count = change.session.scalar(used) or 0
    if count:
        raise RegistryRefusal(
            Problem.MEMBER_CLASS_IN_USE, f"member class {code!r} has {count} members"
        )
    change.session.delete(found)
    change.record("Delete member class", code=code)


def list_members(session: Session) -> Sequence[Member]:
    """All members in the order they were added, which is that of the shared parameters."""
    return session.scalars(select(Member).order_by(Member.id)).all()


def find_member(session: Session, member: MemberId) -> Member | None:
    """The member of that identifier, None when it is not ours or unknown."""
    if member.instance != own_instance(session):
        return None
    wanted = (
        select(Member)
        .join(MemberClass)
        .where(MemberClass.code == member.member_class, Member.member_code == member.member_code)
    )
    return session.scalars(wanted).one_or_none()


def load_member(session: Session, member: MemberId) -> Member:
    """The member of that identifier; refused when there is none."""
    found = find_member(session, member)
    if found is None:
        raise RegistryRefusal(Problem.MEMBER_NOT_FOUND, f"no member {member}")
    return found


def find_subsystem(session: Session, subsystem: SubsystemId) -> Subsystem | None:
    """The subsystem of that identifier, None when it is not ours or unknown."""
    member = find_member(session, subsystem.member)
    if member is None:
        return None
    wanted = select(Subsystem).where(
        Subsystem.member_id == member.id, Subsystem.subsystem_code == subsystem.subsystem_code
    )
    return session.scalars(wanted).one_or_none()


def load_subsystem(session: Session, subsystem: SubsystemId) -> Subsystem:
    """The subsystem of that identifier; refused when there is none."""
    found = find_subsystem(session, subsystem)
    if found is None:
        raise RegistryRefusal(Problem.SUBSYSTEM_NOT_FOUND, f"no subsystem {subsystem}")
    return found


def load_client(session: Session, client: ClientId) -> Member | Subsystem:
    """The member or subsystem of that identifier; refused when there is none."""
    if isinstance(client, SubsystemId):
        return load_subsystem(session, client)
    return load_member(session, client)


def member_id(session: Session, member: Member) -> MemberId:
    """The identifier of a member of this instance."""
    return MemberId(own_instance(session), member.member_class.code, member.member_code)


def subsystem_id(session: Session, subsystem: Subsystem) -> SubsystemId:
    """The identifier of a subsystem of this instance."""
    owner = member_id(session, subsystem.member)
    return SubsystemId(
        owner.instance, owner.member_class, owner.member_code, subsystem.subsystem_code
    )


def add_member(change: Change, member: MemberId, name: str) -> Member:
    """Add a member to an existing member class."""
    session = change.session
    require_own_instance(session, member.instance)
    member_class = load_member_class(session, member.member_class)
    check_code(change, "the member code", member.member_code)
    if find_member(session, member) is not None:
        raise RegistryRefusal(Problem.MEMBER_EXISTS, f"member {member} exists already")
    added = Member(
        member_class=member_class,
        member_code=member.member_code,
        name=check_name("the member name", name),
        created_at=change.at,
    )
    session.add(added)
    change.record("Add member", member=member.encoded(), memberName=added.name)
    return added


def rename_member(change: Change, member: MemberId, name: str) -> bool:
    """Change the name of a member; False when it was that already."""
    found = load_member(change.session, member)
    name = check_name("the member name", name)
    if found.name == name:
        return False
    found.name = name
    change.record("Edit member name", member=member.encoded(), memberName=name)
    return True


def add_subsystem(change: Change, subsystem: SubsystemId, name: str | None = None) -> Subsystem:
    """Add a subsystem to an existing member; its name is optional."""
    session = change.session
    require_own_instance(session, subsystem.instance)
    member = load_member(session, subsystem.member)
    check_code(change, "the subsystem code", subsystem.subsystem_code)
    if find_subsystem(session, subsystem) is not None:
        raise RegistryRefusal(Problem.SUBSYSTEM_EXISTS, f"subsystem {subsystem} exists already")
    added = Subsystem(
        member=member,
        subsystem_code=subsystem.subsystem_code,
        name=_optional_name(name),
        created_at=change.at,
    )
    session.add(added)
    change.record("Add subsystem", subsystem=subsystem.encoded(), subsystemName=added.name)
    return added


def rename_subsystem(change: Change, subsystem: SubsystemId, name: str | None) -> bool:
    """Change or remove the name of a subsystem; False when it was that already."""
    found = load_subsystem(change.session, subsystem)
    name = _optional_name(name)
    if found.name == name:
        return False
    found.name = name
    change.record("Edit subsystem name", subsystem=subsystem.encoded(), subsystemName=name)
    return True


def delete_subsystem(change: Change, subsystem: SubsystemId) -> None:
    """Delete a subsystem that no server has as its client; it leaves all global groups."""
    session = change.session
    found = load_subsystem(session, subsystem)
    if found.registrations:
        raise RegistryRefusal(
            Problem.SUBSYSTEM_REGISTERED,
            f"subsystem {subsystem} is a client of {len(found.registrations)} security server(s); "
            "unregister it first",
        )
    leave_global_groups(session, subsystem)
    session.delete(found)
    change.record("Delete subsystem", subsystem=subsystem.encoded())


def leave_global_groups(session: Session, client: ClientId) -> int:
    """Take a client out of every global group; how many they were.

    A member takes its subsystems with it.
    """
    wanted = select(GlobalGroupMember).where(
        GlobalGroupMember.instance == client.instance,
        GlobalGroupMember.member_class == client.member_class,
        GlobalGroupMember.member_code == client.member_code,
    )
    if isinstance(client, SubsystemId):
        wanted = wanted.where(GlobalGroupMember.subsystem_code == client.subsystem_code)
    rows = session.scalars(wanted).all()
    for row in rows:
        session.delete(row)
    session.flush()
    return len(rows)


def require_own_instance(session: Session, instance: str) -> None:
    """Refuse an identifier of another instance where only ours can be."""
    own = own_instance(session)
    if instance != own:
        raise RegistryRefusal(
            Problem.FOREIGN_INSTANCE, f"{instance!r} is not this instance, which is {own!r}"
        )


def _optional_name(name: str | None) -> str | None:
    return None if name is None or not name.strip() else check_name("the subsystem name", name)
