"""The provider's information system: one honest path, and many that misbehave.

``POST /ledger`` (and ``/soap``) notes what was delivered and says its SHA-256. Everything below
``/nasty/`` breaks HTTP in the way that its name says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from chaos.ledger import Ledger
from chaos.load import counted_body
from chaos.soap import answer_soap

_BLOCK = b"a large answer " * 4369
HANG_SECONDS = 30.0
_RESET = struct.pack("ii", 1, 0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay quiet."""

    def do_POST(self) -> None:
        if self.path.startswith("/nasty/"):
            self._misbehave()
            return
        wanted = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(wanted)
        if len(body) < wanted:
            self._note_cut(body)
            return
        if self.path == "/soap":
            kind, answer = answer_soap(
                self.server.ledger, self.headers.get("Content-Type", ""), body
            )
            self._answer(answer, kind)
            return
        self.server.ledger.delivered(self.headers.get("X-Road-Id", ""), body)
        self._answer(json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode())

    def _note_cut(self, body: bytes) -> None:
        """A killed worker leaves a request half sent: no delivery, but what came must be right."""
        self.close_connection = True
        query_id = self.headers.get("X-Road-Id", "")
        if self.path != "/soap" and body != counted_body(query_id, len(body))[: len(body)]:
            self.server.ledger.wrong(f"{query_id}: {len(body)} wrong bytes of a cut request")

    def do_GET(self) -> None:
        self._misbehave()

    def _answer(self, body: bytes, kind: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _misbehave(self) -> None:
        name, _, argument = self.path.removeprefix("/nasty/").partition("/")
        self.close_connection = True
        with contextlib.suppress(OSError):
            _WAYS[name](self, argument)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def repeat(self, data: bytes, *, pause: float = 0.0) -> None:
        """Send the same bytes until the peer has had enough, but not for ever."""
        until = time.monotonic() + HANG_SECONDS
        while time.monotonic() < until and not self.server.stopping.wait(pause):
            self.send(data)


def _large(handler: _Handler, size: str) -> None:
    left = int(size)
    handler.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
    while left > 0:
        handler.send(_BLOCK[:left])
        left -= len(_BLOCK)


def _early(handler: _Handler, _: str) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")


def _early_and_deaf(handler: _Handler, _: str) -> None:
    _early(handler, "")
    handler.server.stopping.wait(HANG_SECONDS)


def _reset_body(handler: _Handler, _: str) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))
    time.sleep(0.05)
    handler.reset()


def _endless_head(handler: _Handler, _: str) -> None:
    handler.repeat(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1000)


def _endless_headers(handler: _Handler, _: str) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\n")
    handler.repeat(b"X-More: 1\r\n" * 50)


def _drip(handler: _Handler, _: str) -> None:
    handler.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    handler.repeat(b"x", pause=0.5)


def _saying(data: bytes) -> Callable[[_Handler, str], None]:
    def way(handler: _Handler, _: str) -> None:
        handler.send(data)

    return way


_WAYS: dict[str, Callable[[_Handler, str], None]] = {
    "large": _large,
    "early": _early,
    "early-and-deaf": _early_and_deaf,
    "reset-body": _reset_body,
    "drip": _drip,
    "hang": lambda handler, _: handler.server.hang(),
    "reset": lambda handler, _: handler.reset(),
    "nothing": lambda _handler, _: None,
    "endless-head": _endless_head,
    "endless-headers": _endless_headers,
    "endless-interim": lambda handler, _: handler.repeat(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "garbage": _saying(b"\x16\x03\x01 this is not HTTP\r\n\r\n"),
    "short": _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort"),
    "long": _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlonger than it said"),
    "two-lengths": _saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
    "length-and-chunks": _saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "bad-chunk": _saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"),
    "huge-chunk": _saying(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n"
    ),
    "cut-chunk": _saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc"),
}
WAYS = tuple(_WAYS)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], ledger: Ledger) -> None:
        super().__init__(address, _Handler)
        self.ledger = ledger
        self.stopping = threading.Event()

    def hang(self) -> None:
        self.stopping.wait(HANG_SECONDS)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that the peer broke is what this suite is about."""


class ChaosProvider:
    """The information system, running in threads of this process."""

    def __init__(self, host: str, port: int, ledger: Ledger) -> None:
        self._server = _Server((host, port), ledger)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
