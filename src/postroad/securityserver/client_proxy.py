"""How does a request of our information system get to the provider's server, and its answer back?

The client's side of an exchange, PR-MESSTRANSP 3.2, as one recipe: :func:`_exchange`. The consumer
is answered only when everything the provider's server sent has been verified and logged.
"""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import (
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    RemoteFault,
    UnavailablePeer,
)
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction
from postroad.messages.faults import CLIENT_SIDE, fault_of, parse_soap_fault, remote_fault
from postroad.securityserver.consumer_authentication import check_consumer
from postroad.securityserver.message_proxy import MessageProxy, note_request
from postroad.securityserver.messagelog.records import Direction as LogDirection
from postroad.securityserver.messagelog.records import Side
from postroad.securityserver.resources import Resources
from postroad.securityserver.rest_consumer import RestConsumer
from postroad.securityserver.signing import MessageSignature
from postroad.securityserver.soap_consumer import SoapConsumer
from postroad.securityserver.spool import log_limit
from postroad.securityserver.transport import (
    HASH_ALGORITHM_HEADER,
    ORIGINAL_TYPE_HEADER,
    PROXY_VERSION,
    GatheringWriter,
    ReceivedMessage,
    attached_bytes,
    message_parts,
    new_boundary,
    receive_message,
    signature_parts,
)
from postroad.wire.headers import last_value
from postroad.wire.mime import MediaType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.globalconf.view import ProviderServer
    from postroad.identifiers import ClientId, SecurityServerId, ServiceId
    from postroad.securityserver.consumer_exchange import ConsumerExchange, Message
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.outgoing import OutgoingExchange, ProviderConnector
    from postroad.securityserver.snapshots import Snapshot
    from postroad.wire.headers import HeaderList

REST_PREFIX: Final = "/r1/"
_MAX_FAULT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProxy(MessageProxy):
    """What the client's side needs from outside."""

    side = Side.CLIENT

    connector: ProviderConnector
    judge_provider: Callable[[Snapshot, ClientId, str, tuple[bytes, ...]], Awaitable[str]]
    """Judge a provider's server (host and chain shown) for hosting a provider; returns its name."""
    own_ocsp: Callable[[Snapshot], Sequence[bytes]]
    """OCSP responses for our own authentication certificate."""
    choose_servers: Callable[
        [Snapshot, ServiceId, SecurityServerId | None], Sequence[ProviderServer]
    ]
    internal_certificate: Callable[[], bytes | None]


async def serve_consumer(
    proxy: ClientProxy, request: Request, responder: Responder, report: ExchangeReport
) -> None:
    """Carry one request of an information system to its provider and answer it.

    Every error becomes an error response of the request's own kind, unless the answer has begun:
    then the connection is cut, so that nobody takes a part for the whole.
    """
    with Resources() as resources:
        consumer = _consumer_exchange(proxy, request, resources)
        try:
            received = await _exchange(proxy, request, consumer, report, resources)
            report.trace.step("answer")
            # (13) Only now may the consumer see anything of the answer.
            if consumer.is_soap:
                report.facts.note_answering()
            await consumer.answer(responder, received)
            report.status = report.service_status
        except PostroadError as error:
            await _refuse(proxy, consumer, responder, report, error)


def _consumer_exchange(
    proxy: ClientProxy, request: Request, resources: Resources
) -> ConsumerExchange:
    """REST by its path; everything else is SOAP, whose path means nothing (PR-MESS 3)."""
    kept = log_limit(proxy.settings.message_log)
    if request.target.startswith(REST_PREFIX):
        return RestConsumer(
            request,
            spool=proxy.spool,
            kept=kept,
            resources=resources,
            new_id=proxy.new_id,
            instance=proxy.settings.server_id.instance,
        )
    return SoapConsumer(
        request, spool=proxy.spool, kept=kept, resources=resources, new_id=proxy.new_id
    )


