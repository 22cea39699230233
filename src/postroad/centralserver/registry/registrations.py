"""Which requests wait for an approval, when are they acceptable, and what does approving them do?

Registrations of authentication certificates and of clients, and changes of owner. Source:
reference ``AuthenticationCertificateRegistrationRequestHandler``,
``ClientRegistrationRequestHandler``, ``OwnerChangeRequestHandler``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.parties import AuthCertificate
from postroad.centralserver.registry.members import (
    add_member,
    find_member,
    find_subsystem,
    load_member_class,
    require_own_instance,
)
from postroad.centralserver.registry.names import check_address, check_code, check_name
from postroad.centralserver.registry.owner_change import change_owner, check_owner_change
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.requests import add_row, client_of, find_requests, server_of
from postroad.centralserver.registry.servers import (
    find_registration,
    find_server,
    register_client,
    register_server,
)
from postroad.centralserver.registry.trust_services import list_approved_cas
from postroad.crypto.certificates import Certificate
from postroad.crypto.chains import verify_chain
from postroad.errors import MalformedInput, PostroadError
from postroad.identifiers import SecurityServerId, SubsystemId
from postroad.management.lifecycle import RequestOrigin, RequestState
from postroad.management.requests import (
    AuthCertRegistration,
    ClientRegistration,
    OwnerChange,
    ServiceCode,
    service_code_of,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.centralserver.models.history import ManagementRequest
    from postroad.centralserver.registry.change import Change
    from postroad.identifiers import ClientId

Registration = AuthCertRegistration | ClientRegistration | OwnerChange


def add_registration(
    change: Change, request: Registration, origin: RequestOrigin
) -> ManagementRequest:
    """Check a request and write it down as waiting, or as submitted with the other side's.

    Refused for one that could never be approved, and while the same request waits already.
    """
    session = change.session
    require_own_instance(session, request.server.instance)
    match request:
        case AuthCertRegistration():
            others = _check_auth_certificate_registration(change, request, origin)
        case ClientRegistration():
            others = _check_client_registration(change, request, origin)
        case OwnerChange():
            others = _check_owner_change(session, request)
    for other in others:
        # Only the other side may ask for the same thing; then both have spoken for it.
        if other.origin == origin.value or server_of(other) != request.server:
            raise RegistryRefusal(
                Problem.REQUEST_EXISTS, f"request {other.id} asks for the same and waits already"
            )
    row = _written(change, request, origin)
    session.flush()
    row.decided_with = others[0].id if others else row.id
    row.status = (RequestState.SUBMITTED_FOR_APPROVAL if others else RequestState.WAITING).value
    for other in others:
        other.status = row.status
    return row


def _check_auth_certificate_registration(
    change: Change, request: AuthCertRegistration, origin: RequestOrigin
) -> list[ManagementRequest]:
    session = change.session
    owner_is_known = find_member(session, request.server.owner) is not None
    if origin is RequestOrigin.CENTRE and not owner_is_known:
        raise RegistryRefusal(
            Problem.REQUEST_OWNER_NOT_FOUND, f"no member {request.server.owner} to own the server"
        )
    if not owner_is_known:
        load_member_class(session, request.server.member_class)
        check_code(change, "the member code", request.server.member_code)
    check_code(change, "the server code", request.server.server_code)
    if request.address is not None:
        check_address(request.address)
    certificate = _check_auth_certificate(session, request.auth_certificate, change.at)
    registered = select(AuthCertificate.id).where(
        AuthCertificate.sha256 == certificate.sha256.hex()
    )
    if session.scalar(registered) is not None:
        raise RegistryRefusal(
            Problem.REQUEST_CERTIFICATE_REGISTERED,
            "the authentication certificate is registered already",
        )
    return list(
        find_requests(session, ServiceCode.AUTH_CERT_REGISTRATION, auth_certificate=certificate.der)
    )


def _check_auth_certificate(session: Session, data: bytes, at: datetime) -> Certificate:
    """An authentication certificate that an approved authority issued and that is valid now."""
    try:
        certificate = Certificate.from_pem_or_der(data)
        if certificate.is_ca() or not certificate.is_authentication():
            raise MalformedInput("its key usage is another one")
        verify_chain(certificate, _authorities(session), at=at)
    except PostroadError as error:
        raise RegistryRefusal(
            Problem.REQUEST_AUTH_CERTIFICATE,
            f"not an authentication certificate to register: {error.message}",
        ) from error
    return certificate


def _authorities(session: Session) -> list[Certificate]:
    return [
        Certificate.from_pem_or_der(row.certificate)
        for ca in list_approved_cas(session)
        for row in ca.certificates
    ]


def _check_client_registration(
    change: Change, request: ClientRegistration, origin: RequestOrigin
) -> list[ManagementRequest]:
    session = change.session
    server, client = request.server, request.client
    require_own_instance(session, client.instance)
    if client == server.owner:
        raise RegistryRefusal(
            Problem.CANNOT_REGISTER_OWNER, f"{client} owns {server}: it is its client anyway"
        )
    found = find_server(session, server)
    if origin is RequestOrigin.CENTRE:
        if found is None:
            raise RegistryRefusal(Problem.REQUEST_SERVER_NOT_FOUND, f"no security server {server}")
        if find_member(session, client.member) is None:
            raise RegistryRefusal(Problem.REQUEST_MEMBER_NOT_FOUND, f"no member {client.member}")
    if found is not None and find_registration(session, found, client) is not None:
        raise RegistryRefusal(
            Problem.REQUEST_CLIENT_REGISTERED, f"{client} is a client of {server} already"
        )
    _check_client_codes(change, client)
    if request.subsystem_name and request.subsystem_name.strip():
        check_name("the subsystem name", request.subsystem_name)
    return list(
        find_requests(session, ServiceCode.CLIENT_REGISTRATION, server=server, client=client)
    )


def _check_client_codes(change: Change, client: ClientId) -> None:
    """Check the codes of whoever would be created, so that an approval can't fail over them."""
    session = change.session
    if find_member(session, client.member) is None:
        load_member_class(session, client.member_class)
        check_code(change, "the member code", client.member_code)
    if isinstance(client, SubsystemId) and find_subsystem(session, client) is None:
        check_code(change, "the subsystem code", client.subsystem_code)


