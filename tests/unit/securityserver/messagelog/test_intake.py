from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.body_files import FILE_BYTES
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader, StoredRecord
from postroad.securityserver.messagelog.records import InlineBody, OmittedBody, SpooledBody
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState
from postroad.securityserver.messagelog.store import PIECE_BYTES, LogStore
from support.central_server import MovingClock
from support.messagelog import NOW, WORKING, record, spool, submit


@dataclass
class Open:
    writer: LogWriter
    store: LogStore
    reader: LogReader
    spool: Path
    clock: MovingClock

    def load(self, record_id: int) -> StoredRecord:
        stored = self.reader.load(record_id)
        assert stored is not None
        return stored

    def left_behind(self) -> list[str]:
        return [path.name for path in self.spool.iterdir()]

    def body_files(self) -> list[Path]:
        return list(self.spool.parent.glob("messagelog-bodies/*/*"))


@contextlib.asynccontextmanager
async def opened(
    home: Path, rules: WriterRules | None = None, *, state: TimestampingState | None = WORKING
) -> AsyncIterator[Open]:
    url = f"sqlite:///{home}/messagelog.sqlite"
    directory = home / "spool"
    directory.mkdir(exist_ok=True)
    clock = MovingClock(NOW)
    store = LogStore(open_database(url))
    writer = LogWriter(store, directory, rules or WriterRules(), clock)
    if state is not None:
        await writer.set_state(STATE_NAME, state.encode())
    reader = LogReader.open(url)
    try:
        yield Open(writer, store, reader, directory, clock)
    finally:
        reader.close()
        await writer.close()


