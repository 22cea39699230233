"""How do many waiting records become few commits, without any of them waiting in vain?

A commit costs several times what a record in it costs. So while one transaction is being written,
whatever arrives queues, and the next transaction takes all of it (up to a size that keeps
transactions short). Under load the next transaction also waits a moment, no longer than the last
commit took times ``PACE``, so that more can join; a record that comes alone never waits. A record
is acknowledged after the commit that holds it has returned, and never before.

Transactions are so short that the event loop makes them itself: handing each to a thread and back
would cost half as much again, and what arrives meanwhile waits in the sockets as well as in a
queue. While the database is slow, in trouble, not used yet, or on the other side of a network, a
thread does the work instead, and the loop stays free to refuse and to report.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.database import is_unusable
from postroad.securityserver.messagelog.records import logging_failed, record_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from postroad.securityserver.messagelog.store import LogStore, Piece, PreparedRecord

T = TypeVar("T")

MAX_TRANSACTION_RECORDS: Final = 512
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
MAX_QUEUED_BYTES: Final = 128 * 1024 * 1024
SLOW_S: Final = 0.05
"""A transaction that takes longer makes the next one go to the thread."""
COMPANY: Final = 3
"""So many records in a transaction are a sign that others will come soon."""
ENOUGH: Final = 64
"""So many waiting records make a transaction worth its cost: it waits for no more."""
PACE: Final = 2.0
LONGEST_WAIT_S: Final = 0.004

Outcome: TypeAlias = "int | ConfigurationError"
"""What became of a record: its id once it is durable, or why it isn't in the log."""


class _Parcel:
    """Records that were handed over together; their outcomes are told together, too."""

    __slots__ = ("_missing", "answer", "outcomes", "records", "size")

    def __init__(
        self, records: Sequence[PreparedRecord], answer: Callable[[list[Outcome]], None]
    ) -> None:
        self.records = records
        self.answer = answer
        self.size = 0
        for prepared in records:
            self.size += record_bytes(prepared.record)
        self.outcomes: list[Outcome] = [0] * len(records)
        self._missing = len(records)

    def settle(self, first: int, outcomes: Sequence[Outcome]) -> None:
        self.outcomes[first : first + len(outcomes)] = outcomes
        self._missing -= len(outcomes)
        if not self._missing:
            self.answer(self.outcomes)


class _Group:
    """What one transaction writes: whole parcels or one record of one, and at most one piece."""

    __slots__ = ("members", "piece", "records", "size")

    def __init__(self) -> None:
        self.records: list[PreparedRecord] = []
        self.members: list[tuple[_Parcel, int, int]] = []
        """The parcels, and which of their records: the first, and how many."""
        self.piece: tuple[Piece, asyncio.Future[None]] | None = None
        self.size = 0

    def add(self, parcel: _Parcel) -> None:
        self.records += parcel.records
        self.members.append((parcel, 0, len(parcel.records)))
        self.size += parcel.size

    @property
    def is_single(self) -> bool:
        return len(self.records) + (self.piece is not None) == 1

    @property
    def pieces(self) -> list[Piece]:
        return [] if self.piece is None else [self.piece[0]]

    def parts(self) -> Iterable[_Group]:
        """Cut the group up, so that each record can fail alone."""
        if self.piece is not None:
            group = _Group()
            group.piece = self.piece
            group.size = len(self.piece[0].content)
            yield group
        for parcel, first, count in self.members:
            for number in range(first, first + count):
                group = _Group()
                group.records = [parcel.records[number]]
                group.members = [(parcel, number, 1)]
                group.size = record_bytes(group.records[0].record)
                yield group

    def settle(self, ids: Sequence[int]) -> None:
        at = 0
        for parcel, first, count in self.members:
            parcel.settle(first, ids[at : at + count])
            at += count
        if self.piece is not None and not self.piece[1].done():
            self.piece[1].set_result(None)

    def fail(self, error: ConfigurationError) -> None:
        for parcel, first, count in self.members:
            parcel.settle(first, [_copy(error) for _ in range(count)])
        if self.piece is not None and not self.piece[1].done():
            self.piece[1].set_exception(_copy(error))


