"""What does the log writer do with a record that a proxy hands over?

It refuses what can't be kept, takes spooled bodies in, commits, and only then answers. It fails
closed: while the database can't be used or time-stamping has failed for too long, every record is
refused with ``logging_failed`` and the reason, and so is the exchange it belongs to. It resumes by
itself. The process around this, with its socket and its periodic work, is in ``writer``.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from postroad.adapters.log_protocol import LogStatus
from postroad.adapters.logs import logger
from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.body_files import FILE_BYTES
from postroad.securityserver.messagelog.committing import GroupCommitter, Outcome
from postroad.securityserver.messagelog.database import is_unusable
from postroad.securityserver.messagelog.records import (
    BODY_DIGEST,
    InlineBody,
    SpooledBody,
    check_record,
    logging_failed,
)
from postroad.securityserver.messagelog.spooling import SpoolFile, remove_spool_file
from postroad.securityserver.messagelog.stop_rule import (
    STATE_NAME,
    TimestampingState,
    decide_logging,
)
from postroad.securityserver.messagelog.store import Piece, PreparedAttachment, PreparedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.securityserver.messagelog.records import Body, MessageRecord
    from postroad.securityserver.messagelog.store import LogStore

T = TypeVar("T")

UPLOADS: Final = 4
"""Records whose spool files are read at the same time; each holds one piece in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterRules:
    """What the settings say about logging."""

    max_body_bytes: int = 10 * 1024 * 1024
    oversized_bodies: Literal["digest-only", "refuse"] = "digest-only"
    acceptable_timestamp_failure: timedelta = timedelta(seconds=14400)
    """Zero: failures of time-stamping never stop logging."""
    queue_limit: int = 10_000


