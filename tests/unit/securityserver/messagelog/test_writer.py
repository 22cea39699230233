from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from postroad.adapters import log_protocol as protocol
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog import writer as process
from postroad.securityserver.messagelog.housekeeping import Housekeeping
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.stop_rule import STATE_NAME
from postroad.securityserver.messagelog.store import SIGNATURE_DIGEST, LogStore
from postroad.securityserver.messagelog.writer import WriterService, rules_of
from postroad.securityserver.settings import parse_settings
from support.central_server import MovingClock
from support.messagelog import NOW, WORKING, record

encode = msgspec.msgpack.encode


@dataclass
class Open:
    service: WriterService
    reader: LogReader

    async def append(self, *records: object) -> list[protocol.AppendOutcome]:
        outcomes = await self.service.handle(protocol.APPEND, encode(list(records)))
        assert isinstance(outcomes, list)
        return outcomes


@contextlib.asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Open]:
    url = f"sqlite:///{home}/messagelog.sqlite"
    clock = MovingClock(NOW)
    writer = LogWriter(LogStore(open_database(url)), home / "spool", WriterRules(), clock)
    housekeeping = Housekeeping(writer, url, home / "spool", clock)
    service = WriterService(writer, housekeeping)
    await service.handle(
        protocol.SET_STATE, encode(protocol.StateArgument(STATE_NAME, WORKING.encode()))
    )
    reader = LogReader.open(url)
    try:
        yield Open(service, reader)
    finally:
        reader.close()
        await writer.close()
        housekeeping.close()


def test_each_record_of_a_frame_has_its_outcome(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            outcomes = await log.append(
                record(), record(query_id="x" * 256), {"not": "a record"}, record()
            )
            assert [bool(outcome.id) for outcome in outcomes] == [True, False, False, True]
            assert [outcome.code for outcome in outcomes[1:3]] == ["logging_failed"] * 2
            assert "256 characters" in outcomes[1].message
            assert "can't be read" in outcomes[2].message
            assert log.reader.count_pending() == 2

    asyncio.run(scenario())


def test_an_empty_frame_has_no_outcomes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            assert await log.append() == []

    asyncio.run(scenario())


def test_a_defect_is_told_by_its_kind_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:

            def fail(_self: LogWriter, _record: object) -> asyncio.Future[int]:
                future = asyncio.get_running_loop().create_future()
                future.set_exception(ZeroDivisionError("inner detail"))
                return future

            monkeypatch.setattr(LogWriter, "submit", fail)
            (outcome,) = await log.append(record())
            assert outcome == protocol.AppendOutcome(0, "logging_failed", "ZeroDivisionError")

    asyncio.run(scenario())


def test_stamps_are_applied(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            first, second = await log.append(record(), record(signature=b"<s/>"))
            (waiting,) = log.reader.pending_among([first.id])
            stamp = protocol.TimestampArgument(b"token", b"<result/>", NOW)
            timestamp_id = await log.service.handle(protocol.INSERT_TIMESTAMP, encode(stamp))
            stamped = protocol.StampedArgument(first.id, waiting.signature_hash, b"<chain/>")
            applied = protocol.ApplyArgument(int(str(timestamp_id)), (stamped,))
            assert await log.service.handle(protocol.APPLY_TIMESTAMPS, encode(applied)) == 1
            single = protocol.SingleArgument(
                second.id, SIGNATURE_DIGEST.digest(b"<s/>"), b"<t/>", b"token", NOW
            )
            assert await log.service.handle(protocol.APPLY_SINGLE, encode(single)) is True
            assert log.reader.count_pending() == 0
            status = await log.service.handle(protocol.STATUS, encode(None))
            assert isinstance(status, protocol.LogStatus)
            assert status.written == 2

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "method",
    [
        protocol.APPEND,
        protocol.INSERT_TIMESTAMP,
        protocol.APPLY_TIMESTAMPS,
        protocol.APPLY_SINGLE,
        protocol.SET_STATE,
    ],
)
def test_an_argument_that_cannot_be_read_is_refused(tmp_path: Path, method: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            with pytest.raises(ConfigurationError) as refused:
                await log.service.handle(method, encode("nonsense"))
            assert refused.value.code is FaultCode.LOGGING_FAILED

    asyncio.run(scenario())


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            with pytest.raises(ConfigurationError, match="no method"):
                await log.service.handle("erase", encode(None))

    asyncio.run(scenario())


def test_the_rules_come_from_the_settings(tmp_path: Path) -> None:
    text = """
        [server]
        identifier = "TEST/COM/1234/SS1"
        [message_log]
        max_body_bytes = 17
        oversized_bodies = "refuse"
        acceptable_timestamp_failure_period = 5
        queue_limit = 3
    """
    assert rules_of(parse_settings(text, home=tmp_path)) == WriterRules(
        max_body_bytes=17,
        oversized_bodies="refuse",
        acceptable_timestamp_failure=timedelta(seconds=5),
        queue_limit=3,
    )


def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    lock = tmp_path / "run" / "logwriter.lock"
    with process._only_one(lock):
        with pytest.raises(ConfigurationError, match="another log writer"), process._only_one(lock):
            pass
    with process._only_one(lock):
        pass
