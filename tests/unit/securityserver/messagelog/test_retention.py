from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from postroad.adapters.archive_protocol import AddArchiveArgument, pack_ids
from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.records import BODY_DIGEST
from postroad.securityserver.messagelog.store import Piece, PreparedAttachment, PreparedRecord
from support.archiving import LATER, ArchiveBench, DirectLog, archive_bench
from support.messagelog import NOW, record, spool
from support.postgresql import PostgresqlServer

TABLES = (
    "logrecord",
    "signature",
    "waiting_signature",
    "stamped_signature",
    "timestamp_record",
    "query_index",
    "message_attachment",
    "attachment_piece",
    "unfinished_record",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArchiveBench]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/log.sqlite"
    else:
        server: PostgresqlServer = request.getfixturevalue("postgresql_server")
        url = server.create_database()
    with archive_bench(url, tmp_path / "archive") as opened:
        yield opened


def clean(bench: ArchiveBench) -> int:
    """Archive and clean a month later; the number of records that went."""
    bench.now = LATER
    report = asyncio.run(bench.archiver().run())
    assert report.error is None
    return report.cleaned


def counts(bench: ArchiveBench) -> dict[str, int]:
    return {
        table: int(str(bench.database.rows(f"SELECT COUNT(*) FROM {table}")[0][0]))
        for table in TABLES
    }


def test_nothing_of_a_cleaned_record_is_left(bench: ArchiveBench, tmp_path: Path) -> None:
    large = bench.store.begin_pieces()
    contents = [bytes([number]) * 10 for number in range(9)]
    pieces = [Piece(large, 1, number, data) for number, data in enumerate(contents)]
    bench.store.write([], pieces)
    whole = b"".join(contents)
    attachments = [PreparedAttachment(BODY_DIGEST.digest(whole), len(whole), pieces=9)]
    files = bench.store.body_files
    if files is not None:  # a database on another machine has none
        assert files.keep(tmp_path, spool(tmp_path, whole), large, 2)
        attachments.append(replace(attachments[0], pieces=None, filed=True))
    bench.store.write([PreparedRecord(record(), tuple(attachments), large)])
    stored = bench.reader.load(large)
    assert stored is not None
    assert {body.content for body in stored.attachments} == {whole}
    small = PreparedAttachment(BODY_DIGEST.digest(b"x"), 1, b"x")
    bench.store.write([PreparedRecord(record(), (small, small)), PreparedRecord(record())])
    bench.stamp()
    bench.settle()
    (kept,) = bench.append(record(created_at=LATER))
    assert clean(bench) == 3
    assert counts(bench) == dict.fromkeys(TABLES, 0) | {
        "logrecord": 1,
        "signature": 1,
        "stamped_signature": 1,
        "timestamp_record": 1,
    }
    assert bench.reader.load(kept) is not None
    assert len(bench.archived_names()) == 4
    if files is not None:
        with pytest.raises(ConfigurationError, match="No such file"):
            files.read(large, 2)


def test_a_signature_stays_while_a_record_has_it(bench: ArchiveBench) -> None:
    batch = {"signature": b"<both/>", "hash_chain_result": b"<r/>", "hash_chain": b"<c/>"}
    bench.append(record(**batch))
    (second,) = bench.append(record(**batch, created_at=LATER))
    bench.settle()
    bench.append(record(created_at=LATER))
    assert clean(bench) == 1
    found = bench.reader.load(second)
    assert found is not None
    assert found.signature == b"<both/>"
    assert found.timestamp is not None


def test_a_time_stamp_stays_while_a_signature_has_it(bench: ArchiveBench) -> None:
    bench.append(record(), stamped=False)
    (second,) = bench.append(record(created_at=LATER))
    bench.settle()
    bench.append(record(created_at=LATER))
    assert clean(bench) == 1
    found = bench.reader.load(second)
    assert found is not None
    assert found.timestamp is not None
    assert found.timestamp.hash_chain is not None


def test_records_that_the_next_one_may_share_a_signature_with_stay(bench: ArchiveBench) -> None:
    bench.append(record(), record())
    while bench.store.list_queries(1000):
        pass
    assert clean(bench) == 0


def test_records_that_searches_do_not_know_yet_stay(bench: ArchiveBench) -> None:
    bench.append(record())
    with bench.database.transaction():
        bench.database.reserve_ids(5000)
    bench.append(record(created_at=LATER))
    assert clean(bench) == 0
    bench.settle()
    assert clean(bench) == 1


def test_unarchived_and_unstamped_records_stay(bench: ArchiveBench) -> None:
    bench.append(record(), stamped=False)
    bench.settle()
    bench.append(record(created_at=LATER), stamped=False)
    assert clean(bench) == 0
    before = LATER - timedelta(days=1)
    # Even if somebody says that all is archived: what has no stamp proves nothing elsewhere.
    asyncio.run(DirectLog(bench).set_archived(1 << 40))
    assert asyncio.run(DirectLog(bench).clean(before, 0, 100)).removed == 0
    assert counts(bench)["logrecord"] == 2


def test_nothing_goes_while_an_archive_is_not_where_it_belongs(bench: ArchiveBench) -> None:
    (first,) = bench.append(record())
    bench.settle()
    bench.append(record(created_at=LATER))
    log = DirectLog(bench)
    archive = AddArchiveArgument("", "", "ab" * 64, "mlog-x.zip", pack_ids([first]), NOW)
    asyncio.run(log.add_archive(archive))
    asyncio.run(log.set_archived(first))
    assert asyncio.run(log.clean(LATER, 0, 100)).removed == 0


def test_records_out_of_order_go_by_their_own_age(bench: ArchiveBench) -> None:
    bench.append(record(created_at=LATER), record(), record(created_at=LATER), record())
    bench.settle()
    bench.append(record(created_at=LATER))
    assert clean(bench) == 2
    assert counts(bench)["logrecord"] == 3


def test_large_records_go_in_small_steps(bench: ArchiveBench, monkeypatch) -> None:
    monkeypatch.setattr("postroad.securityserver.messagelog.retention.MAX_STEP_BYTES", 50)
    bench.store.write([PreparedRecord(record(message=bytes(100)), body=b"b") for _ in range(3)])
    bench.stamp()
    bench.settle()
    bench.append(record(created_at=LATER))
    bench.now = LATER
    asyncio.run(bench.archiver().run(clean=False))
    log, before = DirectLog(bench), LATER - timedelta(days=1)
    first = asyncio.run(log.clean(before, 0, 100))
    assert (first.removed, first.done) == (1, False)
    assert clean(bench) == 2


def test_the_number_up_to_which_all_is_archived_never_goes_back(bench: ArchiveBench) -> None:
    log = DirectLog(bench)
    asyncio.run(log.set_archived(10))
    asyncio.run(log.set_archived(5))
    assert bench.planner.extent().archived == 10
