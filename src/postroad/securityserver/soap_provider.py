"""How is a service of ours called by SOAP, and its answer passed on to the other server?

The service gets the consumer's document byte for byte. Its response gets the hash of the request
into its header, and is then signed, logged and sent as it has become; a fault goes on as it came,
neither signed nor logged (PR-MESS 2.4, 2.6). Reference: ServerMessageProcessor.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from postroad.errors import (
    ConfigurationError,
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    UnavailablePeer,
)
from postroad.messages.attachments import PackageReader, package_form
from postroad.messages.events import AttachmentData, AttachmentEnd, AttachmentStart, SoapMessage
from postroad.messages.faults import remote_fault
from postroad.messages.soap import SoapEnvelope, SoapFault
from postroad.messages.soap_http import check_soap_action
from postroad.messages.soap_reading import read_soap
from postroad.messages.soap_writing import with_request_hash
from postroad.securityserver.outgoing import open_service
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
    from collections.abc import Callable
    from pathlib import Path

    from postroad.adapters.http_exchange import Request
    from postroad.identifiers import SecurityServerId
    from postroad.messages.attachments import PackageEvent
    from postroad.securityserver.builtin_services import (
        BuiltinAttachment,
        BuiltinServices,
        SoapService,
    )
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.outgoing import OutgoingExchange, ServiceCaller
    from postroad.securityserver.peer_answer import PeerAnswer
    from postroad.securityserver.provider_exchange import Call
    from postroad.securityserver.resources import Resources
    from postroad.securityserver.serverconf.snapshot import ServiceEntry
    from postroad.securityserver.transport import ReceivedMessage


class SoapProvider:
    """One SOAP exchange; fulfils ``ProviderExchange``.

    Raises ``MalformedInput`` if the peer's HTTP headers name no usable action or content type.
    """

    is_soap = True
    endpoint = (None, None)
    blame = (FaultCode.SERVICE_FAILED.value,)

    def __init__(
        self,
        request: Request,
        *,
        services: ServiceCaller,
        builtin: BuiltinServices,
        spool: Path,
        kept: int,
        server_id: Callable[[], SecurityServerId],
    ) -> None:
        self._services = services
        self._builtin = builtin
        self._new_body = partial(BodyBuffer, spool, kept=kept)
        self._server_id = server_id
        self._action = check_soap_action(request.header(ORIGINAL_ACTION_HEADER))
        self._original_type = request.header(ORIGINAL_TYPE_HEADER) or ""
        self._request_id = request.header("x-road-request-id") or ""
        self._message: SoapRequest | None = None
        self.guard = boundary_guard(self._original_type)

    def read(self, received: ReceivedMessage) -> SoapRequest:
        """The document, if it is for this server."""
        soap = received.soap
        if soap is None or not isinstance(soap.document, SoapEnvelope):
            raise MalformedInput("there is no SOAP message", code=FaultCode.MISSING_SOAP)
        message = SoapRequest(soap, soap.document, self._request_id)
        target = message.target_server
        if target is not None and target != (own := self._server_id()):
            raise RefusedRequest(
                f"the message is for {target}, not for {own}",
                code=FaultCode.INVALID_SECURITY_SERVER,
                prefix=self.blame,
            )
        self._message = message
        return message

    @property
    def is_builtin(self) -> bool:
        """Such services are known by their code; versions play no role (PR-META)."""
        return self._own_service is not None

    @property
    def _own_service(self) -> SoapService | None:
        service = self._read.service
        found = self._builtin.soap.get(service.service_code)
        if found is None and service.service_code in self._builtin.owner_soap:
            is_owner = service.client == self._server_id().owner
            found = self._builtin.owner_soap[service.service_code] if is_owner else None
        return found

    async def answer(
        self,
        call: Call,
        received: ReceivedMessage,
        answer: PeerAnswer,
        report: ExchangeReport,
        resources: Resources,
    ) -> tuple[bytes, list[Attachment]]:
        """Send the service's response with our hash in it, and its attachments as they come."""
        if call.service is None:
            report.facts.own_service = True
            return await self._answer_builtin(call, answer, report, resources)
        if not call.service.url:
            raise ConfigurationError(
                "the service has no address", code=FaultCode.SERVICE_MISSING_URL
            )
        try:
            report.facts.note_asking()
            exchange = await self._call(call, call.service, received, report, resources)
            head = await exchange.response()
            report.facts.note_answered()
            report.service_status = head.status
            if head.status not in {200, 500}:
                raise UnavailablePeer(
                    f"the service answered with HTTP status {head.status}",
                    code=FaultCode.HTTP_ERROR,
                )
            original_type = last_value(head.headers, "content-type")
            if not original_type:
                raise MalformedInput(
                    "the service's answer has no content type", code=FaultCode.INVALID_CONTENT_TYPE
                )
            passing = self._passing(original_type, answer, report, resources)
            reader = PackageReader(original_type, missing=FaultCode.INVALID_MESSAGE)
            while data := await exchange.read_some():
                await passing.take(reader.feed(data))
            await passing.take(reader.finish())
        except PostroadError as error:
            error.within(FaultCode.SERVICE_FAILED.value)
            raise
        return passing.message, passing.attachments

    async def _call(
        self,
        call: Call,
        service: ServiceEntry,
        received: ReceivedMessage,
        report: ExchangeReport,
        resources: Resources,
    ) -> OutgoingExchange:
        message = self._read
        package = OutgoingPackage(
            self._original_type, message.soap, message.envelope, received.attachments
        )
        exchange = await open_service(
            self._services,
            "POST",
            service.url,
            (
                ("Content-Type", package.content_type),
                ("SOAPAction", self._action),
                # What is signed is what the service sends: it must not pack it.
                ("accept-encoding", ""),
                *report.trace.ask("service"),
            ),
            content_length=package.size,
            service=service,
            provider=call.provider,
        )
        resources.callback(exchange.close)
        async for data in package.chunks():
            if not await exchange.write(data):
                return exchange
        await exchange.finish()
        return exchange

    async def _answer_builtin(
        self, call: Call, answer: PeerAnswer, report: ExchangeReport, resources: Resources
    ) -> tuple[bytes, list[Attachment]]:
        service = self._own_service
        if service is None:
            raise RuntimeError("a service that the server doesn't offer")
        builtin = await service(call, self._read)
        document = read_soap(builtin.xml)
        if not isinstance(document, SoapEnvelope):
            raise ConfigurationError("a service of the server itself answered with a fault")
        boundary = new_boundary("xroad")
        content_type = package_form(
            "", codec=document.codec, has_attachments=False, fresh_boundary=boundary
        ).content_type
        original_type = content_type
        if builtin.attachments:
            related = 'multipart/related; type="text/xml"; charset=UTF-8'
            original_type = f"{related}; boundary={boundary}"
        passing = self._passing(original_type, answer, report, resources)
        await passing.take([SoapMessage(content_type, (), document)])
        for number, attachment in enumerate(builtin.attachments, 1):
            await passing.take(_attachment_events(number, attachment))
        return passing.message, passing.attachments

    def _passing(
        self, original_type: str, answer: PeerAnswer, report: ExchangeReport, resources: Resources
    ) -> _Passing:
        return _Passing(self._read, original_type, answer, report, self._new_body, resources)

    @property
    def _read(self) -> SoapRequest:
        if self._message is None:
            raise RuntimeError("a message that wasn't read")
        return self._message


