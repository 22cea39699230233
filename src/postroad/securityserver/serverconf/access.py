"""What may be done with access rights and local groups?

Plain functions over a session of `ServerConf.change()`. Rules: reference, AccessRightService and
LocalGroupService: subjects are subsystems, global and local groups; a right exists once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError, FaultCode
from postroad.identifiers import LocalGroupId, SubsystemId
from postroad.securityserver.serverconf.models import (
    AccessRight,
    Client,
    Endpoint,
    LocalGroup,
    LocalGroupMember,
)
from postroad.securityserver.serverconf.revision import touch
from postroad.securityserver.serverconf.snapshot import subject_text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.authorization.rights import Subject

MAX_DESCRIPTION: Final = 255


def grant(session: Session, endpoint: Endpoint, subject: Subject, *, at: datetime) -> None:
    """Give a subject the right to call an endpoint (the base endpoint: the whole service).

    Raises `ConfigurationError` when it has the right, and for a local group that does not exist.
    """
    kind, text = subject_text(subject)
    if _find_right(endpoint, kind, text) is not None:
        raise ConfigurationError(f"{subject} has this access right already")
    if isinstance(subject, LocalGroupId):
        get_group(endpoint.client, subject.group_code)
    endpoint.rights.append(AccessRight(subject_kind=kind, subject=text, given_at=at))
    session.flush()
    touch(session)


def revoke(session: Session, endpoint: Endpoint, subject: Subject) -> None:
    """Take a right away; `ConfigurationError` when the subject does not have it."""
    right = _find_right(endpoint, *subject_text(subject))
    if right is None:
        raise ConfigurationError(f"{subject} does not have this access right")
    endpoint.rights.remove(right)
    session.flush()
    touch(session)


def _find_right(endpoint: Endpoint, kind: str, text: str) -> AccessRight | None:
    for right in endpoint.rights:
        if (right.subject_kind, right.subject) == (kind, text):
            return right
    return None


def find_group(client: Client, code: str) -> LocalGroup | None:
    """The local group of a client with that code."""
    return next((group for group in client.local_groups if group.group_code == code), None)


def get_group(client: Client, code: str) -> LocalGroup:
    """As `find_group`; `ConfigurationError` (`not_found`) if there is none."""
    group = find_group(client, code)
    if group is None:
        raise ConfigurationError(
            f"{client.identifier} has no local group {code!r}", code=FaultCode.NOT_FOUND
        )
    return group


def add_group(
    session: Session, client: Client, code: str, description: str, *, at: datetime
) -> LocalGroup:
    """Add a local group; `ConfigurationError` when the client has one of that code."""
    LocalGroupId(code)  # refuses an empty or too long code
    _check_description(description)
    if find_group(client, code) is not None:
        raise ConfigurationError(f"{client.identifier} has a local group {code!r} already")
    group = LocalGroup(group_code=code, description=description, updated_at=at)
    client.local_groups.append(group)
    session.flush()
    touch(session)
    return group


def describe_group(session: Session, group: LocalGroup, description: str, *, at: datetime) -> None:
    """Change the description of a local group."""
    _check_description(description)
    if group.description != description:
        group.description, group.updated_at = description, at
        touch(session)


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION or "\0" in description:
        raise ConfigurationError(
            f"a group's description has at most {MAX_DESCRIPTION} characters, none of them NUL"
        )


def delete_group(session: Session, client: Client, group: LocalGroup) -> None:
    """Delete a local group, and the rights that it holds."""
    holder = subject_text(LocalGroupId(group.group_code))
    for endpoint in client.endpoints:
        right = _find_right(endpoint, *holder)
        if right is not None:
            endpoint.rights.remove(right)
    client.local_groups.remove(group)
    session.flush()
    touch(session)


def add_member(session: Session, group: LocalGroup, member: SubsystemId, *, at: datetime) -> None:
    """Put a subsystem into a local group; `ConfigurationError` when it is in it."""
    text = member.encoded()
    if any(known.member == text for known in group.members):
        raise ConfigurationError(f"{member} is in the group {group.group_code!r} already")
    group.members.append(LocalGroupMember(member=text, added_at=at))
    group.updated_at = at
    session.flush()
    touch(session)


def remove_member(
    session: Session, group: LocalGroup, member: SubsystemId, *, at: datetime
) -> None:
    """Take a subsystem out of a local group; `ConfigurationError` when it is not in it."""
    for known in group.members:
        if known.member == member.encoded():
            group.members.remove(known)
            group.updated_at = at
            session.flush()
            touch(session)
            return
    raise ConfigurationError(f"{member} is not in the group {group.group_code!r}")
