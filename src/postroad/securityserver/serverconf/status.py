"""Where does a client stand with the Central Server, and where does that lead?

Source: the client life cycle of the reference (ClientDTO statuses, GlobalConfChecker).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ClientStatus(StrEnum):
    """Where a client stands with the Central Server; the reference's stored words."""

    SAVED = "saved"
    REGISTRATION_IN_PROGRESS = "registration in progress"
    REGISTERED = "registered"
    DELETION_IN_PROGRESS = "deletion in progress"
    GLOBAL_ERROR = "global error"
    DISABLED = "disabled"
    DISABLING_IN_PROGRESS = "disabling in progress"
    ENABLING_IN_PROGRESS = "enabling in progress"


DELETABLE: Final = frozenset(
    {ClientStatus.SAVED, ClientStatus.DELETION_IN_PROGRESS, ClientStatus.GLOBAL_ERROR}
)
_WHEN_LISTED: Final = {
    ClientStatus.SAVED: ClientStatus.REGISTERED,
    ClientStatus.REGISTRATION_IN_PROGRESS: ClientStatus.REGISTERED,
    ClientStatus.GLOBAL_ERROR: ClientStatus.REGISTERED,
    ClientStatus.ENABLING_IN_PROGRESS: ClientStatus.REGISTERED,
}
_WHEN_MISSING: Final = {
    ClientStatus.REGISTERED: ClientStatus.GLOBAL_ERROR,
    ClientStatus.DISABLING_IN_PROGRESS: ClientStatus.DISABLED,
}


def following_status(status: ClientStatus, *, is_listed: bool) -> ClientStatus:
    """What a client becomes when the global configuration lists it for this server, or does not.

    >>> following_status(ClientStatus.SAVED, is_listed=True).value
    'registered'
    """
    return (_WHEN_LISTED if is_listed else _WHEN_MISSING).get(status, status)
