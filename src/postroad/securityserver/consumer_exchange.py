"""What differs, on the client's side of an exchange, by the kind of message that is exchanged?

The recipe itself is in ``client_proxy``; ``rest_consumer`` and ``soap_consumer`` fulfil this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from postroad.adapters.http_exchange import Responder
    from postroad.identifiers import ClientId, SecurityServerId, ServiceId
    from postroad.messages.attachments import BoundaryGuard
    from postroad.messages.encoder import TransportEncoder
    from postroad.messages.faults import Fault
    from postroad.securityserver.transport import Attachment, ReceivedMessage
    from postroad.wire.headers import HeaderList


class Message(Protocol):
    """A request of either kind: who asks whom for what, and the bytes that are signed."""

    @property
    def client(self) -> ClientId:
        """The service client."""
        ...

    @property
    def service(self) -> ServiceId:
        """The service that is called."""
        ...

    @property
    def target_server(self) -> SecurityServerId | None:
        """The security server that the consumer asks for."""
        ...

    @property
    def query_id(self) -> str:
        """The consumer's own identifier of the exchange."""
        ...

    @property
    def request_id(self) -> str:
        """The identifier that the client's server gave the exchange."""
        ...

    @property
    def method(self) -> str:
        """The HTTP method with which the service is called."""
        ...

    def encode(self) -> bytes:
        """The bytes that are transported, hashed, signed and logged."""
        ...


class ConsumerExchange(Protocol):
    """One exchange with an information system of ours, from its request to our answer."""

    @property
    def is_soap(self) -> bool:
        """Whether the messages are SOAP; otherwise they are REST."""
        ...

    @property
    def attachments(self) -> Sequence[Attachment]:
        """What came beside the message; complete when ``payload`` is."""
        ...

    async def read(self) -> Message:
        """Read the message, and as little as possible beside it; raises ``MalformedInput``."""
        ...

    def transport_headers(self) -> HeaderList:
        """The HTTP headers of the transport message that only this kind has."""
        ...

    def message_part(self, encoder: TransportEncoder) -> bytes:
        """The part with the message, ready to be sent."""
        ...

    @property
    def has_payload(self) -> bool:
        """Whether something may come beside the message, as far as is known already."""
        ...

    def payload(self, encoder: TransportEncoder) -> AsyncGenerator[bytes]:
        """What comes beside the message, as it arrives, ready to be sent; kept in passing."""
        ...

    def expect(self, headers: HeaderList) -> BoundaryGuard | None:
        """Note the HTTP headers of the provider's server; what must not be in its answer."""
        ...

    def check_answer(self, received: ReceivedMessage) -> int:
        """Raise unless this answers the request; returns the status that the consumer gets."""
        ...

    async def answer(self, responder: Responder, received: ReceivedMessage) -> None:
        """Give the consumer the answer."""
        ...

    async def refuse(self, responder: Responder, fault: Fault, xml: bytes) -> int:
        """Tell the consumer of a fault (``xml``: as it came, or empty); returns the status."""
        ...
