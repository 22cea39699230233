from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog import committing
from postroad.securityserver.messagelog.committing import (
    COMPANY,
    ENOUGH,
    GroupCommitter,
    Outcome,
)
from postroad.securityserver.messagelog.database import refused_row, unusable
from postroad.securityserver.messagelog.store import Piece, PreparedRecord
from support.messagelog import record


@dataclass
class SlowStore:
    """A store whose commits wait for a gate, and fail as told."""

    gate: threading.Event = field(default_factory=threading.Event)
    written: list[tuple[int, int]] = field(default_factory=list)
    """How many records and pieces each transaction held."""
    failure: Exception | None = None
    poison: PreparedRecord | None = None
    is_remote: bool = True
    threads: list[str] = field(default_factory=list)
    """Which thread wrote each transaction."""
    _next: int = 0

    def write(self, records: Sequence[PreparedRecord], pieces: Sequence[Piece] = ()) -> list[int]:
        assert self.gate.wait(10)
        self.threads.append(threading.current_thread().name)
        self.written.append((len(records), len(pieces)))
        if self.failure is not None:
            raise self.failure
        if self.poison in records:
            raise refused_row("poison")
        self._next += len(records)
        return list(range(self._next - len(records) + 1, self._next + 1))

    def checkpoint(self) -> int:
        return 7


@dataclass
class Bench:
    store: SlowStore
    committer: GroupCommitter
    heard: list[tuple[int, int, ConfigurationError | None]]


def bench(*, queue_limit: int = 1000, is_remote: bool = True) -> Bench:
    store = SlowStore(is_remote=is_remote)
    heard: list[tuple[int, int, ConfigurationError | None]] = []

    def on_commit(records: int, size: int, error: ConfigurationError | None) -> None:
        heard.append((records, size, error))

    committer = GroupCommitter(store, queue_limit=queue_limit, on_commit=on_commit)
    return Bench(store, committer, heard)


def prepared(size: int = 10) -> PreparedRecord:
    return PreparedRecord(record(message=bytes(size - 1), signature=b"s"))


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_lone_record_is_committed_at_once() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.gate.set()
        assert await made.committer.submit(prepared()) == 1
        assert made.store.written == [(1, 0)]
        await made.committer.drain()

    asyncio.run(scenario())


def test_what_waits_during_a_commit_shares_the_next_one() -> None:
    async def scenario() -> None:
        made = bench()
        first = made.committer.submit(prepared())
        await settle()
        others = [made.committer.submit(prepared()) for _ in range(20)]
        assert made.committer.queued == 20
        made.store.gate.set()
        assert await first == 1
        assert await asyncio.gather(*others) == list(range(2, 22))
        assert made.store.written == [(1, 0), (20, 0)]
        assert made.heard == [(1, 10, None), (20, 200, None)]
        await made.committer.drain()

    asyncio.run(scenario())


def test_nothing_is_acknowledged_before_its_commit_has_returned() -> None:
    async def scenario() -> None:
        made = bench()
        future = made.committer.submit(prepared())
        await asyncio.sleep(0.05)
        assert not future.done()
        made.store.gate.set()
        assert await future == 1
        await made.committer.drain()

    asyncio.run(scenario())


def test_transactions_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "MAX_TRANSACTION_RECORDS", 3)
    monkeypatch.setattr(committing, "MAX_TRANSACTION_BYTES", 100)

    async def scenario() -> None:
        made = bench()
        first = made.committer.submit(prepared())
        await settle()
        sizes = [10, 10, 10, 10, 90, 90, 500, 10]
        others = [made.committer.submit(prepared(size)) for size in sizes]
        made.store.gate.set()
        await asyncio.gather(first, *others)
        assert [records for records, _ in made.store.written] == [1, 3, 2, 1, 1, 1]
        await made.committer.drain()

    asyncio.run(scenario())


