"""How does a request of another security server get to our service, and the answer back?

The provider's side of an exchange, PR-MESSTRANSP 3.3, as one recipe: :func:`_exchange`. The service
sees nothing that isn't verified, allowed and logged.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from postroad.authorization.rights import Denied, decide_access
from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import (
    ConfigurationError,
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
)
from postroad.evidence.verification import verify_message_signature
from postroad.identifiers import GlobalGroupId, LocalGroupId
from postroad.messages.decoder import TransportDecoder
from postroad.messages.events import Direction
from postroad.messages.faults import PROVIDER_SIDE, encode_soap_fault, fault_of
from postroad.messages.rest import (
    BODYLESS_STATUSES,
    FORWARDED_BODY_METHODS,
    RestRequest,
    RestResponse,
    build_response,
    request_hash,
)
from postroad.securityserver.messagelog.records import Direction as LogDirection
from postroad.securityserver.messagelog.records import Side, build_record
from postroad.securityserver.peer_answer import PeerAnswer
from postroad.securityserver.peer_certificates import PeerVerdicts, certificates_of
from postroad.securityserver.signing import MessageSignature
from postroad.securityserver.spool import BodyBuffer
from postroad.securityserver.transport import (
    HASH_ALGORITHM_HEADER,
    MESSAGE_TYPE_HEADER,
    REST_MESSAGE_TYPE,
    ReceivedMessage,
    header_text,
    message_parts,
    receive_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.authorization.rights import Group
    from postroad.clock import Clock
    from postroad.fault_table import Dialect
    from postroad.identifiers import ClientId
    from postroad.ports import MessageLogPort
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.outgoing import OutgoingExchange, ServiceCaller
    from postroad.securityserver.serverconf.snapshot import ClientView, ServiceEntry
    from postroad.securityserver.settings import Settings
    from postroad.securityserver.signing import BatchingSigner
    from postroad.securityserver.snapshots import Snapshot
    from postroad.wire.headers import HeaderList

_MAX_DRAINED: Final = 64 * 1024 * 1024
"""Bytes of a refused request that are read away, so that its sender gets to see the fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltinAnswer:
    """What a service of the server itself answers, such as the list of methods."""

    status: int
    headers: HeaderList
    body: bytes


class BuiltinServices(Protocol):
    """The services that the server itself offers to everybody (PR-MREST)."""

    def answer(self, snapshot: Snapshot, message: RestRequest) -> BuiltinAnswer | None:
        """The answer, or None if the message is for an ordinary service. Never does any I/O."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerProxy:
    """What the provider's side needs from outside."""

    settings: Settings
    clock: Clock
    snapshot: Callable[[], Snapshot]
    signer: BatchingSigner
    log: MessageLogPort
    services: ServiceCaller
    verdicts: PeerVerdicts
    new_id: Callable[[], str]
    dialect: Dialect
    builtin: BuiltinServices | None = None

    @property
    def spool(self) -> Path:
        """Where large bodies wait."""
        return self.settings.spool_path


@dataclass(slots=True)
class _Call:
    """What is known of one exchange before its body has arrived: who calls what."""

    message: RestRequest
    provider: ClientView
    service: ServiceEntry | None
    builtin: BuiltinAnswer | None


async def serve_peer(
    proxy: ServerProxy, request: Request, responder: Responder, report: ExchangeReport
) -> None:
    """Carry one message of another security server to its service and answer it.

    Errors are told as SOAP faults, for REST too: as the whole answer, or in place of what is still
    missing of an answer that has begun (PR-MESSTRANSP 2.1.3).
    """
    answer = PeerAnswer(responder)
    with ExitStack() as resources:
        try:
            await _exchange(proxy, request, answer, report, resources)
            report.status = 200
        except PostroadError as error:
            fault = fault_of(
                error, side_prefix=PROVIDER_SIDE, detail_id=proxy.new_id(), dialect=proxy.dialect
            )
            report.fault, report.message, report.detail_id = fault.code, fault.string, fault.detail
            report.status = 200
            await _drain(request)
            await answer.refuse(encode_soap_fault(fault))


