from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.moments import (
    encode_milliseconds,
    encode_moment,
    encode_stamp,
    parse_moment,
    parse_stamp,
)

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00Z",
        "2026-03-01T12:00Z",
        "2026-03-01T12:00:00.000Z",
        "2026-03-01T14:00:00+02:00",
        "2026-03-01T14:00:00+02",
        " 2026-03-01T12:00:00.000000000Z ",
    ],
)
def test_reads_every_form_of_one_moment(text: str) -> None:
    assert parse_moment(text) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tomorrow",
        "2026-03-01",
        "2026-03-01T12:00:00",
        "2026-02-30T12:00:00Z",
        "2026-03-01T12:00:00+25:00",
        "0001-01-01T00:00:00+23:59",
        "2026-03-01T12:00:00Z; x",
        "٢٠٢٦-03-01T12:00:00Z",
    ],
)
def test_refuses_what_is_no_moment_with_an_offset(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_moment(text)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_takes_a_moment_without_offset_as_utc_only_when_told_to() -> None:
    assert parse_moment("2026-03-01T12:00:00", assume_utc=True) == NOON


def test_drops_nanoseconds() -> None:
    assert parse_moment("2026-03-01T12:00:00.123456789Z").microsecond == 123_456


def test_writes_seconds_in_utc_and_drops_the_rest() -> None:
    local = (NOON + timedelta(microseconds=999_999)).astimezone()
    assert encode_moment(local) == "2026-03-01T12:00:00Z"


def test_writes_milliseconds() -> None:
    assert encode_milliseconds(NOON + timedelta(microseconds=1234)) == "2026-03-01T12:00:00.001Z"


def test_stamp_has_23_digits_and_is_read_back() -> None:
    at = NOON + timedelta(microseconds=548_026)
    assert encode_stamp(at) == "20260301120000548026000"
    assert parse_stamp("20260301120000548026000") == at


def test_reads_the_stamp_of_configuration_proxies() -> None:
    assert parse_stamp("1772366400123") == NOON + timedelta(milliseconds=123)


@pytest.mark.parametrize(
    "segment", ["", "V6", "shared-params.xml", "20261301120000548026000", "17723664001", "١٢٣" * 4]
)
def test_other_path_segments_tell_no_moment(segment: str) -> None:
    assert parse_stamp(segment) is None
