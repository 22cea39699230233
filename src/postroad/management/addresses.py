"""Can a security server be reached under this address: is it an IP address or a host name?"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

MAX_HOST_NAME: Final = 255

_LABEL: Final = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")


def is_ip_address(address: str) -> bool:
    """Whether this is an IPv4 or IPv6 address, without brackets or a zone."""
    try:
        return "%" not in str(ipaddress.ip_address(address))
    except ValueError:
        return False


def is_host_name(address: str) -> bool:
    """Whether this is a domain name, in any script: no scheme, no port, no blanks.

    >>> is_host_name("ss1.example"), is_host_name("ülemiste.example"), is_host_name("a..b")
    (True, True, False)
    """
    try:
        name = address.encode("idna").decode("ascii") if address else ""
    except UnicodeError:
        return False
    labels = name.removesuffix(".").split(".")
    return len(name) <= MAX_HOST_NAME and all(_LABEL.fullmatch(label) for label in labels)


def is_server_address(address: str) -> bool:
    """Whether a security server can have this address."""
    return is_ip_address(address) or is_host_name(address)