async def _exchange(
    proxy: ServerProxy,
    request: Request,
    answer: PeerAnswer,
    report: ExchangeReport,
    resources: ExitStack,
) -> None:
    """The provider's side of one exchange.

    PR-MESSTRANSP 3.3:

     1. the HTTP request is one of the transport protocol
     2. the global configuration is valid
     3. the message arrives as a whole; as soon as it names client and service:
        a. the server that sent it shows a good authentication certificate, of a server that
           hosts the client
        b. the provider is registered here, the service exists and is of the REST kind
        c. the client may call it, with this method and path, and it isn't disabled
     4. the client's member signed exactly what arrived
     5. the request is logged durably
     6. the service is called, and its answer sent on while its digest is computed
     7. the answer is signed
     8. it is logged durably, and only then its signature is sent
    """
    content_type = _check_http(request)  # (1)
    snapshot = proxy.snapshot()
    snapshot.globalconf.ensure_valid(proxy.clock.now())  # (2)
    calls: list[_Call] = []

    async def on_message(received: ReceivedMessage) -> None:
        message = RestRequest.parse(received.block)
        _note_request(report, message)
        _verify_sender(proxy, snapshot, request, received, message.client, report)  # (3a)
        calls.append(_decide_call(proxy, snapshot, message))  # (3b) (3c)

    decoder = TransportDecoder(content_type, direction=Direction.REQUEST)
    received = await receive_message(  # (3)
        request.body, decoder, spool=proxy.spool, resources=resources, on_message=on_message
    )
    call = calls[0]
    report.request_bytes = 0 if received.body is None else received.body.size
    _verify_signature(proxy, snapshot, call.message, received, report)  # (4)
    signature = MessageSignature(
        received.signature, received.hash_chain_result, received.hash_chain
    )
    await _log(  # (5)
        proxy, call.message, LogDirection.REQUEST, received.block, received.body, signature
    )
    response, body = await _answer_call(proxy, call, received, answer, report, resources)  # (6)
    report.response_bytes = 0 if body is None else body.size
    block = response.encode()
    signature = await proxy.signer.sign(  # (7)
        call.message.service.client.member, message_parts(block, body)
    )
    await _log(proxy, call.message, LogDirection.RESPONSE, block, body, signature)  # (8)
    await answer.finish(signature)


def _check_http(request: Request) -> str:
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
    if request.header(MESSAGE_TYPE_HEADER) != REST_MESSAGE_TYPE:
        raise RefusedRequest(
            "this security server carries REST messages only", code=FaultCode.SERVICE_TYPE
        )
    return request.header("content-type") or ""


def _note_request(report: ExchangeReport, message: RestRequest) -> None:
    report.method = message.method
    report.client = str(message.client)
    report.service = str(message.service)
    report.query_id = message.query_id
    report.request_id = message.request_id


