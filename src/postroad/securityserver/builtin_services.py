"""What do the services look like that the server itself offers to everybody?

Source: PR-MREST, PR-META.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from postroad.messages.rest import RestRequest
    from postroad.securityserver.snapshots import Snapshot
    from postroad.wire.headers import HeaderList


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinAnswer:
    """What a service of the server itself answers, such as the list of methods."""

    status: int
    headers: HeaderList
    body: bytes


class BuiltinServices(Protocol):
    """The services that the server itself offers to everybody (PR-MREST)."""

    def answer(self, snapshot: Snapshot, message: RestRequest) -> BuiltinAnswer | None:
        """The answer, or None if the message is for an ordinary service. Never does any I/O."""
        ...