class GroupCommitter:
    """Gathers records into transactions of one ``LogStore``; all methods on the event loop.

    ``on_commit`` hears of every attempt: how many records and bytes were committed, or the error.
    """

    def __init__(
        self,
        store: LogStore,
        *,
        queue_limit: int,
        on_commit: Callable[[int, int, ConfigurationError | None], None],
    ) -> None:
        self._store = store
        self._queue_limit = queue_limit
        self._on_commit = on_commit
        self._parcels: deque[_Parcel] = deque()
        self._pieces: deque[tuple[Piece, asyncio.Future[None]]] = deque()
        self._again: deque[_Group] = deque()
        """Parts of a group that the database has refused as a whole."""
        self._works: deque[Callable[[], None]] = deque()
        self._queued = 0
        self._bytes = 0
        self._next: asyncio.Handle | None = None
        """The next turn on the event loop, if one is due."""
        self._is_waiting = False
        """Whether that turn waits for company."""
        self._working: asyncio.Task[None] | None = None
        """The turns that the thread has a part in."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="messagelog")
        self._is_slow = True
        self._last_size = 0
        self._not_before = 0.0

    @property
    def queued(self) -> int:
        """Records that wait."""
        return self._queued

    @property
    def is_full(self) -> bool:
        """Whether another record would have to be refused."""
        return self._queued >= self._queue_limit or self._bytes >= MAX_QUEUED_BYTES

    def submit_many(
        self, records: Sequence[PreparedRecord], answer: Callable[[list[Outcome]], None]
    ) -> None:
        """Queue records; ``answer`` hears once, in their order, when all are durable or refused.

        A full queue refuses at once (``logging_failed``): a log that can't keep up must be heard
        before memory runs out.
        """
        if not records:
            answer([])
            return
        if self.is_full:
            behind = f"the message log is behind by {self._queued} records"
            answer([logging_failed(behind) for _ in records])
            return
        parcel = _Parcel(records, answer)
        self._parcels.append(parcel)
        self._queued += len(records)
        self._bytes += parcel.size
        self._wake()

    def submit(self, prepared: PreparedRecord) -> asyncio.Future[int]:
        """Queue a record; the future gives its id once it is durable, or raises its error."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def answer(outcomes: list[Outcome]) -> None:
            if done.done():
                return
            outcome = outcomes[0]
            if isinstance(outcome, int):
                done.set_result(outcome)
            else:
                done.set_exception(outcome)

        self.submit_many([prepared], answer)
        return done

    async def submit_piece(self, piece: Piece) -> None:
        """Queue a piece of a large attachment, and return once it is stored."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pieces.append((piece, done))
        self._wake()
        await done

    async def run(self, work: Callable[[], T]) -> T:
        """Do other work of the store between two transactions, in the thread."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def give(result: T) -> None:
            if not done.done():
                done.set_result(result)

        def fail(error: BaseException) -> None:
            if not done.done():
                done.set_exception(error)

        def do() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it goes to whoever asked for the work
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(give, result)

        self._works.append(do)
        self._wake()
        return await done

    async def drain(self) -> None:
        """Wait until nothing is queued any more, then stop the thread."""
        await self._idle.wait()
        self._thread.shutdown()

    @property
    def _has_records(self) -> bool:
        return bool(self._parcels or self._pieces or self._again)

    def _wake(self) -> None:
        """See to it that a turn comes, and no earlier than it pays."""
        if self._working is not None:
            return
        if self._next is not None:
            if not self._is_waiting or (self._queued < ENOUGH and not self._works):
                return
            self._next.cancel()
        self._idle.clear()
        loop = asyncio.get_running_loop()
        delay = 0.0
        if self._last_size >= COMPANY and self._queued < ENOUGH and not self._works:
            delay = self._not_before - time.monotonic()
        self._is_waiting = delay > 0
        # Even without a delay, whatever the sockets bring in this turn of the loop comes first.
        self._next = loop.call_later(delay, self._turn) if delay > 0 else loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._next = None
        if self._works or self._is_slow:
            self._working = asyncio.ensure_future(self._work())
            return
        try:
            group = self._take()
            self._finish(group, self._write(group))
        finally:
            self._go_on()

    async def _work(self) -> None:
        """Take turns with the thread until the event loop can do without."""
        loop = asyncio.get_running_loop()
        try:
            while self._works or (self._is_slow and self._has_records):
                if self._works:
                    await loop.run_in_executor(self._thread, self._works.popleft())
                if self._has_records:
                    group = self._take()
                    written = await loop.run_in_executor(self._thread, self._write, group)
                    self._finish(group, written)
        finally:
            self._working = None
            self._go_on()

    def _go_on(self) -> None:
        if self._works or self._has_records:
            self._wake()
        else:
            self._idle.set()

    def _take(self) -> _Group:
        if self._again:
            return self._again.popleft()
        group = _Group()
        while self._parcels:
            parcel = self._parcels[0]
            if group.records and (
                len(group.records) + len(parcel.records) > MAX_TRANSACTION_RECORDS
                or group.size + parcel.size > MAX_TRANSACTION_BYTES
            ):
                break
            group.add(self._parcels.popleft())
        self._queued -= len(group.records)
        self._bytes -= group.size
        if self._pieces:
            # One piece at a time: the small records beside it wait for a megabyte at most.
            group.piece = self._pieces.popleft()
            group.size += len(group.piece[0].content)
        return group

    def _write(self, group: _Group) -> _Written:
        """Write a group; the event loop or the thread does this, never both at a time."""
        began = time.monotonic()
        result: list[int] | Exception
        try:
            result = self._store.write(group.records, group.pieces)
        except Exception as error:  # noqa: BLE001 - nobody may be left waiting for an answer
            result = error
        return _Written(result, began, time.monotonic())

    def _finish(self, group: _Group, written: _Written) -> None:
        result, began, ended = written
        self._last_size = len(group.records)
        self._not_before = ended + min((ended - began) * PACE, LONGEST_WAIT_S)
        self._is_slow = self._store.is_remote or ended - began > SLOW_S
        if isinstance(result, list):
            self._on_commit(len(group.records), group.size, None)
            group.settle(result)
        elif isinstance(result, ConfigurationError):
            self._is_slow |= is_unusable(result)
            self._on_commit(0, 0, result)
            if is_unusable(result) or group.is_single:
                group.fail(result)
            else:
                self._again.extend(group.parts())
        else:
            group.fail(logging_failed("the message log failed unexpectedly"))
            asyncio.get_running_loop().call_exception_handler(
                {"message": "the message log failed unexpectedly", "exception": result}
            )


class _Written(NamedTuple):
    result: list[int] | Exception
    began: float
    ended: float


def _copy(error: ConfigurationError) -> ConfigurationError:
    """One exception object per waiting caller, since raising writes into it."""
    return ConfigurationError(error.message, code=error.code, prefix=error.prefix)
