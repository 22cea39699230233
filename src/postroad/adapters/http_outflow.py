"""When must a writer wait: the transport's buffer is full, and for how long may it stay so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from postroad.adapters.http_deadlines import NEVER

if TYPE_CHECKING:
    from postroad.errors import PostroadError


class GoneTransport(asyncio.Transport):
    """Stands where the transport of a lost connection stood, and does nothing.

    A TLS transport and the protocol on top of it hold each other, with half a hundred kilobytes of
    buffers: unless one lets go they stay until the garbage collector finds them.
    """

    def is_closing(self) -> bool:
        """Say that it is over."""
        return True

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Drop it."""

    def write_eof(self) -> None:
        """Do nothing."""

    def can_write_eof(self) -> bool:
        """Say no."""
        return False

    def get_write_buffer_size(self) -> int:
        """Tell that nothing waits."""
        return 0

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def abort(self) -> None:
        """Do nothing."""


GONE: Final = GoneTransport()


class OutFlow:
    """The state of the way out of one connection.

    The transport says when its buffer is full and when it has room again; a writer waits in
    between. A peer that takes not one byte within ``timeout`` seconds has stalled.
    """

    __slots__ = ("_deadline", "_drained", "_loop", "_size", "_timeout", "_transport")

    def __init__(self, transport: asyncio.Transport, high_water: int, timeout: float) -> None:
        transport.set_write_buffer_limits(high=high_water)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._drained: asyncio.Future[None] | None = None
        self._deadline = NEVER
        self._size = 0

    def pause(self) -> None:
        """Let writers wait from now on."""
        self._drained = self._loop.create_future()
        self._size = self._transport.get_write_buffer_size()
        self._deadline = self._loop.time() + self._timeout

    def resume(self) -> None:
        """Let writers go on: there is room, or nothing to wait for any more."""
        self._deadline = NEVER
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def fail(self, error: PostroadError) -> None:
        """Let a waiting writer have an error: the connection is gone."""
        self._deadline = NEVER
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_exception(error)

    def let_go(self) -> None:
        """Forget the transport: the connection is lost."""
        self._transport = GONE

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        """Write; what it returns is to be awaited: the peer is slower than we are."""
        self._transport.write(data)
        return self._drained

    def has_stalled(self, now: float) -> bool:
        """Say whether the peer took nothing for too long (asked by the sweep)."""
        if now < self._deadline:
            return False
        size = self._transport.get_write_buffer_size()
        if size >= self._size:
            return True
        self._size = size
        self._deadline = now + self._timeout
        return False
