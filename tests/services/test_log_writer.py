"""The log writer's process as it runs in a server: many producers, kills, full disks, stops."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.log_client import LogClient
from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog import timestamping
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.records import InlineBody, MessageRecord
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState
from postroad.securityserver.messagelog.timestamping import StampingRules, TimestampingJob
from support.central_server import MovingClock
from support.messagelog import (
    NOW,
    RUN_WRITER,
    WORKING,
    WriterProcess,
    connected,
    eventually,
    record,
    running_writer,
    spool,
)
from support.signing import Bench, message_parts
from support.stamping import TSA, Services, with_private

if TYPE_CHECKING:
    from pathlib import Path

    from support.postgresql import PostgresqlServer

BODY = InlineBody(b"x" * 1024)
SIGNATURE = b"s" * 7000


def typical(number: int, producer: int) -> MessageRecord:
    """A record that shares its signature with those that other producers send about now."""
    batch = f"{number}-{producer // 8}-"
    return record(
        BODY,
        query_id=f"{producer}-{number}",
        signature=batch.encode() + SIGNATURE,
        hash_chain_result=f"<result {batch}/>".encode(),
        hash_chain=f"<chain {producer}/>".encode(),
    )


def stored(writer: WriterProcess) -> dict[str, int]:
    """What is in the log: message ids and record numbers."""
    reader = LogReader.open(writer.url)
    try:
        rows = reader._database.rows(
            "SELECT queryid, r.id FROM logrecord r JOIN signature s ON s.id = r.signature_id"
        )
    finally:
        reader.close()
    return {str(query_id): int(str(record_id)) for query_id, record_id in rows}


async def produce(
    client: LogClient, producer: int, acknowledged: dict[str, int], *, until: float
) -> None:
    number = 0
    while time.monotonic() < until:
        item = typical(number, producer)
        acknowledged[item.query_id] = await client.append(item)
        number += 1


def check_whole(writer: WriterProcess, acknowledged: dict[str, int]) -> None:
    """Every acknowledged record is found by its message id, with all that belongs to it."""
    reader = LogReader.open(writer.url)
    for query_id, record_id in acknowledged.items():
        assert [found.id for found in reader.find(query_id)] == [record_id]
        loaded = reader.load(record_id)
        assert loaded is not None
        producer, number = map(int, query_id.split("-"))
        expected = typical(number, producer)
        assert loaded.signature == expected.signature
        assert loaded.hash_chain_result == expected.hash_chain_result
        assert loaded.hash_chain == expected.hash_chain
        assert [body.content for body in loaded.attachments] == [BODY.data]
    reader.close()


def test_64_producers_at_once_and_every_record_is_there(tmp_path: Path) -> None:
    async def scenario(writer: WriterProcess) -> dict[str, int]:
        acknowledged: dict[str, int] = {}
        async with connected(writer) as client:
            until = time.monotonic() + 1.5
            await asyncio.gather(
                *(produce(client, number, acknowledged, until=until) for number in range(64))
            )
            status = await client.status()
            assert (status.queued, status.last_error) == (0, "")
            assert status.written == len(acknowledged)
        return acknowledged

    with running_writer(tmp_path) as writer:
        acknowledged = asyncio.run(scenario(writer))
        assert stored(writer) == acknowledged
        assert len(set(acknowledged.values())) == len(acknowledged) > 64
        check_whole(writer, acknowledged)


def test_a_killed_writer_has_kept_every_record_it_acknowledged(tmp_path: Path) -> None:
    acknowledged: dict[str, int] = {}

    async def scenario(writer: WriterProcess, round_: int) -> None:
        async with connected(writer) as client:
            until = time.monotonic() + 60
            producers = [
                asyncio.ensure_future(
                    produce(client, round_ * 100 + number, acknowledged, until=until)
                )
                for number in range(64)
            ]
            before = len(acknowledged)
            await eventually(lambda: len(acknowledged) >= before + 300)
            writer.kill()
            outcomes = await asyncio.gather(*producers, return_exceptions=True)
            assert all(isinstance(outcome, ConfigurationError) for outcome in outcomes)

    with running_writer(tmp_path) as writer:
        for round_ in range(3):
            asyncio.run(scenario(writer, round_))
            writer.start()
            there = stored(writer)
            assert acknowledged.items() <= there.items()
            check_whole(writer, acknowledged)
        assert writer.stop() == 0
    assert acknowledged.items() <= stored(writer).items()
    check_whole(writer, acknowledged)


def test_a_client_finds_the_writer_again_after_a_restart(tmp_path: Path) -> None:
    with running_writer(tmp_path) as writer:

        async def scenario() -> None:
            async with connected(writer) as client:
                first = await client.append(record())
                writer.kill()
                with pytest.raises(ConfigurationError):
                    await client.append(record())
                await asyncio.to_thread(writer.start)
                assert await client.append(record()) > first

        asyncio.run(scenario())


def test_a_full_disk_refuses_and_is_survived(tmp_path: Path) -> None:
    with running_writer(tmp_path) as writer:

        async def scenario() -> None:
            assert writer.process is not None
            pid = writer.process.pid
            async with connected(writer) as client:
                first = await client.append(record(query_id="before"))
                unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                # No file of that process may grow: the log, and its own diary neither.
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, unlimited[1]))
                for number in range(3):
                    with pytest.raises(ConfigurationError) as refused:
                        await client.append(record(query_id=f"during-{number}"))
                    assert refused.value.fault_code == "logging_failed.database_error"
                with pytest.raises(ConfigurationError):
                    await client.append(record(spool(writer.spool, bytes(200_000))))
                assert "can't be used" in (await client.status()).last_error
                resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
                again = await client.append(record(query_id="after"))
                large = await client.append(record(spool(writer.spool, bytes(200_000))))
                assert first < again < large
                assert (await client.status()).last_error == ""

        asyncio.run(scenario())
        there = stored(writer)
        assert {"before", "after"} <= set(there)
        assert not [query_id for query_id in there if query_id.startswith("during")]
        assert list(writer.spool.iterdir()) == []


def test_stops_when_stamping_has_failed_for_too_long_and_resumes(tmp_path: Path) -> None:
    now = SystemClock().now()

    async def scenario(writer: WriterProcess) -> None:
        async with connected(writer, stamping=None) as client:
            with pytest.raises(ConfigurationError) as unknown:
                await client.append(record())
            assert unknown.value.fault_code == (
                "logging_failed.mlog.no_timestamping_provider_found"
            )
            for failing_for, stops in ((3500, False), (3601, True)):
                state = TimestampingState(
                    configured=True, failing_since=now - timedelta(seconds=failing_for)
                )
                await client.set_state(STATE_NAME, state.encode())
                if not stops:
                    await client.append(record())
                    continue
                with pytest.raises(ConfigurationError) as stopped:
                    await client.append(record())
                assert stopped.value.fault_code == "logging_failed.timestamping_failed"
            writer.kill()
            await asyncio.to_thread(writer.start)
            with pytest.raises(ConfigurationError):  # a restart is no way around it
                await client.append(record())
            await client.set_state(STATE_NAME, WORKING.encode())
            await client.append(record())

    with running_writer(tmp_path, acceptable_timestamp_failure_period=3600.0) as writer:
        asyncio.run(scenario(writer))


def test_stops_when_records_stay_unstamped_and_resumes_with_their_stamp(tmp_path: Path) -> None:
    async def scenario(writer: WriterProcess) -> None:
        working = TimestampingState(configured=True, interval=0.1)
        async with connected(writer, stamping=working) as client:
            record_id = await client.append(record(created_at=NOW))
            reader = LogReader.open(writer.url)
            (waiting,) = reader.pending(1)
            await client.apply_single(  # makes the writer look for what waits; stamps nothing
                record_id, b"other", signature=b"<s/>", token=b"token", at=NOW
            )
            deadline = time.monotonic() + 20
            while not (await client.status()).refusing:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            with pytest.raises(ConfigurationError) as stopped:
                await client.append(record(created_at=NOW))
            assert stopped.value.fault_code == "logging_failed.timestamping_failed"
            for item in reader.pending(10_000):
                await client.apply_single(
                    item.id, item.signature_hash, signature=b"<s/>", token=b"token", at=NOW
                )
            assert waiting.id == record_id
            while (await client.status()).refusing:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            await client.append(record())
            reader.close()

    with running_writer(tmp_path, acceptable_timestamp_failure_period=0.2) as writer:
        asyncio.run(scenario(writer))


def test_large_bodies_do_not_hold_up_small_records(tmp_path: Path) -> None:
    data = os.urandom(10 * 1024 * 1024)

    async def scenario(writer: WriterProcess) -> list[float]:
        waits: list[float] = []
        async with connected(writer) as client:
            large = [
                asyncio.ensure_future(
                    client.append(record(spool(writer.spool, data, f"body-{number}")))
                )
                for number in range(12)
            ]
            while not all(upload.done() for upload in large):
                started = time.monotonic()
                await client.append(record(BODY))
                waits.append(time.monotonic() - started)
            for upload in large:
                await upload
        return waits

    with running_writer(tmp_path) as writer:
        waits = asyncio.run(scenario(writer))
        assert len(waits) >= 10  # small records went in between, many times
        assert sorted(waits)[len(waits) // 2] < 0.5
        reader = LogReader.open(writer.url)
        sizes = [found.size for found in _attachments(reader)]
        assert sizes.count(len(data)) == 12
        reader.close()
        assert list(writer.spool.iterdir()) == []


def _attachments(reader: LogReader):
    for (record_id,) in reader._database.rows("SELECT id FROM logrecord"):
        loaded = reader.load(int(str(record_id)))
        assert loaded is not None
        yield from loaded.attachments


@pytest.mark.parametrize(("size", "count"), [(100_000, 100), (10 * 1024 * 1024, 8)])
def test_a_writer_killed_during_an_upload_leaves_no_half_of_it(
    tmp_path: Path, size: int, count: int
) -> None:
    """Each body is either a piece in the database or a file beside it."""
    data = os.urandom(size)

    def parts(writer: WriterProcess) -> int:
        reader = LogReader.open(writer.url)
        ((pieces,),) = reader._database.rows("SELECT COUNT(*) FROM attachment_piece")
        reader.close()
        files = list((tmp_path / "db").glob("messagelog-bodies/*/*"))
        return int(str(pieces)) + len(files)

    async def scenario(writer: WriterProcess) -> None:
        async with connected(writer) as client:
            uploads = [
                asyncio.ensure_future(
                    client.append(record(spool(writer.spool, data, f"body-{number}")))
                )
                for number in range(count)
            ]
            await eventually(lambda: parts(writer))
            writer.kill()
            await asyncio.gather(*uploads, return_exceptions=True)

    with running_writer(tmp_path) as writer:
        asyncio.run(scenario(writer))
        assert parts(writer) > 0
        writer.start()
        kept = stored(writer)
        assert parts(writer) == len(kept) < count
        reader = LogReader.open(writer.url)
        assert [body.content for body in _attachments(reader)] == [data] * len(kept)
        reader.close()


def test_orphan_spool_files_go_at_the_start(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path)
    spool(writer.spool, b"x", "old")
    spool(writer.spool, b"x", "young")
    os.utime(writer.spool / "old", (1000, 1000))
    with running_writer(tmp_path) as writer:
        deadline = time.monotonic() + 10
        while (writer.spool / "old").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (writer.spool / "young").exists()


def test_an_orderly_stop_finishes_what_was_accepted(tmp_path: Path) -> None:
    with running_writer(tmp_path) as writer:

        async def scenario() -> list[int]:
            async with connected(writer) as client:
                waiting = [asyncio.ensure_future(client.append(record())) for _ in range(200)]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                assert await asyncio.to_thread(writer.stop) == 0
                return await asyncio.gather(*waiting)

        ids = asyncio.run(scenario())
        assert sorted(stored(writer).values()) == sorted(ids)
        assert not writer.socket.exists()


def test_a_second_writer_is_kept_out(tmp_path: Path) -> None:
    with running_writer(tmp_path) as writer:
        second = subprocess.run(
            [sys.executable, "-c", RUN_WRITER, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert second.returncode != 0
        assert "another log writer serves this home directory" in second.stderr

        async def scenario() -> None:
            async with connected(writer) as client:
                await client.append(record())

        asyncio.run(scenario())


def test_records_are_stamped_through_the_writer_while_others_arrive(tmp_path: Path) -> None:
    signing = Bench.create()
    signature = signing.sign(message_parts(b"message")).signature
    clock = MovingClock(NOW)

    async def scenario(writer: WriterProcess) -> None:
        reader = LogReader.open(writer.url)
        async with connected(writer) as client:

            async def configuration():
                return with_private(signing.globalconf)

            job = TimestampingJob(
                reader=reader,
                log=client,
                fetcher=Services(signing.lab, clock),
                configuration=configuration,
                services=lambda: [TSA],
                clock=clock,
                rules=StampingRules(records_limit=500),
            )
            await asyncio.gather(*(client.append(record(signature=signature)) for _ in range(1200)))
            acknowledged: dict[str, int] = {}
            producing = asyncio.ensure_future(
                produce(client, 0, acknowledged, until=time.monotonic() + 1)
            )
            while not producing.done() or reader.count_pending():
                report = await job.run_once()
                assert report.error is None
            await producing
            for record_id in stored(writer).values():
                loaded = reader.load(record_id)
                assert loaded is not None
                assert loaded.timestamp is not None
        reader.close()

    with running_writer(tmp_path) as writer:
        asyncio.run(scenario(writer))


def test_postgresql_that_crashes_is_survived_and_keeps_what_was_acknowledged(
    tmp_path: Path,
    postgresql_server: PostgresqlServer,
) -> None:
    acknowledged: dict[str, int] = {}

    async def scenario(writer: WriterProcess) -> None:
        async with connected(writer) as client:
            until = time.monotonic() + 60
            producers = [
                asyncio.ensure_future(produce(client, number, acknowledged, until=until))
                for number in range(16)
            ]
            await eventually(lambda: len(acknowledged) >= 200)
            await asyncio.to_thread(postgresql_server.stop)
            outcomes = await asyncio.gather(*producers, return_exceptions=True)
            assert {getattr(outcome, "fault_code", outcome) for outcome in outcomes} == {
                "logging_failed.database_error"
            }
            await asyncio.to_thread(postgresql_server.start)
            await client.append(record(query_id="after"))
            await client.append(record(spool(writer.spool, bytes(3_000_000)), query_id="large"))

    database = postgresql_server.create_database()
    with running_writer(tmp_path, database=database) as writer:
        asyncio.run(scenario(writer))
        there = stored(writer)
        assert acknowledged.items() <= there.items()
        assert {"after", "large"} <= set(there)
        assert writer.stop() == 0


def test_a_writer_killed_while_stamps_are_applied_leaves_every_stamp_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamping, "APPLY_CHUNK", 50)
    signing = Bench.create()
    clock = MovingClock(NOW)
    signature = signing.sign(message_parts(b"message")).signature

    async def scenario(writer: WriterProcess) -> int:
        reader = LogReader.open(writer.url)
        async with connected(writer) as client:

            async def configuration():
                return with_private(signing.globalconf)

            job = TimestampingJob(
                reader=reader,
                log=client,
                fetcher=Services(signing.lab, clock),
                configuration=configuration,
                services=lambda: [TSA],
                clock=clock,
                rules=StampingRules(records_limit=3000),
            )
            await asyncio.gather(*(client.append(record(signature=signature)) for _ in range(3000)))
            stamping = asyncio.ensure_future(job.run_once())
            await eventually(lambda: reader.count_pending() < 3000)
            writer.kill()
            with pytest.raises(ConfigurationError):
                await stamping
            left = reader.count_pending()
            await asyncio.to_thread(writer.start)
            await client.set_state(STATE_NAME, WORKING.encode())
            while reader.count_pending():
                assert (await job.run_once()).error is None
        for record_id in stored(writer).values():
            loaded = reader.load(record_id)  # proves that its chain leads to what was stamped
            assert loaded is not None
            assert loaded.timestamp is not None
        reader.close()
        return left

    with running_writer(tmp_path) as writer:
        assert 0 < asyncio.run(scenario(writer)) < 3000
