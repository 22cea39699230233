from __future__ import annotations

import asyncio
from contextlib import suppress

from postroad.errors import UnavailablePeer
from postroad.securityserver.exchange_report import ExchangeReport
from postroad.securityserver.opmonitoring.collecting import ObservationBuffer
from postroad.securityserver.opmonitoring.protocol import StoreArgument, WorkerState
from support.exchange import MovableClock


class Receiver:
    def __init__(self) -> None:
        self.batches: list[StoreArgument] = []
        self.is_down = False
        self.arrived = asyncio.Event()

    async def send(self, batch: StoreArgument) -> None:
        if self.is_down:
            raise UnavailablePeer("down")
        self.batches.append(batch)
        self.arrived.set()

    def remotes(self) -> list[list[str | None]]:
        return [[each.record.fault_code for each in batch.observations] for batch in self.batches]


def buffer_of(
    receiver: Receiver, *, size: int = 10, batch: int = 2, interval: float = 60.0
):  # a test's own
    return ObservationBuffer(
        receiver.send,
        lambda: WorkerState(0, 1),
        MovableClock(),
        size=size,
        batch=batch,
        interval=interval,
    )


def exchange(name: str) -> ExchangeReport:
    return ExchangeReport(side="client", fault=name)


def test_batches_keep_the_order_and_their_size() -> None:
    async def run() -> None:
        receiver = Receiver()
        buffer = buffer_of(receiver)
        for name in "abc":
            buffer.take(exchange(name))
        await buffer.send_all()
        assert receiver.remotes() == [["a", "b"], ["c"]]
        assert len(buffer) == 0

    asyncio.run(run())


def test_a_full_buffer_drops_the_oldest_and_counts_them() -> None:
    async def run() -> None:
        receiver = Receiver()
        receiver.is_down = True
        buffer = buffer_of(receiver, size=3)
        for name in "abcd":
            buffer.take(exchange(name))
        assert not await buffer.send_batch()
        buffer.take(exchange("e"))
        assert buffer.dropped == 2
        receiver.is_down = False
        await buffer.send_all()
        assert receiver.remotes() == [["c", "d"], ["e"]]

    asyncio.run(run())


def test_a_buffer_of_no_size_keeps_nothing() -> None:
    async def run() -> None:
        buffer = buffer_of(Receiver(), size=0)
        buffer.take(exchange("a"))
        assert (len(buffer), buffer.dropped) == (0, 0)

    asyncio.run(run())


def test_a_full_batch_is_sent_at_once_and_the_end_sends_the_rest() -> None:
    async def run() -> None:
        receiver = Receiver()
        buffer = buffer_of(receiver)
        async with asyncio.timeout(10):
            sending = asyncio.ensure_future(buffer.run())
            for name in "ab":
                buffer.take(exchange(name))
            await receiver.arrived.wait()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            buffer.take(exchange("c"))
            await buffer.send_all()
        assert receiver.remotes() == [["a", "b"], ["c"]]

    asyncio.run(run())
