"""Which servers host the provider, and in which order are they tried?

Pure decisions; connecting is ``peer_connector``'s work. Source: PR-MESSTRANSP 3.2 (5) and (6);
reference: ``AbstractClientMessageProcessor``, ``FastestConnectionSelectingSSLSocketFactory``.
"""

from __future__ import annotations

import ipaddress
import re
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from postroad.errors import FaultCode, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from postroad.globalconf.view import ProviderServer
    from postroad.identifiers import ClientId, SecurityServerId

WINNER_SECONDS: Final = 3600.0
"""How long the fastest of a set of servers is remembered."""
WINNER_TIMEOUT: Final = 5.0
"""Seconds that a remembered winner gets to be connected to again."""
LEAST_TIMEOUT: Final = 5.0
"""Seconds below which the time to connect is not halved."""
_MAX_WINNERS: Final = 10_000
_NAME: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,252}")


class ServerRegistry(Protocol):
    """What routing asks the global configuration."""

    def servers_of(self, client: ClientId) -> tuple[ProviderServer, ...]:
        """Servers with an address at which the client is registered."""
        ...

    def address_of(self, server_id: SecurityServerId) -> str | None:
        """Address of a server; None when it has none or is unknown."""
        ...


def choose_servers(
    registry: ServerRegistry, provider: ClientId, target: SecurityServerId | None
) -> tuple[ProviderServer, ...]:
    """Return the servers that may be asked for ``provider``; never none.

    1. all servers that host the provider and have an address (``unknown_member`` if there are none)
    2. with a target server only that one (``invalid_security_server`` if it isn't among them)
    3. none in maintenance mode (``maintenance_mode`` if all are, with the first one's message)
    4. only addresses that can be a host name

    Raises ``RefusedRequest``.
    """
    servers = registry.servers_of(provider)  # (1)
    if not servers:
        raise RefusedRequest(
            f"could not find an address of a security server for {provider}",
            code=FaultCode.UNKNOWN_MEMBER,
        )
    if target is not None:  # (2)
        servers = tuple(server for server in servers if server.server_id == target)
        if registry.address_of(target) is None or not servers:
            raise RefusedRequest(
                f"{target} is not a security server that hosts {provider}",
                code=FaultCode.INVALID_SECURITY_SERVER,
            )
    open_servers = tuple([server for server in servers if server.maintenance is None])  # (3)
    if not open_servers:
        message = servers[0].maintenance
        raise RefusedRequest(
            f"{servers[0].server_id} is in maintenance mode" + (f": {message}" if message else ""),
            code=FaultCode.MAINTENANCE_MODE,
        )
    usable = tuple([server for server in open_servers if is_host(server.address)])  # (4)
    if not usable:
        raise RefusedRequest(
            f"no security server of {provider} has a usable address", code=FaultCode.UNKNOWN_MEMBER
        )
    return usable


@lru_cache(maxsize=1024)
def is_host(address: str) -> bool:
    """Say whether an address can be a DNS name or an IP address."""
    if _NAME.fullmatch(address) is not None:
        return True
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def order_addresses(servers: Sequence[ProviderServer], order: Iterable[int]) -> tuple[str, ...]:
    """Return the distinct addresses in the given order (a permutation of the servers' indexes).

    >>> order_addresses([], [])
    ()
    """
    return tuple(dict.fromkeys(servers[index].address for index in order))


def next_timeout(timeout: float) -> float:
    """Return the seconds to connect after a failed attempt: half, but not less than five.

    >>> next_timeout(30.0), next_timeout(6.0)
    (15.0, 5.0)
    """
    return max(timeout / 2, LEAST_TIMEOUT)


class Winners:
    """The server that answered first, per set of candidate addresses, for an hour.

    ``at`` is a moment of a monotonic clock in seconds.
    """

    def __init__(self, seconds: float = WINNER_SECONDS) -> None:
        self._seconds = seconds
        self._known: OrderedDict[frozenset[str], tuple[str, float]] = OrderedDict()

    def find(self, addresses: Iterable[str], at: float) -> str | None:
        """Return the remembered winner of a set."""
        key = frozenset(addresses)
        address, until = self._known.get(key, ("", 0.0))
        if at < until:
            return address
        self._known.pop(key, None)
        return None

    def remember(self, addresses: Iterable[str], winner: str, at: float) -> None:
        """Note who was fastest; an existing note for the same winner keeps its end."""
        key = frozenset(addresses)
        if self.find(key, at) == winner or self._seconds <= 0:
            return
        self._known[key] = (winner, at + self._seconds)
        self._known.move_to_end(key)
        if len(self._known) > _MAX_WINNERS:
            self._known.popitem(last=False)

    def forget(self, addresses: Iterable[str]) -> None:
        """Drop the note for a set: its winner failed."""
        self._known.pop(frozenset(addresses), None)
