"""Which identifier parts, names and addresses does the registry accept?

Source: reference identifier validation of the Central Server (strict and legacy rules).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from typing import TYPE_CHECKING

from postroad.centralserver.models.base import CODE_LENGTH
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.management.addresses import is_host_name, is_ip_address

if TYPE_CHECKING:
    from postroad.centralserver.registry.change import Change

MAX_NAME = 255
"""Longest member or subsystem name and description, in characters."""

_STRICT = re.compile(r"[a-zA-Z0-9'()+,\-.=?]+")
_FORBIDDEN = frozenset(":;%/\\\ufeff\u200b")
_PORTS = 65536


def check_code(change: Change, what: str, code: str) -> str:
    """The identifier part, when it is an acceptable one.

    Raises ``RegistryRefusal`` that says which character or rule.
    """
    if not code or code != code.strip():
        raise _refused(f"{what} {code!r} is empty, or begins or ends with a blank")
    if len(code) > CODE_LENGTH:
        raise _refused(f"{what} is longer than {CODE_LENGTH} characters")
    if change.strict_identifiers:
        if not _STRICT.fullmatch(code):
            raise _refused(f"{what} {code!r} may hold only letters a-z, digits and '()+,-.=?")
        return code
    wrong = [c for c in code if c in _FORBIDDEN or unicodedata.category(c) == "Cc"]
    if wrong:
        raise _refused(f"{what} {code!r} holds the forbidden character {wrong[0]!r}")
    return code


def check_name(what: str, name: str) -> str:
    """The name or description, trimmed; one line of 1 to 255 characters."""
    name = name.strip()
    if not name or len(name) > MAX_NAME:
        raise _wrong(f"{what} must have 1 to {MAX_NAME} characters")
    if any(unicodedata.category(c) == "Cc" for c in name):
        raise _wrong(f"{what} holds a control character")
    return name


def check_address(address: str) -> str:
    """The host name or IP address, trimmed: no scheme, no port.

    An internationalised name is accepted and kept as it was written.
    """
    address = address.strip()
    if is_ip_address(address):
        return str(ipaddress.ip_address(address))
    if not is_host_name(address):
        raise _wrong(f"{address!r} is neither a host name nor an IP address")
    return address


def check_node_address(address: str) -> str:
    """A host name or IP address, trimmed, with or without a port.

    Ports are for instances that don't serve their configuration on port 80.

    >>> check_node_address("central.example:8080")
    'central.example:8080'
    """
    address = address.strip()
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        return check_address(address)
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < _PORTS):
        raise _wrong(f"{address!r} has no usable port")
    if host.startswith("["):
        return f"[{check_address(host[1:-1])}]:{port}"
    return f"{check_address(host)}:{port}"


def host_of(address: str) -> str:
    """The host of an address, its port left out.

    >>> host_of("central.example:8080"), host_of("[::1]:80")
    ('central.example', '[::1]')
    """
    host, colon, _port = address.rpartition(":")
    return host if colon and (":" not in host or host.startswith("[")) else address


def check_url(what: str, url: str) -> str:
    """The http or https address, trimmed."""
    url = url.strip()
    if not re.fullmatch(r"https?://[^\s/?#@]+[^\s]*", url) or len(url) > MAX_NAME:
        raise _wrong(f"{what} {url!r} is not an http(s) address of at most {MAX_NAME} characters")
    return url


def _refused(message: str) -> RegistryRefusal:
    return RegistryRefusal(Problem.INVALID_IDENTIFIER, message)


def _wrong(message: str) -> RegistryRefusal:
    return RegistryRefusal(Problem.INVALID_VALUE, message)