def test_pieces_go_one_at_a_time_beside_small_records() -> None:
    async def scenario() -> None:
        made = bench()
        first = made.committer.submit(prepared())
        await settle()
        pieces = [
            asyncio.ensure_future(made.committer.submit_piece(Piece(9, 1, number, b"x" * 5)))
            for number in range(2)
        ]
        await settle()
        other = made.committer.submit(prepared())
        made.store.gate.set()
        await asyncio.gather(first, other, *pieces)
        assert made.store.written == [(1, 0), (1, 1), (0, 1)]
        assert made.heard[1:] == [(1, 15, None), (0, 5, None)]
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_full_queue_refuses_at_once() -> None:
    async def scenario() -> None:
        made = bench(queue_limit=2)
        first = made.committer.submit(prepared())
        await settle()
        waiting = [made.committer.submit(prepared()) for _ in range(2)]
        assert made.committer.is_full
        with pytest.raises(ConfigurationError, match="behind by 2 records") as refused:
            await made.committer.submit(prepared())
        assert refused.value.fault_code == "logging_failed"
        made.store.gate.set()
        await asyncio.gather(first, *waiting)
        assert await made.committer.submit(prepared()) == 4
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_queue_full_of_bytes_refuses_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "MAX_QUEUED_BYTES", 100)

    async def scenario() -> None:
        made = bench()
        first = made.committer.submit(prepared())
        await settle()
        waiting = made.committer.submit(prepared(100))
        with pytest.raises(ConfigurationError, match="behind"):
            await made.committer.submit(prepared())
        made.store.gate.set()
        await asyncio.gather(first, waiting)
        assert not made.committer.is_full
        await made.committer.drain()

    asyncio.run(scenario())


def test_an_unusable_database_fails_the_whole_batch_once() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.failure = unusable("disk full")
        first = made.committer.submit(prepared())
        await settle()
        others = [made.committer.submit(prepared()) for _ in range(5)]
        made.store.gate.set()
        outcomes = await asyncio.gather(first, *others, return_exceptions=True)
        assert all(isinstance(error, ConfigurationError) for error in outcomes)
        assert len({id(error) for error in outcomes}) == 6
        assert made.store.written == [(1, 0), (5, 0)]
        made.store.failure = None
        assert await made.committer.submit(prepared()) == 1
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_record_that_the_database_refuses_fails_alone() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.poison = prepared()
        first = made.committer.submit(prepared())
        await settle()
        good = [made.committer.submit(prepared()) for _ in range(2)]
        bad = made.committer.submit(made.store.poison)
        piece = asyncio.ensure_future(made.committer.submit_piece(Piece(9, 1, 0, b"x")))
        await settle()
        made.store.gate.set()
        with pytest.raises(ConfigurationError, match="poison"):
            await bad
        assert await asyncio.gather(first, *good) == [1, 2, 3]
        await piece
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_caller_that_gave_up_is_no_obstacle() -> None:
    async def scenario() -> None:
        made = bench()
        first = made.committer.submit(prepared())
        gone = made.committer.submit(prepared())
        await settle()
        gone.cancel()
        made.store.gate.set()
        assert await first == 1
        assert await made.committer.submit(prepared())
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_defect_leaves_nobody_waiting() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.failure = ZeroDivisionError()
        unexpected: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unexpected.append(told))
        future = made.committer.submit(prepared())
        made.store.gate.set()
        with pytest.raises(ConfigurationError, match="unexpectedly"):
            await future
        made.store.failure = None
        assert await made.committer.submit(prepared()) == 1
        await made.committer.drain()

    asyncio.run(scenario())


def test_other_work_takes_its_turn() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.gate.set()
        assert await made.committer.run(made.store.checkpoint) == 7
        await made.committer.drain()

    asyncio.run(scenario())


def test_draining_finishes_what_was_accepted() -> None:
    async def scenario() -> None:
        made = bench()
        futures = [made.committer.submit(prepared()) for _ in range(3)]
        made.store.gate.set()
        await made.committer.drain()
        assert [future.result() for future in futures] == [1, 2, 3]

    asyncio.run(scenario())


def test_records_handed_over_together_are_answered_together() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.gate.set()
        heard: list[list[Outcome]] = []
        made.committer.submit_many([prepared(), prepared()], heard.append)
        made.committer.submit_many([prepared()], heard.append)
        made.committer.submit_many([], heard.append)
        await made.committer.drain()
        assert heard == [[], [1, 2], [3]]
        assert made.store.written == [(3, 0)]

    asyncio.run(scenario())


