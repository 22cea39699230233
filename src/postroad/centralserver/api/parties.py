"""How are members, subsystems and security servers of the registry written as payloads?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.api.schemas import (
    Client,
    ClientIdentifier,
    SecurityServer,
    ServerIdentifier,
)
from postroad.centralserver.registry.members import member_id, subsystem_id
from postroad.centralserver.registry.servers import server_id

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.parties import Member, Subsystem
    from postroad.centralserver.models.parties import SecurityServer as ServerRow


def member_payload(session: Session, row: Member) -> Client:
    """A member."""
    return Client(client_id=ClientIdentifier.of(member_id(session, row)), member_name=row.name)


def subsystem_payload(session: Session, row: Subsystem) -> Client:
    """A subsystem, with its own name and that of its member."""
    return Client(
        client_id=ClientIdentifier.of(subsystem_id(session, row)),
        member_name=row.member.name,
        subsystem_name=row.name,
    )


def server_payload(session: Session, row: ServerRow) -> SecurityServer:
    """A security server."""
    return SecurityServer(
        server_id=ServerIdentifier.of(server_id(session, row)),
        in_maintenance_mode=row.in_maintenance_mode,
        owner_name=row.owner.name,
        server_address=row.address,
        maintenance_mode_message=row.maintenance_mode_message,
        created_at=row.created_at,
    )
