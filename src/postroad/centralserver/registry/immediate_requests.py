"""Which requests take effect at once, and how?

Deletions, enabling and disabling, new names and addresses, maintenance. Source: reference handlers
of the same requests (``AuthenticationCertificateDeletionRequestHandler`` and its siblings).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.centralserver.registry.members import rename_subsystem, require_own_instance
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.registrations import renaming_comment
from postroad.centralserver.registry.requests import (
    add_row,
    find_requests,
    move,
)
from postroad.centralserver.registry.servers import (
    end_maintenance,
    find_registration,
    find_server,
    set_client_enabled,
    start_maintenance,
    update_server_address,
)
from postroad.identifiers import SubsystemId
from postroad.management.lifecycle import RequestOrigin, RequestState, Step
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    ServiceCode,
    service_code_of,
)

if TYPE_CHECKING:
    from postroad.centralserver.models.history import ManagementRequest
    from postroad.centralserver.models.parties import SecurityServer
    from postroad.centralserver.registry.change import Change
    from postroad.identifiers import SecurityServerId

ImmediateRequest = (
    AuthCertDeletion
    | ClientDeletion
    | ClientDisabling
    | ClientEnabling
    | ClientRenaming
    | AddressChange
    | MaintenanceStart
    | MaintenanceEnd
)

_REVOCABLE = (RequestState.WAITING.value,)
"""What a deletion ends; once both sides have asked, only an operator decides."""


def carry_out(
    change: Change, request: ImmediateRequest, origin: RequestOrigin
) -> ManagementRequest:
    """Do what a request asks for, and write it down."""
    require_own_instance(change.session, request.server.instance)
    if isinstance(request, AuthCertDeletion):
        return _delete_auth_certificate(change, request, origin)
    if isinstance(request, ClientDeletion):
        return _delete_client(change, request, origin)
    found = _load_server(change, request.server)
    code = service_code_of(request)
    match request:
        case ClientDisabling() | ClientEnabling():
            enabled = isinstance(request, ClientEnabling)
            set_client_enabled(change, request.server, request.client, enabled=enabled)
            row = add_row(change, code, origin, request.server, request.client)
        case ClientRenaming():
            row = _rename_client(change, found, request, origin)
        case AddressChange():
            before = found.address or ""
            update_server_address(change, request.server, request.address)
            row = add_row(change, code, origin, request.server)
            row.address = request.address
            row.comments = f"Changing from '{before}'."
        case MaintenanceStart():
            start_maintenance(change, request.server, request.message)
            row = add_row(change, code, origin, request.server)
            row.comments = request.message
        case MaintenanceEnd():
            end_maintenance(change, request.server)
            row = add_row(change, code, origin, request.server)
    return row


def _load_server(change: Change, server: SecurityServerId) -> SecurityServer:
    found = find_server(change.session, server)
    if found is None:
        raise RegistryRefusal(Problem.REQUEST_SERVER_NOT_FOUND, f"no security server {server}")
    return found


def _delete_auth_certificate(
    change: Change, request: AuthCertDeletion, origin: RequestOrigin
) -> ManagementRequest:
    """Remove a registered certificate, or end the registration that waits for it."""
    session, server = change.session, request.server
    found = find_server(session, server)
    rows = [] if found is None else found.auth_certificates
    registered = next((row for row in rows if row.certificate == request.auth_certificate), None)
    if registered is not None:
        rows.remove(registered)
        change.record(
            "Delete authentication certificate of security server",
            server=server.encoded(),
            certHash=registered.sha256,
        )
    else:
        pending = find_requests(
            session,
            ServiceCode.AUTH_CERT_REGISTRATION,
            server=server,
            auth_certificate=request.auth_certificate,
            states=_REVOCABLE,
        )
        if not pending:
            raise RegistryRefusal(
                Problem.REQUEST_AUTH_CERTIFICATE,
                f"{server} has no such authentication certificate, and none waits for approval",
                http_status=409,
            )
        _revoke(change, pending[0])
    row = add_row(change, service_code_of(request), origin, server)
    row.auth_certificate = request.auth_certificate
    return row


def _delete_client(
    change: Change, request: ClientDeletion, origin: RequestOrigin
) -> ManagementRequest:
    """End a registration, or the request for one; a declined one is nothing to complain about."""
    session, server, client = change.session, request.server, request.client
    found = find_server(session, server)
    registration = None if found is None else find_registration(session, found, client)
    if found is not None and registration is not None:
        found.clients.remove(registration)
        change.record(
            "Unregister client of security server",
            server=server.encoded(),
            client=client.encoded(),
        )
    else:
        states = (*_REVOCABLE, RequestState.DECLINED.value)
        asked = find_requests(
            session, ServiceCode.CLIENT_REGISTRATION, server=server, client=client, states=states
        )
        if not asked:
            raise RegistryRefusal(
                Problem.REQUEST_REGISTRATION_NOT_FOUND, f"{client} is not a client of {server}"
            )
        pending = [row for row in asked if row.status in _REVOCABLE]
        if pending:
            _revoke(change, pending[0])
    return add_row(change, service_code_of(request), origin, server, client)


def _revoke(change: Change, row: ManagementRequest) -> None:
    """End a request that waits, because the one who made it wants it no longer."""
    move(change.session, row, Step.REVOKE)
    change.record("Revoke management request", id=row.id, type=row.request_type)


def _rename_client(
    change: Change, found: SecurityServer, request: ClientRenaming, origin: RequestOrigin
) -> ManagementRequest:
    client = request.client
    if not isinstance(client, SubsystemId):
        raise RegistryRefusal(
            Problem.REQUEST_RENAMES_MEMBER, f"{client} is a member: its name is the centre's matter"
        )
    if find_registration(change.session, found, client) is None:
        raise RegistryRefusal(
            Problem.CLIENT_NOT_REGISTERED, f"{client} is not a client of {request.server}"
        )
    comment = renaming_comment(change.session, client, request.subsystem_name)
    rename_subsystem(change, client, request.subsystem_name)
    row = add_row(change, service_code_of(request), origin, request.server, client)
    row.subsystem_name = request.subsystem_name.strip()
    row.comments = comment
    return row
