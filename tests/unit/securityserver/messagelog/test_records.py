from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import (
    MAX_MESSAGE_BYTES,
    MAX_QUERY_ID,
    InlineBody,
    MessageRecord,
    OmittedBody,
    SpooledBody,
    check_record,
    epoch_milliseconds,
    logging_failed,
    moment,
    record_bytes,
)
from support.messagelog import record


def refusal(bad: MessageRecord) -> str:
    with pytest.raises(ConfigurationError) as refused:
        check_record(bad)
    assert refused.value.fault_code == "logging_failed"
    return refused.value.message


def test_accepts_a_query_id_of_the_longest_length_whatever_its_bytes() -> None:
    check_record(record(query_id="ü" * MAX_QUERY_ID))


def test_refuses_a_query_id_over_255_characters() -> None:
    message = refusal(record(query_id="x" * (MAX_QUERY_ID + 1)))
    assert message == "the query id is 256 characters long; at most 255 can be logged"


def test_refuses_an_empty_query_id() -> None:
    assert refusal(record(query_id="")) == "the query id is empty"


def test_refuses_a_nul_character() -> None:
    assert "NUL" in refusal(record(query_id="a\0b"))


@pytest.mark.parametrize("request_id", ["", "x" * 256, "\0"])
def test_refuses_a_request_id_that_cannot_be_kept(request_id: str) -> None:
    assert "request id" in refusal(record(request_id=request_id))


def test_accepts_a_record_without_request_id() -> None:
    check_record(record(request_id=None))


@pytest.mark.parametrize("field", ["instance", "member_class", "member_code", "subsystem_code"])
def test_refuses_an_identifier_part_that_is_too_long(field: str) -> None:
    bad = msgspec.structs.replace(record(), **{field: "x" * 256})
    assert field.replace("_", " ") in refusal(bad)


def test_refuses_a_hash_chain_without_its_result() -> None:
    assert "hash chain" in refusal(record(hash_chain=b"<chain/>"))
    assert "hash chain" in refusal(record(hash_chain_result=b"<result/>"))
    check_record(record(hash_chain=b"<chain/>", hash_chain_result=b"<result/>"))


@pytest.mark.parametrize("missing", [{"message": b""}, {"signature": b""}])
def test_refuses_a_record_without_message_or_signature(missing: dict[str, bytes]) -> None:
    assert "needs a message and its signature" in refusal(record(**missing))


def test_refuses_a_record_larger_than_memory_allows() -> None:
    check_record(record(message=b"x" * (MAX_MESSAGE_BYTES - 100), signature=b"y" * 100))
    too_large = record(message=b"x" * (MAX_MESSAGE_BYTES - 99), signature=b"y" * 100)
    assert str(MAX_MESSAGE_BYTES + 1) in refusal(too_large)


def test_refuses_too_many_attachments() -> None:
    check_record(record(*[InlineBody(b"")] * 1000))
    assert "1001 attachments" in refusal(record(*[InlineBody(b"")] * 1001))


def test_refuses_a_large_attachment_inside_the_record() -> None:
    check_record(record(InlineBody(bytes(1 << 20))))
    assert "spool file" in refusal(record(InlineBody(bytes((1 << 20) + 1))))


@pytest.mark.parametrize("kind", [lambda d, s: SpooledBody("f", d, s), OmittedBody])
def test_refuses_a_digest_of_another_length(kind: type[OmittedBody]) -> None:
    check_record(record(kind(bytes(64), 0)))
    assert "32 bytes" in refusal(record(kind(bytes(32), 5)))


def test_refuses_a_negative_size() -> None:
    assert "negative" in refusal(record(OmittedBody(bytes(64), -1)))


def test_bytes_of_a_record_are_those_held_in_memory() -> None:
    held = record(
        InlineBody(b"12345"),
        SpooledBody("f", bytes(64), 10**9),
        OmittedBody(bytes(64), 10**9),
        message=b"1",
        signature=b"22",
        hash_chain_result=b"333",
        hash_chain=b"4444",
    )
    assert record_bytes(held) == 15


def test_a_moment_is_kept_in_whole_milliseconds() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 250_999, tzinfo=UTC)
    assert moment(epoch_milliseconds(at)) == at.replace(microsecond=250_000)


def test_a_moment_is_the_same_in_every_time_zone() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    elsewhere = at.astimezone(timezone(timedelta(hours=3)))
    assert epoch_milliseconds(elsewhere) == epoch_milliseconds(at)


@dataclass(frozen=True)
class Case:
    code: FaultCode
    fault_code: str


@pytest.mark.parametrize(
    "case",
    [
        Case(FaultCode.LOGGING_FAILED, "logging_failed"),
        Case(FaultCode.TIMESTAMPING_FAILED, "logging_failed.timestamping_failed"),
        Case(FaultCode.DATABASE_ERROR, "logging_failed.database_error"),
    ],
)
def test_every_refusal_is_below_logging_failed(case: Case) -> None:
    assert logging_failed("why", code=case.code).fault_code == case.fault_code
