"""How does a body travel from the socket to its reader: a bounded buffer that stops the sender.

The parser feeds, the reader takes. When more than ``high_water`` bytes wait, the transport is told
to stop reading, so a slow reader slows the peer down instead of filling our memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, MalformedInput, PostroadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class BodyStream:
    """The body of one HTTP message, read once from front to back.

    ``async for piece in body`` or ``await body.read_some()`` until ``b""``. Reading raises
    ``UnavailablePeer`` when the peer goes away half-way and ``MalformedInput`` when what it sends
    isn't a body.
    """

    __slots__ = (
        "_chunks",
        "_ended",
        "_high_water",
        "_on_flow",
        "_paused",
        "_waiter",
        "error",
        "on_wanted",
        "received",
        "size",
    )

    def __init__(self, high_water: int, on_flow: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._ended = False
        self.error: PostroadError | None = None
        """Why the rest of the body will never come."""
        self._high_water = high_water
        self._on_flow = on_flow
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self.on_wanted: Callable[[], None] | None = None
        """Called once when the reader first has to wait (``Expect: 100-continue``)."""
        self.received = 0
        """Bytes that arrived so far."""
        self.size = 0
        """Bytes that wait to be read."""

    @property
    def ended(self) -> bool:
        """Whether everything has arrived (it may still wait to be read)."""
        return self._ended

    @property
    def paused(self) -> bool:
        """Whether the sender is being held back."""
        return self._paused

    def feed(self, data: bytes) -> None:
        """Take a piece from the parser."""
        if self.error is not None:
            return
        self._chunks.append(data)
        length = len(data)
        self.size += length
        self.received += length
        if self._waiter is not None:
            self._wake()
        if self.size > self._high_water and not self._paused:
            self._paused = True
            self._on_flow()

    def end(self) -> None:
        """Mark the end of the body."""
        self._ended = True
        self._let_go()
        if self._waiter is not None:
            self._wake()

    def fail(self, error: PostroadError) -> None:
        """Make every further read raise ``error``, unless the body is already complete."""
        if self._ended or self.error is not None:
            return
        self.error = error
        self._let_go()
        if self._waiter is not None:
            self._wake()

    def discard(self) -> None:
        """Throw away what waits and let the sender go on."""
        self._chunks.clear()
        self.size = 0
        self._release()

    async def read_some(self) -> bytes:
        """Return what has arrived, waiting for at least one byte; ``b""`` at the end."""
        while not self._chunks:
            if self._ended:
                return b""
            if self.error is not None:
                raise self.error
            if self.on_wanted is not None:
                on_wanted, self.on_wanted = self.on_wanted, None
                on_wanted()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        chunks = self._chunks
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self.size = 0
        if self._paused:
            self._release()
        return data

    async def read_all(self, limit: int) -> bytes:
        """Return the whole body; raise ``MalformedInput`` if it has more than ``limit`` bytes."""
        pieces: list[bytes] = []
        total = 0
        while data := await self.read_some():
            total += len(data)
            if total > limit:
                raise MalformedInput(
                    f"the HTTP body has more than {limit} bytes", code=FaultCode.INVALID_BODY
                )
            pieces.append(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while data := await self.read_some():
            yield data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _release(self) -> None:
        if self._paused:
            self._paused = False
            self._on_flow()
            if self._ended or self.error is not None:
                self._let_go()

    def _let_go(self) -> None:
        """Forget whom to tell, who may well hold us, once there is nothing more to tell."""
        if not self._paused:
            self._on_flow = _tell_nobody


def _tell_nobody() -> None:
    """Stand for the connection of a body that is complete."""
