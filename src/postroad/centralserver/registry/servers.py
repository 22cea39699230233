"""Which security servers are registered, with which certificates and clients?

Source: reference security server and management request services. Registrations are idempotent: a
request that comes twice does nothing the second time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.parties import (
    AuthCertificate,
    Member,
    SecurityServer,
    ServerClient,
    Subsystem,
)
from postroad.centralserver.registry import groups, requests
from postroad.centralserver.registry.members import (
    add_member,
    add_subsystem,
    find_member,
    find_subsystem,
    leave_global_groups,
    load_client,
    load_member,
    member_id,
    rename_subsystem,
    require_own_instance,
    subsystem_id,
)
from postroad.centralserver.registry.names import check_address, check_code, check_name
from postroad.centralserver.registry.provider import find_management_provider, provider_servers
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.crypto.certificates import Certificate
from postroad.errors import MalformedInput
from postroad.identifiers import ClientId, MemberId, SecurityServerId, SubsystemId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


def list_servers(session: Session) -> Sequence[SecurityServer]:
    """All security servers in the order they were registered."""
    return session.scalars(select(SecurityServer).order_by(SecurityServer.id)).all()


def find_server(session: Session, server: SecurityServerId) -> SecurityServer | None:
    """The security server of that identifier, None when there is none."""
    owner = find_member(session, server.owner)
    if owner is None:
        return None
    wanted = select(SecurityServer).where(
        SecurityServer.owner_id == owner.id, SecurityServer.server_code == server.server_code
    )
    return session.scalars(wanted).one_or_none()


def load_server(session: Session, server: SecurityServerId) -> SecurityServer:
    """The security server of that identifier; refused when there is none."""
    found = find_server(session, server)
    if found is None:
        raise RegistryRefusal(Problem.SECURITY_SERVER_NOT_FOUND, f"no security server {server}")
    return found


def server_id(session: Session, server: SecurityServer) -> SecurityServerId:
    """The identifier of a security server of this instance."""
    owner = member_id(session, server.owner)
    return SecurityServerId(
        owner.instance, owner.member_class, owner.member_code, server.server_code
    )


def client_of(session: Session, registration: ServerClient) -> ClientId:
    """The identifier of a registered client."""
    if registration.subsystem is not None:
        return subsystem_id(session, registration.subsystem)
    if registration.member is None:
        raise RegistryRefusal(Problem.CLIENT_NOT_REGISTERED, "a registration without a client")
    return member_id(session, registration.member)


def register_server(
    change: Change,
    server: SecurityServerId,
    *,
    auth_certificate: bytes,
    address: str | None = None,
    create_owner: bool = False,
) -> SecurityServer:
    """Register an authentication certificate, and with it the server if it is new.

    What the approval of such a request does: the owner joins the owners' group, the address
    replaces the one on record, and with ``create_owner`` an unknown owner becomes a member named
    after its code. The certificate may be PEM or DER.

    Refused when another server has the certificate, or the owner is unknown.
    """
    session = change.session
    require_own_instance(session, server.instance)
    certificate = _read_auth_certificate(auth_certificate)
    if find_member(session, server.owner) is None and create_owner:
        add_member(change, server.owner, server.member_code)
    owner = load_member(session, server.owner)
    found = find_server(session, server)
    if found is None:
        check_code(change, "the server code", server.server_code)
        found = SecurityServer(
            owner=owner,
            server_code=server.server_code,
            in_maintenance_mode=False,
            created_at=change.at,
        )
        session.add(found)
        session.flush()
        change.record("Add security server", server=server.encoded())
    groups.update_owners_group(change, server.owner)
    if address is not None:
        _set_address(change, server, found, address)
    _add_auth_certificate(change, server, found, certificate)
    return found


def update_server_address(change: Change, server: SecurityServerId, address: str) -> bool:
    """Change a server's address; False when it was that already. Creates no request."""
    return _set_address(change, server, load_server(change.session, server), address)


