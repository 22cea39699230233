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

    from postroad.errors import PostroadError
    from postroad.evidence.log_record import MessageRecord

T = TypeVar("T")

APPEND_DEADLINE: Final = 30.0
"""Seconds; a log that takes longer than this is as good as broken, and the exchange must fail."""
UPLOAD_DEADLINE: Final = 120.0
"""Seconds for a record whose attachments are read from spool files."""
FRAME_BYTES: Final = 4 * 1024 * 1024
"""A frame is sent before the end of the loop's turn once it has this size."""
FRAME_RECORDS: Final = 256

_encoder = msgspec.msgpack.Encoder()
_result_decoder = msgspec.msgpack.Decoder(protocol.AppendResult)


class _Frame:
    """Records that travel together, and who waits for each of them."""

    def __init__(self) -> None:
        self._signatures: list[protocol.SignatureForm] = []
        self._of_batch: dict[bytes, int] = {}
        """By hash chain result: where the batch's signature was put first."""
        self._records: list[msgspec.Raw] = []
        self._waiting: list[asyncio.Future[int]] = []
        self._size = 0

    @property
    def is_full(self) -> bool:
        return self._size >= FRAME_BYTES or len(self._records) >= FRAME_RECORDS

    @property
    def argument(self) -> protocol.AppendArgument:
        return protocol.AppendArgument(self._signatures, self._records)

    def add(self, record: MessageRecord) -> asyncio.Future[int]:
        """Take a record in; raises ``ConfigurationError`` if it can't be encoded."""
        try:
            data = _encoder.encode(
                protocol.RecordForm(
                    record.query_id,
                    record.request_id,
                    record.direction,
                    record.side,
                    record.instance,
                    record.member_class,
                    record.member_code,
                    record.subsystem_code,
                    record.message,
                    record.attachments,
                    self._number(record.signature, record.hash_chain_result),
                    record.hash_chain,
                    record.created_at,
                )
            )
        except (UnicodeEncodeError, TypeError, ValueError, OverflowError) as error:
            raise _failed(f"the record can't be encoded: {error}") from error
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._records.append(msgspec.Raw(data))
        self._waiting.append(future)
        self._size += len(data)
        return future

    def answered(self, result: msgspec.Raw | None, error: PostroadError | None) -> None:
        """Tell everybody what became of their record."""
        if error is None and result is not None:
            try:
                outcome = _result_decoder.decode(result)
            except (msgspec.DecodeError, UnicodeDecodeError) as damaged:
                error = _failed(str(damaged))
            else:
                if len(outcome.ids) == len(self._waiting):
                    self._tell(outcome)
                    return
                error = _failed("the log writer answered for another number of records")
        reason = "the log writer gave no answer" if error is None else error.message
        for future in self._waiting:
            if not future.done():
                future.set_exception(_failed(reason))

    def _number(self, signature: bytes, hash_chain_result: bytes | None) -> int:
        """Return the index of a signature, which the messages of one batch have in common."""
        if hash_chain_result is not None:
            known = self._of_batch.get(hash_chain_result)
            if known is not None and self._signatures[known].signature == signature:
                return known
            self._of_batch[hash_chain_result] = len(self._signatures)
        self._signatures.append(protocol.SignatureForm(signature, hash_chain_result))
        self._size += len(signature)
        return len(self._signatures) - 1

    def _tell(self, outcome: protocol.AppendResult) -> None:
        for position, (future, record_id) in enumerate(
            zip(self._waiting, outcome.ids, strict=True)
        ):
            if future.done():  # its caller has given up
                continue
            if record_id:
                future.set_result(record_id)
                continue
            failure = outcome.failures.get(position)
            future.set_exception(
                _failed("the log writer gave no reason")
                if failure is None
                else _failed(failure.message, failure.code)
            )


class LogClient:
    """The log writer behind its socket; fulfils ``MessageLogPort``.

    Every method raises ``ConfigurationError``: ``logging_failed``, or below it the reason such as
    ``logging_failed.timestamping_failed`` or ``logging_failed.database_error``.
    """

    def __init__(self, socket: Path) -> None:
        self._ipc = IpcClient(socket, what="log writer")
        self._frame: _Frame | None = None

    async def append(self, record: MessageRecord) -> int:
        """Store a record durably and return its id."""
        if record.has_spool_files:
            alone = _Frame()
            future = alone.add(record)
            self._send(alone, UPLOAD_DEADLINE)
            return await future
        frame = self._frame
        if frame is None:
            frame = self._frame = _Frame()
            asyncio.get_running_loop().call_soon(self._flush, frame)
        future = frame.add(record)
        if frame.is_full:
            self._flush(frame)
        return await future

    async def insert_timestamp(
        self, token: bytes, hash_chain_result: bytes, leaves: bytes, *, at: datetime
    ) -> int:
        """Store a batch's time-stamp with the digests it joins, and return its record id."""
        argument = protocol.TimestampArgument(token, hash_chain_result, leaves, at)
        return await self._call(protocol.INSERT_TIMESTAMP, argument, int)

    async def apply_timestamps(
        self, timestamp_id: int, first_leaf: int, signature_ids: Sequence[int]
    ) -> int:
        """Mark signatures as stamped, from a leaf on; return how many were still waiting."""
        argument = protocol.ApplyArgument(timestamp_id, first_leaf, list(signature_ids))
        return await self._call(protocol.APPLY_TIMESTAMPS, argument, int)

    async def apply_single(
        self,
        signature_id: int,
        signature_hash: bytes,
        *,
        signature: bytes,
        token: bytes,
        at: datetime,
    ) -> bool:
        """Store a signature's own time-stamp; False if it wasn't waiting for it any more."""
        argument = protocol.SingleArgument(signature_id, signature_hash, signature, token, at)
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

    def _flush(self, frame: _Frame) -> None:
        if self._frame is frame:  # otherwise it was full, and has gone already
            self._frame = None
            self._send(frame, APPEND_DEADLINE)

    def _send(self, frame: _Frame, deadline: float) -> None:
        if not frame.argument.records:  # none could be encoded
            return
        self._ipc.post(protocol.APPEND, frame.argument, frame.answered, deadline=deadline)


def _failed(message: str, code: str = FaultCode.LOGGING_FAILED.value) -> ConfigurationError:
    """Build ``logging_failed`` or ``logging_failed.<code>``."""
    try:
        tail = FaultCode(code)
    except ValueError:
        tail = FaultCode.LOGGING_FAILED
    if tail in (FaultCode.LOGGING_FAILED, FaultCode.INTERNAL_ERROR):
        return ConfigurationError(message, code=FaultCode.LOGGING_FAILED)
    return ConfigurationError(message, code=tail, prefix=(FaultCode.LOGGING_FAILED.value,))
