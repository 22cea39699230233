"""May this source ask once more, or has it asked too often of late?"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

from postroad.adapters.http_sources import source_of

MAX_SOURCES: Final = 10_000
"""Sources that are remembered; of more, those that asked longest ago are forgotten."""


class RateLimit:
    """At most ``requests`` of one source in any ``period`` seconds.

    >>> limit = RateLimit(2, period=60)
    >>> [limit.admit("192.0.2.1", at) for at in (0.0, 1.0, 2.0, 60.5)]
    [True, True, False, True]
    """

    def __init__(self, requests: int, *, period: float = 60.0) -> None:
        self._requests = requests
        self._period = period
        self._sources: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, address: str, at: float) -> bool:
        """Whether a request of that IP address may be answered; ``at`` is in monotonic seconds."""
        source = source_of(address)
        times = self._sources.setdefault(source, deque())
        self._sources.move_to_end(source)
        if len(self._sources) > MAX_SOURCES:
            self._sources.popitem(last=False)
        while times and times[0] <= at - self._period:
            times.popleft()
        if len(times) >= self._requests:
            return False
        times.append(at)
        return True
