"""How does an information system of ours exchange a SOAP message with its server?

Source: PR-MESS 3; reference: ClientMessageProcessor.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, MalformedInput, RefusedRequest, RemoteFault
from postroad.messages.attachments import PackageReader
from postroad.messages.events import AttachmentData, AttachmentEnd, AttachmentStart, SoapMessage
from postroad.messages.faults import CONSUMER_FAULT, encode_soap_fault
from postroad.messages.soap import SoapEnvelope, SoapFault, check_correlation
from postroad.messages.soap_http import check_soap_action
from postroad.securityserver.soap_message import SoapRequest
from postroad.securityserver.soap_package import OutgoingPackage, boundary_guard
from postroad.securityserver.spool import BodyBuffer
from postroad.securityserver.transport import (
    ORIGINAL_ACTION_HEADER,
    ORIGINAL_TYPE_HEADER,
    Attachment,
    new_boundary,
)
from postroad.wire.headers import last_value

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from pathlib import Path

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.messages.attachments import BoundaryGuard, PackageEvent
    from postroad.messages.encoder import TransportEncoder
    from postroad.messages.faults import Fault
    from postroad.securityserver.resources import Resources
    from postroad.securityserver.transport import ReceivedMessage
    from postroad.wire.headers import HeaderList


class SoapConsumer:
    """One SOAP exchange; fulfils ``ConsumerExchange``.

    Whatever is wrong with the consumer's own message gets a code that begins with ``client``.
    """

    is_soap = True
    has_payload = True

    def __init__(
        self,
        request: Request,
        *,
        spool: Path,
        kept: int,
        resources: Resources,
        new_id: Callable[[], str],
    ) -> None:
        self.attachments: list[Attachment] = []
        self._request = request
        self._spool = spool
        self._kept = kept
        self._resources = resources
        self._new_id = new_id
        self._nested = new_boundary("xatt")
        self._reader: PackageReader | None = None
        self._waiting: list[PackageEvent] = []
        self._ended = False
        self._action = ""
        self._message: SoapRequest | None = None
        self._original_type = ""
        self._package: OutgoingPackage | None = None

    async def read(self) -> SoapRequest:
        """Read up to the end of the SOAP part."""
        with _consumer_blamed():
            if self._request.method != "POST":
                raise RefusedRequest(
                    f"{self._request.method} is not a method of the SOAP interface",
                    code=FaultCode.INVALID_HTTP_METHOD,
                )
            self._action = check_soap_action(self._request.header("soapaction"))
            self._reader = PackageReader(self._request.header("content-type"))
        while not self._waiting:
            self._waiting += await self._next_events(self._reader)
        soap = self._waiting.pop(0)
        if not isinstance(soap, SoapMessage):
            raise TypeError("a package whose first part isn't SOAP")
        self._message = SoapRequest(soap, _envelope_of(soap), self._new_id())
        return self._message

    def transport_headers(self) -> HeaderList:
        """The action goes to the service as it came."""
        return ((ORIGINAL_ACTION_HEADER, self._action),)

    def message_part(self, encoder: TransportEncoder) -> bytes:
        """The document, with the content type and headers of its part."""
        soap = self._read.soap
        return encoder.soap(soap.content_type, soap.xml, soap.headers)

    async def payload(self, encoder: TransportEncoder) -> AsyncGenerator[bytes]:
        """The attachments in their order."""
        if self._reader is None:
            raise RuntimeError("a message that wasn't read")
        while True:
            for event in self._waiting:
                if isinstance(event, AttachmentStart):
                    self._begin(event)
                    yield encoder.attachment(
                        event.content_type, event.headers, nested_boundary=self._nested
                    )
                elif isinstance(event, AttachmentData):
                    await self.attachments[-1].body.write(event.data)
                    yield encoder.attachment_data(event.data)
                elif isinstance(event, AttachmentEnd):
                    await self.attachments[-1].body.finish()
            if self._ended:
                return
            self._waiting = await self._next_events(self._reader)

    def expect(self, headers: HeaderList) -> BoundaryGuard | None:
        """The consumer gets the content type that the service chose."""
        self._original_type = last_value(headers, ORIGINAL_TYPE_HEADER) or ""
        return boundary_guard(self._original_type)

    def check_answer(self, received: ReceivedMessage) -> int:
        """The response bears the header fields of our request, and its hash."""
        if received.soap is None or not isinstance(received.soap.document, SoapEnvelope):
            raise MalformedInput("the answer holds no SOAP message", code=FaultCode.MISSING_SOAP)
        response = received.soap.document
        check_correlation(self._read.envelope, response)
        self._package = OutgoingPackage(
            self._original_type, received.soap, response, received.attachments
        )
        return 200

    async def answer(self, responder: Responder, _received: ReceivedMessage) -> None:
        """The response in the form that the service chose."""
        package = self._package
        if package is None:
            raise RuntimeError("an answer that nobody checked")
        await responder.start(200, (("Content-Type", package.content_type),), package.size)
        async for data in package.chunks():
            await responder.write(data)
        await responder.finish()

    async def refuse(self, responder: Responder, fault: Fault, xml: bytes) -> int:
        """A SOAP fault; that of a service is passed on as it came."""
        body = xml or encode_soap_fault(fault)
        headers = (("Content-Type", _fault_type(body)), ("SOAPAction", ""), *fault.http_headers)
        await responder.respond(200, headers, body)
        return 200

    async def _next_events(self, reader: PackageReader) -> list[PackageEvent]:
        data = await self._request.body.read_some()
        with _consumer_blamed():
            if data:
                return reader.feed(data)
            self._ended = True
            return reader.finish()

    def _begin(self, event: AttachmentStart) -> None:
        body = BodyBuffer(self._spool, kept=self._kept)
        self._resources.callback(body.close)
        self.attachments.append(Attachment(body, event.content_type, event.headers))

    @property
    def _read(self) -> SoapRequest:
        if self._message is None:
            raise RuntimeError("a message that wasn't read")
        return self._message


def _envelope_of(soap: SoapMessage) -> SoapEnvelope:
    document = soap.document
    if isinstance(document, SoapFault):
        fault = document.fault
        raise RemoteFault(
            f"{CONSUMER_FAULT}.{fault.code}", fault.string, actor=fault.actor, detail=fault.detail
        )
    if not document.header.query_id:
        with _consumer_blamed():
            raise MalformedInput("the id is empty", code=FaultCode.INTERNAL_ERROR)
    return document


def _fault_type(xml: bytes) -> str:
    try:
        xml.decode("utf-8")
    except UnicodeDecodeError:
        return "text/xml"  # it says itself in what it is written
    return "text/xml;charset=utf-8"


@contextmanager
def _consumer_blamed() -> Iterator[None]:
    try:
        yield
    except (MalformedInput, RefusedRequest) as error:
        error.within(CONSUMER_FAULT)
        raise
