"""How do a worker's observations get to the process that stores them, without holding up anybody?

An exchange appends to a bounded buffer; a task sends it in batches. When the other side can't take
them the oldest are dropped and counted (reference: OpMonitoringBuffer): monitoring may never cost
an exchange.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError
from postroad.securityserver.opmonitoring import protocol
from postroad.securityserver.opmonitoring.observing import observe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from postroad.clock import Clock
    from postroad.securityserver.exchange_report import ExchangeReport
    from postroad.securityserver.opmonitoring.protocol import StoreArgument, WorkerState
    from postroad.securityserver.opmonitoring.record import Observation

LAST_SEND_SECONDS: Final = 2.0
"""How long the end of a worker waits for what is still in the buffer."""


class ObservationBuffer:
    """The observations of one worker; ``size`` 0 keeps none."""

    def __init__(
        self,
        send: Callable[[StoreArgument], Awaitable[None]],
        state: Callable[[], WorkerState],
        clock: Clock,
        *,
        size: int,
        batch: int,
        interval: float,
    ) -> None:
        self._send = send
        self._state = state
        self._clock = clock
        self._size = size
        self._batch = batch
        self._interval = interval
        self._waiting: deque[Observation] = deque()
        self._batch_is_full = asyncio.Event()
        self.dropped = 0

    def take(self, report: ExchangeReport) -> None:
        """Note an exchange that has ended; nothing is awaited and nothing raised."""
        if not self._size:
            return  # 0 keeps nothing
        with suppress(PostroadError):
            self._waiting.append(observe(report, self._clock.now()))
        self._drop_oldest()
        if len(self._waiting) >= self._batch:
            self._batch_is_full.set()

    def __len__(self) -> int:
        return len(self._waiting)

    async def run(self) -> None:
        """Send batch after batch, and a sign of life without any; until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._interval):
                    await self._batch_is_full.wait()
            except TimeoutError:
                pass
            if not await self.send_batch():
                self._batch_is_full.clear()
                await asyncio.sleep(self._interval)

    async def send_all(self) -> None:
        """Send what is left, as far as that goes quickly."""
        try:
            async with asyncio.timeout(LAST_SEND_SECONDS):
                while self._waiting and await self.send_batch():
                    pass
        except TimeoutError:
            return

    async def send_batch(self) -> bool:
        """Send one batch; whether it has arrived. If not it will be sent again."""
        count = min(self._batch, len(self._waiting))
        batch = [self._waiting.popleft() for _ in range(count)]
        if len(self._waiting) < self._batch:
            self._batch_is_full.clear()
        try:
            await self._send(protocol.StoreArgument(self._state(), batch))
        except PostroadError:
            self._waiting.extendleft(reversed(batch))
            self._drop_oldest()
            return False
        except asyncio.CancelledError:
            self._waiting.extendleft(reversed(batch))
            raise
        return True

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._size:
            self._waiting.popleft()
            self.dropped += 1
