"""How do bytes become requests: llhttp's callbacks, our limits on heads, and declined upgrades.

It doesn't know sockets or handlers. ``feed`` calls the sink once per complete head, with the pieces
of the body and at its end; when something is wrong it says so in ``refusal`` and goes silent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httptools

from postroad.adapters.http_head import (
    RequestFraming,
    decide_request_framing,
    decode_fields,
    is_request_target,
)

if TYPE_CHECKING:
    from postroad.adapters.http_head import Headers
    from postroad.adapters.http_limits import ServerLimits


class RequestSink(Protocol):
    """Who takes the requests."""

    def on_request(self, head: RequestHead) -> None:
        """Take the head of a request; its body follows."""
        ...

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        ...

    def on_end(self) -> None:
        """Take the end of the body."""
        ...


class RequestHead:
    """Request line and header fields, and what they mean for the connection."""

    __slots__ = ("expects_continue", "headers", "keep_alive", "method", "modern", "target")

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers,
        *,
        modern: bool,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.method = method
        self.target = target
        self.headers = headers
        self.modern = modern
        """HTTP/1.1, not 1.0."""
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue


class RequestReader:
    """Cuts the byte stream of one connection into requests."""

    __slots__ = (
        "_declined",
        "_fields",
        "_fresh",
        "_head",
        "_head_bytes",
        "_limits",
        "_parser",
        "_sink",
        "_synthetic",
        "_url",
        "in_head",
        "on_body",
        "refusal",
    )

    def __init__(self, sink: RequestSink, limits: ServerLimits) -> None:
        self._sink = sink
        self._limits = limits
        self.on_body = sink.on_body
        self.in_head = False
        """Whether a head has begun and isn't complete."""
        self.refusal: tuple[int, str] | None = None
        """Status and reason once the peer has sent what can't be accepted."""
        self._fresh = False
        self._declined = False
        self._synthetic = False
        self._head: RequestHead | None = None
        self._url = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._parser = httptools.HttpRequestParser(self)

    def let_go(self) -> None:
        """Forget parser and sink, which hold us: nothing more will arrive."""
        del self._parser, self._sink, self.on_body

    def feed(self, data: bytes | memoryview) -> None:
        """Parse what arrived."""
        self._feed(data)
        if self.in_head:
            if self._fresh:
                self._fresh = False
            else:
                # a complete head is weighed exactly; this bounds one that never ends
                self._head_bytes += len(data)
            if self._head_bytes > 2 * self._limits.max_head:
                self._refuse(431, "the header block is too large")

    def _feed(self, data: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, str(error))

    def _refuse(self, status: int, reason: str) -> None:
        if self.refusal is None:
            self.refusal = (status, reason)

    # ---- llhttp calls these from within feed_data; an exception here would lose its meaning

    def on_message_begin(self) -> None:
        """Start a new head."""
        self.in_head = self._fresh = True
        self._url = b""
        self._fields = []
        self._head_bytes = 0

    def on_url(self, part: bytes) -> None:
        """Collect the request target."""
        self._url += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header field; trailer fields are collected and forgotten."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass the head on, if nothing about it is doubtful."""
        self.in_head = False
        fields, self._fields = self._fields, []
        if self._synthetic:
            self._synthetic = False
            return
        if self.refusal is not None:
            return
        decoded = decode_fields(fields)
        limits, parser, url = self._limits, self._parser, self._url
        target = url.decode("ascii", "replace")
        method = parser.get_method().decode("ascii")
        version = parser.get_http_version()
        framing = decide_request_framing(version, decoded)
        if len(url) > limits.max_target:
            self._refuse(414, "the request target is too long")
        elif decoded.size + len(url) > limits.max_head or len(fields) > limits.max_headers:
            self._refuse(431, "the header block is too large")
        elif not isinstance(framing, RequestFraming):
            self.refusal = framing
        elif method == "CONNECT" or not is_request_target(target):
            self._refuse(400, "the request target is not acceptable")
        else:
            self._declined = parser.should_upgrade()
            self._head = RequestHead(
                method,
                target,
                decoded.headers,
                modern=version == "1.1",
                keep_alive=parser.should_keep_alive(),
                expects_continue=framing.expects_continue,
            )
            self._sink.on_request(self._head)

    def on_message_complete(self) -> None:
        """End the body, unless llhttp only thinks that another protocol follows."""
        if self.refusal is None and not self._declined:
            self._sink.on_end()

    def _decline_upgrade(self, rest: bytes | memoryview) -> None:
        """Go on in HTTP/1.1: a server may ignore Upgrade, as Java's client expects (h2c).

        llhttp has left the message at the end of its head, so a fresh parser gets a synthetic head
        with the same framing, and then the rest.
        """
        head, self._declined = self._head, False
        if self.refusal is not None or head is None:
            return
        framing = [
            f"{name}: {value}\r\n"
            for name, value in head.headers
            if name.lower() in {"content-length", "transfer-encoding"}
        ]
        if not head.keep_alive:
            framing.append("Connection: close\r\n")
        self._parser = httptools.HttpRequestParser(self)
        self._synthetic = True
        self._feed(f"POST / HTTP/1.1\r\n{''.join(framing)}\r\n".encode("latin-1"))
        if rest:
            self._feed(rest)