def start_maintenance(change: Change, server: SecurityServerId, message: str | None = None) -> None:
    """Tell everybody that the server is in maintenance.

    Refused when it is already, and for a server that hosts the management services.
    """
    found = load_server(change.session, server)
    if found.in_maintenance_mode:
        raise RegistryRefusal(
            Problem.MAINTENANCE_ALREADY_ON, f"security server {server} is in maintenance already"
        )
    if found in provider_servers(change.session):
        raise RegistryRefusal(
            Problem.SECURITY_SERVER_HOSTS_PROVIDER,
            f"security server {server} hosts the management services",
        )
    found.in_maintenance_mode = True
    found.maintenance_mode_message = (
        check_name("the message", message) if message and message.strip() else None
    )
    change.record(
        "Start maintenance mode", server=server.encoded(), message=found.maintenance_mode_message
    )


def end_maintenance(change: Change, server: SecurityServerId) -> None:
    """Tell everybody that the server works again; refused when it wasn't in maintenance."""
    found = load_server(change.session, server)
    if not found.in_maintenance_mode:
        raise RegistryRefusal(
            Problem.MAINTENANCE_ALREADY_OFF, f"security server {server} is not in maintenance"
        )
    found.in_maintenance_mode = False
    found.maintenance_mode_message = None
    change.record("End maintenance mode", server=server.encoded())


def delete_auth_certificate(change: Change, server: SecurityServerId, sha256: str) -> None:
    """Remove a server's authentication certificate, named by its SHA-256 fingerprint (hex)."""
    found = load_server(change.session, server)
    wanted = sha256.replace(":", "").lower()
    certificate = next((c for c in found.auth_certificates if c.sha256 == wanted), None)
    if certificate is None:
        raise RegistryRefusal(
            Problem.CERTIFICATE_NOT_FOUND,
            f"security server {server} has no authentication certificate {sha256}",
        )
    requests.add_auth_certificate_deletion(change, server, certificate.certificate)
    found.auth_certificates.remove(certificate)
    change.record(
        "Delete authentication certificate of security server",
        server=server.encoded(),
        certHash=wanted,
    )


def delete_server(change: Change, server: SecurityServerId) -> None:
    """Delete a server, its certificates and its registrations.

    Deletion requests of the centre are written for each of them first; an owner without any other
    server leaves the owners' group.
    """
    session = change.session
    found = load_server(session, server)
    comment = f"{server} deletion"
    for registration in found.clients:
        client = client_of(session, registration)
        requests.add_client_deletion(change, server, client, comments=comment)
    for certificate in found.auth_certificates:
        requests.add_auth_certificate_deletion(
            change, server, certificate.certificate, comments=comment
        )
    owner = found.owner
    owner.owned_servers.remove(found)
    session.flush()
    groups.update_owners_group(change, server.owner)
    change.record("Delete security server", server=server.encoded())


def register_client(
    change: Change,
    server: SecurityServerId,
    client: ClientId,
    *,
    subsystem_name: str | None = None,
    create_subsystem: bool = True,
) -> ServerClient:
    """Register a client with a server; does nothing when it is registered already.

    What the approval of such a request does: a new subsystem of a known member is created, a
    non-empty ``subsystem_name`` is taken over. Refused for the server's owner, who is always its
    client, and for unknown servers and members.
    """
    session = change.session
    found = load_server(session, server)
    if client == server.owner:
        raise RegistryRefusal(
            Problem.CANNOT_REGISTER_OWNER, f"{client} owns {server}: it is its client anyway"
        )
    if isinstance(client, SubsystemId):
        if create_subsystem and find_subsystem(session, client) is None:
            add_subsystem(change, client, subsystem_name)
        elif subsystem_name and subsystem_name.strip():
            rename_subsystem(change, client, subsystem_name)
    registration = find_registration(session, found, client)
    if registration is not None:
        return registration
    party = load_client(session, client)
    registration = ServerClient(
        security_server=found,
        member=party if isinstance(party, Member) else None,
        subsystem=party if isinstance(party, Subsystem) else None,
        enabled=True,
        created_at=change.at,
    )
    session.add(registration)
    change.record(
        "Register client of security server", server=server.encoded(), client=client.encoded()
    )
    return registration


