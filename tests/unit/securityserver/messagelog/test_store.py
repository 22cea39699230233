from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART, PartDigest
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.log_record import MessageRecord
from postroad.securityserver.messagelog import query_index, store
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import StoredRecord
from postroad.securityserver.messagelog.records import LISTED_STATE, SIGNATURE_DIGEST
from postroad.securityserver.messagelog.stamping_plan import plan_batch
from postroad.securityserver.messagelog.store import (
    LogStore,
    Piece,
    PreparedAttachment,
    PreparedRecord,
)
from support.messagelog import NOW, record, stamp_batch

if TYPE_CHECKING:
    from support.messagelog import OpenLog

SHA512 = DigestAlgorithm.SHA512


def rows(log: OpenLog, statement: str) -> list[tuple[object, ...]]:
    return list(log.store._database.rows(statement))


def stored(log: OpenLog, record_id: int) -> StoredRecord:
    found = log.reader.load(record_id)
    assert found is not None
    return found


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
    found = log.reader.load(record_id)
    assert found is not None
    assert found.message == original.message
    assert found.signature == original.signature
    assert found.hash_chain_result == original.hash_chain_result
    assert found.hash_chain == original.hash_chain
    assert found.created_at == original.created_at
    assert (found.query_id, found.request_id) == (original.query_id, original.request_id)
    assert found.party == original.party
    assert found.timestamp is None


