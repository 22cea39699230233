"""Which connections have overstayed: one sweep for all of them instead of one timer for each.

A timer per request costs more than parsing the request. Here a connection writes down moments of
the loop's clock, and a sweep, a few times a second, calls those whose moment has passed. So a
deadline is late by up to one ``interval``, which no limit of ours minds.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

NEVER: Final = math.inf


class Perishable(Protocol):
    """A connection with a deadline on the loop's clock."""

    def expire(self, now: float) -> None:
        """Act if a deadline has passed."""
        ...


class Deadlines:
    """The sweep over the open connections of one server or client; runs only while some exist."""

    def __init__(self, interval: float = 0.2) -> None:
        self._interval = interval
        self._members: set[Perishable] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._members)

    def add(self, member: Perishable) -> None:
        """Watch a connection from now on."""
        self._members.add(member)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval, self._sweep)

    def discard(self, member: Perishable) -> None:
        """Forget a connection."""
        self._members.discard(member)
        if not self._members and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._interval, self._sweep)
        now = loop.time()
        for member in tuple(self._members):
            member.expire(now)