def _check_owner_change(session: Session, request: OwnerChange) -> list[ManagementRequest]:
    check_owner_change(session, request.server, request.client)
    pending = find_requests(session, ServiceCode.OWNER_CHANGE, server=request.server)
    if pending:
        raise RegistryRefusal(
            Problem.REQUEST_EXISTS,
            f"request {pending[0].id} would change the owner of {request.server} already",
        )
    return []


def _written(change: Change, request: Registration, origin: RequestOrigin) -> ManagementRequest:
    code = service_code_of(request)
    match request:
        case AuthCertRegistration():
            row = add_row(change, code, origin, request.server)
            row.address = request.address
            row.auth_certificate = Certificate.from_pem_or_der(request.auth_certificate).der
        case ClientRegistration():
            name = request.subsystem_name
            comment = renaming_comment(change.session, request.client, name)
            row = add_row(change, code, origin, request.server, request.client)
            row.subsystem_name = name.strip() if name and name.strip() else None
            row.comments = comment
        case OwnerChange():
            row = add_row(change, code, origin, request.server, request.client)
    return row


def renaming_comment(session: Session, client: ClientId, name: str | None) -> str | None:
    """What the history says of a request that gives a known subsystem another name."""
    if not isinstance(client, SubsystemId) or name is None or not name.strip():
        return None
    subsystem = find_subsystem(session, client)
    if subsystem is None or subsystem.name == name.strip():
        return None
    return f"Changing subsystem name from '{subsystem.name or ''}' to '{name.strip()}'."


def registration_of(row: ManagementRequest) -> Registration | None:
    """The request that a row was written for; None for one that takes effect at once."""
    server, client = server_of(row), client_of(row)
    if row.auth_certificate is not None and row.status is not None:
        return AuthCertRegistration(server, row.auth_certificate, row.address)
    if client is None or row.status is None:
        return None
    if row.request_type.startswith("OwnerChange"):
        return OwnerChange(server, client)
    return ClientRegistration(server, client, row.subsystem_name)


def is_known_party(session: Session, request: Registration) -> bool:
    """Whether everybody that an automatic approval must know is in the registry."""
    match request:
        case AuthCertRegistration():
            return find_member(session, request.server.owner) is not None
        case ClientRegistration():
            server = find_server(session, request.server)
            return server is not None and find_member(session, request.client.member) is not None
        case OwnerChange():
            return find_member(session, request.client.member) is not None


def apply_registration(change: Change, request: Registration) -> SecurityServerId:
    """Do what approving a request does; returns the server's identifier afterwards.

    Owners and clients that nobody knew become members, named after their codes.
    """
    match request:
        case AuthCertRegistration():
            register_server(
                change,
                request.server,
                auth_certificate=request.auth_certificate,
                address=request.address,
                create_owner=True,
            )
        case ClientRegistration():
            if find_member(change.session, request.client.member) is None:
                add_member(change, request.client.member, request.client.member_code)
            register_client(
                change, request.server, request.client, subsystem_name=request.subsystem_name
            )
        case OwnerChange():
            return change_owner(change, request.server, request.client)
    return request.server
