"""How does a request of our information system get to the provider's server, and its answer back?

The client's side of an exchange, PR-MESSTRANSP 3.2, as one recipe: :func:`_exchange`. The consumer
is answered only when everything the provider's server sent has been verified and logged.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import (
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    UnavailablePeer,
)
from postroad.evidence.verification import verify_message_signature
from postroad.messages.decoder import TransportDecoder
from postroad.messages.encoder import TransportEncoder
from postroad.messages.events import Direction
from postroad.messages.faults import (
    CLIENT_SIDE,
    fault_of,
    parse_soap_fault,
    remote_fault,
    rest_error,
)
from postroad.messages.rest import (
    BODYLESS_STATUSES,
    RestRequest,
    RestResponse,
    build_request,
    check_correlation,
    request_hash,
)
from postroad.securityserver.consumer_authentication import check_consumer
from postroad.securityserver.messagelog.records import Direction as LogDirection
from postroad.securityserver.messagelog.records import Side, build_record
from postroad.securityserver.signing import MessageSignature
from postroad.securityserver.spool import BodyBuffer
from postroad.securityserver.transport import (
    HASH_ALGORITHM_HEADER,
    MESSAGE_TYPE_HEADER,
    PROXY_VERSION,
    REST_MESSAGE_TYPE,
    GatheringWriter,
    ReceivedMessage,
    header_text,
    message_parts,
    new_boundary,
    receive_message,
    signature_parts,
)
from postroad.wire.headers import last_value
from postroad.wire.mime import MediaType

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.clock import Clock
    from postroad.fault_table import Dialect
    from postroad.globalconf.view import ProviderServer
    from postroad.identifiers import ClientId, SecurityServerId, ServiceId
    from postroad.ports import MessageLogPort
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.outgoing import OutgoingExchange, ProviderConnector
    from postroad.securityserver.settings import Settings
    from postroad.securityserver.signing import BatchingSigner
    from postroad.securityserver.snapshots import Snapshot
    from postroad.wire.headers import HeaderList

REST_PREFIX: Final = "/r1/"
_MAX_FAULT: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProxy:
    """What the client's side needs from outside."""

    settings: Settings
    clock: Clock
    snapshot: Callable[[], Snapshot]
    signer: BatchingSigner
    log: MessageLogPort
    connector: ProviderConnector
    judge_provider: Callable[[Snapshot, ClientId, str, tuple[bytes, ...]], Awaitable[str]]
    """Judge a provider's server (host and chain shown) for hosting a provider; returns its name."""
    own_ocsp: Callable[[Snapshot], Sequence[bytes]]
    """OCSP responses for our own authentication certificate."""
    choose_servers: Callable[
        [Snapshot, ServiceId, SecurityServerId | None], Sequence[ProviderServer]
    ]
    new_id: Callable[[], str]
    dialect: Dialect
    internal_certificate: Callable[[], bytes | None]

    @property
    def spool(self) -> Path:
        """Where large bodies wait."""
        return self.settings.spool_path


async def serve_consumer(
    proxy: ClientProxy, request: Request, responder: Responder, report: ExchangeReport
) -> None:
    """Carry one REST request of an information system to its provider and answer it.

    Every error becomes a REST error response, unless the answer has begun: then the connection is
    cut, so that nobody takes a part for the whole.
    """
    with ExitStack() as resources:
        try:
            response, body = await _exchange(proxy, request, report, resources)
            # (13) Only now may the consumer see anything of the answer.
            await _answer(request, responder, response, body)
            report.status = response.status
        except PostroadError as error:
            await refuse_consumer(proxy, request, responder, report, error)


