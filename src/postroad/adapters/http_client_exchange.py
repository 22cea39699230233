"""What a caller of the HTTP client holds: one request going out and its response coming in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from postroad.adapters.http_body import BodyStream
from postroad.errors import FaultCode, MalformedInput, PostroadError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from postroad.adapters.http_client_connection import ClientConnection
    from postroad.adapters.http_head import Headers

_LAST_CHUNK: Final = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status line and header fields of a response."""

    status: int
    reason: str
    """May be empty."""
    headers: Headers
    """In the order sent, names in the case sent; values are Latin-1 text."""

    def header(self, name: str) -> str | None:
        """Return the last header field of that name, whatever its case."""
        wanted = name.lower()
        for key, value in reversed(self.headers):
            if key.lower() == wanted:
                return value
        return None


class ClientExchange:
    """One request and its response.

    ``write`` any number of times, ``finish``, then ``response()`` and ``body``. The request head
    travels with the first piece of the body in one write. Use it in ``async with``: leaving early
    cuts the connection, a completed exchange gives it back to the pool by itself.
    """

    __slots__ = (
        "_chunked",
        "_connection",
        "_error",
        "_head",
        "_remaining",
        "_response",
        "_response_timeout",
        "_waiter",
        "body",
        "chain",
        "method",
        "reused",
        "sent",
        "touched",
    )

    def __init__(
        self,
        connection: ClientConnection,
        method: str,
        head: bytes,
        *,
        content_length: int | None,
        response_timeout: float,
    ) -> None:
        self.method = method
        self.chain = connection.chain
        """Certificates that the server showed, end-entity first (DER)."""
        self.reused = connection.served > 0
        """Whether the connection had carried a request before."""
        self.sent = False
        """Whether the whole request was handed to the transport."""
        self.touched = False
        """Whether any byte of the request was handed to the transport."""
        self.body = BodyStream(connection.read_buffer, self._on_flow)
        """The body of the response."""
        self._connection = connection
        self._head = head
        self._chunked = content_length is None
        self._remaining = content_length
        self._response: ResponseHead | None = None
        self._error: PostroadError | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._response_timeout = response_timeout
        connection.begin(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ---- the request

    async def write(self, data: bytes) -> bool:
        """Send a piece of the body, waiting while the server is slower than we are.

        False: the answer is complete already, and the rest of the request isn't wanted. Raises
        ``UnavailablePeer`` when the connection broke.
        """
        if not data:
            return self._wanted()
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining < 0:
                self.close()
                raise _wrong_length()
        return await self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def finish(self, last: bytes = b"") -> None:
        """Send the last piece and the end of the body; from now on the response is awaited."""
        if self._remaining is not None:
            self._remaining -= len(last)
            if self._remaining != 0:
                self.close()
                raise _wrong_length()
        data = last
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else _LAST_CHUNK
        self.sent = True
        if await self._send(data):
            self._connection.await_response(self._response_timeout)

    async def _send(self, data: bytes) -> bool:
        if not self._wanted():
            return False
        if self._head:
            data, self._head = self._head + data, b""
        if data:
            self.touched = True
            waiting = self._connection.send(data)
            if waiting is not None:
                await waiting
        return self._wanted()

    def _wanted(self) -> bool:
        if self._error is not None:
            raise self._error
        return not self.body.ended

    # ---- the response

    @property
    def responded(self) -> bool:
        """Whether the head of the response has arrived."""
        return self._response is not None

    async def response(self) -> ResponseHead:
        """Wait for the head of the response.

        Raises ``UnavailablePeer`` when none comes, ``MalformedInput`` when it isn't HTTP.
        """
        while self._response is None:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._response

    def read_some(self) -> Coroutine[None, None, bytes]:
        """Return what has arrived of the response's body; ``b""`` at its end."""
        return self.body.read_some()

    def close(self) -> None:
        """Give up what isn't complete (cutting the connection); otherwise nothing is left to do."""
        if not (self.body.ended and self.sent) and self._error is None:
            self._connection.drop(self)

    # ---- what the connection tells

    def on_head(self, status: int, reason: str, headers: Headers) -> None:
        """Take the head of the response."""
        self._response = ResponseHead(status, reason, headers)
        self._wake()

    def on_failure(self, error: PostroadError) -> None:
        """Take the error that ends this exchange."""
        self._error = error
        self.body.fail(error)
        self._wake()

    def _on_flow(self) -> None:
        self._connection.regulate(self)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _wrong_length() -> MalformedInput:
    return MalformedInput(
        "the body of our HTTP request is not as long as announced", code=FaultCode.INTERNAL_ERROR
    )
