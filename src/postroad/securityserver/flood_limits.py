"""Has a client asked more often than this server lets one client ask?

One bucket of tokens for each client (subsystem), filled at the rate that the settings allow. Only
clients whose right to speak was proven are counted: nobody empties the bucket of another. Each
worker process has its share of the rate.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, RefusedRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.identifiers import ClientId

MAX_CLIENTS: Final = 10_000
BURST_SECONDS: Final = 2.0
"""How much of an unused rate is kept for later."""


class TooManyRequests(RefusedRequest):
    """A client that asks too often; ``retry_after`` is in whole seconds."""

    default_code = FaultCode.BAD_REQUEST

    def __init__(self, client: ClientId, retry_after: int) -> None:
        super().__init__(
            f"{client} sends more requests than this security server lets one client send; "
            f"try again in {retry_after} s"
        )
        self.retry_after = retry_after


class FloodLimit:
    """At most ``rate`` requests a second of each client, with short bursts; 0 is no limit.

    >>> from postroad.identifiers import MemberId
    >>> moments = iter([0.0, 0.0, 0.0])
    >>> limit = FloodLimit(1.0, lambda: next(moments))
    >>> limit.admit(MemberId("A", "B", "c")), limit.admit(MemberId("A", "B", "c"))
    (None, None)
    """

    def __init__(self, rate: float, monotonic: Callable[[], float]) -> None:
        self._rate = rate
        self._size = max(1.0, rate * BURST_SECONDS)
        self._monotonic = monotonic
        self._buckets: OrderedDict[ClientId, tuple[float, float]] = OrderedDict()
        """Tokens left at a moment; whoever isn't here has a full bucket."""

    def admit(self, client: ClientId) -> None:
        """Take a token of the client's; raises ``TooManyRequests``."""
        if not self._rate:
            return
        now = self._monotonic()
        left, at = self._buckets.get(client, (self._size, now))
        left = min(self._size, left + (now - at) * self._rate)
        if left < 1.0:
            raise TooManyRequests(client, math.ceil((1.0 - left) / self._rate))
        self._buckets[client] = (left - 1.0, now)
        self._buckets.move_to_end(client)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
