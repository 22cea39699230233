"""Through which states does a management request that needs approval go?

Only registrations of authentication certificates and clients, and changes of owner, wait for an
approval; all other requests take effect at once and have no state. Words as the registry and the
management interface spell them. Source: PR-MSERV, UC-MEMBER 2.3; reference: request processings.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class RequestState(StrEnum):
    """Where a request stands."""

    WAITING = "WAITING"
    SUBMITTED_FOR_APPROVAL = "SUBMITTED FOR APPROVAL"
    """Both the centre and the server have asked for it (how releases before 6 did it)."""
    APPROVED = "APPROVED"
    DECLINED = "DECLINED"
    REVOKED = "REVOKED"

    @property
    def is_pending(self) -> bool:
        """Whether the request still waits for somebody's decision."""
        return any(state is self for state, _step in TRANSITIONS)


class RequestOrigin(StrEnum):
    """Who made a request."""

    CENTRE = "CENTER"
    SECURITY_SERVER = "SECURITY_SERVER"


class Step(Enum):
    """What can happen to a pending request."""

    COMPLEMENT = auto()
    """The other side has asked for the same."""
    APPROVE = auto()
    DECLINE = auto()
    REVOKE = auto()


_WAITING = RequestState.WAITING
_SUBMITTED = RequestState.SUBMITTED_FOR_APPROVAL

TRANSITIONS: Final[Mapping[tuple[RequestState, Step], RequestState]] = {
    (_WAITING, Step.COMPLEMENT): _SUBMITTED,
    (_WAITING, Step.APPROVE): RequestState.APPROVED,
    (_WAITING, Step.DECLINE): RequestState.DECLINED,
    (_WAITING, Step.REVOKE): RequestState.REVOKED,
    (_SUBMITTED, Step.APPROVE): RequestState.APPROVED,
    (_SUBMITTED, Step.DECLINE): RequestState.DECLINED,
}
"""Every legal step; a state without any is final."""


def next_state(state: RequestState, step: Step) -> RequestState:
    """The state after a step; ``RefusedRequest`` (``invalid_request``) for an illegal one.

    >>> next_state(RequestState.WAITING, Step.APPROVE).value
    'APPROVED'
    """
    found = TRANSITIONS.get((state, step))
    if found is None:
        raise RefusedRequest(
            f"a request that is {state.value} can't be changed ({step.name.lower()})",
            code=FaultCode.INVALID_REQUEST,
        )
    return found


def withdrawal(origins: Sequence[RequestOrigin]) -> Step:
    """How the centre's operator ends a pending request that came from these sides.

    One that only the centre has made is revoked; one that a server has asked for is declined.
    """
    return Step.REVOKE if tuple(origins) == (RequestOrigin.CENTRE,) else Step.DECLINE