async def _exchange(
    proxy: ClientProxy,
    request: Request,
    consumer: ConsumerExchange,
    report: ExchangeReport,
    resources: Resources,
) -> ReceivedMessage:
    """The client's side of one exchange; returns the provider's answer, verified and logged.

    PR-MESSTRANSP 3.2:

     1. the request is well-formed
     2. the global configuration is valid
     3. the client is registered at this server
     4. the information system may speak for the client
     5. servers are chosen that host the provider
     6. one of them is connected to, and its authentication certificate found good
     7. OCSP responses, message and body are sent while the body's digest is computed
     8. it is signed, if (2) to (4) still hold when the body's last byte is there
     9. it is logged durably, and only then its signature is sent
    10. the answer is read as a whole
    11. its signature is verified by what is known by then, and that it answers this request
    12. it is logged durably
    """
    message = await consumer.read()  # (1)
    note_request(report, message)
    report.trace.step("authorise")
    snapshot, at = proxy.snapshot(), proxy.clock.now()
    snapshot.globalconf.ensure_valid(at)  # (2)
    check_client(proxy, snapshot, request, message.client)  # (3) (4)
    proxy.flood.admit(message.client)
    servers = proxy.choose_servers(snapshot, message.service, message.target_server)  # (5)
    own_ocsp = proxy.own_ocsp(snapshot)

    async def judge(host: str, chain: tuple[bytes, ...]) -> None:
        provider = message.service.client
        report.peer_server = await proxy.judge_provider(snapshot, provider, host, chain)

    encoder = TransportEncoder(new_boundary(), Direction.REQUEST)
    report.trace.step("connect")
    report.facts.note_asking()
    headers = (*_transport_headers(encoder, request, consumer, message), *report.trace.ask("peer"))
    provider = await proxy.connector.open(servers, judge, headers)  # (6)
    resources.callback(provider.close)
    report.trace.step("send")
    unsent = await _send_message(  # (7)
        proxy, provider, encoder, consumer, own_ocsp, resources, report
    )
    attachments = consumer.attachments
    report.request_bytes = attached_bytes(attachments)
    latest = proxy.snapshot()
    latest.globalconf.ensure_valid(proxy.clock.now())
    check_client(proxy, latest, request, message.client)
    report.trace.step("sign")
    block = message.encode()
    report.facts.note_request(block, attachments)
    signature = await proxy.signer.sign(  # (8)
        message.client.member, message_parts(block, attachments)
    )
    report.trace.step("log")
    await proxy.log_message(message, LogDirection.REQUEST, block, attachments, signature)  # (9)
    report.trace.step("receive")
    await provider.finish(unsent + signature_parts(encoder, signature))
    received = await _receive(proxy, provider, consumer, resources, report)  # (10)
    report.facts.note_response(received.block, received.attachments)
    report.trace.answered()
    report.trace.step("verify")
    proxy.verify_signature(proxy.snapshot(), received, signer=message.service.client)  # (11)
    report.service_status = consumer.check_answer(received)
    report.response_bytes = received.size
    report.trace.step("log")
    await proxy.log_message(  # (12)
        message,
        LogDirection.RESPONSE,
        received.block,
        received.attachments,
        MessageSignature(received.signature, received.hash_chain_result, received.hash_chain),
    )
    return received


def check_client(
    proxy: ClientProxy, snapshot: Snapshot, request: Request, client: ClientId
) -> None:
    """Steps 3 and 4: the client is registered here, and the caller may speak for it.

    Raises ``RefusedRequest`` (``unknown_member``, ``ssl_authentication_failed``).
    """
    known = snapshot.serverconf.client(client)
    if known is None or not known.is_registered:
        raise RefusedRequest(
            f"client {client} is not registered at this security server",
            code=FaultCode.UNKNOWN_MEMBER,
        )
    check_consumer(
        request.peer,
        connection_type=known.connection_type,
        certificates=known.certificates,
        internal_certificate=proxy.internal_certificate(),
        verify_certificate=proxy.settings.client_proxy.verify_client_certificate,
    )


def _transport_headers(
    encoder: TransportEncoder, request: Request, consumer: ConsumerExchange, message: Message
) -> HeaderList:
    return (
        ("Content-Type", encoder.content_type),
        (HASH_ALGORITHM_HEADER, DigestAlgorithm.SHA512.label),
        ("x-proxy-version", PROXY_VERSION),
        (ORIGINAL_TYPE_HEADER, request.header("content-type") or ""),
        ("x-road-request-id", message.request_id),
        *consumer.transport_headers(),
    )


async def _send_message(  # noqa: PLR0917 - everything that goes into the request
    proxy: ClientProxy,
    provider: OutgoingExchange,
    encoder: TransportEncoder,
    consumer: ConsumerExchange,
    own_ocsp: Sequence[bytes],
    resources: Resources,
    report: ExchangeReport,
) -> bytes:
    """Send all but the signature; return what is still unsent."""
    out = GatheringWriter(provider.write)
    head = b"".join(encoder.ocsp(der) for der in own_ocsp)
    wanted = await out.write(head + consumer.message_part(encoder))
    if wanted and not consumer.has_payload:
        return out.take()
    async with aclosing(consumer.payload(encoder)) as pieces:
        while wanted and (piece := await anext(pieces, None)) is not None:
            wanted = await out.write(piece)
    if not wanted:
        await _read_early_fault(proxy, provider, consumer, resources, report)
    return out.take()


