"""What is a SOAP request within one exchange? The same on both sides of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postroad.identifiers import ClientId, SecurityServerId, ServiceId
    from postroad.messages.events import SoapMessage
    from postroad.messages.soap import SoapEnvelope


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """A SOAP request within its exchange; fulfils ``Message``."""

    soap: SoapMessage
    envelope: SoapEnvelope
    request_id: str
    method: str = "POST"

    @property
    def client(self) -> ClientId:
        """The service client."""
        return self.envelope.header.client

    @property
    def service(self) -> ServiceId:
        """The service that is called."""
        return self.envelope.header.service

    @property
    def target_server(self) -> SecurityServerId | None:
        """The security server that the consumer asks for."""
        return self.envelope.header.target_server

    @property
    def query_id(self) -> str:
        """The consumer's own identifier of the exchange."""
        return self.envelope.header.query_id

    def encode(self) -> bytes:
        """The document as it came."""
        return self.envelope.xml
