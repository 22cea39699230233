"""How do many waiting records become few commits, without any of them waiting in vain?

While one transaction is being written, whatever arrives queues, and the next transaction takes all
of it (up to a size that keeps transactions short). A lone record is written at once. Database work
is done by one thread; the event loop stays free for the sockets. A record is acknowledged after the
commit that holds it has returned, and never before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.database import is_unusable
from postroad.securityserver.messagelog.records import logging_failed, record_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.securityserver.messagelog.store import LogStore, Piece, PreparedRecord

T = TypeVar("T")

MAX_TRANSACTION_RECORDS: Final = 512
MAX_TRANSACTION_BYTES: Final = 4 * 1024 * 1024
MAX_QUEUED_BYTES: Final = 128 * 1024 * 1024


@dataclass(slots=True)
class _Waiting:
    prepared: PreparedRecord
    size: int
    done: asyncio.Future[int]


@dataclass(slots=True)
class _WaitingPiece:
    piece: Piece
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Batch:
    records: list[_Waiting] = field(default_factory=list)
    pieces: list[_WaitingPiece] = field(default_factory=list)

    def fail(self, error: ConfigurationError) -> None:
        for waiting in self.records:
            if not waiting.done.done():
                waiting.done.set_exception(_copy(error))
        for waiting_piece in self.pieces:
            if not waiting_piece.done.done():
                waiting_piece.done.set_exception(_copy(error))


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
        self._records: deque[_Waiting] = deque()
        self._pieces: deque[_WaitingPiece] = deque()
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="messagelog")
        self._running: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Records that wait."""
        return len(self._records)

    @property
    def is_full(self) -> bool:
        """Whether another record would have to be refused."""
        return len(self._records) >= self._queue_limit or self._bytes >= MAX_QUEUED_BYTES

    def submit(self, prepared: PreparedRecord) -> asyncio.Future[int]:
        """Queue a record; the future gives its id once it is durable.

        A full queue refuses at once (``logging_failed``): a log that can't keep up must be heard
        before memory runs out.
        """
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.is_full:
            done.set_exception(
                logging_failed(f"the message log is behind by {len(self._records)} records")
            )
            return done
        size = record_bytes(prepared.record)
        self._records.append(_Waiting(prepared, size, done))
        self._bytes += size
        self._wake()
        return done

    async def submit_piece(self, piece: Piece) -> None:
        """Queue a piece of a large attachment, and return once it is stored."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pieces.append(_WaitingPiece(piece, done))
        self._wake()
        await done

    async def run(self, work: Callable[[], T]) -> T:
        """Do other work of the store between two transactions."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def drain(self) -> None:
        """Wait until nothing is queued any more, then stop the thread."""
        while self._running is not None:
            await asyncio.wait([self._running])
        self._thread.shutdown()

    def _wake(self) -> None:
        if self._running is None:
            self._running = asyncio.ensure_future(self._commit_all())

    async def _commit_all(self) -> None:
        try:
            while self._records or self._pieces:
                batch = self._take()
                try:
                    await self._commit(batch)
                except BaseException:
                    # Nobody may be left waiting for an answer that never comes.
                    batch.fail(logging_failed("the message log failed unexpectedly"))
                    raise
        finally:
            self._running = None

    def _take(self) -> _Batch:
        batch = _Batch()
        size = 0
        while self._records and len(batch.records) < MAX_TRANSACTION_RECORDS:
            if batch.records and size + self._records[0].size > MAX_TRANSACTION_BYTES:
                break
            waiting = self._records.popleft()
            size += waiting.size
            batch.records.append(waiting)
        self._bytes -= size
        if self._pieces:
            # One piece at a time: the small records beside it wait for a megabyte at most.
            batch.pieces.append(self._pieces.popleft())
        return batch

    async def _commit(self, batch: _Batch) -> None:
        try:
            ids = await self._write(batch)
        except ConfigurationError as error:
            self._on_commit(0, 0, error)
            if is_unusable(error) or len(batch.records) + len(batch.pieces) == 1:
                batch.fail(error)
            else:
                await self._commit_singly(batch)
            return
        self._on_commit(len(batch.records), _size(batch), None)
        for waiting, record_id in zip(batch.records, ids, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(record_id)
        for waiting_piece in batch.pieces:
            if not waiting_piece.done.done():
                waiting_piece.done.set_result(None)

    async def _commit_singly(self, batch: _Batch) -> None:
        """One record that the database refuses must not fail its neighbours."""
        for piece in batch.pieces:
            await self._commit(_Batch(pieces=[piece]))
        for waiting in batch.records:
            await self._commit(_Batch(records=[waiting]))

    async def _write(self, batch: _Batch) -> list[int]:
        records = [waiting.prepared for waiting in batch.records]
        pieces = [waiting.piece for waiting in batch.pieces]
        return await self.run(lambda: self._store.write(records, pieces))


def _size(batch: _Batch) -> int:
    return sum(waiting.size for waiting in batch.records) + sum(
        len(waiting.piece.content) for waiting in batch.pieces
    )


def _copy(error: ConfigurationError) -> ConfigurationError:
    """One exception object per waiting caller, since raising writes into it."""
    return ConfigurationError(error.message, code=error.code, prefix=error.prefix)
