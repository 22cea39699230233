"""How is another security server answered: with a message that grows, or with a fault?

A fault is the whole answer while nothing has been sent, and takes the place of what is still
missing of an answer that has begun. Source: PR-MESSTRANSP 2.1.3; reference: ProxyMessageEncoder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction
from postroad.securityserver.transport import (
    HASH_ALGORITHM_HEADER,
    ORIGINAL_TYPE_HEADER,
    GatheringWriter,
    new_boundary,
    signature_parts,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from postroad.adapters.http_exchange import Responder
    from postroad.messages.rest import RestResponse
    from postroad.securityserver.signing import MessageSignature
    from postroad.wire.headers import HeaderList


class PeerAnswer:
    """Our answer on its way: nothing, a message that has begun, or a fault."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._encoder = TransportEncoder(new_boundary(), Direction.RESPONSE)
        self._nested = new_boundary("xatt")
        self._out = GatheringWriter(responder.write)
        self._begun = False

    async def start(self, response: RestResponse) -> None:
        """Begin a REST message; from now on errors come as a part of it."""
        block = response.encode()
        await self._begin(())
        await self._out.write(self._encoder.rest_response(block))

    async def start_soap(
        self, content_type: str, xml: bytes, headers: HeaderList, *, original_type: str
    ) -> None:
        """Begin a SOAP message; ``original_type`` is the content type of the service's answer."""
        part = self._encoder.soap(content_type, xml, headers)
        # Without it the protocol's other servers can't hand the answer on (PR-MESSTRANSP 2.1).
        await self._begin(((ORIGINAL_TYPE_HEADER, original_type),))
        await self._out.write(part)

    async def start_attachment(self, content_type: str, headers: HeaderList) -> None:
        """Begin the next attachment of a SOAP message."""
        part = self._encoder.attachment(content_type, headers, nested_boundary=self._nested)
        await self._out.write(part)

    async def attachment_data(self, data: bytes) -> None:
        """Send a slice of the attachment."""
        await self._out.write(self._encoder.attachment_data(data))

    async def _begin(self, headers: HeaderList) -> None:
        await self._responder.start(
            200,
            (
                ("Content-Type", self._encoder.content_type),
                # Peers look this name up in exactly this case (PR-MESSTRANSP 2.1).
                (HASH_ALGORITHM_HEADER, DigestAlgorithm.SHA512.label),
                *headers,
            ),
        )
        self._begun = True

    def start_body(self) -> Awaitable[bool]:
        """Begin the body part."""
        return self._out.write(self._encoder.body_start())

    def body_data(self, data: bytes) -> Awaitable[bool]:
        """Send a slice of the body."""
        return self._out.write(self._encoder.body_data(data))

    async def end_body(self) -> None:
        """End the body part."""
        self._encoder.body_end()

    async def finish(self, signature: MessageSignature) -> None:
        """Send the signature and end the message."""
        await self._responder.finish(self._out.take() + signature_parts(self._encoder, signature))

    async def refuse(self, fault_xml: bytes) -> None:
        """Send a fault: as the whole answer, or as the last part of what has begun."""
        if self._responder.finished:
            return
        if self._begun:
            rest = self._out.take() + self._encoder.fault(fault_xml) + self._encoder.finish()
            await self._responder.finish(rest)
        else:
            content_type = ("Content-Type", "text/xml;charset=utf-8")
            await self._responder.respond(200, (content_type,), fault_xml)
