"""Is the consumer's Security Server new enough for us?

Source: UG-SS 6.8; reference: ClientProxyVersionVerifier.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from postroad.errors import FaultCode, RefusedRequest

_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(-?)")


def check_client_version(told: str | None, oldest: str) -> None:
    """Accept a version of at least ``oldest``; without one, any.

    Raises ``RefusedRequest`` (``client_proxy_version_not_supported``) for an older version, and for
    one that can't be told.

    >>> check_client_version("7.6.1", "7.6.0")
    """
    if not oldest:
        return
    version = _order(told or "")
    if version is None or version < (_order(oldest) or ()):
        raise RefusedRequest(
            f"The minimum supported version for client security server is: {oldest} ",
            code=FaultCode.CLIENT_PROXY_VERSION_NOT_SUPPORTED,
        )


@lru_cache(maxsize=256)
def _order(version: str) -> tuple[int, ...] | None:
    """What versions are ordered by: what precedes a release (``7.6.0-…``) is older than it."""
    found = _VERSION.match(version)
    if found is None:
        return None
    return (int(found[1]), int(found[2]), int(found[3]), 0 if found[4] else 1)
