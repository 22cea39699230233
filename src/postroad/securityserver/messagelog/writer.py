"""What runs in the log writer's process, and what does its socket answer?

One such process per message log; a lock file keeps a second one out.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import uvloop

from postroad.adapters import log_protocol as protocol
from postroad.adapters.ipc import IpcServer
from postroad.adapters.logs import configure_logging, logger
from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.housekeeping import Housekeeping
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.records import MessageRecord, logging_failed
from postroad.securityserver.messagelog.store import LogStore, StampedRecord

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from postroad.securityserver.settings import Settings

_frame_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_record_decoder = msgspec.msgpack.Decoder(MessageRecord)


class WriterService:
    """Answers the calls on the log writer's socket."""

    def __init__(self, writer: LogWriter, housekeeping: Housekeeping) -> None:
        self._writer = writer
        self._housekeeping = housekeeping
        self._methods: dict[str, Callable[[bytes], Awaitable[object]]] = {
            protocol.APPEND: self._append,
            protocol.INSERT_TIMESTAMP: self._insert_timestamp,
            protocol.APPLY_TIMESTAMPS: self._apply_timestamps,
            protocol.APPLY_SINGLE: self._apply_single,
            protocol.SET_STATE: self._set_state,
            protocol.STATUS: self._status,
        }

    async def handle(self, method: str, argument: bytes) -> object:
        """Answer one call; raises ``ConfigurationError`` for the caller."""
        try:
            answer = self._methods[method]
        except KeyError:
            raise ConfigurationError(f"the log writer has no method {method!r}") from None
        try:
            return await answer(argument)
        except msgspec.DecodeError as error:
            raise logging_failed(f"the argument of {method} can't be read: {error}") from error

    async def _append(self, argument: bytes) -> list[protocol.AppendOutcome]:
        futures = [self._submit(data) for data in _frame_decoder.decode(argument)]
        if futures:
            await asyncio.wait(futures)
        return [_outcome(future) for future in futures]

    def _submit(self, data: msgspec.Raw) -> asyncio.Future[int]:
        try:
            record = _record_decoder.decode(data)
        except msgspec.DecodeError as error:
            failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            failed.set_exception(logging_failed(f"the record can't be read: {error}"))
            return failed
        return self._writer.submit(record)

    async def _insert_timestamp(self, argument: bytes) -> int:
        stamp = msgspec.msgpack.decode(argument, type=protocol.TimestampArgument)
        return await self._writer.run(
            lambda store: store.insert_timestamp(stamp.token, stamp.hash_chain_result, at=stamp.at)
        )

    async def _apply_timestamps(self, argument: bytes) -> int:
        applied = msgspec.msgpack.decode(argument, type=protocol.ApplyArgument)
        stamped = [
            StampedRecord(item.record_id, item.signature_hash, item.hash_chain)
            for item in applied.stamped
        ]
        count = await self._writer.run(
            lambda store: store.apply_timestamps(applied.timestamp_id, stamped)
        )
        self._housekeeping.look_soon()
        return count

    async def _apply_single(self, argument: bytes) -> bool:
        single = msgspec.msgpack.decode(argument, type=protocol.SingleArgument)
        applied = await self._writer.run(
            lambda store: store.apply_single(
                single.record_id,
                single.signature_hash,
                signature=single.signature,
                token=single.token,
                at=single.at,
            )
        )
        self._housekeeping.look_soon()
        return applied

    async def _set_state(self, argument: bytes) -> None:
        state = msgspec.msgpack.decode(argument, type=protocol.StateArgument)
        await self._writer.set_state(state.name, state.value)

    async def _status(self, _argument: bytes) -> protocol.LogStatus:
        return self._writer.status(self._housekeeping.log_bytes)


def _outcome(future: asyncio.Future[int]) -> protocol.AppendOutcome:
    error = future.exception()
    if error is None:
        return protocol.AppendOutcome(future.result())
    if isinstance(error, ConfigurationError):
        return protocol.AppendOutcome(0, error.code.value, error.message)
    return protocol.AppendOutcome(0, FaultCode.LOGGING_FAILED.value, type(error).__name__)


def run(settings: Settings) -> None:
    """Run the log writer's process; returns after an orderly stop (SIGTERM, SIGINT).

    Raises ``ConfigurationError`` if another log writer serves this home directory.
    """
    configure_logging(process="logwriter", style=settings.server.log_format)
    gc.freeze()
    with _only_one(settings.run_path / "logwriter.lock"):
        uvloop.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve the log writer's socket until SIGTERM or SIGINT, then finish what was accepted."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    store = LogStore(open_database(settings.messagelog_url))
    writer = LogWriter(store, settings.spool_path, rules_of(settings), clock)
    # A database that can't be used now may be usable later; until then records are refused.
    with contextlib.suppress(ConfigurationError):
        await writer.load_state()
    housekeeping = Housekeeping(writer, settings.messagelog_url, settings.spool_path, clock)
    server = IpcServer(settings.logwriter_socket, WriterService(writer, housekeeping).handle)
    await server.start()
    logger("messagelog").info("log writer started", socket=str(settings.logwriter_socket))
    try:
        await housekeeping.run(stop)
    finally:
        await server.stop()
        await writer.close()
        housekeeping.close()


def rules_of(settings: Settings) -> WriterRules:
    """Take the log writer's rules out of the settings."""
    section = settings.message_log
    return WriterRules(
        max_body_bytes=section.max_body_bytes,
        oversized_bodies=section.oversized_bodies,
        acceptable_timestamp_failure=timedelta(seconds=section.acceptable_timestamp_failure_period),
        queue_limit=section.queue_limit,
    )


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError("another log writer serves this home directory") from None
        yield
    finally:
        os.close(file)
