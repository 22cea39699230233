"""By which address is this machine known in the inner network?

The first address of the first network interface that is up; IPv4 before IPv6, loopback and
link-local addresses don't count. Reference: OpMonitoringDataProcessor.getIpAddress.
"""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path
from typing import Final

UNKNOWN_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - what the reference tells when it finds none
_FLAGS_REQUEST: Final = 0x8913
_ADDRESS_REQUEST: Final = 0x8915
_UP: Final = 0x1
_LOOPBACK: Final = 0x8
_IPV6_ADDRESSES: Final = Path("/proc/net/if_inet6")


def internal_address() -> str:
    """The address as text; ``0.0.0.0`` if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _index, name in sorted(socket.if_nameindex()):
            flags = _asked(probe, _FLAGS_REQUEST, name)
            if flags is None or not (bits := struct.unpack_from("H", flags)[0]) & _UP:
                continue
            if bits & _LOOPBACK:
                continue
            answer = _asked(probe, _ADDRESS_REQUEST, name)
            candidates = [] if answer is None else [socket.inet_ntoa(answer[4:8])]
            for address in (*candidates, *_ipv6_addresses(name)):
                if _is_usable(address):
                    return address
    return UNKNOWN_ADDRESS


def _asked(probe: socket.socket, request: int, name: str) -> bytes | None:
    try:
        answer: bytes = fcntl.ioctl(probe, request, struct.pack("256s", name.encode()[:15]))
    except OSError:
        return None
    return answer[16:]


def _ipv6_addresses(name: str) -> list[str]:
    try:
        lines = _IPV6_ADDRESSES.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    entries = [line.split() for line in lines]
    return [str(ipaddress.IPv6Address(int(entry[0], 16))) for entry in entries if entry[-1] == name]


def _is_usable(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return not found.is_loopback and not found.is_link_local and not found.is_unspecified
