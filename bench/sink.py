"""The provider's side of POST: reads a body of any size, keeps nothing, answers.

Runs as a process of its own: ``python -m bench.sink HOST PORT``. It knows Content-Length only.
"""

from __future__ import annotations

import asyncio
import sys

import uvloop

ANSWER_BYTES = 200
_BODY = b'{"received": "' + b"x" * (ANSWER_BYTES - 16) + b'"}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
    + _BODY
)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BUFFER = 1 << 18


class Sink(asyncio.BufferedProtocol):
    """One connection."""

    def __init__(self) -> None:
        self._memory = bytearray(_BUFFER)
        self._head = b""
        self._left = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def get_buffer(self, _sizehint: int) -> bytearray:
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        if self._left > nbytes:
            self._left -= nbytes
            return
        data = bytes(memoryview(self._memory)[self._left : nbytes])
        if self._left:
            self._left = 0
            self._answer()
        self._head += data
        while b"\r\n\r\n" in self._head:
            head, _, rest = self._head.partition(b"\r\n\r\n")
            length = _content_length(head)
            if b"expect: 100-continue" in head.lower() and self._transport is not None:
                self._transport.write(_CONTINUE)
            if length > len(rest):
                self._left, self._head = length - len(rest), b""
                return
            self._head = rest[length:]
            self._answer()

    def _answer(self) -> None:
        if self._transport is not None:
            self._transport.write(_ANSWER)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


async def _serve(host: str, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, host, port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
