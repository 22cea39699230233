"""One connection of the HTTP server: bytes in, requests to the handler one at a time, bytes out.

A connection is always in one phase::

    IDLE ──first byte──▶ HEAD ──blank line──▶ BODY ──end of body──▶ ANSWER ──answered──▶ IDLE
                                               └──answered early──▶ LINGER ──end of body──▶ IDLE

and in CLOSING from the moment that no further request will be read. The handler runs from the end
of the head to the end of the answer. Requests that a client sends ahead wait in a short queue and
reading stops meanwhile, so that nobody is served out of order or can pile up work.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, cast

from postroad.adapters.http_body import BodyStream
from postroad.adapters.http_deadlines import NEVER
from postroad.adapters.http_exchange import Peer, Request, Responder, peer_gone
from postroad.adapters.http_head import encode_response_head
from postroad.adapters.http_outflow import GONE, OutFlow
from postroad.adapters.http_request_reader import RequestReader
from postroad.errors import FaultCode, MalformedInput, PostroadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from postroad.adapters.http_limits import ServerLimits
    from postroad.adapters.http_request_reader import RequestHead

    Handler = Callable[[Request, Responder], Awaitable[None]]

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNK_OVERHEAD: Final = 16
"""Bytes of chunk framing tolerated for each byte of a body, beside the allowance of a head."""


class Phase(Enum):
    """What a connection waits for."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSING = auto()


class ConnectionOwner(Protocol):
    """What a connection needs from its server."""

    handler: Handler
    limits: ServerLimits
    draining: bool
    incoming: memoryview

    def opened(self, connection: ServerConnection) -> bool:
        """Register a connection; False when there are too many."""
        ...

    def closed(self, connection: ServerConnection) -> None:
        """Forget a connection."""
        ...

    def identify(self, transport: asyncio.Transport) -> Peer:
        """Say who is at the other end."""
        ...

    def date(self) -> str:
        """Return the text of a Date header field."""
        ...

    def report(self, request: Request, error: Exception) -> None:
        """Tell the administrator that a handler failed."""
        ...


class _Exchange:
    """A request and the way to answer it."""

    __slots__ = ("request", "responder", "uninvited")

    def __init__(self, request: Request, responder: Responder, *, uninvited: bool) -> None:
        self.request = request
        self.responder = responder
        self.uninvited = uninvited
        """Whether the peer still waits for ``100 Continue`` before it sends the body."""


