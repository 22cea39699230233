"""A man in the middle between two Security Servers, with both servers' real TLS identities."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import httptools

from postroad.adapters.signer_client import SignerClient
from postroad.adapters.tls import encode_pem, peer_client_context, peer_server_context
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.evidence import load_stored
from postroad.demo.layout import CONSUMER, PROVIDER, Party
from postroad.ports import LentKey

Change = Callable[[bytes], bytes]


@dataclass
class Message:
    """An HTTP message as the tamperer sees it."""

    headers: list[tuple[bytes, bytes]]
    body: bytes


def unchanged(body: bytes) -> bytes:
    return body


class _Collector:
    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        self.complete = True

    def message(self) -> Message:
        return Message(self.headers, b"".join(self.pieces))


async def _read(reader: asyncio.StreamReader, kind: type) -> tuple[Message, object] | None:
    collector = _Collector()
    parser = kind(collector)
    while not collector.complete:
        data = await reader.read(65536)
        if not data:
            return None
        parser.feed_data(data)
    return collector.message(), parser


def _write(first_line: bytes, message: Message) -> bytes:
    dropped = {b"transfer-encoding", b"content-length", b"connection"}
    lines = [first_line]
    lines += [n + b": " + v for n, v in message.headers if n.lower() not in dropped]
    lines += [b"Content-Length: %d" % len(message.body), b"Connection: close"]
    return b"\r\n".join(lines) + b"\r\n\r\n" + message.body


class Middle:
    """Speaks TLS as the provider's server to the consumer's, and the reverse, at its own address.

    ``change_request`` and ``change_response`` are applied to the transport message's body.
    """

    def __init__(self, ecosystem: Ecosystem, number: int) -> None:
        self.host = ecosystem.layout.address(number)
        self._ecosystem = ecosystem
        self._upstream = ecosystem.layout.address(PROVIDER.number)
        self.change_request: Change = unchanged
        self.change_response: Change = unchanged
        self.seen: list[tuple[bytes, bytes]] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._loop.close()

    def reset(self) -> None:
        self.change_request = self.change_response = unchanged

    async def _serve(self) -> None:
        as_provider = await self._lent_key(PROVIDER)
        as_consumer = await self._lent_key(CONSUMER)
        authorities = load_stored(self._ecosystem.layout, CONSUMER).ca_certificates()
        server_tls = peer_server_context(
            as_provider.private_key_pkcs8_pem,
            encode_pem(as_provider.certificate_der),
            [authority.der for authority in authorities],
        )
        self._client_tls = peer_client_context(
            as_consumer.private_key_pkcs8_pem, encode_pem(as_consumer.certificate_der)
        )
        messages = await asyncio.start_server(self._carry, self.host, 5500, ssl=server_tls)
        ocsp = await asyncio.start_server(self._copy, self.host, 5577)
        self._ready.set()
        await self._stopping.wait()
        messages.close()
        ocsp.close()

    async def _lent_key(self, party: Party) -> LentKey:
        signer = SignerClient(self._ecosystem.settings(party).signer_socket)
        try:
            return await signer.lend_authentication_key()
        finally:
            signer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, httptools.HttpParserError), contextlib.closing(writer):
            got = await _read(reader, httptools.HttpRequestParser)
            if got is None:
                return
            request, _ = got
            original = request.body
            request.body = self.change_request(request.body)
            up_reader, up_writer = await asyncio.open_connection(
                self._upstream, 5500, ssl=self._client_tls, server_hostname=""
            )
            with contextlib.closing(up_writer):
                up_writer.write(_write(b"POST / HTTP/1.1", request))
                await up_writer.drain()
                answered = await _read(up_reader, httptools.HttpResponseParser)
            if answered is None:
                return
            response, _ = answered
            self.seen.append((original, response.body))
            response.body = self.change_response(response.body)
            writer.write(_write(b"HTTP/1.1 200 OK", response))
            await writer.drain()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass the OCSP port's traffic on as it is."""
        with contextlib.suppress(OSError), contextlib.closing(writer):
            up_reader, up_writer = await asyncio.open_connection(self._upstream, 5577)
            with contextlib.closing(up_writer):

                async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                    while data := await source.read(65536):
                        sink.write(data)
                        await sink.drain()

                upwards = asyncio.ensure_future(pump(reader, up_writer))
                await pump(up_reader, writer)
                upwards.cancel()