class _Passing:
    """Passes a service's answer on as it arrives, and keeps what is to be signed and logged."""

    def __init__(  # noqa: PLR0917 - where the answer comes from and goes to
        self,
        request: SoapRequest,
        original_type: str,
        answer: PeerAnswer,
        report: ExchangeReport,
        new_body: Callable[[], BodyBuffer],
        resources: Resources,
    ) -> None:
        self._request = request
        self._original_type = original_type
        self._answer = answer
        self._report = report
        self._new_body = new_body
        self._resources = resources
        self.message = b""
        self.attachments: list[Attachment] = []

    async def take(self, events: list[PackageEvent]) -> None:
        """Pass on what came; raises ``RemoteFault`` for a fault of the service."""
        for event in events:
            match event:
                case SoapMessage():
                    await self._pass_message(event)
                case AttachmentStart():
                    body = self._new_body()
                    self._resources.callback(body.close)
                    self.attachments.append(Attachment(body, event.content_type, event.headers))
                    await self._answer.start_attachment(event.content_type, event.headers)
                case AttachmentData(data):
                    await self.attachments[-1].body.write(data)
                    await self._answer.attachment_data(data)
                case AttachmentEnd():
                    await self.attachments[-1].body.finish()

    async def _pass_message(self, event: SoapMessage) -> None:
        document = event.document
        if isinstance(document, SoapFault):
            raise remote_fault(document.fault, document.xml)
        self.message = with_request_hash(document, self._request.envelope.digest)
        self._report.facts.note_answering()
        await self._answer.start_soap(
            event.content_type, self.message, event.headers, original_type=self._original_type
        )


def _attachment_events(number: int, attachment: BuiltinAttachment) -> list[PackageEvent]:
    return [
        AttachmentStart(number, attachment.content_type, attachment.headers),
        AttachmentData(attachment.data),
        AttachmentEnd(),
    ]
