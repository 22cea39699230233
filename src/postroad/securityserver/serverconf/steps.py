"""How is each change that leads to a declaration made?

Functions whose first arguments are bound when the difference is found, and whose last two are the
session and the moment, given when it is made. They call what the admin API calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError
from postroad.securityserver.serverconf import access, clients, services

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.authorization.rights import Endpoint as DeclaredEndpoint
    from postroad.authorization.rights import Subject
    from postroad.identifiers import ClientId, SubsystemId
    from postroad.securityserver.serverconf.declaration import (
        DeclaredDescription,
        DeclaredGroup,
        DeclaredService,
    )
    from postroad.securityserver.serverconf.models import ConnectionType, Endpoint


def choose(chosen: tuple[tuple[str, str], ...], session: Session, _at: datetime) -> None:
    """Choose the time-stamping services."""
    clients.set_timestamping(session, chosen)


def add_client(
    identifier: ClientId, connection: ConnectionType, session: Session, _at: datetime
) -> None:
    """Add a client."""
    clients.add_client(session, identifier, connection_type=connection)


def connect(
    identifier: ClientId, connection: ConnectionType, session: Session, _at: datetime
) -> None:
    """Say how the client's information systems connect."""
    clients.set_connection_type(session, identifier, connection)


def trust(identifier: ClientId, data: bytes, session: Session, _at: datetime) -> None:
    """Trust a TLS certificate of the client's information systems."""
    clients.add_certificate(session, identifier, data)


def distrust(identifier: ClientId, digest: str, session: Session, _at: datetime) -> None:
    """Stop trusting a certificate."""
    clients.delete_certificate(session, identifier, digest)


def add_group(
    identifier: ClientId, code: str, group: DeclaredGroup, session: Session, at: datetime
) -> None:
    """Add a local group, without its members."""
    client = clients.get_client(session, identifier)
    access.add_group(session, client, code, group.description, at=at)


def delete_group(identifier: ClientId, code: str, session: Session, _at: datetime) -> None:
    """Delete a local group."""
    client = clients.get_client(session, identifier)
    access.delete_group(session, client, access.get_group(client, code))


def describe_group(
    identifier: ClientId, code: str, description: str, session: Session, at: datetime
) -> None:
    """Change a local group's description."""
    group = access.get_group(clients.get_client(session, identifier), code)
    access.describe_group(session, group, description, at=at)


def join_group(
    identifier: ClientId, code: str, member: SubsystemId, session: Session, at: datetime
) -> None:
    """Put a subsystem into a local group."""
    group = access.get_group(clients.get_client(session, identifier), code)
    access.add_member(session, group, member, at=at)


def leave_group(
    identifier: ClientId, code: str, member: SubsystemId, session: Session, at: datetime
) -> None:
    """Take a subsystem out of a local group."""
    group = access.get_group(clients.get_client(session, identifier), code)
    access.remove_member(session, group, member, at=at)


def describe(
    identifier: ClientId,
    url: str,
    wanted: DeclaredDescription,
    session: Session,
    at: datetime,
) -> None:
    """Add a service description or change it."""
    client = clients.get_client(session, identifier)
    row = services.find_description(client, url)
    if row is None:
        row = services.add_description(session, identifier, wanted.type, url, at=at)
    services.set_type(session, row, wanted.type)
    services.set_enabled(session, row, enabled=wanted.enabled, notice=wanted.notice)


def undescribe(identifier: ClientId, url: str, session: Session, _at: datetime) -> None:
    """Delete a service description, if it is still there."""
    row = services.find_description(clients.get_client(session, identifier), url)
    if row is not None:
        services.delete_description(session, row)


def provide(
    identifier: ClientId,
    key: tuple[str, str],
    wanted: DeclaredService,
    session: Session,
    _at: datetime,
) -> None:
    """Add a service by its code and version, or change it, moving it where it belongs."""
    code, version = key
    client = clients.get_client(session, identifier)
    description = services.find_description(client, wanted.description)
    if description is None:
        raise ConfigurationError(f"there is no description at {wanted.description}")
    row = services.find_service(client, code, version or None)
    if row is None:
        services.add_service(session, description, code, wanted.properties, version=version or None)
    else:
        services.move_service(session, row, description)
        services.set_properties(session, row, wanted.properties)


def delete_service(
    identifier: ClientId, code: str, version: str, session: Session, _at: datetime
) -> None:
    """Delete a service, if it is still there."""
    row = services.find_service(clients.get_client(session, identifier), code, version or None)
    if row is not None:
        services.delete_service(session, row)


def _endpoint_row(
    session: Session, identifier: ClientId, code: str, endpoint: DeclaredEndpoint
) -> Endpoint:
    row = services.find_endpoint(clients.get_client(session, identifier), code, endpoint)
    if row is None:
        raise ConfigurationError(f"there is no endpoint {endpoint.method} {endpoint.path}")
    return row


def add_endpoint(
    identifier: ClientId,
    place: tuple[str, DeclaredEndpoint],
    generated: bool,  # noqa: FBT001 - bound when the difference is found
    session: Session,
    _at: datetime,
) -> None:
    """Declare an endpoint."""
    client = clients.get_client(session, identifier)
    services.add_endpoint(session, client, *place, generated=generated)


def mark_generated(
    identifier: ClientId,
    place: tuple[str, DeclaredEndpoint],
    generated: bool,  # noqa: FBT001 - bound when the difference is found
    session: Session,
    _at: datetime,
) -> None:
    """Note whether an endpoint belongs to the document of its service."""
    row = _endpoint_row(session, identifier, *place)
    services.mark_generated(session, row, generated=generated)


def delete_endpoint(
    identifier: ClientId, code: str, endpoint: DeclaredEndpoint, session: Session, _at: datetime
) -> None:
    """Delete a declared endpoint."""
    services.delete_endpoint(session, _endpoint_row(session, identifier, code, endpoint))


def grant(
    identifier: ClientId,
    place: tuple[str, DeclaredEndpoint],
    subject: Subject,
    session: Session,
    at: datetime,
) -> None:
    """Give a right."""
    access.grant(session, _endpoint_row(session, identifier, *place), subject, at=at)


def revoke(
    identifier: ClientId,
    place: tuple[str, DeclaredEndpoint],
    subject: Subject,
    session: Session,
    _at: datetime,
) -> None:
    """Take a right away."""
    access.revoke(session, _endpoint_row(session, identifier, *place), subject)
