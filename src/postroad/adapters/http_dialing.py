"""How do we reach an address: name resolution, the guard against forbidden targets, TCP, TLS.

The guard judges the resolved address and the very same address is connected to, so a name that
resolves differently a moment later (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from postroad.errors import FaultCode, PostroadError, TrustError, UnavailablePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Guard = Callable[[str], None]
    """Called with each resolved IP address; raises ``RefusedRequest`` to forbid it."""

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True, eq=False)
class ClientTls:
    """How to speak TLS to a server. Connections are shared among uses of the same object only."""

    context: ssl.SSLContext
    server_name: str | None = None
    """For SNI, and for the host name check if the context asks for one; None sends no name."""


Destination = tuple[str, int, ClientTls | None]
"""Host, port and TLS: what connections in the pool are interchangeable for."""


async def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the IP addresses of a host in the resolver's order.

    Raises ``UnavailablePeer`` (``unknown_host``).
    """
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnavailablePeer(
            f"the name {host!r} can't be resolved: {error}", code=FaultCode.UNKNOWN_HOST
        ) from error
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def dial(
    host: str,
    port: int,
    *,
    timeout: float,  # noqa: ASYNC109 - covers resolving and all attempts
    guard: Guard | None = None,
) -> socket.socket:
    """Open a TCP connection, trying the addresses of ``host`` one after the other.

    Raises ``UnavailablePeer`` when none answers within ``timeout`` seconds in all, and whatever
    ``guard`` raises for an address that must not be called.
    """
    last: Exception = OSError("it has no address")
    try:
        async with asyncio.timeout(timeout):
            addresses = await resolve(host, port)
            for address in addresses:
                if guard is not None:
                    guard(address)
                try:
                    async with asyncio.timeout(timeout / len(addresses)):
                        return await _connect(address, port)
                except OSError as error:  # TimeoutError is one too
                    last = error
    except TimeoutError as error:
        last = error
    reason = "no answer in time" if isinstance(last, TimeoutError) else str(last)
    raise UnavailablePeer(f"{host}:{port} can't be reached: {reason}") from last


async def dial_fastest(
    hosts: Sequence[str],
    port: int,
    *,
    timeout: float,  # noqa: ASYNC109 - covers all attempts
) -> tuple[str, socket.socket]:
    """Open TCP connections to all hosts at once and return the first, with its host.

    The others are closed. Raises ``UnavailablePeer`` when none answers.
    """
    if len(hosts) == 1:
        return hosts[0], await dial(hosts[0], port, timeout=timeout)
    attempts = {asyncio.ensure_future(dial(host, port, timeout=timeout)): host for host in hosts}
    waiting = set(attempts)
    reasons: list[str] = []
    try:
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    return attempts.pop(attempt), attempt.result()
                if not isinstance(error, PostroadError):
                    raise error
                reasons.append(str(error))
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(_close_unwanted)
    raise UnavailablePeer("; ".join(reasons) or "there is no server to connect to")


def _close_unwanted(attempt: asyncio.Future[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the socket API
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def attach(
    sock: socket.socket,
    protocol: Callable[[], _P],
    *,
    tls: ClientTls | None,
    context: ssl.SSLContext | None,
    handshake_timeout: float,
) -> _P:
    """Put a protocol, and TLS if asked for, on a connected socket (which it then owns).

    ``context`` is the context to use for ``tls`` (a stand-in that resumes sessions). Raises
    ``TrustError`` (``ssl_authentication_failed``) when the handshake fails, ``UnavailablePeer``
    when it takes too long or the peer hangs up.
    """
    loop = asyncio.get_running_loop()
    try:
        if tls is None:
            _, made = await loop.create_connection(protocol, sock=sock)
        else:
            _, made = await loop.create_connection(
                protocol,
                sock=sock,
                ssl=context or tls.context,
                server_hostname=tls.server_name or "",
                ssl_handshake_timeout=handshake_timeout,
                ssl_shutdown_timeout=1.0,
            )
    except ssl.SSLError as error:
        raise _handshake_failed(str(error)) from error
    except OSError as error:
        raise UnavailablePeer(f"the TLS handshake was broken off: {error}") from error
    return made


def _handshake_failed(reason: str) -> PostroadError:
    return TrustError(
        f"the TLS handshake failed: {reason}", code=FaultCode.SSL_AUTHENTICATION_FAILED
    )
