"""The HTTP/1.1 client: pooled connections, streamed bodies, peers judged before a byte is sent.

No redirects, no proxies from the environment, no cookies, no decompression unless asked for. The
target of a request is sent byte for byte as given. Where to connect (``address``), what the Host
header says, and which name TLS uses are three separate things, as the transport protocol needs
(PR-MESSTRANSP 2: several candidate servers, a Host that means nothing, no SNI).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_client_connection import ClientConnection
from postroad.adapters.http_client_exchange import ClientExchange, ResponseHead
from postroad.adapters.http_deadlines import Deadlines
from postroad.adapters.http_decoding import decode_content
from postroad.adapters.http_dialing import ClientTls, Destination, attach, dial
from postroad.adapters.http_head import Url, encode_request_head, has_header
from postroad.adapters.http_limits import RECEIVE_BUFFER, ClientLimits
from postroad.adapters.tls import web_client_context
from postroad.adapters.tls_peers import PeerChains, ResumingContext
from postroad.errors import UnavailablePeer
from postroad.ports import FetchedResponse

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.adapters.http_dialing import Guard

    VerifyPeer = Callable[[bytes, tuple[bytes, ...]], Awaitable[None]]
    """Judges the server's certificate and chain (DER); raises ``TrustError`` to refuse it."""

__all__ = [
    "ClientConnection",
    "ClientExchange",
    "ClientLimits",
    "ClientTls",
    "FetchedResponse",
    "HttpClient",
    "ResponseHead",
]

_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_REPEATABLE: Final = frozenset({"GET", "HEAD"})


