from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from postroad.evidence.log_record import (
    Body,
    Direction,
    InlineBody,
    MessageRecord,
    OmittedBody,
    Side,
    SpooledBody,
    build_record,
)
from postroad.identifiers import ClientId, MemberId, SubsystemId

AT = datetime(2026, 3, 1, 12, 0, 0, 250_123, tzinfo=UTC)


def made(party: ClientId, *attachments: Body) -> MessageRecord:
    return build_record(
        party,
        query_id="q-1",
        request_id="5b1c",
        direction=Direction.RESPONSE,
        side=Side.SERVER,
        message=b"200\r\nOK\r\n",
        signature=b"<signature/>",
        created_at=AT,
        attachments=attachments,
        hash_chain_result=b"<result/>",
        hash_chain=b"<chain/>",
    )


@pytest.mark.parametrize(
    "party", [MemberId("TEST", "COM", "1"), SubsystemId("TEST", "COM", "1", "app")]
)
def test_a_record_belongs_to_the_party_it_was_built_for(party: ClientId) -> None:
    assert made(party).party == party


def test_a_record_travels_as_messagepack_without_loss() -> None:
    record = made(
        MemberId("TEST", "COM", "1"),
        InlineBody(b"\x00\xff"),
        SpooledBody("0a1b", bytes(64), 70_000),
        OmittedBody(bytes(64), 20_000_000),
    )
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=MessageRecord) == record


@pytest.mark.parametrize(
    ("bodies", "spooled"),
    [
        ((), False),
        ((InlineBody(b"x"), OmittedBody(bytes(64), 1)), False),
        ((InlineBody(b"x"), SpooledBody("f", bytes(64), 1)), True),
    ],
)
def test_a_record_knows_whether_a_file_belongs_to_it(
    bodies: tuple[Body, ...], spooled: bool
) -> None:
    assert made(MemberId("TEST", "COM", "1"), *bodies).has_spool_files is spooled
