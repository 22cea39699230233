"""How does an information system of ours exchange a REST message with its server?

Source: PR-REST 4; reference: ClientRestMessageProcessor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.messages.faults import rest_error
from postroad.messages.rest import (
    BODYLESS_STATUSES,
    RestRequest,
    RestResponse,
    build_request,
    check_correlation,
    request_hash,
)
from postroad.securityserver.spool import BodyBuffer
from postroad.securityserver.transport import (
    MESSAGE_TYPE_HEADER,
    REST_MESSAGE_TYPE,
    Attachment,
    header_text,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.messages.encoder import TransportEncoder
    from postroad.messages.faults import Fault
    from postroad.securityserver.resources import Resources
    from postroad.securityserver.transport import ReceivedMessage
    from postroad.wire.headers import HeaderList


class RestConsumer:
    """One REST exchange; fulfils ``ConsumerExchange``."""

    is_soap = False

    def __init__(
        self,
        request: Request,
        *,
        spool: Path,
        kept: int,
        resources: Resources,
        new_id: Callable[[], str],
        instance: str,
    ) -> None:
        self.attachments: list[Attachment] = []
        self._request = request
        self._spool = spool
        self._kept = kept
        self._resources = resources
        self._new_id = new_id
        self._instance = instance
        self._message: RestRequest | None = None
        self._response: RestResponse | None = None

    async def read(self) -> RestRequest:
        """The message is in the HTTP head alone."""
        message = build_request(
            self._request.method,
            self._request.target,
            self._request.headers,
            request_id=self._new_id(),
            generated_id=f"{self._instance}-{self._new_id()}",
        )
        if message.query_id == "":
            raise MalformedInput("X-Road-Id is empty", code=FaultCode.INTERNAL_ERROR)
        self._message = message
        return message

    def transport_headers(self) -> HeaderList:
        """A REST message says that it is one."""
        return ((MESSAGE_TYPE_HEADER, REST_MESSAGE_TYPE),)

    def message_part(self, encoder: TransportEncoder) -> bytes:
        """The serialised block."""
        return encoder.rest_request(self._read.encode())

    @property
    def has_payload(self) -> bool:
        """Most requests are known to have no body as soon as their head is."""
        body = self._request.body
        return not body.ended or body.received > 0

    async def payload(self, encoder: TransportEncoder) -> AsyncGenerator[bytes]:
        """The body, if there is one: no first byte, no body part (PR-REST 4.4)."""
        body: BodyBuffer | None = None
        while data := await self._request.body.read_some():
            if body is None:
                body = BodyBuffer(self._spool, kept=self._kept)
                self._resources.callback(body.close)
                self.attachments.append(Attachment(body))
                yield encoder.body_start()
            await body.write(data)
            yield encoder.body_data(data)
        if body is not None:
            encoder.body_end()
            await body.finish()

    def expect(self, _headers: HeaderList) -> None:
        """Nothing is put into a package."""
        return

    def check_answer(self, received: ReceivedMessage) -> int:
        """The response bears our identifiers and the hash of our request."""
        message = self._read
        response = RestResponse.parse(received.block)
        sent = DigestAlgorithm.SHA512.digest(message.encode())
        body = self.attachments[0].body.digest if self.attachments else None
        check_correlation(message, response, request_hash(sent, body))
        self._response = response
        return response.status

    async def answer(self, responder: Responder, received: ReceivedMessage) -> None:
        """The service's status, headers and body."""
        response = self._response
        if response is None:
            raise RuntimeError("an answer that nobody checked")
        body = received.body
        headers = [(name, header_text(value)) for name, value in response.headers]
        size = 0 if body is None else body.size
        is_bodyless = self._request.method == "HEAD" or response.status in BODYLESS_STATUSES
        await responder.start(
            response.status, headers, None if body is None and is_bodyless else size
        )
        whole = b"" if body is None else body.at_hand
        if body is not None and whole is None:
            async for data in body.chunks():
                await responder.write(data)
        await responder.finish(whole or b"")

    async def refuse(self, responder: Responder, fault: Fault, xml: bytes) -> int:  # noqa: ARG002 - a REST consumer reads no SOAP
        """A REST error, in the type that the consumer accepts."""
        error = rest_error(fault, self._request.header_values("accept"))
        await responder.respond(error.status, error.headers, error.body)
        return error.status

    @property
    def _read(self) -> RestRequest:
        if self._message is None:
            raise RuntimeError("a message that wasn't read")
        return self._message
