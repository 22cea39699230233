"""Which addresses may this server call on behalf of a service's declaration?

Whoever may declare services chooses addresses that the server then calls from inside its network.
The resolved address is judged, and that very address is connected to, so a name that resolves
differently a moment later gains nothing. Link-local addresses, where clouds hand out the machine's
secrets, are refused unless a network that is allowed by name holds them.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from postroad.errors import ConfigurationError, FaultCode, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class ServiceNetworks:
    """Networks that services may be in; without any allowed by name, all but the denied ones."""

    allowed: tuple[Network, ...] = ()
    denied: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, allowed: Sequence[str], denied: Sequence[str]) -> ServiceNetworks:
        """Read networks; raises ``ConfigurationError`` for what is none.

        >>> ServiceNetworks.parse(["10.0.0.0/8"], []).guard("10.1.2.3")
        """
        return cls(tuple(map(_network, allowed)), tuple(map(_network, denied)))

    def guard(self, address: str) -> None:
        """Raise ``RefusedRequest`` (``service_failed``) for an address that must not be called."""
        where = _address(address)
        is_named = any(where in network for network in self.allowed)
        if any(where in network for network in self.denied) or not (is_named or not self.allowed):
            raise RefusedRequest(
                f"services at {address} may not be called: see [services] in the settings",
                code=FaultCode.SERVICE_FAILED,
            )
        if not is_named:
            refuse_link_local(address)


def refuse_link_local(address: str) -> None:
    """Refuse addresses at which no service can be, but secrets of the machine may (clouds)."""
    where = _address(address)
    if where.is_link_local or where.is_multicast or where.is_unspecified:
        raise RefusedRequest(f"nothing is fetched from {address}", code=FaultCode.BAD_REQUEST)


def _address(address: str) -> Address:
    """The address that is really called: IPv4 inside of IPv6 counts as IPv4."""
    where = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(where, ipaddress.IPv6Address):
        if where.ipv4_mapped is not None:
            return where.ipv4_mapped
        if where in _TRANSLATED:
            return ipaddress.IPv4Address(int(where) & 0xFFFFFFFF)
    return where


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigurationError(
            f"[services]: {text!r} is no network: write it as 10.0.0.0/8 or fd00::/8 ({error})"
        ) from error
