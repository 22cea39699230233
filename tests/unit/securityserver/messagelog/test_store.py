from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.store import (
    SIGNATURE_DIGEST,
    LogStore,
    Piece,
    PreparedAttachment,
    PreparedRecord,
    StampedRecord,
)
from support.messagelog import NOW, record

if TYPE_CHECKING:
    from support.messagelog import OpenLog


def rows(log: OpenLog, statement: str) -> list[tuple[object, ...]]:
    return list(log.store._database.rows(statement))


def stamped(log: OpenLog, *record_ids: int) -> list[StampedRecord]:
    return [
        StampedRecord(found.id, found.signature_hash, f"<chain of {found.id}/>".encode())
        for found in log.reader.pending_among(record_ids)
    ]


def test_ids_grow_in_the_order_of_the_records(log: OpenLog) -> None:
    first = log.store.append_many([record(), record()])
    second = log.store.append_many([record()])
    ids = [*first, *second]
    assert ids == sorted(set(ids))


def test_ids_are_not_reused_after_a_restart(log: OpenLog) -> None:
    (before,) = log.store.append_many([record()])
    log.store._database.change("DELETE FROM logrecord")
    log.store.close()
    again = LogStore(open_database(log.url))
    (after,) = again.append_many([record()])
    again.close()
    assert after > before


def test_a_stored_record_comes_back_as_it_was(log: OpenLog) -> None:
    original = record(
        message=b"\x00\xff not text",
        signature=b"<s>\r\n&#13;\n</s>",
        hash_chain_result=b"<result/>",
        hash_chain=b"<chain/>",
    )
    (record_id,) = log.store.append_many([original])
    stored = log.reader.load(record_id)
    assert stored is not None
    assert stored.message == original.message
    assert stored.signature == original.signature
    assert stored.hash_chain_result == original.hash_chain_result
    assert stored.hash_chain == original.hash_chain
    assert stored.created_at == original.created_at
    assert (stored.query_id, stored.request_id) == (original.query_id, original.request_id)
    assert stored.party == original.party
    assert stored.timestamp is None


def test_records_are_stored_all_or_none(log: OpenLog) -> None:
    twice = PreparedRecord(record(), (PreparedAttachment(bytes(64), 0),), id=7)
    with pytest.raises(ConfigurationError) as refused:
        log.store.write([PreparedRecord(record()), twice, twice])
    assert refused.value.fault_code == "logging_failed"
    assert rows(log, "SELECT id FROM logrecord") == []
    assert rows(log, "SELECT logrecord_id FROM message_content") == []
    assert rows(log, "SELECT logrecord_id FROM message_attachment") == []


def test_a_refused_row_does_not_spoil_the_next_one(log: OpenLog) -> None:
    twice = PreparedRecord(record(), id=7)
    with pytest.raises(ConfigurationError):
        log.store.write([twice, twice])
    assert log.store.append_many([record()])


def test_a_new_record_waits_for_a_stamp_over_its_signature(log: OpenLog) -> None:
    original = record()
    (record_id,) = log.store.append_many([original])
    (waiting,) = log.reader.pending(10)
    assert waiting.id == record_id
    assert waiting.signature_hash == SIGNATURE_DIGEST.digest(original.signature)


def test_attachments_are_stored_beside_the_record(log: OpenLog) -> None:
    attachments = (
        PreparedAttachment(b"1" * 64, 3, b"abc"),
        PreparedAttachment(b"2" * 64, 10**10),
        PreparedAttachment(b"3" * 64, 0, b""),
    )
    (record_id,) = log.store.write([PreparedRecord(record(), attachments)])
    stored = log.reader.load(record_id)
    assert stored is not None
    assert [(a.number, a.digest[:1], a.size, a.content) for a in stored.attachments] == [
        (1, b"1", 3, b"abc"),
        (2, b"2", 10**10, None),
        (3, b"3", 0, b""),
    ]


def test_pieces_stored_ahead_become_one_attachment(log: OpenLog) -> None:
    record_id = log.store.begin_pieces()
    log.store.write([], [Piece(record_id, 1, 0, b"one, ")])
    log.store.write([PreparedRecord(record())], [Piece(record_id, 1, 1, b"two")])
    attachment = PreparedAttachment(b"1" * 64, 8, pieces=2)
    assert log.store.write([PreparedRecord(record(), (attachment,), record_id)]) == [record_id]
    stored = log.reader.load(record_id)
    assert stored is not None
    assert stored.attachments[0].content == b"one, two"
    assert rows(log, "SELECT logrecord_id FROM unfinished_record") == []


def test_pieces_of_a_record_that_never_came_are_removed_at_the_next_start(log: OpenLog) -> None:
    unfinished = log.store.begin_pieces()
    log.store.write([], [Piece(unfinished, 1, 0, b"half")])
    finished = log.store.begin_pieces()
    log.store.write([], [Piece(finished, 1, 0, b"whole")])
    log.store.write(
        [PreparedRecord(record(), (PreparedAttachment(b"1" * 64, 5, pieces=1),), finished)]
    )
    log.store.close()
    again = LogStore(open_database(log.url))
    again.prepare()
    left = again._database.rows("SELECT logrecord_id FROM attachment_piece")
    assert left == [(finished,)]
    assert again._database.rows("SELECT logrecord_id FROM unfinished_record") == []
    again.close()


