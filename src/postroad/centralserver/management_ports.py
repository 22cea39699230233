"""How do management requests reach the Central Server: the two TLS ports and their limits?

4001 is for every server that registers, 4002 for the one that hosts the management services
(reference: nginx in front of the registration and management services).
"""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from postroad.adapters.http_server import HttpServer, ServerLimits
from postroad.adapters.tls import load_certificate_chain, management_service_context
from postroad.centralserver.management_service import Answer, ManagementService, fault_answer
from postroad.centralserver.rate_limit import RateLimit
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, PostroadError
from postroad.management.envelope import MAX_BODY
from postroad.wire.mime import MediaType

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.settings import Settings

    Answering = Callable[[str, bytes, str], Answer]

REGISTRATION_PATHS: Final = frozenset({"/managementservice", "/managementservice/"})
MANAGEMENT_PATHS: Final = frozenset({"/managementservice/manage", "/managementservice/manage/"})
_MULTIPART: Final = "multipart/related"
_PLAIN: Final = "text/xml"
_LIMITS: Final = ServerLimits(
    max_connections=200, max_head=16 * 1024, max_headers=50, max_pipelined=1, body_timeout=20.0
)
_BODY_SECONDS: Final = 30.0
_CONCURRENT: Final = 4
_DRAIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ManagementPorts:
    """The ports that are open; None for one that isn't enabled."""

    registration: int | None = None
    management: int | None = None


class CertificateSwitch:
    """The TLS contexts of the open ports, which show one certificate: it can change under way."""

    def __init__(self) -> None:
        self._contexts: list[ssl.SSLContext] = []
        self.turn = threading.Lock()
        """Held by whoever changes the certificate."""

    def watch(self, context: ssl.SSLContext) -> None:
        """Take a port's context in."""
        self._contexts.append(context)

    def show(self, key_pem: bytes, chain_pem: bytes) -> None:
        """Let new connections see another certificate."""
        for context in self._contexts:
            load_certificate_chain(context, key_pem, chain_pem)


class Endpoint:
    """One port: who may send what to which path, how much and how often."""

    def __init__(
        self,
        answering: Answering,
        *,
        paths: frozenset[str],
        types: frozenset[str],
        limit: RateLimit,
        clients: frozenset[bytes] = frozenset(),
    ) -> None:
        self._answering = answering
        self._paths = paths
        self._types = types
        self._limit = limit
        self._clients = clients
        self._working = asyncio.Semaphore(_CONCURRENT)

    async def handle(self, request: Request, responder: Responder) -> None:
        """Answer one HTTP request."""
        trace_id = str(uuid.uuid4())
        refused = self._refusal(request)
        if refused is not None:
            responder.keep_alive = False
            await responder.respond(refused, (("Cache-Control", "no-store"),))
            return
        try:
            content_type = self._content_type(request)
        except PostroadError as error:
            answer = fault_answer(error, trace_id, status=415)
        else:
            answer = await self._answer(request, content_type, trace_id)
        await responder.respond(answer.status, answer.headers, answer.body)

    def _refusal(self, request: Request) -> int | None:
        """The status of what isn't even read."""
        if self._clients and request.peer.certificate not in self._clients:
            return 403
        if request.target not in self._paths:
            return 404
        if request.method != "POST":
            return 405
        if not self._limit.admit(request.peer.address, time.monotonic()):
            return 429
        return None

    def _content_type(self, request: Request) -> str:
        """The one content type; two would let two readers see two messages."""
        values = request.header_values("content-type")
        if len(values) != 1 or request.header("content-encoding") is not None:
            raise MalformedInput(
                "a management request has one content type and no content encoding",
                code=FaultCode.INVALID_CONTENT_TYPE,
            )
        base = MediaType.parse(values[0]).base
        if base not in self._types:
            raise MalformedInput(
                f"a management request is not {base}", code=FaultCode.INVALID_CONTENT_TYPE
            )
        return values[0]

    async def _answer(self, request: Request, content_type: str, trace_id: str) -> Answer:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await request.body.read_all(MAX_BODY)
        except MalformedInput as error:
            told = MalformedInput(error.message, code=FaultCode.INVALID_REQUEST)
            return fault_answer(told, trace_id, status=413)
        except TimeoutError:
            slow = MalformedInput("the request came too slowly", code=FaultCode.INVALID_REQUEST)
            return fault_answer(slow, trace_id, status=408)
        async with self._working:
            return await asyncio.to_thread(self._answering, content_type, body, trace_id)


@asynccontextmanager
async def open_management_ports(
    node: CentralServerNode, certificates: CertificateSwitch | None = None
) -> AsyncIterator[ManagementPorts]:
    """Serve management requests on the enabled ports for as long as the block lasts.

    Their TLS contexts are handed to ``certificates``.
    Raises ``ConfigurationError`` when a port or the TLS certificate can't be used.
    """
    registration, management = node.settings.registration_service, node.settings.management_service
    service = ManagementService(node)
    certificates = certificates or CertificateSwitch()
    async with AsyncExitStack() as opened:
        registration_port = management_port = None
        if registration.enabled:
            endpoint = Endpoint(
                service.answer_registration,
                paths=REGISTRATION_PATHS,
                types=frozenset({_MULTIPART}),
                limit=RateLimit(registration.requests_per_minute),
            )
            context = _context(node, frozenset())
            certificates.watch(context)
            registration_port = await _listen(
                opened, endpoint, registration.host, registration.port, context
            )
        if management.enabled:
            clients = _client_certificates(management.client_certificate_file)
            endpoint = Endpoint(
                service.answer_management,
                paths=MANAGEMENT_PATHS,
                types=frozenset({_MULTIPART, _PLAIN}),
                limit=RateLimit(management.requests_per_minute),
                clients=clients,
            )
            context = _context(node, clients)
            certificates.watch(context)
            management_port = await _listen(
                opened, endpoint, management.host, management.port, context
            )
        yield ManagementPorts(registration_port, management_port)


async def _listen(
    opened: AsyncExitStack, endpoint: Endpoint, host: str, port: int, context: ssl.SSLContext
) -> int:
    server = HttpServer(endpoint.handle, _LIMITS)
    opened.push_async_callback(server.drain, _DRAIN_SECONDS)
    try:
        listener = await server.listen(host, port, tls=context, reuse_port=False)
    except OSError as error:
        raise ConfigurationError(
            f"can't listen on {host} port {port}: {error.strerror or error}"
        ) from error
    return listener.port


def _context(node: CentralServerNode, clients: frozenset[bytes]) -> ssl.SSLContext:
    settings = node.settings
    try:
        key = settings.management_key_path.read_bytes()
        chain = settings.management_certificate_path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"the certificate of the management service can't be read: {error}; "
            "`postroad central init` makes one"
        ) from error
    return management_service_context(key, chain, clients)


def _client_certificates(path: str) -> frozenset[bytes]:
    if not path:
        return frozenset()
    try:
        return frozenset({Certificate.from_pem_or_der(Path(path).read_bytes()).der})
    except (OSError, MalformedInput) as error:
        raise ConfigurationError(
            f"client_certificate_file {path} can't be used: {error}"
        ) from error


def services_url(settings: Settings, address: str) -> str:
    """Where the management services are, on a node with that address (its port is another one's).

    >>> from postroad.centralserver.settings import Settings
    >>> services_url(Settings(), "cs.example:8080")
    'https://cs.example:4002/managementservice/manage/'
    """
    host = urlsplit(f"//{address}").hostname or address
    host = f"[{host}]" if ":" in host else host
    return f"https://{host}:{settings.management_service.port}/managementservice/manage/"