def test_a_refused_record_fails_alone_among_those_it_came_with() -> None:
    async def scenario() -> None:
        made = bench()
        made.store.gate.set()
        made.store.poison = prepared()
        heard: list[list[Outcome]] = []
        made.committer.submit_many([prepared(), made.store.poison, prepared()], heard.append)
        made.committer.submit_many([prepared()], heard.append)
        await made.committer.drain()
        (alone,), (first, refused, last) = sorted(heard, key=len)
        assert (first, last, alone) == (1, 2, 3)
        assert isinstance(refused, ConfigurationError)
        assert "poison" in refused.message

    asyncio.run(scenario())


def test_a_full_queue_refuses_all_that_come_together() -> None:
    async def scenario() -> None:
        made = bench(queue_limit=1)
        waiting = [made.committer.submit(prepared())]
        await settle()
        waiting.append(made.committer.submit(prepared()))
        heard: list[list[Outcome]] = []
        made.committer.submit_many([prepared(), prepared()], heard.append)
        assert [type(outcome) for outcome in heard[0]] == [ConfigurationError] * 2
        made.store.gate.set()
        assert await asyncio.gather(*waiting) == [1, 2]
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_quick_database_of_our_own_is_written_by_the_event_loop() -> None:
    async def scenario() -> None:
        made = bench(is_remote=False)
        made.store.gate.set()
        for _ in range(3):
            await made.committer.submit(prepared())
        # The first time nobody knows yet how long it takes.
        first, *others = made.store.threads
        assert first.startswith("messagelog")
        assert others == [threading.main_thread().name] * 2
        await made.committer.drain()

    asyncio.run(scenario())


@pytest.mark.parametrize("trouble", ["slow", "unusable"])
def test_a_database_in_trouble_leaves_the_event_loop_free(
    monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    async def scenario() -> None:
        made = bench(is_remote=False)
        made.store.gate.set()
        await made.committer.submit(prepared())
        if trouble == "slow":
            monkeypatch.setattr(committing, "SLOW_S", -1.0)
            await made.committer.submit(prepared())
            monkeypatch.undo()
        else:
            made.store.failure = unusable("disk full")
            with pytest.raises(ConfigurationError):
                await made.committer.submit(prepared())
            made.store.failure = None
        await made.committer.submit(prepared())
        await made.committer.submit(prepared())
        main = threading.main_thread().name
        assert [name == main for name in made.store.threads] == [False, True, False, True]
        await made.committer.drain()

    asyncio.run(scenario())


def test_a_remote_database_never_holds_up_the_event_loop() -> None:
    async def scenario() -> None:
        made = bench(is_remote=True)
        made.store.gate.set()
        for _ in range(3):
            await made.committer.submit(prepared())
        assert threading.main_thread().name not in made.store.threads
        await made.committer.drain()

    asyncio.run(scenario())


def test_under_load_records_wait_for_company_until_there_are_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "LONGEST_WAIT_S", 30.0)
    monkeypatch.setattr(committing, "PACE", 1e9)

    async def scenario() -> None:
        made = bench(is_remote=False)
        made.store.gate.set()
        await made.committer.submit(prepared())
        await made.committer.submit(prepared())  # alone after a lone one: at once
        await asyncio.gather(*(made.committer.submit(prepared()) for _ in range(COMPANY)))
        waiting = [made.committer.submit(prepared()) for _ in range(ENOUGH - 1)]
        await settle()
        assert not any(future.done() for future in waiting)
        waiting.append(made.committer.submit(prepared()))
        await asyncio.gather(*waiting)
        assert [records for records, _ in made.store.written] == [1, 1, COMPANY, ENOUGH]
        # Other work doesn't wait for anybody.
        last = made.committer.submit(prepared())
        await made.committer.run(lambda: None)
        await last
        await made.committer.drain()

    asyncio.run(scenario())


def test_records_wait_no_longer_than_the_last_commit_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(committing, "PACE", 1e9)

    async def scenario() -> None:
        made = bench(is_remote=False)
        made.store.gate.set()
        await asyncio.gather(*(made.committer.submit(prepared()) for _ in range(COMPANY)))
        began = time.monotonic()
        assert await made.committer.submit(prepared()) == COMPANY + 1
        assert time.monotonic() - began >= 0.01
        await made.committer.drain()

    asyncio.run(scenario())