async def _read_early_fault(
    proxy: ClientProxy,
    provider: OutgoingExchange,
    consumer: ConsumerExchange,
    resources: Resources,
    report: ExchangeReport,
) -> None:
    """Raise what the answer says that came before our request was complete: only a fault can."""
    await _receive(proxy, provider, consumer, resources, report)
    raise MalformedInput(
        "the provider's security server answered before it had the whole request",
        code=FaultCode.INVALID_MESSAGE,
        prefix=(FaultCode.SERVICE_FAILED.value,),
    )


async def _receive(
    proxy: ClientProxy,
    provider: OutgoingExchange,
    consumer: ConsumerExchange,
    resources: Resources,
    report: ExchangeReport,
) -> ReceivedMessage:
    """Read the whole answer; a fault in any place is raised as ``RemoteFault``."""
    head = await provider.response()
    report.facts.note_answered()
    if head.status not in {200, 500}:
        raise UnavailablePeer(
            f"the provider's security server answered with HTTP status {head.status}",
            code=FaultCode.HTTP_ERROR,
        )
    try:
        content_type = last_value(head.headers, "content-type") or ""
        # What is a multipart is for the decoder to judge; the boundary makes each type a new one.
        is_multipart = content_type.startswith("multipart/")
        if not is_multipart and MediaType.parse(content_type).base == "text/xml":
            xml = await _read_fault(provider)
            raise remote_fault(parse_soap_fault(xml), xml)
        decoder = TransportDecoder(
            content_type, direction=Direction.RESPONSE, missing=_missing_code(consumer)
        )
        _check_hash_algorithm(head.headers)
        received = await receive_message(
            provider,
            decoder,
            spool=proxy.spool,
            resources=resources,
            soap=consumer.is_soap,
            guard=consumer.expect(head.headers),
        )
        if received.fault is not None:
            raise remote_fault(parse_soap_fault(received.fault), received.fault)
    except MalformedInput as error:
        if error.code is not FaultCode.MISSING_SIGNATURE:
            error.within(FaultCode.SERVICE_FAILED.value)
        raise
    except UnavailablePeer as error:
        error.code = FaultCode.IO_ERROR
        error.within(FaultCode.SERVICE_FAILED.value)
        raise
    return received


def _missing_code(consumer: ConsumerExchange) -> FaultCode:
    return FaultCode.MISSING_SOAP if consumer.is_soap else FaultCode.MISSING_REST


async def _read_fault(provider: OutgoingExchange) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while data := await provider.read_some():
        size += len(data)
        if size > _MAX_FAULT:
            raise MalformedInput("the fault is too large", code=FaultCode.INVALID_MESSAGE)
        pieces.append(data)
    return b"".join(pieces)


def _check_hash_algorithm(headers: HeaderList) -> None:
    name = last_value(headers, HASH_ALGORITHM_HEADER)
    if name is None or DigestAlgorithm.by_name(name) is not DigestAlgorithm.SHA512:
        raise MalformedInput(
            f"the answer's parts are hashed with {name!r}, not with SHA-512",
            code=FaultCode.INVALID_MESSAGE,
        )


async def refuse_consumer(
    proxy: ClientProxy,
    request: Request,
    responder: Responder,
    report: ExchangeReport,
    error: Exception,
) -> None:
    """Tell the consumer of an error; if the answer has begun, let the connection be cut."""
    with Resources() as resources:
        consumer = _consumer_exchange(proxy, request, resources)
        await _refuse(proxy, consumer, responder, report, error)


async def _refuse(
    proxy: ClientProxy,
    consumer: ConsumerExchange,
    responder: Responder,
    report: ExchangeReport,
    error: Exception,
) -> None:
    fault = fault_of(
        error, side_prefix=CLIENT_SIDE, detail_id=proxy.new_id(), dialect=proxy.dialect
    )
    report.fault, report.message, report.detail_id = fault.code, fault.string, fault.detail
    if responder.started:
        raise error
    xml = error.xml if isinstance(error, RemoteFault) else b""
    report.status = await consumer.refuse(responder, fault, xml)
