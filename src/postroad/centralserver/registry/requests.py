"""Which management requests were there? The centre's own are written here, as they happen.

Source: reference tables ``requests`` and ``request_processings``. Rows are never deleted. Requests
that take effect at once have no status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.history import ManagementRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change
    from postroad.identifiers import ClientId, SecurityServerId


def list_requests(session: Session, *, limit: int = 200) -> Sequence[ManagementRequest]:
    """The newest management requests, newest first."""
    newest = select(ManagementRequest).order_by(ManagementRequest.id.desc()).limit(limit)
    return session.scalars(newest).all()


def add_client_deletion(
    change: Change, server: SecurityServerId, client: ClientId, *, comments: str | None = None
) -> ManagementRequest:
    """Write the centre's request that ends a client's registration."""
    request = _centre_request(change, "ClientDeletionRequest", server, comments)
    request.client_instance = client.instance
    request.client_member_class = client.member_class
    request.client_member_code = client.member_code
    request.client_subsystem_code = client.subsystem_code
    change.session.add(request)
    return request


def add_auth_certificate_deletion(
    change: Change, server: SecurityServerId, certificate: bytes, *, comments: str | None = None
) -> ManagementRequest:
    """Write the centre's request that removes an authentication certificate (DER)."""
    request = _centre_request(change, "AuthCertDeletionRequest", server, comments)
    request.auth_certificate = certificate
    change.session.add(request)
    return request


def _centre_request(
    change: Change, request_type: str, server: SecurityServerId, comments: str | None
) -> ManagementRequest:
    return ManagementRequest(
        request_type=request_type,
        origin="CENTER",
        server_instance=server.instance,
        server_member_class=server.member_class,
        server_member_code=server.member_code,
        server_code=server.server_code,
        comments=comments,
        created_at=change.at,
    )