def test_pieces_of_a_refused_record_can_be_discarded(log: OpenLog) -> None:
    record_id = log.store.begin_pieces()
    log.store.write([], [Piece(record_id, 1, 0, b"half")])
    log.store.discard_pieces(record_id)
    assert rows(log, "SELECT logrecord_id FROM attachment_piece") == []
    assert rows(log, "SELECT logrecord_id FROM unfinished_record") == []


def test_discarding_never_touches_a_stored_record(log: OpenLog) -> None:
    record_id = log.store.begin_pieces()
    log.store.write([], [Piece(record_id, 1, 0, b"whole")])
    log.store.write(
        [PreparedRecord(record(), (PreparedAttachment(b"1" * 64, 5, pieces=1),), record_id)]
    )
    log.store.discard_pieces(record_id)
    stored = log.reader.load(record_id)
    assert stored is not None
    assert stored.attachments[0].content == b"whole"


def test_a_batch_stamp_covers_its_records(log: OpenLog) -> None:
    ids = log.store.append_many([record(), record(), record()])
    timestamp_id = log.store.insert_timestamp(b"token", b"<result/>", at=NOW)
    assert log.store.apply_timestamps(timestamp_id, stamped(log, *ids[:2])) == 2
    assert [waiting.id for waiting in log.reader.pending(10)] == ids[2:]
    stored = log.reader.load(ids[0])
    assert stored is not None
    assert stored.timestamp is not None
    assert stored.timestamp.token == b"token"
    assert stored.timestamp.hash_chain_result == b"<result/>"
    assert stored.timestamp.hash_chain == f"<chain of {ids[0]}/>".encode()


def test_a_stamp_is_not_applied_to_another_signature(log: OpenLog) -> None:
    (record_id,) = log.store.append_many([record()])
    timestamp_id = log.store.insert_timestamp(b"token", b"<result/>", at=NOW)
    stale = StampedRecord(record_id, SIGNATURE_DIGEST.digest(b"former"), b"<chain/>")
    assert log.store.apply_timestamps(timestamp_id, [stale]) == 0
    assert [waiting.id for waiting in log.reader.pending(10)] == [record_id]
    assert rows(log, "SELECT logrecord_id FROM timestamp_chain") == []


def test_a_record_is_stamped_once(log: OpenLog) -> None:
    ids = log.store.append_many([record(), record()])
    items = stamped(log, *ids)
    first = log.store.insert_timestamp(b"first", b"<result/>", at=NOW)
    second = log.store.insert_timestamp(b"second", b"<result/>", at=NOW)
    assert log.store.apply_timestamps(first, items[:1]) == 1
    assert log.store.apply_timestamps(second, items) == 1
    stored = log.reader.load(ids[0])
    assert stored is not None
    assert stored.timestamp is not None
    assert stored.timestamp.token == b"first"


def test_records_with_the_same_signature_share_a_stamp(log: OpenLog) -> None:
    # A batch signature is the same document in every record of its batch.
    ids = log.store.append_many([record(signature=b"<same/>"), record(signature=b"<same/>")])
    timestamp_id = log.store.insert_timestamp(b"token", b"<result/>", at=NOW)
    assert log.store.apply_timestamps(timestamp_id, stamped(log, *ids)) == 2


def test_applying_an_unknown_stamp_is_refused(log: OpenLog) -> None:
    (record_id,) = log.store.append_many([record()])
    with pytest.raises(ConfigurationError, match="no time-stamp record"):
        log.store.apply_timestamps(record_id, stamped(log, record_id))
    assert log.reader.count_pending() == 1


def test_a_single_stamp_replaces_the_signature(log: OpenLog) -> None:
    (record_id,) = log.store.append_many([record()])
    (waiting,) = log.reader.pending(1)
    applied = log.store.apply_single(
        record_id,
        waiting.signature_hash,
        signature=b"<signature with token/>",
        token=b"token",
        at=NOW,
    )
    assert applied
    stored = log.reader.load(record_id)
    assert stored is not None
    assert stored.signature == b"<signature with token/>"
    assert stored.timestamp is not None
    assert stored.timestamp.token == b"token"
    assert stored.timestamp.hash_chain is None
    assert log.reader.count_pending() == 0


def test_a_single_stamp_for_a_stamped_record_changes_nothing(log: OpenLog) -> None:
    (record_id,) = log.store.append_many([record()])
    items = stamped(log, record_id)
    timestamp_id = log.store.insert_timestamp(b"first", b"<result/>", at=NOW)
    log.store.apply_timestamps(timestamp_id, items)
    before = log.reader.load(record_id)
    applied = log.store.apply_single(
        record_id, items[0].signature_hash, signature=b"<other/>", token=b"second", at=NOW
    )
    assert not applied
    assert log.reader.load(record_id) == before
    assert rows(log, "SELECT logrecord_id FROM timestamp_token") == [(timestamp_id,)]


def test_state_is_kept_and_replaced(log: OpenLog) -> None:
    assert log.store.get_state("timestamping") is None
    log.store.set_state("timestamping", b"one")
    log.store.set_state("timestamping", b"two")
    log.store.set_state("other", b"three")
    assert log.store.get_state("timestamping") == b"two"
    assert log.reader.state("timestamping") == b"two"


def test_an_unprepared_store_prepares_itself(url: str) -> None:
    store = LogStore(open_database(url))
    assert store.append_many([record(created_at=NOW + timedelta(seconds=1))])
    store.close()
