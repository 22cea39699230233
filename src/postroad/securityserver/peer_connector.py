"""How is one of several candidate servers connected to: the fastest that is good.

All are called at once and the first TCP connection wins; then comes the TLS handshake, then the
judgement on its certificate, and only then HTTP. A winner that fails is left out and the rest tried
again. Source: PR-MESSTRANSP 3.2 (6); reference: ``FastestConnectionSelectingSSLSocketFactory``.
"""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import TYPE_CHECKING

from postroad.adapters.http_dialing import dial, dial_fastest
from postroad.errors import PostroadError, UnavailablePeer
from postroad.securityserver.routing import (
    WINNER_TIMEOUT,
    Winners,
    next_timeout,
    order_addresses,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.adapters.http_client import ClientExchange, ClientTls, HttpClient
    from postroad.adapters.http_client_connection import ClientConnection
    from postroad.globalconf.view import ProviderServer

    Judge = Callable[[str, tuple[bytes, ...]], Awaitable[None]]
    """Accepts a server (host and certificate chain shown) or raises ``TrustError``."""


def random_order(count: int) -> list[int]:
    """Return the indexes of ``count`` servers, shuffled."""
    return random.sample(range(count), count) if count > 1 else [*range(count)]


class PeerConnector:
    """Opens exchanges with other security servers over connections that are kept for the next one.

    ``tls`` is asked for each exchange, so that a new authentication key takes effect at once;
    None speaks plain HTTP.
    """

    def __init__(
        self,
        client: HttpClient,
        tls: Callable[[], ClientTls | None],
        port: int,
        *,
        connect_timeout: float = 30.0,
        response_timeout: float = 600.0,
        order: Callable[[int], Sequence[int]] = random_order,
        winners: Winners | None = None,
    ) -> None:
        self._client = client
        self._tls = tls
        self._port = port
        self._connect_timeout = connect_timeout
        self._response_timeout = response_timeout
        self._order = order
        self._winners = winners or Winners()

    async def open(
        self,
        servers: Sequence[ProviderServer],
        judge: Judge,
        headers: Sequence[tuple[str, str]],
    ) -> ClientExchange:
        """Connect, let ``judge`` accept the server, begin a chunked ``POST /``.

        Raises the last ``TrustError`` or other refusal of a server, or ``UnavailablePeer``
        (``network_error``) when none can be reached.
        """
        addresses = order_addresses(servers, self._order(len(servers)))
        now = asyncio.get_running_loop().time()
        favourite = self._winners.find(addresses, now) if len(addresses) > 1 else addresses[0]
        remaining, timeout = list(addresses), self._connect_timeout
        # Once for all attempts: the caller's OCSP responses belong to the certificate of now.
        tls = self._tls()
        last: PostroadError | None = None
        while remaining:
            try:
                host, connection = await self._reach(remaining, favourite, timeout, tls)
            except _Unfit as unfit:
                host, last = unfit.host, unfit.error
            except UnavailablePeer as error:
                raise last or error from error
            else:
                try:
                    await self._client.judge(connection, partial(_judged_at, judge, host))
                except PostroadError as error:
                    last = error
                else:
                    if connection.lost and connection.served:
                        continue  # a kept connection was lost meanwhile; nothing is sent yet
                    if len(addresses) > 1:
                        self._winners.remember(addresses, host, now)
                    return self._begin(host, connection, headers)
            self._winners.forget(addresses)
            remaining.remove(host)
            favourite, timeout = None, next_timeout(timeout)
        raise last or UnavailablePeer("there is no server to connect to")

    async def _reach(
        self,
        hosts: Sequence[str],
        favourite: str | None,
        seconds: float,
        tls: ClientTls | None,
    ) -> tuple[str, ClientConnection]:
        """Return a connection to the favourite, or to the fastest of the hosts.

        Raises ``_Unfit`` when the favourite can't be reached or the TLS handshake fails, and
        ``UnavailablePeer`` when no host can be reached.
        """
        if favourite is None:
            host, sock = await dial_fastest(hosts, self._port, timeout=seconds)
        else:
            host = favourite
            connection = self._client.idle(host, self._port, tls)
            if connection is not None:
                return host, connection
            seconds = seconds if len(hosts) == 1 else min(seconds, WINNER_TIMEOUT)
            try:
                sock = await dial(host, self._port, timeout=seconds)
            except PostroadError as error:
                raise _Unfit(host, error) from error
        try:
            return host, await self._client.connect(
                sock, host, self._port, tls, handshake_timeout=seconds
            )
        except PostroadError as error:
            raise _Unfit(host, error) from error

    def _begin(
        self, host: str, connection: ClientConnection, headers: Sequence[tuple[str, str]]
    ) -> ClientExchange:
        authority = f"[{host}]" if ":" in host else host
        return self._client.exchange(
            connection,
            "POST",
            "/",
            headers=[("Host", f"{authority}:{self._port}"), *headers],
            content_length=None,
            response_timeout=self._response_timeout,
        )


def _judged_at(judge: Judge, host: str, _leaf: bytes, chain: tuple[bytes, ...]) -> Awaitable[None]:
    return judge(host, chain)


class _Unfit(Exception):
    """A host that was reached, and whose TLS handshake failed."""

    def __init__(self, host: str, error: PostroadError) -> None:
        super().__init__(host)
        self.host = host
        self.error = error
