from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf.multipart import (
    MAX_HEADER_BYTES,
    MAX_HEADERS,
    boundary_of,
    parse_header_value,
    parse_part,
    split_multipart,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_splits_header_from_body_at_the_first_blank_line(end: bytes) -> None:
    part = parse_part(end.join([b"A: 1", b"b-C:  two ", b"", b"", b"body", b""]))
    assert part.headers == {"a": "1", "b-c": "two"}
    assert part.body == end + b"body" + end


def test_joins_folded_lines() -> None:
    part = parse_part(b"A: 1;\r\n\tb=2\r\n c=3\r\n\r\n")
    assert part.headers == {"a": "1; b=2 c=3"}


def test_a_part_may_have_no_body() -> None:
    assert parse_part(b"A: 1").body == b""


@pytest.mark.parametrize(
    "data",
    [
        b" folded: 1\r\n\r\n",
        b"no colon\r\n\r\n",
        b": nameless\r\n\r\n",
        b"A: 1\r\na: 2\r\n\r\n",
        b"A: \xff\r\n\r\n",
        b"".join(b"N%d: x\r\n" % n for n in range(MAX_HEADERS + 1)),
        b"A: " + b"x" * MAX_HEADER_BYTES + b"\r\n\r\n",
    ],
)
def test_refuses_broken_header_fields(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        parse_part(data)
    assert caught.value.code is FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE


@pytest.mark.parametrize(
    ("text", "value", "parameters"),
    [
        ("X", "X", {}),
        ("X; instance='A B'", "X", {"instance": "A B"}),
        ('X; instance="A;B"; c=d', "X", {"instance": "A;B", "c": "d"}),
        ("X;instance=A", "X", {"instance": "A"}),
        ("X; INSTANCE = 'A' ;", "X", {"instance": "A"}),
        ("X; instance=\"'A'\"", "X", {"instance": "A"}),
        ("X; instance='", "X", {"instance": "'"}),
        ("X; flag", "X", {"flag": ""}),
        ("X; instance=O'Hara", "X", {"instance": "O'Hara"}),
    ],
)
def test_reads_parameters_with_either_quote_or_none(
    text: str, value: str, parameters: Mapping[str, str]
) -> None:
    parsed = parse_header_value(text)
    assert (parsed.value, parsed.parameters) == (value, parameters)


def test_refuses_a_parameter_given_twice() -> None:
    with pytest.raises(MalformedInput):
        parse_header_value("X; instance='A'; instance='B'")


def test_finds_the_boundary_quoted_or_not() -> None:
    for text in ('multipart/mixed; boundary="a b"', "Multipart/MIXED; charset=x; boundary='a b'"):
        assert boundary_of(text, subtypes=("mixed",)) == b"a b"


@pytest.mark.parametrize(
    "text",
    [
        "text/xml; boundary=a",
        "multipart/related; boundary=a",
        "multipart/mixed",
        "multipart/mixed; boundary=",
        "multipart/mixed; boundary=" + "a" * 71,
        "multipart/mixed; boundary='a '",
        "multipart/mixed; boundary=ä",
    ],
)
def test_refuses_a_content_type_without_usable_boundary(text: str) -> None:
    with pytest.raises(MalformedInput):
        boundary_of(text, subtypes=("mixed",))


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_line_end_before_a_delimiter_is_not_part_of_the_body(end: bytes) -> None:
    body = end.join([b"--B", b"one", b"", b"--B", b"two", b"--B--", b""])
    assert split_multipart(body, b"B", max_parts=5) == [b"one" + end, b"two"]


def test_a_part_may_be_empty() -> None:
    assert split_multipart(b"--B\r\n--B\r\nx\r\n--B--", b"B", max_parts=5) == [b"", b"x"]
    assert split_multipart(b"--B\r\n\r\n--B--", b"B", max_parts=5) == [b""]


def test_without_a_closing_delimiter_the_last_part_ends_with_the_text() -> None:
    assert split_multipart(b"--B\r\none\r\n--B\r\ntwo", b"B", max_parts=5) == [b"one", b"two"]


def test_ignores_preamble_epilogue_and_longer_boundaries() -> None:
    body = b"preamble\r\n--B\r\none\r\n--BC\r\n--B--\r\nepilogue\r\n--B\r\nmore"
    assert split_multipart(body, b"B", max_parts=5) == [b"one\r\n--BC"]


def test_a_delimiter_may_be_followed_by_blanks() -> None:
    assert split_multipart(b"--B \t\r\none\r\n--B--  \r\n", b"B", max_parts=5) == [b"one"]


def test_refuses_more_parts_than_allowed() -> None:
    body = b"--B\r\n" * 4 + b"--B--"
    assert len(split_multipart(body, b"B", max_parts=4)) == 4
    with pytest.raises(MalformedInput):
        split_multipart(body, b"B", max_parts=3)
