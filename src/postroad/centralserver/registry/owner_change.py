"""How does a security server get another owner? Its identifier changes, everything else stays.

Source: reference ``OwnerChangeRequestHandler``; UC-MEMBER: change the owner of a security server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.models.parties import ServerClient
from postroad.centralserver.registry import groups
from postroad.centralserver.registry.members import find_member
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.servers import find_server
from postroad.identifiers import MemberId, SecurityServerId

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.parties import Member, SecurityServer
    from postroad.centralserver.registry.change import Change
    from postroad.identifiers import ClientId


def check_owner_change(
    session: Session, server: SecurityServerId, client: ClientId
) -> tuple[SecurityServer, Member, ServerClient]:
    """The server, its owner to be, and the registration that makes it one of the server's clients.

    Refused for unknown servers, for a subsystem or a stranger to the server, for the owner of today
    and when the new owner has a server of that code already.
    """
    found = find_server(session, server)
    if found is None:
        raise RegistryRefusal(Problem.REQUEST_SERVER_NOT_FOUND, f"no security server {server}")
    if not isinstance(client, MemberId):
        raise RegistryRefusal(
            Problem.REQUEST_OWNER_NOT_MEMBER, f"{client} is a subsystem: only members own servers"
        )
    if client == server.owner:
        raise RegistryRefusal(Problem.REQUEST_ALREADY_OWNER, f"{client} owns {server} already")
    member = find_member(session, client)
    registration = next((row for row in found.clients if row.member is member), None)
    if member is None or registration is None:
        raise RegistryRefusal(
            Problem.REQUEST_OWNER_NOT_CLIENT, f"{client} is not a client of {server}"
        )
    if find_server(session, owned_by(server, client)) is not None:
        raise RegistryRefusal(
            Problem.REQUEST_SERVER_CODE_EXISTS,
            f"{client} owns a security server {server.server_code!r} already",
        )
    return found, member, registration


def owned_by(server: SecurityServerId, owner: MemberId) -> SecurityServerId:
    """The identifier of a server under another owner."""
    return SecurityServerId(
        owner.instance, owner.member_class, owner.member_code, server.server_code
    )


def change_owner(change: Change, server: SecurityServerId, client: ClientId) -> SecurityServerId:
    """Give the server to one of its clients; the owner before becomes a client.

    Returns the server's new identifier. Refused as :func:`check_owner_change` says.
    """
    session = change.session
    found, member, registration = check_owner_change(session, server, client)
    former = found.owner
    found.clients.remove(registration)
    found.owner = member
    found.clients.append(ServerClient(member=former, enabled=True, created_at=change.at))
    session.flush()
    session.expire(former, ["owned_servers"])
    new_owner = MemberId(client.instance, client.member_class, client.member_code)
    for owner in (server.owner, new_owner):
        groups.update_owners_group(change, owner)
    renamed = owned_by(server, new_owner)
    change.record("Change owner of security server", server=server.encoded(), to=renamed.encoded())
    return renamed
