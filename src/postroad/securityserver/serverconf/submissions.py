"""Which management requests were sent, and which of them still wait for their outcome?

A request is open until the global configuration shows what it asked for. A later one about the same
thing takes its place, so that nothing waits for ever for what nobody wants any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import select

from postroad.management.requests import ServiceCode
from postroad.securityserver.serverconf.models import SubmittedRequest
from postroad.securityserver.serverconf.revision import touch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from postroad.identifiers import ClientId

MAX_KEPT: Final = 1000
"""Requests that are remembered, the newest ones."""

_SAME_MATTER: Final = (
    frozenset(
        {
            ServiceCode.CLIENT_REGISTRATION,
            ServiceCode.CLIENT_DELETION,
            ServiceCode.CLIENT_DISABLING,
            ServiceCode.CLIENT_ENABLING,
        }
    ),
    frozenset({ServiceCode.MAINTENANCE_START, ServiceCode.MAINTENANCE_END}),
)


def note(
    session: Session,
    code: ServiceCode,
    client: ClientId | None,
    value: str,
    *,
    request_id: int | None,
    at: datetime,
) -> SubmittedRequest:
    """Remember a request that the Central Server has taken in; it is open."""
    for row in open_requests(session, _matter_of(code), client):
        session.delete(row)
    row = SubmittedRequest(
        service_code=code.value,
        client="" if client is None else client.encoded(),
        value=value,
        request_id=request_id,
        submitted_at=at,
    )
    session.add(row)
    session.flush()
    for old in session.scalars(
        select(SubmittedRequest).order_by(SubmittedRequest.id.desc()).offset(MAX_KEPT)
    ).all():
        session.delete(old)
    touch(session)
    return row


def open_requests(
    session: Session, codes: frozenset[ServiceCode], client: ClientId | None
) -> Sequence[SubmittedRequest]:
    """The open requests of some kinds about one client, or about the server (None)."""
    query = (
        select(SubmittedRequest)
        .where(
            SubmittedRequest.fulfilled_at.is_(None),
            SubmittedRequest.service_code.in_([code.value for code in codes]),
            SubmittedRequest.client == ("" if client is None else client.encoded()),
        )
        .order_by(SubmittedRequest.id)
    )
    return session.scalars(query).all()


def list_submitted(session: Session, *, limit: int) -> Sequence[SubmittedRequest]:
    """The newest requests, newest first."""
    query = select(SubmittedRequest).order_by(SubmittedRequest.id.desc()).limit(limit)
    return session.scalars(query).all()


def follow(
    session: Session, is_fulfilled: Callable[[SubmittedRequest], bool], *, at: datetime
) -> tuple[SubmittedRequest, ...]:
    """Close the open requests whose outcome is there; returns them."""
    query = select(SubmittedRequest).where(SubmittedRequest.fulfilled_at.is_(None))
    fulfilled = tuple(row for row in session.scalars(query).all() if is_fulfilled(row))
    for row in fulfilled:
        row.fulfilled_at = at
    if fulfilled:
        touch(session)
    return fulfilled


def _matter_of(code: ServiceCode) -> frozenset[ServiceCode]:
    return next((matter for matter in _SAME_MATTER if code in matter), frozenset({code}))