def test_records_are_stored_all_or_none(log: OpenLog) -> None:
    twice = PreparedRecord(record(), (PreparedAttachment(bytes(64), 0),), id=7)
    with pytest.raises(ConfigurationError) as refused:
        log.store.write([PreparedRecord(record()), twice, twice])
    assert refused.value.fault_code == "logging_failed"
    assert rows(log, "SELECT id FROM logrecord") == []
    assert rows(log, "SELECT id FROM signature") == []
    assert rows(log, "SELECT signature_id FROM waiting_signature") == []
    assert rows(log, "SELECT logrecord_id FROM message_attachment") == []
    assert rows(log, "SELECT logrecord_id FROM query_index") == []


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
    found = log.reader.load(record_id)
    assert found is not None
    assert [(a.number, a.digest[:1], a.size, a.content) for a in found.attachments] == [
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
    found = log.reader.load(record_id)
    assert found is not None
    assert found.attachments[0].content == b"one, two"
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
    found = log.reader.load(record_id)
    assert found is not None
    assert found.attachments[0].content == b"whole"


def test_the_only_attachment_is_stored_in_the_record(log: OpenLog) -> None:
    for content in (b"", b"abc"):
        (record_id,) = log.store.write([PreparedRecord(record(), body=content)])
        (attachment,) = stored(log, record_id).attachments
        assert (attachment.number, attachment.size, attachment.content) == (
            1,
            len(content),
            content,
        )
        assert attachment.digest == hashlib.sha512(content).digest()
    assert rows(log, "SELECT logrecord_id FROM message_attachment") == []


def batch(size: int, name: str = "batch", signature: bytes = b"<same/>") -> list[MessageRecord]:
    """Records as a batch signature makes them: one signature, one result, a chain each."""
    return [
        record(
            signature=signature,
            hash_chain_result=f"<result of {name}/>".encode(),
            hash_chain=f"<chain {number} of {name}/>".encode(),
        )
        for number in range(size)
    ]


def test_the_signature_of_a_batch_is_kept_once_and_comes_back_with_each_record(
    log: OpenLog,
) -> None:
    first, second = batch(3), batch(2)
    ids = [*log.store.append_many(first), *log.store.append_many(second)]
    assert rows(log, "SELECT id FROM signature") == [(ids[0],)]
    for record_id, original in zip(ids, [*first, *second], strict=True):
        found = stored(log, record_id)
        assert found.signature == original.signature
        assert found.hash_chain_result == original.hash_chain_result
        assert found.hash_chain == original.hash_chain
    assert log.reader.count_pending() == 1


def test_another_signature_under_the_same_chain_result_is_kept_as_it_is(log: OpenLog) -> None:
    # What a peer sends must come back as it was sent, however odd.
    originals = [*batch(1), *batch(1, signature=b"<other/>"), *batch(1)]
    ids = log.store.append_many(originals)
    assert [stored(log, number).signature for number in ids] == [
        b"<same/>",
        b"<other/>",
        b"<same/>",
    ]


def test_records_without_a_hash_chain_have_signatures_of_their_own(log: OpenLog) -> None:
    ids = log.store.append_many([record(signature=b"<same/>"), record(signature=b"<same/>")])
    assert rows(log, "SELECT id FROM signature ORDER BY id") == [(number,) for number in ids]


def test_a_signature_is_shared_with_near_records_only(
    log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "SHARING_DISTANCE", 3)
    ids = log.store.append_many(batch(5))
    assert rows(log, "SELECT id FROM signature ORDER BY id") == [(ids[0],), (ids[3],)]


def test_only_signatures_stored_lately_are_remembered(log: OpenLog) -> None:
    ids = [log.store.append_many(batch(1, f"{number}"))[0] for number in range(65)]
    ids += log.store.append_many([*batch(1, "64"), *batch(1, "0")])
    kept = [number for (number,) in rows(log, "SELECT id FROM signature")]
    assert ids[-2] not in kept
    assert ids[-1] in kept


def test_a_signature_that_was_rolled_back_is_not_referred_to(log: OpenLog) -> None:
    twice = PreparedRecord(record(), id=7)
    with pytest.raises(ConfigurationError):
        log.store.write([*map(PreparedRecord, batch(1)), twice, twice])
    (record_id,) = log.store.append_many(batch(1))
    assert stored(log, record_id).signature == b"<same/>"


def test_a_record_numbered_before_its_batch_keeps_its_own_signature(log: OpenLog) -> None:
    early = log.store.begin_pieces()
    (first,) = log.store.append_many(batch(1))
    log.store.write([PreparedRecord(batch(1)[0], id=early)])
    assert early < first
    assert stored(log, early).signature == b"<same/>"
    assert rows(log, "SELECT id FROM signature ORDER BY id") == [(early,), (first,)]


def test_a_batch_stamp_covers_its_signatures(log: OpenLog) -> None:
    originals = [record(), *batch(3), record(), record()]
    ids = log.store.append_many(originals)
    waiting = log.reader.pending(3)
    timestamp_id = stamp_batch(log, waiting)
    assert [one.id for one in log.reader.pending(10)] == ids[5:]
    built = build_hash_chains(
        [[PartDigest(SIGNATURES_PART, SHA512, one.signature_hash)] for one in waiting],
        SHA512,
        chain_file=TIMESTAMP_CHAIN_PART,
    )
    for record_id, leaf in zip(ids[:5], [0, 1, 1, 1, 2], strict=True):
        timestamp = stored(log, record_id).timestamp
        assert timestamp is not None
        assert timestamp.token == b"token"
        assert timestamp.hash_chain_result == built.result
        assert timestamp.hash_chain == built.chains[leaf]
    assert rows(log, "SELECT DISTINCT timestamprecord FROM stamped_signature") == [(timestamp_id,)]


def test_a_record_that_comes_after_its_batch_was_stamped_is_stamped(log: OpenLog) -> None:
    log.store.append_many([*batch(1), record()])
    stamp_batch(log, log.reader.pending(10))
    (late,) = log.store.append_many(batch(1))
    assert stored(log, late).timestamp is not None
    assert log.reader.count_pending() == 0


def test_a_stamp_is_applied_in_steps(log: OpenLog) -> None:
    ids = log.store.append_many([record() for _ in range(5)])
    plan = plan_batch(log.reader.pending(10))
    timestamp_id = log.store.insert_timestamp(b"token", plan.data, plan.leaves, at=NOW)
    assert log.store.apply_timestamps(timestamp_id, 3, ids[3:]) == 2
    assert [waiting.id for waiting in log.reader.pending(10)] == ids[:3]
    assert log.store.apply_timestamps(timestamp_id, 0, ids[:3]) == 3
    for record_id in ids:  # each chain is right, or it couldn't be made
        assert stored(log, record_id).timestamp is not None


def test_a_stamp_is_not_applied_to_another_signature(log: OpenLog) -> None:
    ids = log.store.append_many([record(), record()])
    plan = plan_batch(log.reader.pending(10))
    timestamp_id = log.store.insert_timestamp(b"token", plan.data, plan.leaves, at=NOW)
    assert log.store.apply_timestamps(timestamp_id, 0, ids[::-1]) == 0
    assert [waiting.id for waiting in log.reader.pending(10)] == ids
    assert rows(log, "SELECT signature_id FROM stamped_signature") == []


def test_a_signature_is_stamped_once(log: OpenLog) -> None:
    ids = log.store.append_many([record(), record()])
    plan = plan_batch(log.reader.pending(10))
    first = log.store.insert_timestamp(b"first", plan.data, plan.leaves, at=NOW)
    second = log.store.insert_timestamp(b"second", plan.data, plan.leaves, at=NOW)
    assert log.store.apply_timestamps(first, 0, ids[:1]) == 1
    assert log.store.apply_timestamps(second, 0, ids) == 1
    timestamp = stored(log, ids[0]).timestamp
    assert timestamp is not None
    assert timestamp.token == b"first"


def test_applying_an_unknown_stamp_is_refused(log: OpenLog) -> None:
    ids = log.store.append_many([record(), record()])
    with pytest.raises(ConfigurationError, match="no time-stamp record"):
        log.store.apply_timestamps(ids[0], 0, ids)
    plan = plan_batch(log.reader.pending(10))
    timestamp_id = log.store.insert_timestamp(b"token", plan.data, plan.leaves, at=NOW)
    with pytest.raises(ConfigurationError, match="no time-stamp record"):
        log.store.apply_timestamps(timestamp_id, 1, ids)
    assert log.reader.count_pending() == 2


def test_a_single_stamp_of_a_batch_signature_is_in_all_its_records(log: OpenLog) -> None:
    ids = log.store.append_many(batch(2))
    (waiting,) = log.reader.pending(10)
    log.store.apply_single(
        waiting.id, waiting.signature_hash, signature=b"<same with token/>", token=b"t", at=NOW
    )
    assert {stored(log, number).signature for number in ids} == {b"<same with token/>"}
    # Later ones of the batch have the signature as it was, and wait for a stamp of their own.
    (late,) = log.store.append_many(batch(1))
    assert stored(log, late).signature == b"<same/>"
    assert log.reader.count_pending() == 1


def test_message_ids_are_listed_later_and_found_before_and_after(log: OpenLog) -> None:
    ids = log.store.append_many([record(query_id="q") for _ in range(3)])
    for step in (None, 2, 2):
        if step is not None:
            log.store.list_queries(step)
        assert [found.id for found in log.reader.find("q")] == ids
        assert log.reader.find("other") == []
    assert log.store.unlisted == 0
    assert log.store.list_queries(2) == 0
    assert log.reader.state(LISTED_STATE) == str(ids[-1]).encode()
    assert len(rows(log, "SELECT logrecord_id FROM query_index")) == 3


def test_what_a_former_process_did_not_list_is_listed(
    log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_index, "AT_ONCE", 2)
    ids = log.store.append_many([record(query_id="q") for _ in range(5)])
    log.store.list_queries(1)  # and it dies in the midst of a round
    again = LogStore(open_database(log.url))
    again.prepare()
    again.append_many([record(query_id="q")])
    while again.list_queries(10):
        pass
    again.close()
    assert len(rows(log, "SELECT logrecord_id FROM query_index")) == 6
    assert [found.id for found in log.reader.find("q")][:5] == ids


def test_a_record_numbered_before_listed_ones_is_found(log: OpenLog) -> None:
    early = log.store.begin_pieces()
    log.store.append_many([record(query_id="q")])
    log.store.list_queries(10)
    log.store.write([PreparedRecord(record(query_id="q"), id=early)])
    assert early in [found.id for found in log.reader.find("q")]


def test_records_of_a_commit_that_seemed_to_fail_are_listed(log: OpenLog) -> None:
    real = log.store._insert_records

    def insert_and_lose(records: Sequence[PreparedRecord]) -> list[int]:
        real(records)
        log.store._database.change("COMMIT")  # it is there, but nobody hears of it
        raise ConfigurationError("the connection was lost")

    log.store._insert_records = insert_and_lose
    with pytest.raises(ConfigurationError):
        log.store.append_many([record(query_id="q")])
    log.store._insert_records = real
    log.store.append_many([record(query_id="q")])
    log.store.list_queries(10)
    assert len(log.reader.find("q")) == 2


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
    found = log.reader.load(record_id)
    assert found is not None
    assert found.signature == b"<signature with token/>"
    assert found.timestamp is not None
    assert found.timestamp.token == b"token"
    assert found.timestamp.hash_chain is None
    assert log.reader.count_pending() == 0


def test_a_single_stamp_for_a_stamped_record_changes_nothing(log: OpenLog) -> None:
    (record_id,) = log.store.append_many([record()])
    (waiting,) = log.reader.pending(10)
    timestamp_id = stamp_batch(log, [waiting])
    before = log.reader.load(record_id)
    applied = log.store.apply_single(
        record_id, waiting.signature_hash, signature=b"<other/>", token=b"second", at=NOW
    )
    assert not applied
    assert log.reader.load(record_id) == before
    assert rows(log, "SELECT id FROM timestamp_record") == [(timestamp_id,)]


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
