"""How is a service of ours called by REST, and its answer passed on to the other server?

Source: PR-REST 4.2, 4.4; reference: ServerRestMessageProcessor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.messages.rest import (
    BODYLESS_STATUSES,
    FORWARDED_BODY_METHODS,
    RestRequest,
    RestResponse,
    build_response,
    request_hash,
)
from postroad.securityserver.exchange_trace import with_context
from postroad.securityserver.outgoing import open_service
from postroad.securityserver.spool import BodyBuffer
from postroad.securityserver.transport import Attachment, header_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroad.securityserver.builtin_services import RestService
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.outgoing import OutgoingExchange, ServiceCaller
    from postroad.securityserver.peer_answer import PeerAnswer
    from postroad.securityserver.provider_exchange import Call
    from postroad.securityserver.resources import Resources
    from postroad.securityserver.serverconf.snapshot import ServiceEntry
    from postroad.securityserver.transport import ReceivedMessage


class RestProvider:
    """One REST exchange; fulfils ``ProviderExchange``."""

    is_soap = False
    blame = ()
    guard = None

    def __init__(
        self,
        *,
        services: ServiceCaller,
        builtin: Mapping[str, RestService],
        spool: Path,
        kept: int,
    ) -> None:
        self._services = services
        self._builtin = builtin
        self._spool = spool
        self._kept = kept
        self._message: RestRequest | None = None

    def read(self, received: ReceivedMessage) -> RestRequest:
        """The serialised block."""
        self._message = RestRequest.parse(received.block)
        return self._message

    @property
    def endpoint(self) -> tuple[str, str]:
        """Method and raw path, as they go to the service."""
        return self._read.method, self._read.service_path

    @property
    def is_builtin(self) -> bool:
        """Metadata services are asked with GET (PR-MREST)."""
        return self._read.method == "GET" and self._read.service.service_code in self._builtin

    async def answer(
        self,
        call: Call,
        received: ReceivedMessage,
        answer: PeerAnswer,
        report: ExchangeReport,
        resources: Resources,
    ) -> tuple[bytes, list[Attachment]]:
        """Send the service's status, headers and body while its digest is computed."""
        message = self._read
        body_digest = None if received.body is None else received.body.digest
        asked = request_hash(DigestAlgorithm.SHA512.digest(received.block), body_digest)
        if call.service is None:
            report.facts.own_service = True
            return await self._answer_builtin(call, asked, answer, resources)
        try:
            report.facts.note_asking()
            exchange = await self._call(call, call.service, received, report, resources)
            head = await exchange.response()
            report.facts.note_answered()
            report.service_status = head.status
            response = build_response(
                head.status, head.reason, head.headers, request=message, request_hash=asked
            )
            await answer.start(response)
            if message.method == "HEAD" or head.status in BODYLESS_STATUSES:
                return response.encode(), []
            body = BodyBuffer(self._spool, kept=self._kept)
            resources.callback(body.close)
            await answer.start_body()
            while data := await exchange.read_some():
                await body.write(data)
                await answer.body_data(data)
            await answer.end_body()
            await body.finish()
        except PostroadError as error:
            error.within(FaultCode.SERVICE_FAILED.value)
            raise
        return response.encode(), [Attachment(body)]

    async def _call(
        self,
        call: Call,
        service: ServiceEntry,
        received: ReceivedMessage,
        report: ExchangeReport,
        resources: Resources,
    ) -> OutgoingExchange:
        """Send the request exactly as it was judged: same method, same raw path, same headers."""
        message, body = self._read, received.body
        if body is not None and message.method not in FORWARDED_BODY_METHODS:
            body = None  # signed and logged, but not for the service (PR-REST 4.2)
        headers = tuple((name, header_text(value)) for name, value in message.headers)
        exchange = await open_service(
            self._services,
            message.method,
            service_url(service.url, message),
            with_context(headers, report.trace.ask("service")),
            content_length=0 if body is None else body.size,
            service=service,
            provider=call.provider,
        )
        resources.callback(exchange.close)
        if body is not None:
            async for data in body.chunks():
                if not await exchange.write(data):
                    return exchange
        await exchange.finish()
        return exchange

    async def _answer_builtin(
        self, call: Call, asked: bytes, answer: PeerAnswer, resources: Resources
    ) -> tuple[bytes, list[Attachment]]:
        builtin = await self._builtin[self._read.service.service_code](call, self._read)
        response: RestResponse = build_response(
            builtin.status, "OK", builtin.headers, request=self._read, request_hash=asked
        )
        body = BodyBuffer(self._spool, kept=self._kept)
        resources.callback(body.close)
        await answer.start(response)
        await answer.start_body()
        await body.write(builtin.body)
        await answer.body_data(builtin.body)
        await answer.end_body()
        await body.finish()
        return response.encode(), [Attachment(body)]

    @property
    def _read(self) -> RestRequest:
        if self._message is None:
            raise RuntimeError("a message that wasn't read")
        return self._message


def service_url(base: str, message: RestRequest) -> str:
    """The address that is called: the service's, then the raw path and query of the request.

    The path is appended byte for byte; only a slash that would stand twice at the joint goes.
    """
    if not base:
        raise ConfigurationError("the service has no address", code=FaultCode.SERVICE_MISSING_URL)
    path = message.service_path
    url = (base.removesuffix("/") if path else base) + path
    return url if message.query is None else f"{url}?{message.query}"
