"""What becomes of a management request: it waits, takes effect, is approved or declined.

Whoever calls has judged who may ask (``management.verification`` for servers, the operator's own
rights for the centre). Source: reference ``ManagementRequestServiceImpl``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from postroad.centralserver.models.history import ManagementRequest as RequestRow
from postroad.centralserver.registry import requests
from postroad.centralserver.registry.immediate_requests import carry_out
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.registrations import (
    Registration,
    add_registration,
    apply_registration,
    is_known_party,
    registration_of,
)
from postroad.management.lifecycle import RequestOrigin, RequestState, Step, withdrawal
from postroad.management.requests import (
    AuthCertRegistration,
    ClientRegistration,
    ManagementRequest,
    OwnerChange,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.registry.change import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomaticApprovals:
    """Which requests of servers nobody needs to approve, if all parties are known members."""

    auth_cert_registrations: bool = False
    client_registrations: bool = False
    owner_changes: bool = False

    def covers(self, request: Registration) -> bool:
        """Whether requests of this kind are approved automatically."""
        match request:
            case AuthCertRegistration():
                return self.auth_cert_registrations
            case ClientRegistration():
                return self.client_registrations
            case OwnerChange():
                return self.owner_changes


def add_request(
    change: Change,
    request: ManagementRequest,
    origin: RequestOrigin,
    *,
    automatic: AutomaticApprovals | None = None,
    message_digest: str | None = None,
) -> RequestRow:
    """Take in a request: registrations wait for their approval, all others take effect at once.

    ``message_digest`` names the signed message that brought it (SHA-256, hex); the same message
    never counts twice. Refused with the problem that the management interface tells.
    """
    if message_digest is not None:
        _refuse_repetition(change.session, message_digest)
    if isinstance(request, Registration):
        row = add_registration(change, request, origin)
    else:
        row = carry_out(change, request, origin)
    row.message_digest = message_digest
    change.session.flush()
    change.record(
        "Receive management request",
        id=row.id,
        type=row.request_type,
        origin=row.origin,
        server=request.server.encoded(),
    )
    if isinstance(request, Registration) and _is_approved_at_once(
        change.session, row, request, automatic or AutomaticApprovals()
    ):
        _approve(change, row, request)
    return row


def _refuse_repetition(session: Session, message_digest: str) -> None:
    before = select(RequestRow.id).where(RequestRow.message_digest == message_digest)
    known = session.scalar(before)
    if known is not None:
        raise RegistryRefusal(
            Problem.REQUEST_EXISTS, f"this very message was received before, as request {known}"
        )


def _is_approved_at_once(
    session: Session, row: RequestRow, request: Registration, automatic: AutomaticApprovals
) -> bool:
    if row.origin != RequestOrigin.SECURITY_SERVER:
        return False
    if row.status == RequestState.SUBMITTED_FOR_APPROVAL:
        return True
    return automatic.covers(request) and is_known_party(session, request)


def approve_request(change: Change, request_id: int) -> RequestRow:
    """Approve a pending request; its effects happen in the same transaction."""
    row = requests.load_request(change.session, request_id)
    request = registration_of(row)
    if request is None:
        requests.state_of(row)
        raise RegistryRefusal(
            Problem.REQUEST_STATE, f"request {row.id} ({row.request_type}) needs no approval"
        )
    _approve(change, row, request)
    return row


def _approve(change: Change, row: RequestRow, request: Registration) -> None:
    requests.move(change.session, row, Step.APPROVE)
    apply_registration(change, request)
    change.record("Approve management request", id=row.id, type=row.request_type)


def decline_request(change: Change, request_id: int) -> RequestRow:
    """Decline a pending request; the server that made it learns it from nobody (G-25).

    One that only the centre has made is revoked: nobody else asked for it.
    """
    row = requests.load_request(change.session, request_id)
    requests.state_of(row)
    together = requests.decided_together(change.session, row)
    step = withdrawal([RequestOrigin(each.origin) for each in together])
    requests.move(change.session, row, step)
    event = "Revoke" if step is Step.REVOKE else "Decline"
    change.record(f"{event} management request", id=row.id, type=row.request_type)
    return row
