"""One connection of the HTTP client: a request out, its response in, then back to the pool.

The request and the response are independent: a server may answer while we still send, and then the
rest of the request is given up once the answer is complete.
"""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from postroad.adapters.http_deadlines import NEVER
from postroad.adapters.http_outflow import GONE, OutFlow
from postroad.errors import FaultCode, MalformedInput, PostroadError, UnavailablePeer

if TYPE_CHECKING:
    from postroad.adapters.http_client_exchange import ClientExchange
    from postroad.adapters.http_dialing import Destination
    from postroad.adapters.http_limits import ClientLimits

_BODYLESS = frozenset({204, 304})


class ConnectionPool(Protocol):
    """What a connection needs from its client."""

    limits: ClientLimits
    incoming: memoryview

    def opened(self, connection: ClientConnection) -> None:
        """Watch the deadlines of a new connection."""
        ...

    def released(self, connection: ClientConnection) -> None:
        """Take back a connection that can carry another request."""
        ...

    def lost(self, connection: ClientConnection) -> None:
        """Forget a connection."""
        ...


class ClientConnection(asyncio.BufferedProtocol):
    """The protocol object of one connection to a server; made by ``HttpClient``."""

    def __init__(self, pool: ConnectionPool, key: Destination) -> None:
        self.key = key
        self.chain: tuple[bytes, ...] = ()
        """Certificates that the server showed, end-entity first (DER); nothing is verified."""
        self.served = 0
        """Requests sent on this connection."""
        self._pool = pool
        self._limits = pool.limits
        self._loop = asyncio.get_running_loop()
        self._exchange: ClientExchange | None = None
        self._lost = False
        self._reading = True
        # the response being parsed
        self._parser = httptools.HttpResponseParser(self)
        self._in_head = True
        self._reason = b""
        self._headers: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._interim = 0
        self._until_close = False
        self._keep_alive = False
        self._refusal: PostroadError | None = None
        self._read_deadline = NEVER

    # ---- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection whose TLS handshake, if any, is done."""
        self.transport = transport = cast("asyncio.Transport", transport)
        limits = self._limits
        self._out = OutFlow(transport, limits.write_buffer, limits.write_timeout)
        self._poll = select.poll()
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._pool.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the response that lasts until the close, or fail it."""
        self._lost = True
        self._end_by_close(exc)
        self._out.resume()
        self._pool.lost(self)
        self.transport = GONE
        self._out.let_go()
        del self._parser  # which holds us

    def eof_received(self) -> bool:
        """Treat the server's end of stream as the end of the connection."""
        self._end_by_close(None)
        return False

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Lend the client's one buffer; what comes into it is parsed before anybody else reads."""
        return self._pool.incoming

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came into the buffer."""
        self.receive(self._pool.incoming[:nbytes])

    def receive(self, data: bytes | memoryview) -> None:
        """Parse a piece of the response."""
        exchange = self._exchange
        if exchange is None:
            # nobody asked: an unsolicited answer (408 before a close), or garbage
            self.abort()
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse("it switched protocols unasked")
        except httptools.HttpParserError as error:
            self._refuse(str(error))
        if self._refusal is not None:
            # after a complete response this only costs the connection
            self.fail(self._refusal)
        elif self._exchange is None:
            self._settle()
        elif self._in_head and self._head_bytes > 2 * self._limits.max_head:
            self.fail(_broken("its header block is too large"))
        elif not self._in_head and self._reading:
            self._read_deadline = self._loop.time() + self._limits.body_timeout

    def pause_writing(self) -> None:
        """Hold the producer back: the server reads slower than we write."""
        self._out.pause()

    def resume_writing(self) -> None:
        """Let the producer go on."""
        self._out.resume()

    def expire(self, now: float) -> None:
        """Give up a server that kept us waiting too long (called by the sweep)."""
        if self._out.has_stalled(now):
            self.fail(UnavailablePeer("the server stopped reading our request"))
            return
        if now >= self._read_deadline:
            self._read_deadline = NEVER
            if self._exchange is None:
                self.transport.close()
            else:
                self.fail(UnavailablePeer("the server didn't answer in time"))

    # ---- parser callbacks

    def on_message_begin(self) -> None:
        """Start a new head."""
        if self._exchange is None:
            self._refuse("it sent more than its response")
        self._in_head = True
        self._reason = b""
        self._headers = []
        self._head_bytes = 0

    def on_status(self, part: bytes) -> None:
        """Collect the reason phrase."""
        self._reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field; trailer fields are counted and forgotten."""
        self._head_bytes += len(name) + len(value) + 4
        if (
            self._head_bytes > self._limits.max_head + 64 * 1024
            or len(self._headers) >= self._limits.max_headers
        ):
            self._refuse("its header block is too large")
        elif self._in_head:
            self._headers.append((name.decode("latin-1"), value.decode("latin-1").rstrip(" \t")))

    def on_headers_complete(self) -> None:
        """Hand the head over, unless it is an interim one."""
        exchange = self._exchange
        if exchange is None or self._refusal is not None:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > self._limits.max_interim:
                self._refuse(f"it sent the interim status {status}")
            return
        self._in_head = False
        names = {name.lower(): value for name, value in self._headers}
        coding = names.get("transfer-encoding", "").strip().lower()
        if coding not in {"", "chunked"}:
            self._refuse(f"it used the transfer coding {coding[:40]!r}")
            return
        bodyless = exchange.method == "HEAD" or status in _BODYLESS
        self._until_close = not bodyless and not coding and "content-length" not in names
        self._keep_alive = not self._until_close and self._parser.should_keep_alive()
        exchange.on_head(status, self._reason.decode("latin-1"), tuple(self._headers))
        if exchange.method == "HEAD" and status not in _BODYLESS:
            # the parser can't know that the announced body won't come
            self._parser = httptools.HttpResponseParser(self)
            self._complete()

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the body to its reader."""
        if self._exchange is not None:
            self._exchange.body.feed(data)
        else:
            self._refuse("it sent more than its response")

    def on_message_complete(self) -> None:
        """End the response (interim ones have no end that matters)."""
        if not self._in_head and self._exchange is not None:
            self._complete()

    # ---- exchanges

    def begin(self, exchange: ClientExchange) -> None:
        """Make this connection carry an exchange from now on.

        Raises ``UnavailablePeer`` if it was lost since it was chosen; nothing was sent then.
        """
        if self.lost:
            raise UnavailablePeer("the connection was lost before the request")
        self._exchange = exchange
        self._in_head = True
        self._head_bytes = self._interim = 0
        self._until_close = False
        self._read_deadline = NEVER
        self.served += 1

    def await_response(self, seconds: float) -> None:
        """Start to wait for the head of the response: the request is out."""
        if self._in_head and self._exchange is not None:
            self._read_deadline = self._loop.time() + seconds

    @property
    def read_buffer(self) -> int:
        """Bytes of a response that may wait for its reader."""
        return self._limits.read_buffer

    def drop(self, exchange: ClientExchange) -> None:
        """Cut the connection if it still carries this exchange."""
        if exchange is self._exchange:
            self.fail(UnavailablePeer("the exchange was given up", code=FaultCode.IO_ERROR))

    @property
    def lost(self) -> bool:
        """Whether the connection is gone or going."""
        return self._lost or self.transport.is_closing()

    def is_stale(self) -> bool:
        """Say whether an idle connection has been closed or spoken to by the server meanwhile."""
        if self.lost:
            return True
        return bool(self._poll.poll(0))

    def take(self) -> None:
        """Leave the pool: what comes next may take its time (judging the server)."""
        self._read_deadline = NEVER

    def rest(self) -> None:
        """Wait in the pool for the next request."""
        self._read_deadline = self._loop.time() + self._limits.idle_timeout

    def _complete(self) -> None:
        """End the exchange; what becomes of the connection is decided when all bytes are read."""
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        self._in_head = True
        self._keep_alive = self._keep_alive and exchange.sent
        self._read_deadline = NEVER
        exchange.body.end()

    def _settle(self) -> None:
        """Go back to the pool, or close: the request wasn't wanted whole, or one side said so."""
        if not self._reading:
            self._reading = True
            self.transport.resume_reading()
        if self._keep_alive and not self.lost:
            self._pool.released(self)
        else:
            self._out.resume()
            self.transport.close()

    def _end_by_close(self, error: Exception | None) -> None:
        if self._exchange is None:
            return
        if self._until_close and not self._in_head and error is None:
            self._keep_alive = False
            self._complete()
            self._settle()
        else:
            self.fail(
                UnavailablePeer("the server closed the connection before its response was complete")
            )

    def _refuse(self, reason: str) -> None:
        self._refusal = self._refusal or _broken(reason)

    def fail(self, error: PostroadError) -> None:
        """End the exchange with an error and cut the connection."""
        exchange, self._exchange = self._exchange, None
        self.abort()
        if exchange is not None:
            exchange.on_failure(error)
        self._out.resume()

    def abort(self) -> None:
        """Cut the connection now."""
        self._read_deadline = NEVER
        if not self._lost:
            self.transport.abort()

    # ---- the way out, and back-pressure

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        """Write; what it returns is to be awaited: the server is slower than we are."""
        return self._out.write(data)

    def regulate(self, exchange: ClientExchange) -> None:
        """Stop or resume reading as the reader of the body wishes."""
        if exchange is not self._exchange or self._lost:
            return
        self._reading = not exchange.body.paused
        if self._reading:
            self.transport.resume_reading()
            self._read_deadline = self._loop.time() + self._limits.body_timeout
        else:
            self.transport.pause_reading()
            self._read_deadline = NEVER


def _broken(reason: str) -> MalformedInput:
    return MalformedInput(f"the server's response isn't HTTP: {reason}", code=FaultCode.HTTP_ERROR)
