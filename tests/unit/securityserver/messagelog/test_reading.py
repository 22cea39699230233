from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.log_record import MessageRecord
from postroad.identifiers import MemberId, SubsystemId
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader, StoredAttachment
from postroad.securityserver.messagelog.records import Direction
from postroad.securityserver.messagelog.store import (
    LogStore,
    Piece,
    PreparedAttachment,
    PreparedRecord,
)
from support.messagelog import CLIENT, NOW, open_log, record, stamp_batch

if TYPE_CHECKING:
    from pathlib import Path

    from support.messagelog import OpenLog

MEMBER = MemberId("TEST", "COM", "1234")


def test_waiting_signatures_come_in_the_order_they_were_stored_up_to_the_limit(
    log: OpenLog,
) -> None:
    moments = [NOW + timedelta(seconds=seconds) for seconds in (2, 1, 3, 4)]
    ids = log.store.append_many([record(created_at=at) for at in moments])
    assert [waiting.id for waiting in log.reader.pending(3)] == ids[:3]
    assert log.reader.oldest_pending() == moments[0]
    assert log.reader.count_pending() == 4


def test_nothing_waits_in_an_empty_log(log: OpenLog) -> None:
    assert log.reader.pending(10) == []
    assert log.reader.oldest_pending() is None
    assert log.reader.count_pending() == 0


def test_the_waiting_signatures_of_certain_records_come_once_each(log: OpenLog) -> None:
    def mate() -> MessageRecord:
        return record(signature=b"<same/>", hash_chain_result=b"<r/>", hash_chain=b"<c/>")

    ids = log.store.append_many([record(), mate(), mate(), record()])
    picked = [ids[3], 999, ids[2], ids[1]]
    assert [waiting.id for waiting in log.reader.pending_among(picked)] == [ids[3], ids[1]]


def test_finds_all_records_of_a_message_id(log: OpenLog) -> None:
    ids = log.store.append_many(
        [
            record(query_id="q", direction=Direction.REQUEST),
            record(query_id="other"),
            record(query_id="q", direction=Direction.RESPONSE),
        ]
    )
    found = log.reader.find("q", CLIENT)
    assert [(item.id, item.direction) for item in found] == [
        (ids[0], Direction.REQUEST),
        (ids[2], Direction.RESPONSE),
    ]
    assert found[0].created_at == NOW
    (response,) = log.reader.find("q", CLIENT, direction=Direction.RESPONSE)
    assert response.id == ids[2]


@pytest.mark.parametrize(
    "other",
    [
        MEMBER,
        SubsystemId("TEST", "COM", "1234", "APP"),
        SubsystemId("TEST", "COM", "4321", "app"),
        SubsystemId("TEST", "GOV", "1234", "app"),
        SubsystemId("ELSEWHERE", "COM", "1234", "app"),
    ],
)
def test_a_search_finds_nobody_elses_records(log: OpenLog, other: MemberId) -> None:
    log.store.append_many([record(query_id="q")])
    assert log.reader.find("q", other) == []


def test_a_members_search_finds_its_own_records_only(log: OpenLog) -> None:
    ids = log.store.append_many([record(query_id="q", party=MEMBER), record(query_id="q")])
    assert [found.id for found in log.reader.find("q", MEMBER)] == ids[:1]


def test_a_search_by_message_id_alone_finds_every_party(log: OpenLog) -> None:
    ids = log.store.append_many([record(query_id="q", party=MEMBER), record(query_id="q")])
    assert [found.id for found in log.reader.find("q")] == ids


def test_a_search_tells_what_is_stamped_and_how_large_it_is(log: OpenLog) -> None:
    attachments = (
        PreparedAttachment(bytes(64), 3, b"abc"),
        PreparedAttachment(bytes(64), 10**10),
    )
    ids = log.store.write(
        [PreparedRecord(record(query_id="q"), attachments), PreparedRecord(record(query_id="q"))]
    )
    stamp_batch(log, log.reader.pending_among(ids[:1]))
    ids += log.store.write([PreparedRecord(record(query_id="q"), body=b"abcd")])
    found = log.reader.find("q")
    assert [(item.is_stamped, item.attachment_bytes) for item in found] == [
        (True, 3),
        (False, 0),
        (False, 4),
    ]


def test_a_number_that_is_no_message_loads_nothing(log: OpenLog) -> None:
    timestamp_id = log.store.insert_timestamp(b"token", b"<result/>", bytes(64), at=NOW)
    assert log.reader.load(timestamp_id) is None
    assert log.reader.load(10**6) is None
    assert log.reader.signature(timestamp_id) is None


def test_the_signature_alone_can_be_loaded(log: OpenLog) -> None:
    (record_id,) = log.store.append_many([record(signature=b"<s/>")])
    assert log.reader.signature(record_id) == b"<s/>"


