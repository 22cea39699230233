"""May this somebody try a password once more?

Attempts are counted before they are judged, so many at once gain nothing; a success wipes the count
of its source. The count of a user name is generous, because strangers can use it up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from typing import Final

from postroad.adapters.http_sources import source_of

MAX_KEYS: Final = 10_000
_OF_ADDRESS: Final = (10, 60.0)
_OF_USERNAME: Final = (30, 300.0)
"""Attempts, and the seconds in which they count."""


class LoginGuard:
    """Counts attempts of every address and for every user name; threads may share it."""

    def __init__(self) -> None:
        self._attempts: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def admit(self, address: str, username: str, at: float) -> bool:
        """Whether the attempt may be judged; ``at`` is in monotonic seconds."""
        with self._lock:
            keys = (("address", source_of(address)), ("username", username[:255]))
            limits = (_OF_ADDRESS, _OF_USERNAME)
            counts = [self._recent(k, at - limit[1]) for k, limit in zip(keys, limits, strict=True)]
            if any(len(c) >= limit[0] for c, limit in zip(counts, limits, strict=True)):
                return False
            for count in counts:
                count.append(at)
            return True

    def succeeded(self, address: str, username: str) -> None:
        """Forget what the source and the user name have tried."""
        with self._lock:
            self._attempts.pop(("address", source_of(address)), None)
            self._attempts.pop(("username", username[:255]), None)

    def _recent(self, key: tuple[str, str], since: float) -> deque[float]:
        times = self._attempts.setdefault(key, deque())
        self._attempts.move_to_end(key)
        if len(self._attempts) > MAX_KEYS:
            self._attempts.popitem(last=False)
        while times and times[0] <= since:
            times.popleft()
        return times