def _verify_sender(  # noqa: PLR0913, PLR0917 - the evidence, and where its verdict is noted
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


def _decide_call(proxy: ServerProxy, snapshot: Snapshot, message: RestRequest) -> _Call:
    """Steps 3b and 3c, in the order in which the reference refuses."""
    service_id = message.service
    provider = snapshot.serverconf.client(service_id.client)
    if provider is None or not provider.is_registered:
        raise RefusedRequest(
            f"{service_id.client} is not registered at this security server",
            code=FaultCode.UNKNOWN_MEMBER,
            prefix=(FaultCode.SERVICE_FAILED.value,),
        )
    builtin = None if proxy.builtin is None else proxy.builtin.answer(snapshot, message)
    if builtin is not None:
        return _Call(message, provider, None, builtin)
    service = snapshot.serverconf.service(service_id)
    if service is None:
        raise RefusedRequest(f"unknown service: {service_id}", code=FaultCode.UNKNOWN_SERVICE)
    if not service.is_rest:
        raise RefusedRequest(f"{service_id} is a SOAP service", code=FaultCode.SERVICE_TYPE)

    def is_in_group(client: ClientId, group: Group) -> bool:
        match group:
            case GlobalGroupId():
                return snapshot.globalconf.is_in_global_group(client, group)
            case LocalGroupId():
                return provider.is_in_local_group(client, group)

    decision = decide_access(
        message.client,
        service_id,
        message.method,
        message.service_path,
        provider.rights(service_id.service_code),
        is_in_group,
    )
    if isinstance(decision, Denied):
        raise RefusedRequest(f"request is not allowed: {service_id}", code=FaultCode.ACCESS_DENIED)
    if service.disabled:
        raise RefusedRequest(
            f"service {service_id} is disabled: {service.disabled_notice}",
            code=FaultCode.SERVICE_DISABLED,
        )
    return _Call(message, provider, service, None)


def _verify_signature(
    proxy: ServerProxy,
    snapshot: Snapshot,
    message: RestRequest,
    received: ReceivedMessage,
    report: ExchangeReport,
) -> None:
    try:
        verified = verify_message_signature(
            received.document,
            signer=message.client,
            parts=received.parts,
            globalconf=snapshot.globalconf,
            at=proxy.clock.now(),
        )
    except PostroadError as error:
        error.within(FaultCode.SIGNATURE_VERIFICATION.value)
        raise
    report.warnings = verified.warnings


async def _log(  # noqa: PLR0913, PLR0917 - the parts of one record
    proxy: ServerProxy,
    message: RestRequest,
    direction: LogDirection,
    block: bytes,
    body: BodyBuffer | None,
    signature: MessageSignature,
) -> None:
    kept = None if body is None else body.log_body(proxy.settings.message_log)
    record = build_record(
        message.service.client,
        query_id=message.query_id,
        request_id=message.request_id or None,
        direction=direction,
        side=Side.SERVER,
        message=block,
        signature=signature.signature,
        created_at=proxy.clock.now(),
        attachments=() if kept is None else (kept,),
        hash_chain_result=signature.hash_chain_result,
        hash_chain=signature.hash_chain,
    )
    await proxy.log.append(record)


async def _answer_call(  # noqa: PLR0913, PLR0917 - the call and everything its answer needs
    proxy: ServerProxy,
    call: _Call,
    received: ReceivedMessage,
    answer: PeerAnswer,
    report: ExchangeReport,
    resources: ExitStack,
) -> tuple[RestResponse, BodyBuffer | None]:
    """Step 6: call the service, and pass its answer on as far as it goes without a signature."""
    body_digest = None if received.body is None else received.body.digest
    asked = request_hash(DigestAlgorithm.SHA512.digest(received.block), body_digest)
    if call.builtin is not None:
        return await _answer_builtin(proxy, call.message, call.builtin, asked, answer, resources)
    if call.service is None:
        raise ConfigurationError("a call without a service")
    try:
        exchange = await _call_service(proxy, call, call.service, received, resources)
        head = await exchange.response()
        report.service_status = head.status
        response = build_response(
            head.status, head.reason, head.headers, request=call.message, request_hash=asked
        )
        await answer.start(response)
        if call.message.method == "HEAD" or head.status in BODYLESS_STATUSES:
            return response, None
        body = BodyBuffer(proxy.spool)
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
    return response, body


async def _call_service(
    proxy: ServerProxy,
    call: _Call,
    service: ServiceEntry,
    received: ReceivedMessage,
    resources: ExitStack,
) -> OutgoingExchange:
    """Send the request exactly as it was judged: same method, same raw path, same headers."""
    message, body = call.message, received.body
    if body is not None and message.method not in FORWARDED_BODY_METHODS:
        body = None  # signed and logged, but not for the service (PR-REST 4.2)
    exchange = await proxy.services.open(
        message.method,
        service_url(service.url, message),
        tuple((name, header_text(value)) for name, value in message.headers),
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


def service_url(base: str, message: RestRequest) -> str:
    """The address that is called: the service's, then the raw path and query of the request.

    The path is appended byte for byte; only a slash that would stand twice at the joint goes.
    """
    if not base:
        raise ConfigurationError("the service has no address", code=FaultCode.SERVICE_MISSING_URL)
    path = message.service_path
    url = (base.removesuffix("/") if path else base) + path
    return url if message.query is None else f"{url}?{message.query}"


async def _answer_builtin(  # noqa: PLR0913, PLR0917 - the answer and everything it needs
    proxy: ServerProxy,
    message: RestRequest,
    builtin: BuiltinAnswer,
    asked: bytes,
    answer: PeerAnswer,
    resources: ExitStack,
) -> tuple[RestResponse, BodyBuffer | None]:
    response = build_response(
        builtin.status, "OK", builtin.headers, request=message, request_hash=asked
    )
    body = BodyBuffer(proxy.spool)
    resources.callback(body.close)
    await answer.start(response)
    await answer.start_body()
    await body.write(builtin.body)
    await answer.body_data(builtin.body)
    await answer.end_body()
    await body.finish()
    return response, body


async def _drain(request: Request) -> None:
    """Read the rest of a refused request away, so that its sender gets to see why."""
    read = 0
    with suppress(PostroadError):
        while read < _MAX_DRAINED and (data := await request.body.read_some()):
            read += len(data)
