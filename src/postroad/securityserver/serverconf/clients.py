"""What may be done with clients, their certificates, and the chosen time-stamping services?

Plain functions over a session of `ServerConf.change()`. Rules: reference, client life cycle
(ClientService): one row per identifier, at most one member besides the owner, the owner stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.crypto.certificates import Certificate as ParsedCertificate
from postroad.errors import ConfigurationError, FaultCode
from postroad.identifiers import ClientId, MemberId
from postroad.securityserver.serverconf.models import (
    Certificate,
    Client,
    ConnectionType,
    TimestampingService,
)
from postroad.securityserver.serverconf.revision import server_id, touch
from postroad.securityserver.serverconf.status import DELETABLE, ClientStatus, following_status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy.orm import Session


def list_clients(session: Session) -> tuple[Client, ...]:
    """All clients, in the order in which they were added."""
    return tuple(session.scalars(select(Client).order_by(Client.id)))


def find_client(session: Session, client: ClientId) -> Client | None:
    """The row of a client; None if this server does not serve it."""
    return session.scalar(
        select(Client).where(
            Client.instance == client.instance,
            Client.member_class == client.member_class,
            Client.member_code == client.member_code,
            Client.subsystem_code == (client.subsystem_code or ""),
        )
    )


def get_client(session: Session, client: ClientId) -> Client:
    """The row of a client; `ConfigurationError` (`unknown_member`) if it is not served here."""
    found = find_client(session, client)
    if found is None:
        raise ConfigurationError(
            f"{client} is not a client of this server", code=FaultCode.UNKNOWN_MEMBER
        )
    return found


def add_client(
    session: Session,
    client: ClientId,
    *,
    connection_type: ConnectionType = ConnectionType.SSLAUTH,
    status: ClientStatus = ClientStatus.SAVED,
) -> Client:
    """Add a client; `ConfigurationError` for a second row, or a second member besides the owner."""
    if find_client(session, client) is not None:
        raise ConfigurationError(f"{client} is a client of this server already")
    owner = server_id(session).owner
    if isinstance(client, MemberId) and client != owner:
        members = [row for row in list_clients(session) if not row.subsystem_code]
        if any(row.identifier != owner for row in members):
            raise ConfigurationError("one member besides the owner is a client already")
    row = Client(
        instance=client.instance,
        member_class=client.member_class,
        member_code=client.member_code,
        subsystem_code=client.subsystem_code or "",
        status=status.value,
        connection_type=connection_type.value,
    )
    session.add(row)
    session.flush()
    touch(session)
    return row


def delete_client(session: Session, client: ClientId) -> None:
    """Delete a client with its services, rights and groups.

    Raises `ConfigurationError` for the owner, and for a client that is still registered.
    """
    row = get_client(session, client)
    if client == server_id(session).owner:
        raise ConfigurationError("the owner of the server can't be deleted")
    if ClientStatus(row.status) not in DELETABLE:
        raise ConfigurationError(
            f"{client} is {row.status}: it must be unregistered before it is deleted"
        )
    session.delete(row)
    session.flush()
    touch(session)


def set_connection_type(
    session: Session, client: ClientId, connection_type: ConnectionType
) -> None:
    """Say how the client's information systems connect."""
    row = get_client(session, client)
    if row.connection_type != connection_type.value:
        row.connection_type = connection_type.value
        touch(session)


def set_status(session: Session, client: ClientId, status: ClientStatus) -> None:
    """Say where the client stands with the Central Server."""
    row = get_client(session, client)
    if row.status != status.value:
        row.status = status.value
        touch(session)


def follow_registrations(
    session: Session, is_registered: Callable[[ClientId], bool]
) -> tuple[tuple[ClientId, ClientStatus], ...]:
    """Bring all clients to where the global configuration has them; what changed (status job)."""
    changed: list[tuple[ClientId, ClientStatus]] = []
    for row in list_clients(session):
        status = ClientStatus(row.status)
        following = following_status(status, is_listed=is_registered(row.identifier))
        if following is not status:
            row.status = following.value
            changed.append((row.identifier, following))
    if changed:
        touch(session)
    return tuple(changed)


def add_certificate(session: Session, client: ClientId, data: bytes) -> ParsedCertificate:
    """Trust an information system's TLS certificate (PEM or DER), in both directions.

    Raises `ConfigurationError` when it is there already, `MalformedInput` when it is none.
    """
    row = get_client(session, client)
    certificate = ParsedCertificate.from_pem_or_der(data)
    digest = certificate.sha256.hex().upper()
    if any(known.hash == digest for known in row.certificates):
        raise ConfigurationError(f"{client} has this certificate already")
    row.certificates.append(Certificate(hash=digest, data=certificate.der))
    session.flush()
    touch(session)
    return certificate


def delete_certificate(session: Session, client: ClientId, certificate_hash: str) -> None:
    """Stop trusting a certificate, named by the SHA-256 of its DER in hex."""
    row = get_client(session, client)
    for known in row.certificates:
        if known.hash == certificate_hash.upper():
            row.certificates.remove(known)
            session.flush()
            touch(session)
            return
    raise ConfigurationError(f"{client} has no such certificate", code=FaultCode.CERT_NOT_FOUND)


def list_timestamping(session: Session) -> tuple[TimestampingService, ...]:
    """The chosen time-stamping services, in the order of trying them."""
    query = select(TimestampingService).order_by(TimestampingService.position)
    return tuple(session.scalars(query))


def set_timestamping(session: Session, services: Sequence[tuple[str, str]]) -> None:
    """Choose the time-stamping services: name and URL each, in the order of trying them."""
    current = [(row.name, row.url) for row in list_timestamping(session)]
    if current == list(services):
        return
    if len({url for _, url in services}) != len(services):
        raise ConfigurationError("a time-stamping service is named twice")
    for row in list_timestamping(session):
        session.delete(row)
    session.flush()
    for position, (name, url) in enumerate(services):
        session.add(
            TimestampingService(position=position, name=name, url=url, cost_type="UNDEFINED")
        )
    session.flush()
    touch(session)