async def _exchange(
    proxy: ClientProxy, request: Request, report: ExchangeReport, resources: ExitStack
) -> tuple[RestResponse, BodyBuffer | None]:
    """The client's side of one exchange; returns the provider's answer, verified and logged.

    PR-MESSTRANSP 3.2:

     1. the request is well-formed
     2. the global configuration is valid
     3. the client is registered at this server
     4. the information system may speak for the client
     5. servers are chosen that host the provider
     6. one of them is connected to, and its authentication certificate found good
     7. OCSP responses, message and body are sent while the body's digest is computed
     8. the message is signed
     9. it is logged durably, and only then its signature is sent
    10. the answer is read as a whole
    11. its signature is verified, and that it answers this request
    12. it is logged durably
    """
    message = _parse_request(proxy, request)  # (1)
    _note_request(report, message)
    snapshot, at = proxy.snapshot(), proxy.clock.now()
    snapshot.globalconf.ensure_valid(at)  # (2)
    check_client(proxy, snapshot, request, message.client)  # (3) (4)
    servers = proxy.choose_servers(snapshot, message.service, message.target_server)  # (5)
    own_ocsp = proxy.own_ocsp(snapshot)

    async def judge(host: str, chain: tuple[bytes, ...]) -> None:
        provider = message.service.client
        report.peer_server = await proxy.judge_provider(snapshot, provider, host, chain)

    block = message.encode()
    encoder = TransportEncoder(new_boundary(), Direction.REQUEST)
    provider = await proxy.connector.open(  # (6)
        servers, judge, _transport_headers(encoder, request, message)
    )
    resources.callback(provider.close)
    body, unsent = await _send_message(  # (7)
        proxy, provider, encoder, request, block, own_ocsp, resources
    )
    report.request_bytes = 0 if body is None else body.size
    signature = await proxy.signer.sign(  # (8)
        message.client.member, message_parts(block, body)
    )
    await _log(proxy, message, LogDirection.REQUEST, block, body, signature)  # (9)
    await provider.finish(unsent + signature_parts(encoder, signature))
    received = await _receive(proxy, provider, resources)  # (10)
    response = _verify(proxy, snapshot, message, body, received)  # (11)
    report.service_status = response.status
    report.response_bytes = 0 if received.body is None else received.body.size
    await _log(  # (12)
        proxy, message, LogDirection.RESPONSE, received.block, received.body, _signature(received)
    )
    return response, received.body


def _parse_request(proxy: ClientProxy, request: Request) -> RestRequest:
    message = build_request(
        request.method,
        request.target,
        request.headers,
        request_id=proxy.new_id(),
        generated_id=f"{proxy.settings.server_id.instance}-{proxy.new_id()}",
    )
    if message.query_id == "":
        raise MalformedInput("X-Road-Id is empty", code=FaultCode.INTERNAL_ERROR)
    return message


def _note_request(report: ExchangeReport, message: RestRequest) -> None:
    report.method = message.method
    report.client = str(message.client)
    report.service = str(message.service)
    report.query_id = message.query_id
    report.request_id = message.request_id


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
    encoder: TransportEncoder, request: Request, message: RestRequest
) -> HeaderList:
    return (
        ("Content-Type", encoder.content_type),
        (HASH_ALGORITHM_HEADER, DigestAlgorithm.SHA512.label),
        ("x-proxy-version", PROXY_VERSION),
        ("x-original-content-type", request.header("content-type") or ""),
        ("x-road-request-id", message.request_id),
        (MESSAGE_TYPE_HEADER, REST_MESSAGE_TYPE),
    )


async def _send_message(  # noqa: PLR0913, PLR0917 - everything that goes into the request
    proxy: ClientProxy,
    provider: OutgoingExchange,
    encoder: TransportEncoder,
    request: Request,
    block: bytes,
    own_ocsp: Sequence[bytes],
    resources: ExitStack,
) -> tuple[BodyBuffer | None, bytes]:
    """Send all but the signature; return the body, if there is one, and what is still unsent."""
    out = GatheringWriter(provider.write)
    head = b"".join(encoder.ocsp(der) for der in own_ocsp)
    wanted = await out.write(head + encoder.rest_request(block))
    body: BodyBuffer | None = None
    # No first byte, no body part: an empty POST has none (PR-REST 4.4).
    while wanted and (data := await request.body.read_some()):
        if body is None:
            body = BodyBuffer(proxy.spool)
            resources.callback(body.close)
            await out.write(encoder.body_start())
        await body.write(data)
        wanted = await out.write(encoder.body_data(data))
    if not wanted:
        await _read_early_fault(proxy, provider, resources)
    if body is not None:
        encoder.body_end()
        await body.finish()
    return body, out.take()


async def _read_early_fault(
    proxy: ClientProxy, provider: OutgoingExchange, resources: ExitStack
) -> None:
    """Raise what the answer says that came before our request was complete: only a fault can."""
    await _receive(proxy, provider, resources)
    raise MalformedInput(
        "the provider's security server answered before it had the whole request",
        code=FaultCode.INVALID_MESSAGE,
        prefix=(FaultCode.SERVICE_FAILED.value,),
    )


