"""Management requests. Source: reference ``ManagementRequestsApiController``.

Adding one needs the permission of its type, and its origin must be the caller's: a server's, for
those who speak for servers, and the centre's for all others. A request that takes effect at once
has no status and is answered with 202 all the same (G-27).
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from postroad.centralserver.api.certificates import CertificateDetails, certificate_details
from postroad.centralserver.api.management_request_forms import (
    NewManagementRequest,
    RequestType,
    type_of,
)
from postroad.centralserver.api.operations import Call, Operation, WithStatus, any_of
from postroad.centralserver.api.paging import (
    PagingMetadata,
    PagingSorting,
    metadata_of,
    part_of,
)
from postroad.centralserver.api.refusals import FORBIDDEN, ApiRefusal
from postroad.centralserver.api.schemas import (
    ClientIdentifier,
    Payload,
    ServerIdentifier,
    encode_id,
    parse_server_id,
)
from postroad.centralserver.registry import management_requests, members, requests
from postroad.centralserver.registry.request_search import (
    SORT_KEYS,
    FoundRequest,
    WantedRequests,
    search_requests,
)
from postroad.centralserver.roles import Permission
from postroad.management.lifecycle import RequestOrigin, RequestState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from postroad.centralserver.models.history import ManagementRequest as RequestRow

Origin = Literal["CENTER", "SECURITY_SERVER"]


class ManagementRequest(Payload):
    """A management request."""

    id: int
    type: RequestType
    origin: Origin
    security_server_id: str
    created_at: datetime
    status: str | None = None
    server_address: str | None = None
    authentication_certificate: bytes | None = None
    client_id: str | None = None
    subsystem_name: str | None = None
    message: str | None = None


class ManagementRequestListView(Payload):
    """A management request in a list, with the names of those it is about."""

    id: int
    type: RequestType
    origin: Origin
    security_server_id: ServerIdentifier
    created_at: datetime
    security_server_owner: str | None = None
    address: str | None = None
    status: str | None = None
    client_id: ClientIdentifier | None = None
    client_owner_name: str | None = None
    client_subsystem_name: str | None = None


class ManagementRequestDetailedView(ManagementRequestListView):
    """A management request with everything that is known of it."""

    comments: str | None = None
    certificate_details: CertificateDetails | None = None


class PagedManagementRequests(Payload):
    """One page of management requests."""

    items: list[ManagementRequestListView]
    paging_metadata: PagingMetadata


class RequestsQuery(PagingSorting, frozen=True, kw_only=True):
    """Which requests are wanted."""

    query: Annotated[str, msgspec.Meta(max_length=255)] | None = None
    origin: Origin | None = None
    types: tuple[RequestType, ...] = ()
    status: RequestState | None = None
    server_id: Annotated[str, msgspec.Meta(max_length=1279)] | None = None


def find_requests(call: Call) -> PagedManagementRequests:
    """One page of the requests that are wanted."""
    query: RequestsQuery = call.query
    if query.sort is not None and query.sort not in SORT_KEYS:
        raise ApiRefusal(400, "invalid_sort_properties", (query.sort,))
    limit, skip = part_of(query)
    term = query.query or ""
    wanted = WantedRequests(
        term=term,
        term_types=_registry_names(each for each in RequestType if term.upper() in each.value),
        origin=query.origin,
        types=_registry_names(query.types),
        status=None if query.status is None else query.status.value,
        server=None if query.server_id is None else parse_server_id(query.server_id),
        sort=query.sort or "id",
        descending=query.desc,
        limit=limit,
        skip=skip,
    )
    with call.reading() as session:
        found, total = search_requests(session, wanted)
    return PagedManagementRequests(
        items=[_list_view(each) for each in found],
        paging_metadata=metadata_of(query, total=total, items=len(found)),
    )


def _registry_names(kinds: Iterable[RequestType]) -> tuple[str, ...]:
    return tuple(kind.registry_name for kind in kinds)


def get_request(call: Call) -> ManagementRequestDetailedView:
    """One request."""
    with call.reading() as session:
        row = requests.load_request(session, _number(call))
        view = _list_view(_found(session, row))
        certificate = row.auth_certificate
        return ManagementRequestDetailedView(
            **msgspec.structs.asdict(view),
            comments=row.comments,
            certificate_details=None if certificate is None else certificate_details(certificate),
        )


def add_request(call: Call) -> WithStatus:
    """Take in a request."""
    body: NewManagementRequest = call.body
    call.require(Permission(f"ADD_{type_of(body)}"))
    speaks_for_servers = Permission.IMPERSONATE_SECURITY_SERVER in call.caller.permissions
    if (body.origin == "SECURITY_SERVER") != speaks_for_servers:
        raise FORBIDDEN
    request = body.read(parse_server_id(body.security_server_id))
    with call.changing() as change:
        row = management_requests.add_request(
            change,
            request,
            RequestOrigin(body.origin),
            automatic=call.node.settings.automatic_approvals,
        )
        answer = _payload(row)
    return WithStatus(201 if answer.status == RequestState.APPROVED else 202, answer)


def approve_request(call: Call) -> ManagementRequest:
    """Approve a waiting request."""
    _require_for_type(call, "APPROVE")
    with call.changing() as change:
        return _payload(management_requests.approve_request(change, _number(call)))


def withdraw_request(call: Call) -> None:
    """Decline a server's waiting request, or revoke one of the centre's own."""
    _require_for_type(call, "REVOKE")
    with call.changing() as change:
        row = management_requests.decline_request(change, _number(call))
        declined = requests.state_of(row) is RequestState.DECLINED
    if declined:
        call.events.append("Decline management request")


def _require_for_type(call: Call, verb: str) -> None:
    """What is decided upon says which permission is needed; most types are not decided upon."""
    with call.reading() as session:
        type_name = RequestType.of(requests.load_request(session, _number(call)).request_type)
    name = f"{verb}_{type_name}"
    if name not in Permission.__members__:
        raise FORBIDDEN
    call.require(Permission(name))
    call.audited["managementRequestId"] = _number(call)


def _number(call: Call) -> int:
    return call.number("management_request_id")


def _payload(row: RequestRow) -> ManagementRequest:
    client = requests.client_of(row)
    kind = RequestType.of(row.request_type)
    return ManagementRequest(
        id=row.id,
        type=kind,
        origin="CENTER" if row.origin == RequestOrigin.CENTRE else "SECURITY_SERVER",
        security_server_id=encode_id(requests.server_of(row)),
        created_at=row.created_at,
        status=row.status,
        server_address=row.address,
        authentication_certificate=row.auth_certificate,
        client_id=None if client is None else encode_id(client),
        subsystem_name=row.subsystem_name,
        message=row.comments if kind is RequestType.MAINTENANCE_MODE_ENABLE_REQUEST else None,
    )


def _list_view(found: FoundRequest) -> ManagementRequestListView:
    row = found.row
    client = requests.client_of(row)
    return ManagementRequestListView(
        id=row.id,
        type=RequestType.of(row.request_type),
        origin="CENTER" if row.origin == RequestOrigin.CENTRE else "SECURITY_SERVER",
        security_server_id=ServerIdentifier.of(requests.server_of(row)),
        created_at=row.created_at,
        security_server_owner=found.owner_name,
        address=row.address,
        status=row.status,
        client_id=None if client is None else ClientIdentifier.of(client),
        client_owner_name=found.client_owner_name,
        client_subsystem_name=row.subsystem_name,
    )


def _found(session: Session, row: RequestRow) -> FoundRequest:
    client = requests.client_of(row)
    owner = members.find_member(session, requests.server_of(row).owner)
    client_owner = None if client is None else members.find_member(session, client.member)
    return FoundRequest(
        row,
        None if owner is None else owner.name,
        None if client_owner is None else client_owner.name,
    )


_PATH: Final = "/management-requests/{management_request_id}"
_ADD: Final = any_of(*(Permission(f"ADD_{kind}") for kind in RequestType))
OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/management-requests",
        name="findManagementRequests",
        handler=find_requests,
        needs=any_of(Permission.VIEW_MANAGEMENT_REQUESTS),
        query=RequestsQuery,
        answer=PagedManagementRequests,
    ),
    Operation(
        method="POST",
        path="/management-requests",
        name="addManagementRequest",
        handler=add_request,
        needs=_ADD,
        status=202,
        other_statuses=(201,),
        body=NewManagementRequest,
        answer=ManagementRequest,
        event="Add management request",
    ),
    Operation(
        method="GET",
        path=_PATH,
        name="getManagementRequest",
        handler=get_request,
        needs=any_of(Permission.VIEW_MANAGEMENT_REQUEST_DETAILS),
        answer=ManagementRequestDetailedView,
    ),
    Operation(
        method="DELETE",
        path=_PATH,
        name="revokeManagementRequest",
        handler=withdraw_request,
        needs=any_of(
            Permission.REVOKE_AUTH_CERT_REGISTRATION_REQUEST,
            Permission.REVOKE_CLIENT_REGISTRATION_REQUEST,
            Permission.REVOKE_OWNER_CHANGE_REQUEST,
        ),
        event="Revoke management request",
    ),
    Operation(
        method="POST",
        path=_PATH + "/approval",
        name="approveManagementRequest",
        handler=approve_request,
        needs=any_of(
            Permission.APPROVE_AUTH_CERT_REGISTRATION_REQUEST,
            Permission.APPROVE_CLIENT_REGISTRATION_REQUEST,
            Permission.APPROVE_OWNER_CHANGE_REQUEST,
        ),
        answer=ManagementRequest,
        event="Approve management request",
    ),
)
