"""How do the proxies and the time-stamping job reach the log writer?

``append`` is ``MessageLogPort``: when it returns, the record is on the disk. The records of one
turn of the event loop travel in one frame. Connects on demand and again after a loss; a call that
was under way when the connection was lost fails, because nobody knows whether it took effect.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from postroad.adapters import log_protocol as protocol
from postroad.adapters.ipc import IpcClient
from postroad.errors import ConfigurationError, FaultCode, UnavailablePeer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from postroad.evidence.log_record import MessageRecord

T = TypeVar("T")

APPEND_DEADLINE: Final = 30.0
"""Seconds; a log that takes longer than this is as good as broken, and the exchange must fail."""
UPLOAD_DEADLINE: Final = 120.0
"""Seconds for a record whose attachments are read from spool files."""
FRAME_BYTES: Final = 4 * 1024 * 1024
"""Records are gathered into frames of about this size."""

_encoder = msgspec.msgpack.Encoder()


class LogClient:
    """The log writer behind its socket; fulfils ``MessageLogPort``.

    Every method raises ``ConfigurationError``: ``logging_failed``, or below it the reason such as
    ``logging_failed.timestamping_failed`` or ``logging_failed.database_error``.
    """

    def __init__(self, socket: Path) -> None:
        self._ipc = IpcClient(socket, what="log writer")
        self._gathered: list[tuple[bytes, asyncio.Future[int]]] = []
        self._frames: set[asyncio.Task[None]] = set()

    async def append(self, record: MessageRecord) -> int:
        """Store a record durably and return its id."""
        try:
            data = _encoder.encode(record)
        except (UnicodeEncodeError, TypeError, ValueError, OverflowError) as error:
            raise _failed(f"the record can't be encoded: {error}") from error
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if record.has_spool_files:
            self._send([(data, future)], UPLOAD_DEADLINE)
            return await future
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append((data, future))
        return await future

    async def insert_timestamp(
        self, token: bytes, hash_chain_result: bytes | None, *, at: datetime
    ) -> int:
        """Store a time-stamp and return its record id."""
        argument = protocol.TimestampArgument(token, hash_chain_result, at)
        return await self._call(protocol.INSERT_TIMESTAMP, argument, int)

    async def apply_timestamps(
        self, timestamp_id: int, stamped: Sequence[protocol.StampedArgument]
    ) -> int:
        """Mark records as stamped; return how many of them were still waiting."""
        argument = protocol.ApplyArgument(timestamp_id, tuple(stamped))
        return await self._call(protocol.APPLY_TIMESTAMPS, argument, int)

    async def apply_single(
        self, record_id: int, signature_hash: bytes, *, signature: bytes, token: bytes, at: datetime
    ) -> bool:
        """Store a record's own time-stamp; False if the record wasn't waiting for it any more."""
        argument = protocol.SingleArgument(record_id, signature_hash, signature, token, at)
        return await self._call(protocol.APPLY_SINGLE, argument, bool)

    async def set_state(self, name: str, value: bytes) -> None:
        """Keep a named value in the log's database."""
        await self._call(protocol.SET_STATE, protocol.StateArgument(name, value), type(None))

    async def status(self) -> protocol.LogStatus:
        """Ask how the log is doing."""
        return await self._call(protocol.STATUS, None, protocol.LogStatus)

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._ipc.close()

    async def _call(self, method: str, argument: object, result_type: type[T]) -> T:
        try:
            return await self._ipc.call(method, argument, result_type, deadline=APPEND_DEADLINE)
        except UnavailablePeer as error:
            raise _failed(error.message) from error
        except ConfigurationError as error:
            raise _failed(error.message, error.code) from error

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        frame: list[tuple[bytes, asyncio.Future[int]]] = []
        size = 0
        for item in gathered:
            if frame and size + len(item[0]) > FRAME_BYTES:
                self._send(frame, APPEND_DEADLINE)
                frame, size = [], 0
            frame.append(item)
            size += len(item[0])
        self._send(frame, APPEND_DEADLINE)

    def _send(self, frame: list[tuple[bytes, asyncio.Future[int]]], deadline: float) -> None:
        task = asyncio.ensure_future(self._deliver(frame, deadline))
        self._frames.add(task)
        task.add_done_callback(self._frames.discard)

    async def _deliver(
        self, frame: list[tuple[bytes, asyncio.Future[int]]], deadline: float
    ) -> None:
        argument = [msgspec.Raw(data) for data, _future in frame]
        try:
            outcomes = await self._ipc.call(
                protocol.APPEND, argument, list[protocol.AppendOutcome], deadline=deadline
            )
            if len(outcomes) != len(frame):
                raise _failed("the log writer answered for another number of records")
        except (UnavailablePeer, ConfigurationError, msgspec.DecodeError) as error:
            outcome = protocol.AppendOutcome(0, FaultCode.LOGGING_FAILED.value, str(error))
            outcomes = [outcome] * len(frame)
        for outcome, (_data, future) in zip(outcomes, frame, strict=True):
            if future.done():  # its caller has given up
                continue
            if outcome.code:
                future.set_exception(_failed(outcome.message, outcome.code))
            else:
                future.set_result(outcome.id)


def _failed(message: str, code: str = FaultCode.LOGGING_FAILED.value) -> ConfigurationError:
    """Build ``logging_failed`` or ``logging_failed.<code>``."""
    try:
        tail = FaultCode(code)
    except ValueError:
        tail = FaultCode.LOGGING_FAILED
    if tail in (FaultCode.LOGGING_FAILED, FaultCode.INTERNAL_ERROR):
        return ConfigurationError(message, code=FaultCode.LOGGING_FAILED)
    return ConfigurationError(message, code=tail, prefix=(FaultCode.LOGGING_FAILED.value,))