class ServerConnection(asyncio.BufferedProtocol):
    """The protocol object of one accepted connection."""

    __slots__ = (
        "_current",
        "_ended",
        "_limits",
        "_loop",
        "_lost",
        "_out",
        "_overhead",
        "_owner",
        "_peer",
        "_pending",
        "_phase",
        "_progress",
        "_read_deadline",
        "_reader",
        "_reading",
        "_receiving",
        "_served",
        "_task",
        "_transport",
    )

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self._limits = owner.limits
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self, owner.limits)
        self._peer: Peer | None = None
        self._phase = Phase.IDLE
        self._lost = self._ended = False
        self._served = 0
        self._receiving: _Exchange | None = None
        self._overhead = 0
        self._progress = 0
        self._current: _Exchange | None = None
        self._pending: deque[_Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._reading = True
        self._read_deadline = NEVER

    # ---- transport callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over a connection whose TLS handshake, if any, is done."""
        self._transport = transport = cast("asyncio.Transport", transport)
        limits = self._limits
        self._out = OutFlow(transport, limits.write_buffer, limits.write_timeout)
        if not self._owner.opened(self):
            self._refuse(503, "too many connections")
            return
        self._read_deadline = self._loop.time() + limits.idle_timeout

    @property
    def address(self) -> str:
        """The IP address at the other end, "" where there is none."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) else ""

    def connection_lost(self, _exc: Exception | None) -> None:
        """Tell the handler, if one is running, and forget the connection."""
        self._lost = True
        self._phase = Phase.CLOSING
        if self._receiving is not None:
            self._receiving.request.body.fail(peer_gone("it sent a request"))
        self._pending.clear()
        self._out.fail(peer_gone("we answered"))
        self._owner.closed(self)
        self._transport = GONE
        self._out.let_go()
        self._reader.let_go()

    def eof_received(self) -> bool:
        """Answer a half-closed peer: a request that is complete is still worth an answer."""
        self._ended = True
        if self._receiving is not None:
            self._receiving.request.body.fail(peer_gone("it sent a request"))
            return False
        self._phase = Phase.CLOSING
        # in TLS there is no half-closed state
        return self._current is not None and self._peer is not None and not self._peer.tls

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Lend the server's one buffer; what comes into it is parsed before anybody else reads."""
        return self._owner.incoming

    def buffer_updated(self, nbytes: int) -> None:
        """Take what came into the buffer."""
        self.receive(self._owner.incoming[:nbytes])

    def receive(self, data: bytes | memoryview) -> None:
        """Parse what arrived and set the deadline of the phase that follows."""
        if self._phase is Phase.CLOSING:
            return
        before = self._receiving
        received = 0 if before is None else before.request.body.received
        reader = self._reader
        reader.feed(data)
        if reader.refusal is not None:
            self._refuse(*reader.refusal)
            return
        receiving = self._receiving
        if reader.in_head:
            self._wait_for_head()
        elif receiving is not None:
            if receiving is before:
                # chunk framing is weighed against the body it carries: extensions are free bytes
                arrived = receiving.request.body.received - received
                self._overhead += len(data) - arrived * (1 + _CHUNK_OVERHEAD)
            self._wait_for_body(receiving, len(data))
        elif self._current is not None:
            self._phase = Phase.ANSWER
            self._read_deadline = NEVER

    def pause_writing(self) -> None:
        """Hold the handler back: the peer reads slower than we write."""
        self._out.pause()

    def resume_writing(self) -> None:
        """Let the handler go on."""
        self._out.resume()

    @property
    def is_waiting(self) -> bool:
        """Whether nothing is done here but to wait for a request, or for the rest of its head."""
        return self._current is None and self._phase in {Phase.IDLE, Phase.HEAD}

    # ---- deadlines

    def expire(self, now: float) -> None:
        """Cut off a peer that kept us waiting too long (called by the sweep)."""
        if self._out.has_stalled(now):
            self.abort()
        if now >= self._read_deadline:
            self._read_deadline = NEVER
            if self._phase is Phase.HEAD or self._phase is Phase.BODY:
                self._refuse(408, "the request took too long")
            elif self._phase is Phase.CLOSING:
                self.abort()
            else:
                self.close()

    def _wait_for_head(self) -> None:
        if self._current is not None:
            self._read_deadline = NEVER
        elif self._phase is Phase.IDLE:
            self._phase = Phase.HEAD
            self._read_deadline = self._loop.time() + self._limits.head_timeout

    def _wait_for_body(self, receiving: _Exchange, length: int) -> None:
        if self._overhead > self._limits.max_head:
            self._refuse(400, "the chunked coding has more frame than picture")
            return
        self._progress += length
        if self._phase is Phase.LINGER:
            if self._progress > self._limits.max_linger:
                self.close()
        elif receiving is not self._current:
            self._read_deadline = NEVER  # it waits in the queue, and reading is paused
        elif self._phase is not Phase.BODY or self._progress >= self._limits.body_progress:
            self._phase = Phase.BODY
            self._progress = 0
            paused = receiving.request.body.paused
            self._read_deadline = NEVER if paused else self._loop.time() + self._limits.body_timeout

    # ---- what the reader tells

    def on_request(self, head: RequestHead) -> None:
        """Hand a request to the handler, or queue it behind the one being answered."""
        limits = self._limits
        self._served += 1
        keep_alive = (
            head.keep_alive
            and self._served < limits.max_requests_per_connection
            and not self._owner.draining
        )
        responder = Responder(self, head.method, modern=head.modern, keep_alive=keep_alive)
        body = BodyStream(limits.read_buffer, self._regulate)
        if self._peer is None:
            self._peer = self._owner.identify(self._transport)
        request = Request(head.method, head.target, head.headers, body, self._peer)
        exchange = _Exchange(request, responder, uninvited=head.expects_continue)
        if head.expects_continue:
            body.on_wanted = partial(self._invite, exchange)
        self._receiving = exchange
        self._overhead = self._progress = 0
        if self._current is None:
            self._start(exchange)
            return
        self._pending.append(exchange)
        self._regulate()
        if len(self._pending) > limits.max_pipelined:
            self._reader.refusal = (503, "too many requests at once")

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the body to its reader."""
        if self._receiving is not None:
            body = self._receiving.request.body
            body.feed(data)
            if self._phase is Phase.LINGER:
                body.discard()

    def on_end(self) -> None:
        """End the body; the connection may be ready for its next request."""
        receiving, self._receiving = self._receiving, None
        if receiving is not None:
            receiving.request.body.end()
            if self._phase is Phase.LINGER:
                self._next(keep_alive=receiving.responder.keep_alive)

    # ---- exchanges

    def _start(self, exchange: _Exchange) -> None:
        self._current = exchange
        self._task = self._loop.create_task(self._run(exchange))

    async def _run(self, exchange: _Exchange) -> None:
        request, responder = exchange.request, exchange.responder
        try:
            await self._owner.handler(request, responder)
            if not responder.finished:
                raise MalformedInput(
                    "the handler left the answer unfinished", code=FaultCode.INTERNAL_ERROR
                )
        except Exception as error:  # noqa: BLE001 - the edge of the process: report and answer
            await self._give_up(request, responder, error)
        except asyncio.CancelledError:
            self.abort()
            raise
        self._finished(exchange)

    async def _give_up(self, request: Request, responder: Responder, error: Exception) -> None:
        """Answer for a handler that failed; a broken or interrupted request is the peer's fault."""
        status, text = 500, b"Internal Server Error\n"
        if error is request.body.error:
            status, text = 400, f"{error}\n".encode()
        elif not (self._lost and isinstance(error, PostroadError)):
            self._owner.report(request, error)
        responder.keep_alive = False
        if responder.started:
            self.abort()
        else:
            with suppress(PostroadError):
                await responder.respond(status, [("content-type", "text/plain")], text)

    def _finished(self, exchange: _Exchange) -> None:
        """Decide what follows an answer: the next request, the rest of this one, or the end."""
        self._task = None
        if self._lost:
            return
        if self._phase is Phase.CLOSING:
            self._current = None
            self._linger_and_close()
        elif exchange is not self._receiving:
            self._next(keep_alive=exchange.responder.keep_alive)
        elif exchange.uninvited:
            # the peer may now send the body or not: nobody can tell it from the next request
            self.close()
        else:
            # the answer came early: read the rest away so that the peer gets to see it
            self._phase = Phase.LINGER
            self._progress = 0
            exchange.request.body.discard()
            self._read_deadline = self._loop.time() + self._limits.linger_timeout

    def _next(self, *, keep_alive: bool) -> None:
        self._current = None
        if not keep_alive or (self._owner.draining and not self._pending):
            self.close()
        elif self._pending:
            exchange = self._pending.popleft()
            self._phase = Phase.BODY if self._receiving is exchange else Phase.ANSWER
            self._start(exchange)
            self._regulate()
        else:
            self._phase = Phase.HEAD if self._reader.in_head else Phase.IDLE
            limits = self._limits
            wait = limits.head_timeout if self._reader.in_head else limits.idle_timeout
            self._read_deadline = self._loop.time() + wait

    def _invite(self, exchange: _Exchange) -> None:
        if exchange.uninvited and not exchange.responder.started and not self._lost:
            exchange.uninvited = False
            self._transport.write(_CONTINUE)

    def _regulate(self) -> None:
        """Stop or resume reading: requests wait in the queue, or a handler is slow."""
        if self._lost:
            return
        body = None if self._receiving is None else self._receiving.request.body
        wanted = not self._pending and (body is None or not body.paused)
        if wanted is self._reading:
            return
        self._reading = wanted
        if wanted:
            self._transport.resume_reading()
            if self._phase is Phase.BODY:
                self._read_deadline = self._loop.time() + self._limits.body_timeout
        else:
            self._transport.pause_reading()
            self._read_deadline = NEVER

    # ---- the way out

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        """Write; what it returns is to be awaited: the peer is slower than we are."""
        if self._lost or self._transport.is_closing():
            raise peer_gone("we answered")
        return self._out.write(data)

    def date(self) -> str:
        """Return the text of a Date header field."""
        return self._owner.date()

    def drain(self) -> None:
        """Take no further request; close now if none is being answered."""
        if self._current is not None:
            self._current.responder.keep_alive = False
        elif self._phase is Phase.IDLE:
            self.close()

    def close(self) -> None:
        """Close when all that was written has left."""
        self._phase = Phase.CLOSING
        self._read_deadline = self._loop.time() + self._limits.linger_timeout
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        self._transport.close()

    def abort(self) -> None:
        """Cut the connection now."""
        self._phase = Phase.CLOSING
        self._read_deadline = NEVER
        self._transport.abort()

    def _refuse(self, status: int, reason: str) -> None:
        """Answer a request that never became one, unless another answer is under way; close."""
        if self._receiving is not None:
            self._receiving.request.body.fail(
                MalformedInput(f"the HTTP request is broken: {reason}", code=FaultCode.IO_ERROR)
            )
            self._receiving = None
        self._pending.clear()
        self._phase = Phase.CLOSING
        self._read_deadline = NEVER
        if self._task is not None:
            return  # its handler answers, and then the connection closes
        if self._current is not None:
            self.close()  # answered already
            return
        body = f"{reason}\n".encode("latin-1", "replace")
        framing = f"content-length: {len(body)}\r\nconnection: close\r\n"
        head = encode_response_head(
            status, [("content-type", "text/plain")], framing, date=self._owner.date()
        )
        self._transport.write(head + body)
        self._linger_and_close()

    def _linger_and_close(self) -> None:
        """Close without the reset that unread bytes cause, so that the peer sees our answer."""
        self._read_deadline = self._loop.time() + self._limits.linger_timeout
        if self._transport.can_write_eof() and not self._ended:
            self._transport.write_eof()
        else:
            self._transport.close()
