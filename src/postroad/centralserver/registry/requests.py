"""Which management requests were there? The rows: written, found, and moved from state to state.

Source: reference tables ``requests`` and ``request_processings``. Rows are never deleted. Requests
that take effect at once have no status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.history import ManagementRequest
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.identifiers import SecurityServerId, client_id
from postroad.management.lifecycle import RequestOrigin, RequestState, Step, next_state
from postroad.management.requests import ServiceCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change
    from postroad.identifiers import ClientId

PENDING = tuple(state.value for state in RequestState if state.is_pending)
"""States in which a request waits for a decision."""
_SUFFIX = "Request"


def type_name(code: ServiceCode) -> str:
    """How the registry calls requests to that service.

    >>> type_name(ServiceCode.AUTH_CERT_REGISTRATION)
    'AuthCertRegRequest'
    """
    return code.value[0].upper() + code.value[1:] + _SUFFIX


def list_requests(
    session: Session, *, limit: int = 200, states: Iterable[str] = ()
) -> Sequence[ManagementRequest]:
    """The newest management requests, newest first; all of them or those in some states."""
    newest = select(ManagementRequest).order_by(ManagementRequest.id.desc()).limit(limit)
    wanted = tuple(states)
    if wanted:
        newest = newest.where(ManagementRequest.status.in_(wanted))
    return session.scalars(newest).all()


def load_request(session: Session, request_id: int) -> ManagementRequest:
    """The request of that id; refused when there is none."""
    found = session.get(ManagementRequest, request_id, populate_existing=True)
    if found is None:
        raise RegistryRefusal(Problem.REQUEST_NOT_FOUND, f"no management request {request_id}")
    return found


def server_of(row: ManagementRequest) -> SecurityServerId:
    """The server that a request is about."""
    return SecurityServerId(
        row.server_instance, row.server_member_class, row.server_member_code, row.server_code
    )


def client_of(row: ManagementRequest) -> ClientId | None:
    """The client that a request is about, None when it is about none."""
    if row.client_instance is None:
        return None
    return client_id(
        row.client_instance,
        row.client_member_class or "",
        row.client_member_code or "",
        row.client_subsystem_code,
    )


def find_requests(
    session: Session,
    code: ServiceCode,
    *,
    server: SecurityServerId | None = None,
    client: ClientId | None = None,
    auth_certificate: bytes | None = None,
    states: Iterable[str] = PENDING,
) -> Sequence[ManagementRequest]:
    """Requests to a service in some states (the pending ones), oldest first."""
    wanted = (
        select(ManagementRequest)
        .where(
            ManagementRequest.request_type == type_name(code),
            ManagementRequest.status.in_(tuple(states)),
        )
        .order_by(ManagementRequest.id)
    )
    if auth_certificate is not None:
        wanted = wanted.where(ManagementRequest.auth_certificate == auth_certificate)
    return [
        row
        for row in session.scalars(wanted)
        if (server is None or server_of(row) == server)
        and (client is None or client_of(row) == client)
    ]


def add_row(
    change: Change,
    code: ServiceCode,
    origin: RequestOrigin,
    server: SecurityServerId,
    client: ClientId | None = None,
) -> ManagementRequest:
    """Begin the row of a request; the caller fills in the rest before the next query."""
    row = ManagementRequest(
        request_type=type_name(code),
        origin=origin.value,
        server_instance=server.instance,
        server_member_class=server.member_class,
        server_member_code=server.member_code,
        server_code=server.server_code,
        created_at=change.at,
    )
    if client is not None:
        row.client_instance = client.instance
        row.client_member_class = client.member_class
        row.client_member_code = client.member_code
        row.client_subsystem_code = client.subsystem_code
    change.session.add(row)
    return row


def decided_together(session: Session, row: ManagementRequest) -> list[ManagementRequest]:
    """The requests that share a row's decision, itself among them, oldest first."""
    first = row.decided_with or row.id
    wanted = (
        select(ManagementRequest)
        .where((ManagementRequest.id == first) | (ManagementRequest.decided_with == first))
        .order_by(ManagementRequest.id)
    )
    return list(session.scalars(wanted))


def state_of(row: ManagementRequest) -> RequestState:
    """Where a request stands; refused for one that took effect at once."""
    if row.status is None:
        raise RegistryRefusal(
            Problem.REQUEST_STATE, f"request {row.id} took effect at once: there is nothing to do"
        )
    return RequestState(row.status)


def move(session: Session, row: ManagementRequest, step: Step) -> RequestState:
    """Take a step with a request and those that share its decision; refused when it's illegal."""
    before = state_of(row)
    if not before.is_pending:
        problem = Problem.REQUEST_APPROVAL_STATE if step is Step.APPROVE else Problem.REQUEST_STATE
        raise RegistryRefusal(problem, f"request {row.id} is {before.value}: nobody waits for it")
    after = next_state(before, step)
    for each in decided_together(session, row):
        each.status = after.value
    return after


def add_client_deletion(
    change: Change, server: SecurityServerId, client: ClientId, *, comments: str | None = None
) -> ManagementRequest:
    """Write the centre's request that ends a client's registration."""
    row = add_row(change, ServiceCode.CLIENT_DELETION, RequestOrigin.CENTRE, server, client)
    row.comments = comments
    return row


def add_auth_certificate_deletion(
    change: Change, server: SecurityServerId, certificate: bytes, *, comments: str | None = None
) -> ManagementRequest:
    """Write the centre's request that removes an authentication certificate (DER)."""
    row = add_row(change, ServiceCode.AUTH_CERT_DELETION, RequestOrigin.CENTRE, server)
    row.auth_certificate = certificate
    row.comments = comments
    return row