def set_client_enabled(
    change: Change, server: SecurityServerId, client: ClientId, *, enabled: bool
) -> bool:
    """Enable or disable a registered client; False when it was that already.

    The management service provider can't be disabled: nobody could enable it again.
    """
    registration = _load_registration(change.session, server, client)
    if not enabled and client == find_management_provider(change.session):
        raise RegistryRefusal(
            Problem.FORBIDDEN_DISABLE_PROVIDER, f"{client} provides the management services"
        )
    if registration.enabled == enabled:
        return False
    registration.enabled = enabled
    change.record(
        "Enable client of security server" if enabled else "Disable client of security server",
        server=server.encoded(),
        client=client.encoded(),
    )
    return True


def unregister_client(change: Change, server: SecurityServerId, client: ClientId) -> None:
    """End the registration of a client with a server; refused when there is none."""
    registration = _load_registration(change.session, server, client)
    requests.add_client_deletion(change, server, client)
    registration.security_server.clients.remove(registration)
    change.record(
        "Unregister client of security server", server=server.encoded(), client=client.encoded()
    )


def delete_member(change: Change, member: MemberId) -> None:
    """Delete a member with its subsystems, the servers it owns and all their registrations.

    It leaves every global group, and so do its subsystems.
    """
    session = change.session
    found = load_member(session, member)
    for owned in list(found.owned_servers):
        delete_server(change, server_id(session, owned))
    registrations = select(ServerClient).where(
        (ServerClient.member_id == found.id)
        | ServerClient.subsystem_id.in_([subsystem.id for subsystem in found.subsystems])
    )
    for registration in session.scalars(registrations).all():
        client = client_of(session, registration)
        unregister_client(change, server_id(session, registration.security_server), client)
    leave_global_groups(session, member)
    session.delete(found)
    change.record("Delete member", member=member.encoded())


def _read_auth_certificate(data: bytes) -> Certificate:
    try:
        certificate = Certificate.from_pem_or_der(data)
    except MalformedInput as error:
        raise RegistryRefusal(
            Problem.INVALID_CERTIFICATE, f"not an authentication certificate: {error.message}"
        ) from error
    if certificate.is_ca() or not certificate.is_authentication():
        raise RegistryRefusal(
            Problem.INVALID_CERTIFICATE,
            f"{certificate.subject_rfc2253!r} is not an authentication certificate: its key usage "
            "says otherwise",
        )
    return certificate


def _add_auth_certificate(
    change: Change, server: SecurityServerId, found: SecurityServer, certificate: Certificate
) -> None:
    session = change.session
    fingerprint = certificate.sha256.hex()
    wanted = select(AuthCertificate).where(AuthCertificate.sha256 == fingerprint)
    registered = session.scalars(wanted).one_or_none()
    if registered is not None:
        if registered.security_server is found:
            return
        other = server_id(session, registered.security_server)
        raise RegistryRefusal(
            Problem.CERTIFICATE_ALREADY_REGISTERED, f"security server {other} has this certificate"
        )
    found.auth_certificates.append(
        AuthCertificate(certificate=certificate.der, sha256=fingerprint, created_at=change.at)
    )
    change.record(
        "Register authentication certificate of security server",
        server=server.encoded(),
        certHash=fingerprint,
    )


def _set_address(
    change: Change, server: SecurityServerId, found: SecurityServer, address: str
) -> bool:
    address = check_address(address)
    if found.address == address:
        return False
    found.address = address
    change.record("Edit security server address", server=server.encoded(), address=address)
    return True


def find_registration(
    session: Session, server: SecurityServer, client: ClientId
) -> ServerClient | None:
    """The registration of a client with a server, None when there is none (the owner has none)."""
    wanted = select(ServerClient).where(ServerClient.security_server_id == server.id)
    if isinstance(client, SubsystemId):
        subsystem = find_subsystem(session, client)
        if subsystem is None:
            return None
        return session.scalars(wanted.where(ServerClient.subsystem_id == subsystem.id)).first()
    member = find_member(session, client)
    if member is None:
        return None
    return session.scalars(wanted.where(ServerClient.member_id == member.id)).first()


def _load_registration(
    session: Session, server: SecurityServerId, client: ClientId
) -> ServerClient:
    found = find_registration(session, load_server(session, server), client)
    if found is None:
        raise RegistryRefusal(
            Problem.CLIENT_NOT_REGISTERED, f"{client} is not a client of security server {server}"
        )
    return found
