"""What runs in the log writer's process, and what does its socket answer?

One such process per message log; a lock file keeps a second one out.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import uvloop

from postroad.adapters import log_protocol as protocol
from postroad.adapters.file_locks import only_one
from postroad.adapters.ipc import IpcServer
from postroad.adapters.kernel import keep_freed_memory
from postroad.adapters.logs import configure_logging, logger
from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.archive_methods import ArchiveMethods
from postroad.securityserver.messagelog.housekeeping import LOG_RESERVE, Housekeeping
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_for_writing
from postroad.securityserver.messagelog.records import MessageRecord, logging_failed
from postroad.securityserver.messagelog.store import LogStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.errors import PostroadError
    from postroad.securityserver.messagelog.committing import Outcome
    from postroad.securityserver.settings import Settings

GARBAGE_THRESHOLD: Final = 20_000
_frame_decoder = msgspec.msgpack.Decoder(protocol.AppendArgument)
_record_decoder = msgspec.msgpack.Decoder(protocol.RecordForm)


class WriterService:
    """Answers the calls on the log writer's socket."""

    def __init__(
        self, writer: LogWriter, housekeeping: Housekeeping, archives: ArchiveMethods
    ) -> None:
        self._writer = writer
        self._housekeeping = housekeeping
        self._methods: dict[str, Callable[[bytes], Awaitable[object]]] = {
            protocol.INSERT_TIMESTAMP: self._insert_timestamp,
            protocol.APPLY_TIMESTAMPS: self._apply_timestamps,
            protocol.APPLY_SINGLE: self._apply_single,
            protocol.SET_STATE: self._set_state,
            protocol.STATUS: self._status,
            **archives.methods,
        }

    async def handle(self, method: str, argument: bytes) -> object:
        """Answer one call; raises ``ConfigurationError`` for the caller."""
        try:
            answer = self._methods[method]
        except KeyError:
            raise ConfigurationError(f"the log writer has no method {method!r}") from None
        try:
            return await answer(argument)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise logging_failed(f"the argument of {method} can't be read: {error}") from error

    def append(self, argument: msgspec.Raw, reply: Reply) -> None:
        """Store the records of a frame, and reply once it is known what became of all of them."""
        try:
            frame = _frame_decoder.decode(argument)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            reply.refusal(logging_failed(f"the records can't be read: {error}"))
            return
        signatures = frame.signatures
        records = [_record(data, signatures) for data in frame.records]
        self._writer.submit(records, lambda outcomes: reply.result(_result(outcomes)))

    async def _insert_timestamp(self, argument: bytes) -> int:
        stamp = msgspec.msgpack.decode(argument, type=protocol.TimestampArgument)
        return await self._writer.run(
            lambda store: store.insert_timestamp(
                stamp.token, stamp.hash_chain_result, stamp.leaves, at=stamp.at
            )
        )

    async def _apply_timestamps(self, argument: bytes) -> int:
        applied = msgspec.msgpack.decode(argument, type=protocol.ApplyArgument)
        count = await self._writer.run(
            lambda store: store.apply_timestamps(
                applied.timestamp_id, applied.first_leaf, applied.signature_ids
            )
        )
        self._housekeeping.look_soon()
        return count

    async def _apply_single(self, argument: bytes) -> bool:
        single = msgspec.msgpack.decode(argument, type=protocol.SingleArgument)
        applied = await self._writer.run(
            lambda store: store.apply_single(
                single.signature_id,
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


class Reply(Protocol):
    """The way back to whoever sent a frame of records."""

    def result(self, result: object) -> None:
        """Give a result."""
        ...

    def refusal(self, error: PostroadError) -> None:
        """Say why nothing was done."""
        ...


def _record(
    data: msgspec.Raw, signatures: Sequence[protocol.SignatureForm]
) -> MessageRecord | ConfigurationError:
    try:
        form = _record_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return logging_failed(f"the record can't be read: {error}")
    if not 0 <= form.signature < len(signatures):
        return logging_failed("the record's signature isn't there")
    shared = signatures[form.signature]
    return MessageRecord(
        query_id=form.query_id,
        request_id=form.request_id,
        direction=form.direction,
        side=form.side,
        instance=form.instance,
        member_class=form.member_class,
        member_code=form.member_code,
        subsystem_code=form.subsystem_code,
        message=form.message,
        attachments=form.attachments,
        signature=shared.signature,
        hash_chain_result=shared.hash_chain_result,
        hash_chain=form.hash_chain,
        created_at=form.created_at,
    )


def _result(outcomes: Sequence[Outcome]) -> protocol.AppendResult:
    failures = {
        place: protocol.AppendFailure(outcome.code.value, outcome.message)
        for place, outcome in enumerate(outcomes)
        if isinstance(outcome, ConfigurationError)
    }
    ids = [outcome if isinstance(outcome, int) else 0 for outcome in outcomes]
    return protocol.AppendResult(ids, failures)


def run(settings: Settings) -> None:
    """Run the log writer's process; returns after an orderly stop (SIGTERM, SIGINT).

    Raises ``ConfigurationError`` if another log writer serves this home directory.
    """
    configure_logging(process="logwriter", style=settings.server.log_format)
    keep_freed_memory()
    gc.freeze()
    # Every record makes a few short-lived objects and no cycles: look for those seldom.
    gc.set_threshold(GARBAGE_THRESHOLD)
    taken = ConfigurationError("another log writer serves this home directory")
    with only_one(settings.run_path / "logwriter.lock", taken):
        uvloop.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Serve the log writer's socket until SIGTERM or SIGINT, then finish what was accepted."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    database = open_for_writing(settings, log_reserve=LOG_RESERVE)
    store = LogStore(database)
    writer = LogWriter(store, settings.spool_path, rules_of(settings), clock)
    # A database that can't be used now may be usable later; until then records are refused.
    with contextlib.suppress(ConfigurationError):
        await writer.load_state()
    housekeeping = Housekeeping(writer, settings.messagelog_url, settings.spool_path, clock)
    service = WriterService(writer, housekeeping, ArchiveMethods(writer, database))
    server = IpcServer(
        settings.logwriter_socket, service.handle, direct={protocol.APPEND: service.append}
    )
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
