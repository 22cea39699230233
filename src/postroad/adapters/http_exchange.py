"""What a handler of our HTTP server sees: the request, who sent it, and the way to answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from postroad.adapters.http_head import encode_response_head
from postroad.errors import FaultCode, MalformedInput, UnavailablePeer

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from postroad.adapters.http_body import BodyStream
    from postroad.adapters.http_head import Headers

_LAST_CHUNK: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a connection."""

    address: str
    """IP address as text."""
    port: int
    tls: bool
    certificate: bytes | None
    """DER of the certificate shown in the TLS handshake."""
    chain: tuple[bytes, ...]
    """All certificates that the peer sent, end-entity first (DER); nothing in it is verified."""


class Request:
    """One HTTP request whose body is still arriving."""

    __slots__ = ("body", "headers", "method", "peer", "target")

    def __init__(
        self, method: str, target: str, headers: Headers, body: BodyStream, peer: Peer
    ) -> None:
        self.method = method
        self.target = target
        """Path and query exactly as sent, not decoded and not normalised."""
        self.headers = headers
        """In the order sent, names in the case sent; values are Latin-1 text."""
        self.body = body
        self.peer = peer

    def header(self, name: str) -> str | None:
        """Return the last header field of that name, whatever its case."""
        wanted = name.lower()
        for key, value in reversed(self.headers):
            if key.lower() == wanted:
                return value
        return None

    def header_values(self, name: str) -> tuple[str, ...]:
        """Return the values of all header fields of that name, in the order sent."""
        wanted = name.lower()
        return tuple(value for key, value in self.headers if key.lower() == wanted)


class ResponseChannel(Protocol):
    """What a responder needs from its connection."""

    def send(self, data: bytes) -> asyncio.Future[None] | None:
        """Write; what it returns is to be awaited: the peer is slower than we are.

        Raises ``UnavailablePeer`` if the peer is gone.
        """
        ...

    def abort(self) -> None:
        """Cut the connection: the answer cannot be completed."""
        ...

    def date(self) -> str:
        """Return the text of a Date header field."""
        ...


class Responder:
    """The answer to one request: ``start``, any number of ``write``, ``finish``.

    The head travels with the first piece of the body in one write. Without ``content_length`` the
    body is chunked (to an HTTP/1.0 peer it ends with the connection). Bodies of answers that have
    none (HEAD, 204, 304) are swallowed. All three raise ``UnavailablePeer`` when the peer is gone.
    """

    __slots__ = (
        "_bodyless",
        "_channel",
        "_chunked",
        "_head",
        "_method",
        "_modern",
        "_remaining",
        "finished",
        "keep_alive",
        "status",
    )

    def __init__(
        self, channel: ResponseChannel, method: str, *, modern: bool, keep_alive: bool
    ) -> None:
        self._channel = channel
        self._method = method
        self._modern = modern
        self._head = b""
        self._chunked = False
        self._bodyless = False
        self._remaining: int | None = None
        self.keep_alive = keep_alive
        """Whether the connection may serve another request; clear it before ``start`` to close."""
        self.status = 0
        """The status once ``start`` was called, else 0."""
        self.finished = False

    @property
    def started(self) -> bool:
        """Whether the status is decided."""
        return self.status != 0

    async def start(
        self,
        status: int,
        headers: Sequence[tuple[str, str]] = (),
        content_length: int | None = None,
    ) -> None:
        """Decide status and header fields; they are sent with the first piece of the body.

        Content-Length, Transfer-Encoding and Connection among ``headers`` are left out: framing is
        the connection's business. Raises ``MalformedInput`` for fields that HTTP can't carry.
        """
        if self.status:
            raise MalformedInput("the answer has started already", code=FaultCode.INTERNAL_ERROR)
        bodyless = status in {204, 304} or self._method == "HEAD"
        chunked = False
        if status == 204 or (content_length is None and bodyless):
            framing = ""
        elif content_length is not None:
            framing = f"content-length: {content_length}\r\n"
        elif self._modern:
            framing, chunked = "transfer-encoding: chunked\r\n", True
        else:
            framing, self.keep_alive = "", False
        if not self.keep_alive:
            framing += "connection: close\r\n"
        elif not self._modern:
            framing += "connection: keep-alive\r\n"
        self._head = encode_response_head(status, headers, framing, date=self._channel.date())
        self._bodyless = bodyless
        self._chunked = chunked
        self._remaining = None if bodyless else content_length
        self.status = status

    async def write(self, data: bytes) -> None:
        """Send a piece of the body (and the head, if it hasn't gone yet)."""
        if data:
            waiting = self._send(self._frame(data))
            if waiting is not None:
                await waiting

    async def flush(self) -> None:
        """Send the head now, without waiting for a piece of the body."""
        waiting = self._send(b"")
        if waiting is not None:
            await waiting

    async def finish(self, last: bytes = b"") -> None:
        """Send the last piece and the end of the body."""
        if not self.status:
            raise MalformedInput("the answer has no status yet", code=FaultCode.INTERNAL_ERROR)
        data = self._frame(last) if last else b""
        if self._remaining:
            self._channel.abort()
            raise MalformedInput(
                f"{self._remaining} bytes of the announced body are missing",
                code=FaultCode.INTERNAL_ERROR,
            )
        self.finished = True
        waiting = self._send(data + _LAST_CHUNK if self._chunked else data)
        if waiting is not None:
            await waiting

    async def respond(
        self, status: int, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Send a whole answer in one write."""
        await self.start(status, headers, content_length=len(body))
        await self.finish(body)

    def _frame(self, data: bytes) -> bytes:
        """Return the bytes on the wire for a piece of the body."""
        if self._bodyless:
            return b""
        if self._chunked:
            return b"%x\r\n%b\r\n" % (len(data), data)
        if self._remaining is not None:
            if len(data) > self._remaining:
                self._channel.abort()
                raise MalformedInput(
                    "the body is longer than announced", code=FaultCode.INTERNAL_ERROR
                )
            self._remaining -= len(data)
        return data

    def _send(self, data: bytes) -> asyncio.Future[None] | None:
        if not self.status:
            raise MalformedInput("the answer has no status yet", code=FaultCode.INTERNAL_ERROR)
        if self._head:
            data, self._head = self._head + data, b""
        return self._channel.send(data) if data else None


def peer_gone(what: str) -> UnavailablePeer:
    """Build the error for a peer that closed its connection while we did ``what``."""
    return UnavailablePeer(f"the HTTP peer went away while {what}", code=FaultCode.IO_ERROR)
