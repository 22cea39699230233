"""The HTTP/1.1 server of the message ports: listens, counts, drains; connections do the rest.

Our own because the handler must see the certificate that the peer showed in the TLS handshake,
stream bodies both ways with back-pressure, and keep names, order and targets byte for byte; no
server of the Python world offers all three. Parsing is llhttp's (``httptools``).
"""

from __future__ import annotations

import asyncio
import email.utils
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_connection import ServerConnection
from postroad.adapters.http_deadlines import Deadlines
from postroad.adapters.http_exchange import Peer, Request, Responder
from postroad.adapters.http_limits import RECEIVE_BUFFER, ServerLimits
from postroad.adapters.http_sources import source_of
from postroad.adapters.tls_accepting import TlsAcceptor, bound_sockets
from postroad.adapters.tls_peers import PeerChains, SwitchableContext
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from postroad.adapters.http_connection import Handler

_ACCEPTING_TURNS: Final = 3
"""Turns of the event loop from a socket's ``accept`` until its protocol hears of the connection:
one for the task that asyncio makes, one for the transport. Draining must see these, too."""

__all__ = ["HttpServer", "Listener", "Peer", "Request", "Responder", "ServerLimits"]


class Listener:
    """One listening port of a server; its TLS context can be swapped while it runs."""

    def __init__(
        self, server: asyncio.Server | TlsAcceptor, tls: SwitchableContext | None = None
    ) -> None:
        self._server = server
        self._tls = tls
        name = server.sockets[0].getsockname()
        self.host: str = name[0]
        self.port: int = name[1]

    def switch_tls(self, context: ssl.SSLContext) -> None:
        """Use ``context`` for every connection accepted from now on (keys or anchors changed).

        Sessions of the old context can't be resumed, for each context has ticket keys of its own.
        """
        if self._tls is None:
            raise ConfigurationError("this listener speaks plain HTTP")
        self._tls.switch(context)

    def close(self) -> None:
        """Stop accepting connections."""
        self._server.close()


class HttpServer:
    """Serves a handler on one or more ports.

    The handler is called once per request, in one task, and must finish the answer. If it raises,
    the peer gets 500 (or a cut connection when the answer had begun) and ``on_failure`` the error.
    """

    def __init__(
        self,
        handler: Handler,
        limits: ServerLimits | None = None,
        *,
        on_failure: Callable[[Request, Exception], None] | None = None,
    ) -> None:
        self.handler = handler
        self.limits = limits or ServerLimits()
        self.draining = False
        self.incoming = memoryview(bytearray(RECEIVE_BUFFER))
        self._on_failure = on_failure
        self._connections: dict[ServerConnection, str] = {}
        """With their sources where those are counted, in the order in which they were opened."""
        self._by_source: Counter[str] = Counter()
        self._deadlines = Deadlines()
        self._listeners: list[Listener] = []
        self._chains = PeerChains()
        self._empty: asyncio.Event = asyncio.Event()
        self._empty.set()
        self._date = (0, "")

    async def listen(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        reuse_port: bool = True,
        backlog: int = 1024,
    ) -> Listener:
        """Start to accept connections; port 0 lets the system choose one (see ``Listener.port``).

        ``reuse_port`` lets several worker processes share the port. Raises ``OSError`` when the
        address can't be bound.
        """
        reuse_port = reuse_port and hasattr(socket, "SO_REUSEPORT")
        if tls is None:
            loop = asyncio.get_running_loop()
            listener = Listener(
                await loop.create_server(
                    self._connection, host, port, reuse_port=reuse_port, backlog=backlog
                )
            )
        else:
            sockets = await bound_sockets(host, port, reuse_port=reuse_port, backlog=backlog)
            context = SwitchableContext.around(tls)
            acceptor = TlsAcceptor(sockets, self._connection, context, self.limits)
            listener = Listener(acceptor, context)
        self._listeners.append(listener)
        return listener

    def _connection(self) -> ServerConnection:
        return ServerConnection(self)

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._connections)

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the deadline is the point
        """Stop accepting, let running answers finish for ``timeout`` seconds, cut the rest."""
        self.draining = True
        for listener in self._listeners:
            listener.close()
        try:
            async with asyncio.timeout(timeout):
                for _turn in range(_ACCEPTING_TURNS):
                    await asyncio.sleep(0)
                for connection in tuple(self._connections):
                    connection.drain()
                await self._empty.wait()
        except TimeoutError:
            pass
        finally:  # whoever cancels the wait wants no answers, but no open sockets either
            for connection in tuple(self._connections):
                connection.abort()
            await asyncio.sleep(0)

    # ---- what connections ask for

    def opened(self, connection: ServerConnection) -> bool:
        """Register a connection; False when there are too many that have work."""
        accepted = not self.draining and (
            len(self._connections) < self.limits.max_connections or self._make_room()
        )
        source = source_of(connection.address) if self.limits.max_connections_per_address else ""
        if source:
            self._by_source[source] += 1
            accepted &= self._by_source[source] <= self.limits.max_connections_per_address
        self._connections[connection] = source
        self._deadlines.add(connection)
        self._empty.clear()
        return accepted

    def _make_room(self) -> bool:
        """Cut the oldest connection that nothing is done for: who only holds one locks nobody out.

        Whoever kept it for a next request opens another; HTTP lets idle connections end any time.
        """
        for connection in self._connections:
            if connection.is_waiting:
                connection.abort()
                return True
        return False

    def closed(self, connection: ServerConnection) -> None:
        """Forget a connection."""
        source = self._connections.pop(connection, "")
        if source:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]
        self._deadlines.discard(connection)
        if not self._connections:
            self._empty.set()

    def identify(self, transport: asyncio.Transport) -> Peer:
        """Say who is at the other end."""
        name = transport.get_extra_info("peername")
        address, port = (name[0], name[1]) if isinstance(name, tuple) else ("", 0)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is None:
            return Peer(address, port, tls=False, certificate=None, chain=())
        chain = self._chains.of(ssl_object)
        leaf = chain[0] if chain else None
        return Peer(address, port, tls=True, certificate=leaf, chain=chain)

    def date(self) -> str:
        """Return the text of a Date header field (RFC 9110, 6.6.1)."""
        second = int(time.monotonic())
        if second != self._date[0]:
            self._date = (second, email.utils.formatdate(usegmt=True))
        return self._date[1]

    def report(self, request: Request, error: Exception) -> None:
        """Tell the administrator that a handler failed."""
        if self._on_failure is not None:
            self._on_failure(request, error)
            return
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": f"the handler of {request.method} {request.target} failed",
                "exception": error,
            }
        )