def test_a_missing_piece_is_told_as_damage(log: OpenLog) -> None:
    record_id = log.store.begin_pieces()
    log.store.write([], [Piece(record_id, 1, 0, b"one")])
    attachment = PreparedAttachment(bytes(64), 6, pieces=2)
    log.store.write([PreparedRecord(record(), (attachment,), record_id)])
    with pytest.raises(ConfigurationError, match="damaged") as damaged:
        log.reader.load(record_id)
    assert damaged.value.code is FaultCode.DATABASE_ERROR


def test_a_column_of_another_type_is_told_as_damage(file_log: OpenLog) -> None:
    (record_id,) = file_log.store.append_many([record()])
    file_log.store._database.change("UPDATE signature SET signature = 'text'")
    file_log.store._database.change("UPDATE waiting_signature SET time = 'noon'")
    with pytest.raises(ConfigurationError, match="unexpected value"):
        file_log.reader.oldest_pending()
    with pytest.raises(ConfigurationError, match="unexpected value"):
        file_log.reader.load(record_id)


def test_a_reader_changes_nothing(log: OpenLog) -> None:
    log.store.append_many([record()])
    with pytest.raises(ConfigurationError):
        log.reader._database.change("DELETE FROM signature")
    assert log.reader.count_pending() == 1


def test_a_log_that_does_not_exist_yet_cannot_be_read(tmp_path: Path) -> None:
    reader = LogReader.open(f"sqlite:///{tmp_path}/none.sqlite")
    with pytest.raises(ConfigurationError) as missing:
        reader.pending(1)
    assert missing.value.fault_code == "logging_failed.database_error"
    assert not (tmp_path / "none.sqlite").exists()


def test_a_reader_goes_on_after_the_log_has_come_into_being(log: OpenLog) -> None:
    log.reader.close()
    log.store.append_many([record()])
    assert log.reader.count_pending() == 1


def test_a_reader_follows_a_log_that_was_replaced(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite"
    with open_log(url) as log:
        log.store.append_many([record()])
        assert log.reader.count_pending() == 1
        log.store.close()
        (tmp_path / "log.sqlite").rename(tmp_path / "former.sqlite")
        again = LogStore(open_database(url))
        again.append_many([record(), record()])
        assert log.reader.count_pending() == 2
        again.close()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE signature SET signature = ?", "isn't the one that was stamped"),
        ("UPDATE timestamp_record SET leaves = ?", "digest"),
        ("UPDATE timestamp_record SET leaves = CAST(leaves || leaves || ? AS BLOB)", "digest"),
        ("UPDATE timestamp_record SET hashchainresult = ?", "aren't those stamped"),
    ],
)
def test_evidence_that_no_longer_fits_is_told_as_damage(
    file_log: OpenLog, damage: str, told: str
) -> None:
    ids = file_log.store.append_many([record(), record()])
    stamp_batch(file_log, file_log.reader.pending(10))
    file_log.store._database.change(damage, (b"",))
    with pytest.raises(ConfigurationError, match="damaged") as damaged:
        file_log.reader.load(ids[0])
    assert damaged.value.code is FaultCode.DATABASE_ERROR
    assert told in damaged.value.message


def test_a_place_among_the_digests_that_there_is_not_is_told_as_damage(file_log: OpenLog) -> None:
    (record_id, _) = file_log.store.append_many([record(), record()])
    stamp_batch(file_log, file_log.reader.pending(10))
    for leaf in (-1, 2):
        file_log.store._database.change("UPDATE stamped_signature SET leaf = ?", (leaf,))
        with pytest.raises(ConfigurationError, match="has no digest"):
            file_log.reader.load(record_id)


def test_records_of_several_stamps_can_be_read_in_any_order(log: OpenLog) -> None:
    stamps: dict[int, object] = {}
    for _ in range(2):
        ids = log.store.append_many([record() for _ in range(3)])
        stamp_batch(log, log.reader.pending(10))
        for record_id in ids:
            stored = log.reader.load(record_id)
            assert stored is not None
            stamps[record_id] = stored.timestamp
    for record_id in sorted(stamps, key=lambda number: number % 3):
        stored = log.reader.load(record_id)
        assert stored is not None
        assert stored.timestamp == stamps[record_id]


def test_attachment_bytes_stay_out_of_texts() -> None:
    assert "secret" not in repr(StoredAttachment(1, 6, bytes(64), b"secret"))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("_PENDING", "SCAN waiting_signature"),
        ("_OLDEST_PENDING", "SCAN waiting_signature"),
        ("_FIND", "query_index USING PRIMARY KEY (queryhash=?)"),
        ("_FIND", "logrecord USING INTEGER PRIMARY KEY (rowid>?)"),
        ("_FIND", "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)"),
    ],
)
def test_frequent_questions_use_their_index(file_log: OpenLog, query: str, index: str) -> None:
    from postroad.securityserver.messagelog import reading

    statement = getattr(reading, query)
    marks = [0] * statement.count("?")
    plan = file_log.reader._database.rows(f"EXPLAIN QUERY PLAN {statement}", marks)
    assert index in str(plan)
    assert "TEMP B-TREE" not in str(plan) or query == "_FIND"