def test_a_record_with_a_body_is_stored(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            record_id = await submit(log.writer, record(InlineBody(b"body")))
            (attachment,) = log.load(record_id).attachments
            assert attachment.content == b"body"
            assert attachment.digest == hashlib.sha512(b"body").digest()

    asyncio.run(scenario())


@pytest.mark.parametrize("size", [0, 100_000, FILE_BYTES - 1, FILE_BYTES, PIECE_BYTES * 2 + 5])
def test_a_spooled_body_is_taken_in_and_its_file_removed(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            record_id = await submit(log.writer, record(spool(log.spool, data)))
            (attachment,) = log.load(record_id).attachments
            assert attachment.content == data
            assert log.left_behind() == []
            assert len(log.body_files()) == (size >= FILE_BYTES)

    asyncio.run(scenario())


def test_attachments_of_all_kinds_keep_their_numbers(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            bodies = (
                InlineBody(b"one"),
                spool(log.spool, b"two", "2"),
                OmittedBody(b"3" * 64, 3),
                spool(log.spool, b"four", "4"),
            )
            stored = log.load(await submit(log.writer, record(*bodies)))
            assert [(a.number, a.content) for a in stored.attachments] == [
                (1, b"one"),
                (2, b"two"),
                (3, None),
                (4, b"four"),
            ]

    asyncio.run(scenario())


@pytest.mark.parametrize("spooled", [True, False])
def test_of_an_oversized_body_the_digest_is_kept(tmp_path: Path, spooled: bool) -> None:
    rules = WriterRules(max_body_bytes=10)

    async def scenario() -> None:
        async with opened(tmp_path, rules) as log:
            for data in (b"x" * 10, b"x" * 11):
                body = spool(log.spool, data) if spooled else InlineBody(data)
                stored = log.load(await submit(log.writer, record(body)))
                (attachment,) = stored.attachments
                assert attachment.content == (data if len(data) == 10 else None)
                assert attachment.size == len(data)
                assert attachment.digest == hashlib.sha512(data).digest()
            assert log.left_behind() == []

    asyncio.run(scenario())


@pytest.mark.parametrize("spooled", [True, False])
def test_an_oversized_body_is_refused_where_the_settings_want_it(
    tmp_path: Path, spooled: bool
) -> None:
    rules = WriterRules(max_body_bytes=10, oversized_bodies="refuse")

    async def scenario() -> None:
        async with opened(tmp_path, rules) as log:
            body = spool(log.spool, b"x" * 11) if spooled else InlineBody(b"x" * 11)
            with pytest.raises(ConfigurationError, match="11 bytes; at most 10") as refused:
                await submit(log.writer, record(body))
            assert refused.value.fault_code == "logging_failed"
            assert log.left_behind() == []
            assert log.reader.count_pending() == 0

    asyncio.run(scenario())


def test_a_body_that_was_not_signed_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            data = os.urandom(PIECE_BYTES + 1)
            body = spool(log.spool, data)
            forged = SpooledBody(body.file_name, b"0" * 64, body.size)
            with pytest.raises(ConfigurationError, match="isn't the one that was signed"):
                await submit(log.writer, record(forged))
            assert log.left_behind() == []
            for table in ("logrecord", "signature", "attachment_piece", "unfinished_record"):
                assert log.store._database.rows(f"SELECT * FROM {table}") == []
            assert log.body_files() == []

    asyncio.run(scenario())


def test_a_record_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            with pytest.raises(ConfigurationError, match="256 characters"):
                await submit(log.writer, record(query_id="x" * 256))
            with pytest.raises(ConfigurationError, match="256 characters"):
                await submit(log.writer, record(spool(log.spool, b"x"), query_id="x" * 256))
            assert log.left_behind() == []

    asyncio.run(scenario())


def test_stops_and_resumes_with_what_the_stamping_job_reports(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, state=None) as log:
            with pytest.raises(ConfigurationError) as unknown:
                await submit(log.writer, record())
            assert unknown.value.fault_code == (
                "logging_failed.mlog.no_timestamping_provider_found"
            )
            failing = TimestampingState(configured=True, failing_since=NOW)
            await log.writer.set_state(STATE_NAME, failing.encode())
            assert await submit(log.writer, record())
            log.clock.pass_time(hours=4, seconds=1)
            with pytest.raises(ConfigurationError) as stopped:
                await submit(log.writer, record(spool(log.spool, b"x")))
            assert stopped.value.fault_code == "logging_failed.timestamping_failed"
            assert log.left_behind() == []
            assert "has failed since" in log.writer.status(0).refusing
            await log.writer.set_state(STATE_NAME, WORKING.encode())
            assert await submit(log.writer, record())
            assert log.writer.status(0).refusing == ""

    asyncio.run(scenario())


def test_the_stop_survives_a_restart(tmp_path: Path) -> None:
    failing = TimestampingState(configured=True, failing_since=NOW - timedelta(hours=5))

    async def scenario() -> None:
        async with opened(tmp_path, state=failing):
            pass
        async with opened(tmp_path, state=None) as log:
            await log.writer.load_state()
            with pytest.raises(ConfigurationError) as stopped:
                await submit(log.writer, record())
            assert stopped.value.fault_code == "logging_failed.timestamping_failed"

    asyncio.run(scenario())


def test_stops_when_records_stay_unstamped(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            log.writer.saw_oldest_pending(NOW)
            log.clock.pass_time(hours=4, seconds=61)
            with pytest.raises(ConfigurationError, match="have waited"):
                await submit(log.writer, record())
            log.writer.saw_oldest_pending(None)
            assert await submit(log.writer, record())

    asyncio.run(scenario())


def test_tells_trouble_with_the_database_until_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "messagelog.sqlite"

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            away = path.rename(tmp_path / "elsewhere")
            with pytest.raises(ConfigurationError) as refused:
                await submit(log.writer, record())
            assert refused.value.fault_code == "logging_failed.database_error"
            with pytest.raises(ConfigurationError):
                await log.writer.run(lambda store: store.begin_pieces())
            with pytest.raises(ConfigurationError):
                await submit(log.writer, record(spool(log.spool, b"x" * 10)))
            assert log.left_behind() == []
            assert "can't be used" in log.writer.status(0).last_error
            away.rename(path)
            assert await submit(log.writer, record())
            status = log.writer.status(5)
            assert (status.last_error, status.written, status.log_bytes) == ("", 1, 5)

    asyncio.run(scenario())


def test_pieces_stay_for_the_next_start_when_they_cannot_be_discarded(tmp_path: Path) -> None:
    path = tmp_path / "messagelog.sqlite"

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            body = spool(log.spool, b"x" * 10)
            forged = SpooledBody(body.file_name, b"0" * 64, body.size)
            away = tmp_path / "elsewhere"
            real = log.store.write

            def write_then_lose(*arguments: object) -> list[int]:
                ids = real(*arguments)
                path.rename(away)
                return ids

            log.store.write = write_then_lose
            with pytest.raises(ConfigurationError, match="isn't the one"):
                await submit(log.writer, record(forged))
            away.rename(path)
            assert log.store._database.rows("SELECT * FROM unfinished_record") == [(1,)]

    asyncio.run(scenario())


def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        async with opened(tmp_path) as log:
            tasks = [
                asyncio.ensure_future(submit(log.writer, record())),
                asyncio.ensure_future(
                    submit(log.writer, record(spool(log.spool, os.urandom(PIECE_BYTES))))
                ),
            ]
            await asyncio.sleep(0)
        return [await task for task in tasks]

    assert len(set(asyncio.run(scenario()))) == 2


def test_too_many_large_records_are_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, WriterRules(queue_limit=1)) as log:
            first = asyncio.ensure_future(
                submit(log.writer, record(spool(log.spool, bytes(PIECE_BYTES), "1")))
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            with pytest.raises(ConfigurationError, match="behind"):
                await submit(log.writer, record(spool(log.spool, b"x", "2")))
            assert await first
            assert log.left_behind() == []

    asyncio.run(scenario())