class HttpClient:
    """Sends HTTP requests over connections that it keeps for the next one.

    One per process and event loop. ``fetch`` is for small exchanges, ``open`` streams both ways,
    ``connect`` and ``exchange`` are for callers that choose the connection themselves.
    """

    def __init__(self, limits: ClientLimits | None = None) -> None:
        self.limits = limits or ClientLimits()
        self.incoming = memoryview(bytearray(RECEIVE_BUFFER))
        self._idle: dict[Destination, list[ClientConnection]] = {}
        self._open: set[ClientConnection] = set()
        self._sessions: dict[Destination, ResumingContext] = {}
        self._chains = PeerChains()
        self._deadlines = Deadlines()
        self._web: dict[str, ClientTls] = {}

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,  # noqa: ASYNC109 - the deadline covers the whole exchange
        tls: ClientTls | None = None,
        max_body: int = 16 * 1024 * 1024,
        address: tuple[str, int] | None = None,
        verify_peer: VerifyPeer | None = None,
        guard: Guard | None = None,
        decompress: bool = False,
    ) -> FetchedResponse:
        """Send one request and return the whole response.

        GET and HEAD are repeated once if a reused connection broke before the answer. Raises
        ``UnavailablePeer`` when there is no answer in time, ``TrustError`` when TLS or
        ``verify_peer`` refuses the server, ``MalformedInput`` when the answer isn't HTTP or is
        larger than ``max_body`` (after decompression).
        """
        try:
            async with asyncio.timeout(timeout):
                while True:
                    exchange = await self.open(
                        method,
                        url,
                        headers=headers,
                        content_length=len(body),
                        tls=tls,
                        address=address,
                        verify_peer=verify_peer,
                        guard=guard,
                        response_timeout=timeout,
                    )
                    try:
                        return await _whole(exchange, body, max_body, decompress=decompress)
                    except UnavailablePeer:
                        if not exchange.reused or exchange.responded or method not in _REPEATABLE:
                            raise
        except TimeoutError as error:
            raise UnavailablePeer(f"{url} gave no answer within {timeout} s") from error

    async def open(
        self,
        method: str,
        url: str | Url,
        *,
        headers: Sequence[tuple[str, str]] = (),
        content_length: int | None = 0,
        tls: ClientTls | None = None,
        address: tuple[str, int] | None = None,
        verify_peer: VerifyPeer | None = None,
        guard: Guard | None = None,
        response_timeout: float | None = None,
        connect_timeout: float | None = None,
    ) -> ClientExchange:
        """Begin a request; nothing is sent before the first ``write`` or ``finish``.

        ``content_length`` None means chunked. ``address`` is where to connect if not to the host
        of ``url``. An https address without ``tls`` is checked against the system's authorities.
        """
        where = url if isinstance(url, Url) else Url.parse(url)
        if where.scheme == "http":
            tls = None
        elif tls is None:
            tls = self._web_tls(where.host)
        host, port = address or (where.host, where.port)
        connection = None
        while connection is None or connection.lost:
            # a kept connection may be lost while its server is judged; nothing is sent yet
            connection = self.idle(host, port, tls)
            is_new = connection is None
            if connection is None:
                wait = connect_timeout or self.limits.connect_timeout
                sock = await dial(host, port, timeout=wait, guard=guard)
                connection = await self.connect(sock, host, port, tls)
            await self.judge(connection, verify_peer)
            if is_new:
                break
        return self.exchange(
            connection,
            method,
            where.target,
            headers=headers
            if has_header(headers, "host")
            else [("Host", where.authority), *headers],
            content_length=content_length,
            response_timeout=response_timeout,
        )

    # ---- for callers that choose the connection

    def idle(self, host: str, port: int, tls: ClientTls | None) -> ClientConnection | None:
        """Take a live connection to that address out of the pool, if there is one."""
        waiting = self._idle.get((host, port, tls))
        while waiting:
            connection = waiting.pop()
            if not connection.is_stale():
                connection.take()
                return connection
            connection.abort()
        return None

    async def connect(
        self,
        sock: socket.socket,
        host: str,
        port: int,
        tls: ClientTls | None,
        *,
        handshake_timeout: float | None = None,
    ) -> ClientConnection:
        """Make a connected socket one of ours; ``host`` and ``port`` name it in the pool."""
        key = (host, port, tls)
        session = None if tls is None else self._session(key, tls)
        connection = await attach(
            sock,
            lambda: ClientConnection(self, key),
            tls=tls,
            context=session,
            handshake_timeout=handshake_timeout or self.limits.handshake_timeout,
        )
        if session is not None:
            ssl_object = connection.transport.get_extra_info("ssl_object")
            connection.chain = self._chains.of(ssl_object)
            session.keep(ssl_object, asyncio.get_running_loop().time())
        return connection

    async def judge(self, connection: ClientConnection, verify_peer: VerifyPeer | None) -> None:
        """Let the caller judge the server before anything is sent, on a reused connection too.

        A connection whose server is refused is cut, and its TLS session forgotten.
        """
        if verify_peer is None:
            return
        chain = connection.chain
        try:
            await verify_peer(chain[0] if chain else b"", chain)
        except BaseException:
            session = self._sessions.get(connection.key)
            if session is not None:
                session.forget()
            connection.abort()
            raise

    def exchange(
        self,
        connection: ClientConnection,
        method: str,
        target: str,
        *,
        headers: Sequence[tuple[str, str]],
        content_length: int | None = 0,
        response_timeout: float | None = None,
    ) -> ClientExchange:
        """Begin a request on a connection taken from ``idle`` or ``connect``."""
        if content_length is None:
            framing = "transfer-encoding: chunked\r\n"
        elif content_length or method in _WITH_BODY:
            framing = f"content-length: {content_length}\r\n"
        else:
            framing = ""
        try:
            head = encode_request_head(method, target, headers, framing)
        except BaseException:
            connection.abort()
            raise
        wait = self.limits.response_timeout if response_timeout is None else response_timeout
        return ClientExchange(
            connection, method, head, content_length=content_length, response_timeout=wait
        )

    def close(self) -> None:
        """Cut every connection."""
        for connection in tuple(self._open):
            connection.abort()
        self._idle.clear()

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._open)

    # ---- what connections tell

    def opened(self, connection: ClientConnection) -> None:
        """Watch the deadlines of a new connection."""
        self._open.add(connection)
        self._deadlines.add(connection)

    def released(self, connection: ClientConnection) -> None:
        """Take back a connection that can carry another request."""
        waiting = self._idle.setdefault(connection.key, [])
        if len(waiting) >= self.limits.max_idle_per_destination:
            connection.transport.close()
            return
        connection.rest()
        waiting.append(connection)

    def lost(self, connection: ClientConnection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._deadlines.discard(connection)
        waiting = self._idle.get(connection.key)
        if waiting is None:
            return
        if connection in waiting:
            waiting.remove(connection)
        if not waiting:
            del self._idle[connection.key]

    def _session(self, key: Destination, tls: ClientTls) -> ResumingContext:
        session = self._sessions.get(key)
        if session is None:
            if len(self._sessions) >= 1024:
                self._sessions.pop(next(iter(self._sessions)))
            session = self._sessions[key] = ResumingContext.around(tls.context)
        return session

    def _web_tls(self, host: str) -> ClientTls:
        tls = self._web.get(host)
        if tls is None:
            if len(self._web) >= 256:
                self._web.pop(next(iter(self._web)))
            tls = self._web[host] = ClientTls(web_client_context(), host)
        return tls


async def _whole(
    exchange: ClientExchange, body: bytes, max_body: int, *, decompress: bool
) -> FetchedResponse:
    async with exchange:
        await exchange.finish(body)
        head = await exchange.response()
        if decompress:
            headers, stream = decode_content(head.headers, exchange.body)
        else:
            headers, stream = head.headers, exchange.body
        return FetchedResponse(head.status, headers, await stream.read_all(max_body))
