"""A small REST and SOAP service: the information system behind the demo's provider.

It knows nothing of Postroad; it answers plain HTTP as any organisation's service would.
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import unquote

from postroad.demo.descriptions import (
    OPENAPI_PATH,
    SOAP_PATH,
    WSDL_PATH,
    encode_openapi,
    encode_wsdl,
)
from postroad.demo.soap_package import read_package, write_package
from postroad.demo.soap_provider import answer_package
from postroad.errors import MalformedInput

_CHUNK: Final = 256 * 1024
PERSONS: Final = {
    "1": {"name": "Mari Maasikas", "municipality": "Tartu"},
    "2": {"name": "Aino Virtanen", "municipality": "Oulu"},
    "3": {"name": "Guðrún Jónsdóttir", "municipality": "Akureyri"},
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay quiet; the Security Server logs the exchange."""

    def do_GET(self) -> None:
        """Answer ``/persons`` and ``/persons/{id}``, and the descriptions of the services."""
        path = unquote(self.path.partition("?")[0]).rstrip("/")
        if path == OPENAPI_PATH:
            self._send(200, "application/yaml", encode_openapi(self._url))
        elif path == WSDL_PATH:
            self._send(200, "text/xml; charset=UTF-8", encode_wsdl(self._url))
        elif path == "/persons":
            self._answer(200, list(PERSONS.values()))
        elif (person := PERSONS.get(path.removeprefix("/persons/"))) is not None:
            self._answer(200, person)
        else:
            self._answer(404, {"error": f"there is nothing at {path}"})

    def do_POST(self) -> None:
        """Answer ``/applications`` and ``/documents`` (any bytes; says their digest), and SOAP."""
        if self.path == SOAP_PATH:
            self._answer_soap()
            return
        digest, size, head = self._read_body()
        if self.path.startswith("/documents"):
            self._answer(201, {"bytes": size, "sha512": digest})
        elif self.path.startswith("/applications"):
            self._answer(201, {"received": head.decode("utf-8", "replace"), "number": size})
        else:
            self._answer(404, {"error": f"nothing is posted to {self.path}"})

    def _read_body(self) -> tuple[str, int, bytes]:
        left = int(self.headers.get("Content-Length", "0"))
        digest = hashlib.sha512()
        size = 0
        head = b""
        while left > 0 and (chunk := self.rfile.read(min(left, _CHUNK))):
            digest.update(chunk)
            size += len(chunk)
            left -= len(chunk)
            head = head or chunk[:4096]
        return digest.hexdigest(), size, head

    def _answer_soap(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            asked = read_package(self.headers.get("Content-Type", ""), body)
            answer = answer_package(asked, PERSONS)
        except MalformedInput as error:
            self._answer(400, {"error": error.message})
            return
        self._count()
        self._send(200, *write_package(answer))

    def _answer(self, status: int, value: object) -> None:
        self._count()
        body = json.dumps(value, ensure_ascii=False).encode()
        self._send(status, "application/json; charset=utf-8", body)

    def _count(self) -> None:
        if isinstance(self.server, _Counting):
            self.server.count()

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def _url(self) -> str:
        host, port = self.connection.getsockname()
        return f"http://{host}:{port}"


class _Counting(ThreadingHTTPServer):
    """A server that counts what it answers."""

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.requests = 0
        self._lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet when the caller has gone away."""

    def count(self) -> None:
        with self._lock:
            self.requests += 1


class Provider:
    """The service, running in a thread of the demo's process."""

    def __init__(self, host: str, port: int) -> None:
        self._server = _Counting((host, port))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def requests(self) -> int:
        """How many requests reached the services; descriptions don't count."""
        return self._server.requests

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
