"""Which lines of an HTTP header list stay, and how is one of them looked up?

Header lists are ordered and may repeat a name, so they are tuples of pairs, never dictionaries.
Source: PR-REST 4 (header rules); reference: RestMessage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

HeaderList = tuple[tuple[str, str], ...]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Everything that could end a line or hide in a log: C0 controls but the tab, and DEL.
_FORBIDDEN_IN_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def without(headers: Iterable[tuple[str, str]], names: Collection[str]) -> HeaderList:
    """The headers whose lower-cased name is not among ``names`` (given in lower case).

    >>> without([("Host", "a"), ("Accept", "*/*")], {"host"})
    (('Accept', '*/*'),)
    """
    return tuple((name, value) for name, value in headers if name.lower() not in names)


def last_value(headers: Iterable[tuple[str, str]], name: str) -> str | None:
    """The value of the last header called ``name`` in any case, or None.

    The last one counts because that is what the peers of the protocol do (PR-REST 4.3).

    >>> last_value([("X-Road-Id", "1"), ("x-road-id", "2")], "X-Road-Id")
    '2'
    """
    wanted = name.lower()
    found = None
    for candidate, value in headers:
        if candidate.lower() == wanted:
            found = value
    return found


def all_values(headers: Iterable[tuple[str, str]], name: str) -> tuple[str, ...]:
    """The values of every header called ``name`` in any case, in order.

    >>> all_values([("Accept", "text/xml"), ("accept", "*/*")], "accept")
    ('text/xml', '*/*')
    """
    wanted = name.lower()
    return tuple(value for candidate, value in headers if candidate.lower() == wanted)


def is_header_name(name: str) -> bool:
    """True if ``name`` is a token of RFC 9110, so it can't smuggle a colon or a line end."""
    return _TOKEN.fullmatch(name) is not None


def is_header_value(value: str) -> bool:
    r"""True if ``value`` holds no control character besides the tab.

    >>> is_header_value("a\tb"), is_header_value("a\r\nb")
    (True, False)
    """
    return _FORBIDDEN_IN_VALUE.search(value) is None
