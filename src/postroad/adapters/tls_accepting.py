"""How does a port take in TLS connections when strangers open thousands and never finish one?

An event loop's own server keeps every handshake it began until that is over or its time is up, and
each holds tens of kilobytes. Here they are counted: one too many takes the place of the oldest.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from postroad.adapters.http_limits import ServerLimits

_AT_ONCE: Final = 64
"""Connections taken in before others have their turn."""
_PAUSE: Final = 1.0
"""Seconds without new connections when the system has no room for one, as asyncio's server does."""


class TlsAcceptor:
    """Listening sockets; a connection gets its protocol when its handshake begins."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        factory: Callable[[], asyncio.BaseProtocol],
        context: ssl.SSLContext,
        limits: ServerLimits,
    ) -> None:
        self.sockets = tuple(sockets)
        self._factory = factory
        self._context = context
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}
        """Those that aren't over, in the order in which they began."""
        self._is_closed = False
        for each in self.sockets:
            self._resume(each)

    def close(self) -> None:
        """Stop accepting, and give up the handshakes that aren't over."""
        self._is_closed = True
        for each in self.sockets:
            if each.fileno() >= 0:
                self._loop.remove_reader(each)
                each.close()
        for task in tuple(self._handshakes):
            task.cancel()

    def _resume(self, listening: socket.socket) -> None:
        if not self._is_closed:
            self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no file descriptor or no memory is left
                self._loop.remove_reader(listening)
                self._loop.call_later(_PAUSE, self._resume, listening)
                return
            accepted.settimeout(0)
            self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        if len(self._handshakes) >= self._limits.max_handshakes:
            oldest = next(iter(self._handshakes))
            self._ended(oldest)
            oldest.cancel()
        task = self._loop.create_task(self._shake_hands(accepted))
        self._handshakes[task] = accepted
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)

    async def _shake_hands(self, accepted: socket.socket) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(
                self._factory,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_timeout,
                ssl_shutdown_timeout=self._limits.linger_timeout,
            )
        except OSError:  # TLS errors and time limits among them: whoever called hears of it
            accepted.close()


async def bound_sockets(
    host: str, port: int, *, reuse_port: bool, backlog: int
) -> list[socket.socket]:
    """Listening sockets for every address that a host name stands for; raises ``OSError``."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, address in dict.fromkeys((info[0], info[4]) for info in found):
            listening = socket.create_server(
                address, family=family, backlog=backlog, reuse_port=reuse_port
            )
            sockets.append(listening)
            listening.settimeout(0)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets
