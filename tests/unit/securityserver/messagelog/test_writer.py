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
from postroad.adapters.log_client import _Frame
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.securityserver.messagelog.archive_methods import ArchiveMethods
from postroad.securityserver.messagelog.housekeeping import Housekeeping
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import (
    SIGNATURE_DIGEST,
    Body,
    Direction,
    InlineBody,
    MessageRecord,
    Side,
    SpooledBody,
)
from postroad.securityserver.messagelog.stamping_plan import plan_batch
from postroad.securityserver.messagelog.stop_rule import STATE_NAME
from postroad.securityserver.messagelog.store import LogStore
from postroad.securityserver.messagelog.writer import WriterService, rules_of
from postroad.securityserver.settings import parse_settings
from support.central_server import MovingClock
from support.messagelog import NOW, WORKING, record

encode = msgspec.msgpack.encode


@dataclass
class Reply:
    """Keeps what the caller of a direct method hears."""

    heard: asyncio.Future[protocol.AppendResult]

    def result(self, result: object) -> None:
        # What goes over the wire must be what the client can read.
        data = encode(result)
        self.heard.set_result(msgspec.msgpack.decode(data, type=protocol.AppendResult))

    def refusal(self, error: PostroadError) -> None:
        self.heard.set_exception(error)


def frame(*records: MessageRecord) -> protocol.AppendArgument:
    made = _Frame()
    for item in records:
        made.add(item)
    return made.argument


@dataclass
class Open:
    service: WriterService
    reader: LogReader

    async def append(self, argument: object) -> protocol.AppendResult:
        reply = Reply(asyncio.get_running_loop().create_future())
        self.service.append(msgspec.Raw(encode(argument)), reply)
        return await reply.heard


@contextlib.asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Open]:
    url = f"sqlite:///{home}/messagelog.sqlite"
    clock = MovingClock(NOW)
    database = open_database(url)
    writer = LogWriter(LogStore(database), home / "spool", WriterRules(), clock)
    housekeeping = Housekeeping(writer, url, home / "spool", clock)
    service = WriterService(writer, housekeeping, ArchiveMethods(writer, database))
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
            argument = frame(record(), record(query_id="x" * 256), record(), record())
            argument.records[2] = msgspec.Raw(encode({"not": "a record"}))
            result = await log.append(argument)
            assert [bool(record_id) for record_id in result.ids] == [True, False, False, True]
            assert [result.failures[place].code for place in (1, 2)] == ["logging_failed"] * 2
            assert "256 characters" in result.failures[1].message
            assert "can't be read" in result.failures[2].message
            assert log.reader.count_pending() == 2

    asyncio.run(scenario())


def test_what_arrives_is_what_was_sent(tmp_path: Path) -> None:
    def mate(*bodies: Body, direction: Direction, number: int) -> MessageRecord:
        return record(
            *bodies,
            direction=direction,
            signature=b"<same/>",
            hash_chain_result=b"<result/>",
            hash_chain=f"<chain {number}/>".encode(),
        )

    records = [
        mate(InlineBody(b"body"), direction=Direction.REQUEST, number=1),
        mate(direction=Direction.RESPONSE, number=2),
        record(request_id=None, side=Side.SERVER),
    ]

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            argument = frame(*records)
            assert len(argument.signatures) == 2
            result = await log.append(argument)
            for record_id, sent in zip(result.ids, records, strict=True):
                stored = log.reader.load(record_id)
                assert stored is not None
                assert (stored.query_id, stored.request_id) == (sent.query_id, sent.request_id)
                assert (stored.party, stored.direction) == (sent.party, sent.direction)
                assert (stored.message, stored.signature) == (sent.message, sent.signature)
                assert stored.hash_chain_result == sent.hash_chain_result
                assert stored.hash_chain == sent.hash_chain
                assert stored.created_at == sent.created_at
                assert [body.content for body in stored.attachments] == [
                    body.data for body in sent.attachments if isinstance(body, InlineBody)
                ]

    asyncio.run(scenario())


@pytest.mark.parametrize("number", [-1, 1, 7])
def test_a_record_whose_signature_is_missing_is_refused(tmp_path: Path, number: int) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            argument = frame(record())
            form = msgspec.msgpack.decode(argument.records[0], type=protocol.RecordForm)
            argument.records.append(
                msgspec.Raw(encode(msgspec.structs.replace(form, signature=number)))
            )
            result = await log.append(argument)
            assert [bool(record_id) for record_id in result.ids] == [True, False]
            assert "signature isn't there" in result.failures[1].message

    asyncio.run(scenario())


def test_an_empty_frame_has_no_outcomes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            assert await log.append(frame()) == protocol.AppendResult([])

    asyncio.run(scenario())


def test_a_frame_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            with pytest.raises(ConfigurationError) as refused:
                await log.append("nonsense")
            assert refused.value.code is FaultCode.LOGGING_FAILED

    asyncio.run(scenario())


def test_a_defect_is_told_by_its_kind_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:

            async def fail(*_: object) -> int:
                raise ZeroDivisionError("inner detail")

            monkeypatch.setattr(LogWriter, "_store_spooled", fail)
            result = await log.append(frame(record(), record(SpooledBody("f", bytes(64), 1))))
            assert result.ids[0]
            failure = result.failures[1]
            assert failure.code == "logging_failed"
            assert "ZeroDivisionError" in failure.message
            assert "inner detail" not in failure.message

    asyncio.run(scenario())


def test_stamps_are_applied(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            result = await log.append(frame(record(), record(), record(signature=b"<s/>")))
            plan = plan_batch(log.reader.pending_among(result.ids[:2]))
            stamp = protocol.TimestampArgument(b"token", plan.data, plan.leaves, NOW)
            timestamp_id = await log.service.handle(protocol.INSERT_TIMESTAMP, encode(stamp))
            applied = protocol.ApplyArgument(int(str(timestamp_id)), 0, result.ids[:2])
            assert await log.service.handle(protocol.APPLY_TIMESTAMPS, encode(applied)) == 2
            single = protocol.SingleArgument(
                result.ids[2], SIGNATURE_DIGEST.digest(b"<s/>"), b"<t/>", b"token", NOW
            )
            assert await log.service.handle(protocol.APPLY_SINGLE, encode(single)) is True
            assert log.reader.count_pending() == 0
            status = await log.service.handle(protocol.STATUS, encode(None))
            assert isinstance(status, protocol.LogStatus)
            assert status.written == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "method",
    [
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
