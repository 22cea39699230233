"""What differs, on the provider's side of an exchange, by the kind of message that is exchanged?

The recipe itself is in ``server_proxy``; ``rest_provider`` and ``soap_provider`` fulfil this.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from postroad.messages.attachments import BoundaryGuard
    from postroad.securityserver.consumer_exchange import Message
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.peer_answer import PeerAnswer
    from postroad.securityserver.resources import Resources
    from postroad.securityserver.serverconf.snapshot import ClientView, ServiceEntry
    from postroad.securityserver.snapshots import Snapshot
    from postroad.securityserver.transport import Attachment, ReceivedMessage


@dataclass(frozen=True, slots=True)
class Call:
    """An allowed call: who provides, and the service; none if the server itself answers."""

    snapshot: Snapshot
    """What it was judged by."""
    provider: ClientView
    service: ServiceEntry | None


class ProviderExchange(Protocol):
    """One exchange with a service of ours, from the peer's message to our answer."""

    @property
    def is_soap(self) -> bool:
        """Whether the messages are SOAP; otherwise they are REST."""
        ...

    @property
    def blame(self) -> tuple[str, ...]:
        """What stands before the code of a message that can't be read."""
        ...

    @property
    def guard(self) -> BoundaryGuard | None:
        """What no part of the message may hold."""
        ...

    def read(self, received: ReceivedMessage) -> Message:
        """The message as soon as it has arrived; refuses what isn't for this server."""
        ...

    @property
    def endpoint(self) -> tuple[str | None, str | None]:
        """Method and raw path within the service; both None where rights are for whole services."""
        ...

    @property
    def is_builtin(self) -> bool:
        """Whether the server itself answers what was read, and everybody may ask."""
        ...

    async def answer(
        self,
        call: Call,
        received: ReceivedMessage,
        answer: PeerAnswer,
        report: ExchangeReport,
        resources: Resources,
    ) -> tuple[bytes, list[Attachment]]:
        """Call the service and pass its answer on as far as it goes without a signature.

        Returns the message that was answered with, and what went beside it.
        """
        ...
