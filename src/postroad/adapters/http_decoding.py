"""How is a compressed response read: gzip and deflate, a bounded piece at a time.

The reference's HTTP library decompresses what a service answers before it is signed, and removes
the header fields that no longer hold (wire notes: gzip responses are decompressed by the provider's
server). A small compressed piece can hold gigabytes, so output is taken in pieces of 64 KiB.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from postroad.adapters.http_head import Headers

_PIECE: Final = 64 * 1024
_GONE: Final = frozenset({"content-encoding", "content-length", "content-md5"})
_ZLIB_FRAME: Final = 15
_CODINGS: Final = {"gzip": 31, "x-gzip": 31, "deflate": _ZLIB_FRAME}
"""Content codings and the window bits that make zlib expect them."""


class ReadableBody(Protocol):
    """A body that is read in pieces."""

    async def read_some(self) -> bytes:
        """Return the next piece; ``b""`` at the end."""
        ...

    async def read_all(self, limit: int) -> bytes:
        """Return everything, at most ``limit`` bytes."""
        ...


def decode_content(headers: Headers, body: ReadableBody) -> tuple[Headers, ReadableBody]:
    """Return headers and body as they are without their content coding.

    Unchanged if there is no coding or one we don't know.
    """
    codings = [value for name, value in headers if name.lower() == "content-encoding"]
    if len(codings) != 1:
        return headers, body
    window = _CODINGS.get(codings[0].strip().lower())
    if window is None:
        return headers, body
    kept = tuple((name, value) for name, value in headers if name.lower() not in _GONE)
    return kept, DecodedBody(body, window)


class DecodedBody:
    """A body read through zlib.

    Reading raises ``MalformedInput`` when the compressed form is broken or ends early.
    """

    def __init__(self, body: ReadableBody, window_bits: int) -> None:
        self._body = body
        self._window = window_bits
        self._zlib = zlib.decompressobj(window_bits)
        self._waiting = b""
        self._begun = False

    async def read_some(self) -> bytes:
        """Return the next piece of at most 64 KiB; ``b""`` at the end."""
        if not self._begun and not await self._begin():
            return b""
        while True:
            if not self._waiting:
                if self._zlib.eof:
                    return await self._after_end()
                self._waiting = await self._body.read_some()
                if not self._waiting:
                    return self._at_end()
            piece = self._decompress()
            if piece:
                return piece

    async def _begin(self) -> bool:
        """Look at the first two bytes; False if there are none (HEAD, Content-Length: 0)."""
        while len(self._waiting) < 2:
            piece = await self._body.read_some()
            if not piece:
                if self._waiting:
                    raise _broken("it ends early")
                return False
            self._waiting += piece
        self._begun = True
        is_framed = self._waiting[0] & 0x0F == 8 and int.from_bytes(self._waiting[:2]) % 31 == 0
        if self._window == _ZLIB_FRAME and not is_framed:
            # "deflate" without the frame that RFC 1950 asks for, as some servers send it
            self._zlib = zlib.decompressobj(-_ZLIB_FRAME)
        return True

    async def read_all(self, limit: int) -> bytes:
        """Return everything; raise ``MalformedInput`` if it has more than ``limit`` bytes."""
        pieces: list[bytes] = []
        total = 0
        while piece := await self.read_some():
            total += len(piece)
            if total > limit:
                raise MalformedInput(
                    f"the decompressed HTTP body has more than {limit} bytes",
                    code=FaultCode.INVALID_BODY,
                )
            pieces.append(piece)
        return b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read_some():
            yield piece

    def _decompress(self) -> bytes:
        try:
            piece = self._zlib.decompress(self._waiting, _PIECE)
        except zlib.error as error:
            raise _broken(str(error)) from error
        self._waiting = self._zlib.unconsumed_tail
        return piece

    async def _after_end(self) -> bytes:
        if self._zlib.unused_data or await self._body.read_some():
            raise _broken("there is more after its end")
        return b""

    def _at_end(self) -> bytes:
        piece = self._zlib.flush()  # only raw deflate, which has no trailer, can hold some back
        if not piece and not self._zlib.eof:
            raise _broken("it ends early")
        return piece


def _broken(reason: str) -> MalformedInput:
    return MalformedInput(
        f"the compressed HTTP body is broken: {reason}", code=FaultCode.HTTP_ERROR
    )
