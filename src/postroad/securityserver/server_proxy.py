"""How does a request of another security server get to our service, and the answer back?

The provider's side of an exchange, PR-MESSTRANSP 3.3, as one recipe: :func:`_exchange`. The service
sees nothing that isn't verified, allowed and logged.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.authorization.rights import Denied, decide_access
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import (
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    RemoteFault,
)
from postroad.messages.decoder import TransportDecoder
from postroad.messages.events import Direction
from postroad.messages.faults import PROVIDER_SIDE, encode_soap_fault, fault_of
from postroad.securityserver.builtin_services import BuiltinServices
from postroad.securityserver.client_versions import check_client_version
from postroad.securityserver.group_membership import group_membership
from postroad.securityserver.message_proxy import MessageProxy, note_request
from postroad.securityserver.messagelog.records import Direction as LogDirection
from postroad.securityserver.messagelog.records import Side
from postroad.securityserver.peer_answer import PeerAnswer
from postroad.securityserver.peer_certificates import PeerVerdicts, certificates_of
from postroad.securityserver.provider_exchange import Call
from postroad.securityserver.resources import Resources
from postroad.securityserver.rest_provider import RestProvider
from postroad.securityserver.signing import MessageSignature
from postroad.securityserver.soap_provider import SoapProvider
from postroad.securityserver.spool import log_limit
from postroad.securityserver.transport import (
    HASH_ALGORITHM_HEADER,
    MESSAGE_TYPE_HEADER,
    REST_MESSAGE_TYPE,
    ReceivedMessage,
    attached_bytes,
    message_parts,
    receive_message,
)

if TYPE_CHECKING:
    from postroad.adapters.http_exchange import Request, Responder
    from postroad.identifiers import ClientId
    from postroad.securityserver.consumer_exchange import Message
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.outgoing import ServiceCaller
    from postroad.securityserver.provider_exchange import ProviderExchange
    from postroad.securityserver.snapshots import Snapshot

_JUDGED_ANEW_AFTER: Final = timedelta(seconds=60)
"""How long a message may take to arrive until its first judgement is made again."""
_MAX_DRAINED: Final = 64 * 1024 * 1024
"""Bytes of a refused request that are read away, so that its sender gets to see the fault."""
_DRAIN_SECONDS: Final = 10.0
"""How long that may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProxy(MessageProxy):
    """What the provider's side needs from outside."""

    side = Side.SERVER

    services: ServiceCaller
    verdicts: PeerVerdicts
    builtin: BuiltinServices = field(default_factory=BuiltinServices)


async def serve_peer(
    proxy: ServerProxy, request: Request, responder: Responder, report: ExchangeReport
) -> None:
    """Carry one message of another security server to its service and answer it.

    A fault of a service is passed on as it came. Other errors are told as SOAP faults, for REST
    too: as the whole answer, or in place of what is still missing of an answer that has begun
    (PR-MESSTRANSP 2.1.3).
    """
    answer = PeerAnswer(responder)
    with Resources() as resources:
        try:
            await _exchange(proxy, request, answer, report, resources)
            report.status = 200
        except PostroadError as error:
            fault = fault_of(
                error, side_prefix=PROVIDER_SIDE, detail_id=proxy.new_id(), dialect=proxy.dialect
            )
            report.fault, report.message, report.detail_id = fault.code, fault.string, fault.detail
            report.facts.fault_string = fault.string
            cause = error.__cause__
            if isinstance(cause, PostroadError) and cause.message not in fault.string:
                report.message = f"{fault.string} ({cause.message})"
            report.status = 200
            await _drain(request)
            xml = error.xml if isinstance(error, RemoteFault) else b""
            await answer.refuse(xml or encode_soap_fault(fault))


async def _exchange(
    proxy: ServerProxy,
    request: Request,
    answer: PeerAnswer,
    report: ExchangeReport,
    resources: Resources,
) -> None:
    """The provider's side of one exchange.

    PR-MESSTRANSP 3.3:

     1. the HTTP request is one of the transport protocol
     2. the global configuration is valid
     3. the message arrives as a whole; as soon as it names client and service:
        a. the server that sent it shows a good authentication certificate, of a server that
           hosts the client
        b. the provider is registered here, the service exists and is of the message's kind
        c. the client may call it, with this method and path, and it isn't disabled
        d. all this still holds when the last byte is there, however long that took
     4. the client's member signed exactly what arrived
     5. the request is logged durably
     6. the service is called, and its answer sent on while its digest is computed
     7. the answer is signed
     8. it is logged durably, and only then its signature is sent
    """
    check_client_version(
        request.header("x-proxy-version"), proxy.settings.server_proxy.min_supported_client_version
    )
    provider = _provider_exchange(proxy, request)  # (1)
    first, began = proxy.snapshot(), proxy.clock.now()
    first.globalconf.ensure_valid(began)  # (2)
    judged: list[tuple[Message, Call]] = []

    async def on_message(received: ReceivedMessage) -> None:
        message = provider.read(received)
        note_request(report, message)
        report.trace.step("authorise")
        judged.append((message, _judge(proxy, first, request, received, provider, message, report)))
        proxy.flood.admit(message.client)
        report.trace.step("receive")

    decoder = TransportDecoder(
        request.header("content-type") or "",
        direction=Direction.REQUEST,
        missing=FaultCode.MISSING_SOAP if provider.is_soap else FaultCode.MISSING_REST,
    )
    received = await receive_message(  # (3)
        request.body,
        decoder,
        spool=proxy.spool,
        resources=resources,
        soap=provider.is_soap,
        guard=provider.guard,
        blame=provider.blame,
        on_message=on_message,
    )
    (message, call), snapshot, at = judged[0], proxy.snapshot(), proxy.clock.now()
    if snapshot is not first or at - began > _JUDGED_ANEW_AFTER:  # (3d)
        snapshot.globalconf.ensure_valid(at)
        call = _judge(proxy, snapshot, request, received, provider, message, report)
    report.request_bytes = received.size
    report.facts.note_request(received.block, received.attachments)
    report.trace.step("verify")
    verified = proxy.verify_signature(snapshot, received, signer=message.client)  # (4)
    report.warnings = verified.warnings
    signature = MessageSignature(
        received.signature, received.hash_chain_result, received.hash_chain
    )
    report.trace.step("log")
    await proxy.log_message(  # (5)
        message, LogDirection.REQUEST, received.block, received.attachments, signature
    )
    report.trace.step("call")
    block, attachments = await provider.answer(call, received, answer, report, resources)  # (6)
    report.trace.answered()
    report.response_bytes = attached_bytes(attachments)
    report.facts.note_response(block, attachments)
    report.trace.step("sign")
    signature = await proxy.signer.sign(  # (7)
        message.service.client.member, message_parts(block, attachments)
    )
    report.trace.step("log")
    await proxy.log_message(message, LogDirection.RESPONSE, block, attachments, signature)  # (8)
    report.trace.step("answer")
    await answer.finish(signature)