class LogWriter:
    """The message log's writer; lives on one event loop and owns the store."""

    def __init__(self, store: LogStore, spool: Path, rules: WriterRules, clock: Clock) -> None:
        self._store = store
        self._spool = spool
        self._rules = rules
        self._clock = clock
        self._log = logger("messagelog")
        self._watching_since = clock.now()
        self._state: TimestampingState | None = None
        self._oldest_pending: datetime | None = None
        self._refusing = ""
        self._trouble = ""
        self._written = 0
        self._commits = 0
        self._uploading = 0
        self._uploads = asyncio.Semaphore(UPLOADS)
        self._tasks: set[asyncio.Task[int]] = set()
        self.uncheckpointed = 0
        """Bytes committed since somebody last set this to zero."""
        self._committer = GroupCommitter(
            store, queue_limit=rules.queue_limit, on_commit=self._committed
        )

    def submit(
        self,
        records: Sequence[MessageRecord | ConfigurationError],
        answer: Callable[[list[Outcome]], None],
    ) -> None:
        """Begin to store records; ``answer`` hears once, in their order, what became of all.

        The error of a record is ``logging_failed`` or, below it, why nothing is logged; what
        couldn't even be read comes as its error. Spool files that a record names are removed in
        the end, whatever the outcome.
        """
        stop = self._stop_reason()
        outcomes = _Outcomes(len(records), answer)
        places: list[int] = []
        ready: list[PreparedRecord] = []
        for place, record in enumerate(records):
            if isinstance(record, ConfigurationError):
                outcomes.settle([place], [record])
                continue
            refusal = self._refusal(record) or stop
            if record.attachments and record.has_spool_files:
                task = asyncio.ensure_future(self._store_spooled(record, refusal))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(partial(outcomes.settle_with, place))
            elif refusal is not None:
                outcomes.settle([place], [refusal])
            else:
                places.append(place)
                ready.append(self._prepared(record))
        if ready:
            self._committer.submit_many(ready, partial(outcomes.settle, places))

    async def run(self, work: Callable[[LogStore], T]) -> T:
        """Do other work of the store, such as applying time-stamps, between two commits."""
        try:
            return await self._committer.run(lambda: work(self._store))
        except ConfigurationError as error:
            self._committed(0, 0, error)
            raise

    @property
    def unlisted(self) -> int:
        """How many records the index for searches doesn't have yet."""
        return self._store.unlisted

    async def set_state(self, name: str, value: bytes) -> None:
        """Keep a named value; what the stamping job reports takes effect at once."""
        await self.run(lambda store: store.set_state(name, value))
        if name == STATE_NAME:
            self._state = TimestampingState.parse(value)

    async def load_state(self) -> None:
        """Read what is known about time-stamping, if that hasn't succeeded yet."""
        if self._state is None:
            value = await self.run(lambda store: store.get_state(STATE_NAME))
            self._state = self._state or TimestampingState.parse(value)

    def saw_oldest_pending(self, at: datetime | None) -> None:
        """Take note of the oldest record without a time-stamp."""
        self._oldest_pending = at

    def status(self, log_bytes: int) -> LogStatus:
        """Report how the log is doing."""
        refusal = self._stop_reason()
        return LogStatus(
            refusing="" if refusal is None else refusal.message,
            last_error=self._trouble,
            queued=self._committer.queued + self._uploading,
            written=self._written,
            commits=self._commits,
            oldest_pending=self._oldest_pending,
            log_bytes=log_bytes,
        )

    async def close(self) -> None:
        """Finish what was accepted, then close the store."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._committer.drain()
        self._store.close()

    def _refusal(self, record: MessageRecord) -> ConfigurationError | None:
        try:
            check_record(record)
        except ConfigurationError as error:
            return error
        if self._uploading >= self._rules.queue_limit:
            return logging_failed(f"the message log is behind by {self._uploading} large records")
        if self._rules.oversized_bodies == "refuse":
            for body in record.attachments:
                if _size(body) > self._rules.max_body_bytes:
                    return logging_failed(
                        f"the body has {_size(body)} bytes; at most {self._rules.max_body_bytes} "
                        "can be logged"
                    )
        return None

    def _stop_reason(self) -> ConfigurationError | None:
        decision = decide_logging(
            self._state or TimestampingState(),
            oldest_pending=self._oldest_pending,
            watching_since=self._watching_since,
            acceptable_failure=self._rules.acceptable_timestamp_failure,
            at=self._clock.now(),
        )
        reason = "" if decision is None else decision.message
        if reason != self._refusing:
            self._refusing = reason
            if reason:
                self._tell("message log refuses records", reason)
            else:
                self._tell("message log takes records again")
        return decision

    def _prepared(self, record: MessageRecord) -> PreparedRecord:
        bodies = record.attachments
        if not bodies:
            return PreparedRecord(record)
        first = bodies[0]
        if (
            len(bodies) == 1
            and isinstance(first, InlineBody)
            and len(first.data) <= self._rules.max_body_bytes
        ):
            return PreparedRecord(record, body=first.data)
        return PreparedRecord(record, tuple(self._prepared_body(body) for body in bodies))

    def _prepared_body(self, body: Body) -> PreparedAttachment:
        if not isinstance(body, InlineBody):
            return PreparedAttachment(body.digest, body.size)
        kept = body.data if len(body.data) <= self._rules.max_body_bytes else None
        return PreparedAttachment(BODY_DIGEST.digest(body.data), len(body.data), kept)

    async def _store_spooled(
        self, record: MessageRecord, refusal: ConfigurationError | None
    ) -> int:
        self._uploading += 1
        try:
            if refusal is not None:
                raise refusal
            async with self._uploads:
                prepared = await self._take_in(record)
                return await self._submitted(prepared)
        finally:
            self._uploading -= 1
            await asyncio.to_thread(self._remove_spool_files, record)

    async def _submitted(self, prepared: PreparedRecord) -> int:
        try:
            return await self._committer.submit(prepared)
        except ConfigurationError:
            await self._discard(prepared.id)
            raise

    async def _take_in(self, record: MessageRecord) -> PreparedRecord:
        """Store the spooled attachments ahead of their record: as files, or piece by piece."""
        bodies: list[PreparedAttachment] = []
        record_id: int | None = None
        try:
            for number, body in enumerate(record.attachments, start=1):
                if isinstance(body, SpooledBody) and body.size <= self._rules.max_body_bytes:
                    if record_id is None:
                        record_id = await self.run(lambda store: store.begin_pieces())
                    bodies.append(await self._store_ahead(body, record_id, number))
                else:
                    bodies.append(self._prepared_body(body))
        except ConfigurationError:
            await self._discard(record_id)
            raise
        return PreparedRecord(record, tuple(bodies), record_id)

    async def _store_ahead(
        self, body: SpooledBody, record_id: int, number: int
    ) -> PreparedAttachment:
        files = self._store.body_files
        if (
            files is not None
            and body.size >= FILE_BYTES
            and await asyncio.to_thread(files.keep, self._spool, body, record_id, number)
        ):
            return PreparedAttachment(body.digest, body.size, filed=True)
        pieces = await self._store_pieces(body, record_id, number)
        return PreparedAttachment(body.digest, body.size, pieces=pieces)

    async def _store_pieces(self, body: SpooledBody, record_id: int, number: int) -> int:
        file = await asyncio.to_thread(SpoolFile, self._spool, body)
        try:
            count = 0
            while content := await asyncio.to_thread(file.read_piece):
                await self._committer.submit_piece(Piece(record_id, number, count, content))
                count += 1
            return count
        finally:
            file.close()

    async def _discard(self, record_id: int | None) -> None:
        if record_id is None:
            return
        try:
            await self.run(lambda store: store.discard_pieces(record_id))
        except ConfigurationError as error:
            # They are marked as unfinished: the next start removes them.
            self._tell("pieces of a refused record stay for now", error.message)

    def _remove_spool_files(self, record: MessageRecord) -> None:
        for body in record.attachments:
            if isinstance(body, SpooledBody):
                try:
                    remove_spool_file(self._spool, body)
                except (ConfigurationError, OSError) as error:
                    self._tell("spool file stays", str(error))

    def _committed(self, records: int, size: int, error: ConfigurationError | None) -> None:
        if error is not None:
            if is_unusable(error) and error.message != self._trouble:
                self._trouble = error.message
                self._tell("message log can't be written", error.message)
            return
        self.uncheckpointed += size
        self._written += records
        self._commits += bool(records)
        if self._trouble:
            self._trouble = ""
            self._tell("message log can be written again")

    def _tell(self, event: str, reason: str = "") -> None:
        # A full disk may hold our own diary, too: that must not stop what can still be done.
        with contextlib.suppress(OSError):
            if reason:
                self._log.error(event, reason=reason)
            else:
                self._log.info(event)


class _Outcomes:
    """What became of records that were handed over together, told when it is known of all."""

    def __init__(self, count: int, answer: Callable[[list[Outcome]], None]) -> None:
        self._outcomes: list[Outcome] = [0] * count
        self._missing = count
        self._answer = answer
        if not count:
            answer([])

    def settle(self, places: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        for place, outcome in zip(places, outcomes, strict=True):
            self._outcomes[place] = outcome
        self._missing -= len(places)
        if not self._missing:
            self._answer(self._outcomes)

    def settle_with(self, place: int, task: asyncio.Task[int]) -> None:
        error = None if task.cancelled() else task.exception()
        outcome: Outcome
        if isinstance(error, ConfigurationError):
            outcome = error
        elif error is None and not task.cancelled():
            outcome = task.result()
        else:
            outcome = logging_failed(f"the message log failed unexpectedly: {type(error).__name__}")
        self.settle([place], [outcome])


def _size(body: Body) -> int:
    return len(body.data) if isinstance(body, InlineBody) else body.size