async def _log(  # noqa: PLR0913, PLR0917 - the parts of one record
    proxy: ClientProxy,
    message: RestRequest,
    direction: LogDirection,
    block: bytes,
    body: BodyBuffer | None,
    signature: MessageSignature,
) -> None:
    kept = None if body is None else body.log_body(proxy.settings.message_log)
    record = build_record(
        message.client,
        query_id=message.query_id,
        request_id=message.request_id,
        direction=direction,
        side=Side.CLIENT,
        message=block,
        signature=signature.signature,
        created_at=proxy.clock.now(),
        attachments=() if kept is None else (kept,),
        hash_chain_result=signature.hash_chain_result,
        hash_chain=signature.hash_chain,
    )
    await proxy.log.append(record)


async def _receive(
    proxy: ClientProxy, provider: OutgoingExchange, resources: ExitStack
) -> ReceivedMessage:
    """Read the whole answer; a fault in any place is raised as ``RemoteFault``."""
    head = await provider.response()
    if head.status not in {200, 500}:
        raise UnavailablePeer(
            f"the provider's security server answered with HTTP status {head.status}",
            code=FaultCode.HTTP_ERROR,
        )
    try:
        content_type = last_value(head.headers, "content-type") or ""
        if MediaType.parse(content_type).base == "text/xml":
            raise remote_fault(parse_soap_fault(await _read_fault(provider)))
        decoder = TransportDecoder(content_type, direction=Direction.RESPONSE)
        _check_hash_algorithm(head.headers)
        received = await receive_message(provider, decoder, spool=proxy.spool, resources=resources)
        if received.fault is not None:
            raise remote_fault(parse_soap_fault(received.fault))
    except MalformedInput as error:
        if error.code is not FaultCode.MISSING_SIGNATURE:
            error.within(FaultCode.SERVICE_FAILED.value)
        raise
    except UnavailablePeer as error:
        error.code = FaultCode.IO_ERROR
        error.within(FaultCode.SERVICE_FAILED.value)
        raise
    return received


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


def _verify(
    proxy: ClientProxy,
    snapshot: Snapshot,
    message: RestRequest,
    body: BodyBuffer | None,
    received: ReceivedMessage,
) -> RestResponse:
    """Step 11: the provider's member signed exactly this, and it answers exactly our request."""
    response = RestResponse.parse(received.block)
    try:
        verify_message_signature(
            received.document,
            signer=message.service.client,
            parts=received.parts,
            globalconf=snapshot.globalconf,
            at=proxy.clock.now(),
        )
    except PostroadError as error:
        error.within(FaultCode.SIGNATURE_VERIFICATION.value)
        raise
    sent = DigestAlgorithm.SHA512.digest(message.encode())
    check_correlation(message, response, request_hash(sent, None if body is None else body.digest))
    return response


def _signature(received: ReceivedMessage) -> MessageSignature:
    return MessageSignature(received.signature, received.hash_chain_result, received.hash_chain)


async def _answer(
    request: Request, responder: Responder, response: RestResponse, body: BodyBuffer | None
) -> None:
    headers = [(name, header_text(value)) for name, value in response.headers]
    size = 0 if body is None else body.size
    has_none = body is None and (request.method == "HEAD" or response.status in BODYLESS_STATUSES)
    await responder.start(response.status, headers, None if has_none else size)
    if body is not None:
        async for data in body.chunks():
            await responder.write(data)
    await responder.finish()


async def refuse_consumer(
    proxy: ClientProxy,
    request: Request,
    responder: Responder,
    report: ExchangeReport,
    error: Exception,
) -> None:
    """Tell the consumer of an error; if the answer has begun, let the connection be cut."""
    fault = fault_of(
        error, side_prefix=CLIENT_SIDE, detail_id=proxy.new_id(), dialect=proxy.dialect
    )
    report.fault, report.message, report.detail_id = fault.code, fault.string, fault.detail
    if responder.started:
        raise error
    answer = rest_error(fault, request.header_values("accept"))
    report.status = answer.status
    await responder.respond(answer.status, answer.headers, answer.body)