def _provider_exchange(proxy: ServerProxy, request: Request) -> ProviderExchange:
    """Step 1: what the HTTP head says; without a word on its kind a message is SOAP."""
    _check_http(request)
    kept = log_limit(proxy.settings.message_log)
    match request.header(MESSAGE_TYPE_HEADER):
        case value if value == REST_MESSAGE_TYPE:
            return RestProvider(
                services=proxy.services, builtin=proxy.builtin.rest, spool=proxy.spool, kept=kept
            )
        case None:
            return SoapProvider(
                request,
                services=proxy.services,
                builtin=proxy.builtin,
                spool=proxy.spool,
                kept=kept,
                server_id=lambda: proxy.snapshot().serverconf.server_id,
            )
        case other:
            raise MalformedInput(
                f"messages of the kind {other[:20]!r} are unknown", code=FaultCode.INVALID_MESSAGE
            )


def _check_http(request: Request) -> None:
    if request.method != "POST":
        raise RefusedRequest(
            f"{request.method} is not a method of the transport protocol",
            code=FaultCode.INVALID_HTTP_METHOD,
        )
    name = request.header(HASH_ALGORITHM_HEADER)
    if name is None or DigestAlgorithm.by_name(name) is not DigestAlgorithm.SHA512:
        raise MalformedInput(
            f"{HASH_ALGORITHM_HEADER} must be SHA-512, not {name!r}", code=FaultCode.INTERNAL_ERROR
        )


def _judge(  # noqa: PLR0917 - the evidence, and where its verdict is noted
    proxy: ServerProxy,
    snapshot: Snapshot,
    request: Request,
    received: ReceivedMessage,
    provider: ProviderExchange,
    message: Message,
    report: ExchangeReport,
) -> Call:
    """Steps 3a to 3c."""
    _verify_sender(proxy, snapshot, request, received, message.client, report)
    return _decide_call(snapshot, provider, message)


def _verify_sender(  # noqa: PLR0917 - the evidence, and where its verdict is noted
    proxy: ServerProxy,
    snapshot: Snapshot,
    request: Request,
    received: ReceivedMessage,
    client: ClientId,
    report: ExchangeReport,
) -> None:
    """Step 3a; raises ``TrustError`` (``ssl_authentication_failed``)."""
    peer = proxy.verdicts.verify(
        certificates_of(request.peer.chain),
        received.ocsp_responses,
        client=client,
        globalconf=snapshot.globalconf,
        at=proxy.clock.now(),
    )
    report.peer_server = str(peer.server_id or "")


def _decide_call(snapshot: Snapshot, exchange: ProviderExchange, message: Message) -> Call:
    """Steps 3b and 3c, in the order in which the reference refuses."""
    service_id = message.service
    provider = snapshot.serverconf.client(service_id.client)
    if provider is None or not provider.is_registered:
        raise RefusedRequest(
            f"{service_id.client} is not registered at this security server",
            code=FaultCode.UNKNOWN_MEMBER,
            prefix=(FaultCode.SERVICE_FAILED.value,),
        )
    if exchange.is_builtin:
        return Call(snapshot, provider, None)
    service = snapshot.serverconf.service(service_id)
    if service is None:
        raise RefusedRequest(f"unknown service: {service_id}", code=FaultCode.UNKNOWN_SERVICE)
    if service.is_rest is exchange.is_soap:
        kind = "REST" if service.is_rest else "SOAP"
        raise RefusedRequest(f"{service_id} is a {kind} service", code=FaultCode.SERVICE_TYPE)
    decision = decide_access(
        message.client,
        service_id,
        *exchange.endpoint,
        provider.rights(service_id.service_code),
        group_membership(snapshot.globalconf, provider),
    )
    if isinstance(decision, Denied):
        raise RefusedRequest(f"request is not allowed: {service_id}", code=FaultCode.ACCESS_DENIED)
    if service.disabled:
        raise RefusedRequest(
            f"service {service_id} is disabled: {service.disabled_notice}",
            code=FaultCode.SERVICE_DISABLED,
        )
    return Call(snapshot, provider, service)


async def _drain(request: Request) -> None:
    """Read the rest of a refused request away, so that its sender gets to see why."""
    read = 0
    with suppress(PostroadError, TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while read < _MAX_DRAINED and (data := await request.body.read_some()):
                read += len(data)
