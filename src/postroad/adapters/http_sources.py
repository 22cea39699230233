"""What counts as one source of requests?"""

from __future__ import annotations

import ipaddress
from typing import Final

_IPV6_NETWORK: Final = 64
"""Bits that one IPv6 subscriber has in common; all addresses below count as one source."""


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the network of an IPv6 subscriber."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK), strict=False))
