"""The message log's promises, for any input."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import datetime, timedelta
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.errors import ConfigurationError, MalformedInput, TrustError
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART, PartDigest
from postroad.evidence.hashchain import HashTree
from postroad.evidence.hashchain_verification import verify_hash_chain
from postroad.identifiers import SubsystemId
from postroad.securityserver.messagelog.committing import GroupCommitter
from postroad.securityserver.messagelog.container_requests import parse_question
from postroad.securityserver.messagelog.reading import PendingSignature
from postroad.securityserver.messagelog.records import (
    SIGNATURE_DIGEST,
    Direction,
    Side,
    check_record,
    epoch_milliseconds,
    moment,
)
from postroad.securityserver.messagelog.stamping_plan import plan_batch
from postroad.securityserver.messagelog.stop_rule import TimestampingState, decide_logging
from postroad.securityserver.messagelog.store import (
    LogStore,
    Piece,
    PreparedAttachment,
    PreparedRecord,
)
from support.messagelog import NOW, open_log, record

# What databases keep: no NUL, no halves of surrogate pairs.
texts = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=255
).filter(str.strip)
moments = st.integers(0, 10**9 * 7).map(lambda seconds: NOW + timedelta(seconds=seconds / 2))
durations = st.timedeltas(timedelta(0), timedelta(days=3))


@st.composite
def records(draw: st.DrawFn):
    chain = draw(st.none() | st.binary(min_size=1, max_size=50))
    return record(
        party=SubsystemId(draw(texts), draw(texts), draw(texts), draw(texts)),
        query_id=draw(texts),
        request_id=draw(st.none() | texts),
        direction=draw(st.sampled_from(Direction)),
        side=draw(st.sampled_from(Side)),
        message=draw(st.binary(min_size=1, max_size=200)),
        signature=draw(st.binary(min_size=1, max_size=200)),
        hash_chain=chain,
        hash_chain_result=chain,
        created_at=draw(moments),
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(records(), st.lists(st.binary(max_size=100), max_size=3)), max_size=5))
def test_whatever_is_stored_comes_back_as_it_was(entries) -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        open_log(f"sqlite:///{directory}/log.sqlite") as log,
    ):
        prepared = [
            PreparedRecord(
                item,
                tuple(
                    PreparedAttachment(SIGNATURE_DIGEST.digest(data), len(data), data)
                    for data in bodies
                ),
            )
            for item, bodies in entries
        ]
        for item, _bodies in entries:
            check_record(item)
        for record_id, (item, bodies) in zip(log.store.write(prepared), entries, strict=True):
            stored = log.reader.load(record_id)
            assert stored is not None
            assert (stored.message, stored.signature) == (item.message, item.signature)
            assert (stored.query_id, stored.request_id) == (item.query_id, item.request_id)
            assert stored.party == item.party
            assert stored.direction is item.direction
            assert stored.created_at == moment(epoch_milliseconds(item.created_at))
            assert [attachment.content for attachment in stored.attachments] == bodies
            found = log.reader.find(item.query_id, item.party)
            assert record_id in [entry.id for entry in found]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=40))
def test_a_batch_stamp_proves_exactly_the_signatures_it_covers(signatures: list[bytes]) -> None:
    plan = plan_batch(
        [
            PendingSignature(number, SIGNATURE_DIGEST.digest(data))
            for number, data in enumerate(signatures, 1)
        ]
    )
    size = SIGNATURE_DIGEST.size
    leaves = [plan.leaves[at : at + size] for at in range(0, len(plan.leaves), size)]
    tree = HashTree(leaves, SIGNATURE_DIGEST)
    assert tree.result(TIMESTAMP_CHAIN_PART) == plan.data
    for place, data in enumerate(signatures):
        chains = {TIMESTAMP_CHAIN_PART: tree.chain(place, SIGNATURES_PART)}
        proven = {SIGNATURES_PART: PartDigest.of(SIGNATURES_PART, data, SIGNATURE_DIGEST)}
        verify_hash_chain(plan.data, chains, proven)
        forged = PartDigest.of(SIGNATURES_PART, data + b"!", SIGNATURE_DIGEST)
        try:
            verify_hash_chain(plan.data, chains, {SIGNATURES_PART: forged})
        except (MalformedInput, TrustError):
            continue
        raise AssertionError("a forged signature was proven")


states = st.builds(
    TimestampingState,
    configured=st.none() | st.booleans(),
    failing_since=st.none() | durations.map(lambda age: NOW - age),
    interval=st.floats(0, 86_400),
)


@settings(max_examples=100, deadline=None)
@given(
    state=states,
    oldest_age=st.none() | durations,
    watched_for=durations,
    acceptable=durations,
    later=durations,
)
def test_time_alone_never_lifts_a_stop(
    state: TimestampingState,
    oldest_age: timedelta | None,
    watched_for: timedelta,
    acceptable: timedelta,
    later: timedelta,
) -> None:
    def stops(at: datetime) -> bool:
        return (
            decide_logging(
                state,
                oldest_pending=None if oldest_age is None else NOW - oldest_age,
                watching_since=NOW - watched_for,
                acceptable_failure=acceptable,
                at=at,
            )
            is not None
        )

    if stops(NOW):
        assert stops(NOW + later)


class CountingStore(LogStore):
    """Takes everything, and keeps the order."""

    is_remote = False

    def __init__(self) -> None:
        self.seen: list[PreparedRecord] = []
        self.pieces: list[Piece] = []

    def write(self, records, pieces=()):
        first = len(self.seen) + 1
        self.seen += records
        self.pieces += pieces
        return list(range(first, first + len(records)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["record", "piece", "turn"]), max_size=60))
def test_every_submission_is_committed_once_and_in_order(steps: list[str]) -> None:
    async def scenario() -> None:
        store = CountingStore()
        committer = GroupCommitter(store, queue_limit=1000, on_commit=lambda *_: None)
        submitted, futures, pieces = [], [], []
        for number, step in enumerate(steps):
            if step == "record":
                submitted.append(PreparedRecord(record()))
                futures.append(committer.submit(submitted[-1]))
            elif step == "piece":
                work = committer.submit_piece(Piece(1, 1, number, b"x"))
                pieces.append(asyncio.ensure_future(work))
            else:
                await asyncio.sleep(0)
        assert await asyncio.gather(*futures) == list(range(1, len(futures) + 1))
        await asyncio.gather(*pieces)
        await committer.drain()
        assert store.seen == submitted
        assert len(store.pieces) == len(pieces)

    asyncio.run(scenario())


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_a_question_is_understood_or_refused(text: str) -> None:
    try:
        code = "" if parse_question(text).query_id else "nothing"
    except MalformedInput as error:
        code = error.code.value
    assert code in ("", "bad_request")


@settings(max_examples=100, deadline=None)
@given(query_id=texts, parts=st.tuples(texts, texts, texts, texts))
def test_a_well_formed_question_is_understood(query_id: str, parts: tuple[str, ...]) -> None:
    names = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
    query = urlencode({"queryId": query_id, **dict(zip(names, parts, strict=True))})
    if len(query) > 16 * 1024:
        return
    question = parse_question(query)
    assert question.query_id == query_id
    assert question.party == SubsystemId(*parts)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=200))
def test_any_stored_state_can_be_read(data: bytes) -> None:
    TimestampingState.parse(data)


@settings(max_examples=50, deadline=None)
@given(query_id=st.text(max_size=300))
def test_any_message_id_is_stored_or_refused(query_id: str) -> None:
    item = record(query_id=query_id)
    try:
        check_record(item)
    except ConfigurationError:
        assert not query_id or len(query_id) > 255 or "\0" in query_id
    else:
        assert 0 < len(query_id) <= 255
