from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.wire.mime import (
    MediaType,
    MimeEvent,
    MimeLimits,
    MultipartEnd,
    MultipartReader,
    MultipartWriter,
    PartBegin,
    PartData,
    PartEnd,
)

BODY = (
    b"--b\r\ncontent-type: text/plain\r\nX-Other: 1\r\n\r\nfirst\r\nline\r\n"
    b"--b\r\ncontent-type: a/b\r\n\r\n\r\n--b--\r\n"
)


def read(
    chunks: list[bytes], boundary: str = "b", limits: MimeLimits | None = None
) -> list[MimeEvent]:
    reader = MultipartReader(boundary, limits)
    events: list[MimeEvent] = []
    for chunk in chunks:
        events.extend(reader.feed(chunk))
    reader.finish()
    return joined(events)


def joined(events: list[MimeEvent]) -> list[MimeEvent]:
    """Neighbouring slices of data as one, for comparing different cuts of the same input."""
    result: list[MimeEvent] = []
    for event in events:
        if isinstance(event, PartData) and result and isinstance(result[-1], PartData):
            result[-1] = PartData(result[-1].data + event.data)
        else:
            result.append(event)
    return result


EXPECTED: list[MimeEvent] = [
    PartBegin((("content-type", "text/plain"), ("X-Other", "1"))),
    PartData(b"first\r\nline"),
    PartEnd(),
    PartBegin((("content-type", "a/b"),)),
    PartEnd(),
    MultipartEnd(),
]


def test_cuts_a_body_into_its_parts() -> None:
    assert read([BODY]) == EXPECTED


@pytest.mark.parametrize("cut", range(len(BODY) + 1))
def test_understands_a_body_cut_at_any_byte(cut: int) -> None:
    assert read([BODY[:cut], BODY[cut:]]) == EXPECTED


def test_understands_a_body_fed_byte_by_byte() -> None:
    assert read([BODY[i : i + 1] for i in range(len(BODY))]) == EXPECTED


def test_tolerates_line_feeds_alone() -> None:
    assert read([b"--b\nA: 1\n\nx\ny\n--b--\n"]) == [
        PartBegin((("A", "1"),)),
        PartData(b"x\ny"),
        PartEnd(),
        MultipartEnd(),
    ]


def test_tolerates_a_missing_line_end_after_the_closing_delimiter() -> None:
    assert read([b"--b\r\nA: 1\r\n\r\nx\r\n--b--"])[-1] == MultipartEnd()


def test_tolerates_padding_after_the_boundary() -> None:
    assert read([b"--b \t\r\nA: 1\r\n\r\nx\r\n--b--"])[1] == PartData(b"x")


def test_a_longer_boundary_is_data() -> None:
    assert read([b"--b\r\nA: 1\r\n\r\nx\r\n--bc\r\n--b--"])[1] == PartData(b"x\r\n--bc")


def test_hands_on_data_as_soon_as_it_can_be_no_delimiter() -> None:
    reader = MultipartReader("b")
    reader.feed(b"--b\r\nA: 1\r\n\r\n")
    assert reader.feed(b"x" * 1000) == [PartData(b"x" * 1000)]
    assert reader.feed(b"y\r") == [PartData(b"y")]
    assert reader.feed(b"\n--") == []
    assert joined(reader.feed(b"q")) == [PartData(b"\r\n--q")]


def test_a_part_may_have_no_headers() -> None:
    assert read([b"--b\r\n\r\nx\r\n--b--"])[0] == PartBegin(())


def test_unfolds_a_folded_header() -> None:
    assert read([b"--b\r\nA: 1\r\n  2\r\n\r\n\r\n--b--"])[0] == PartBegin((("A", "1 2"),))


@pytest.mark.parametrize(
    "body",
    [
        b"junk\r\n--b\r\n\r\n\r\n--b--\r\n",
        b"--b\r\n\r\n\r\n--b--\r\njunk",
        b"--b\r\nno colon\r\n\r\n\r\n--b--",
        b"--b\r\nA\x00: 1\r\n\r\n\r\n--b--",
        b"--b\r\n 1\r\n\r\n\r\n--b--",
        b"--b\r\nA: 1\r\n\r\nx\r\n--b",
        b"",
        b" " * 300,
    ],
)
def test_refuses_what_is_not_a_multipart_body(body: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        read([body])
    assert caught.value.code is FaultCode.MIME_PARSING_FAILED


def test_refuses_more_parts_than_the_limit() -> None:
    with pytest.raises(MalformedInput, match="more than 1 parts"):
        read([BODY], limits=MimeLimits(parts=1))


@pytest.mark.parametrize("cut", [True, False])
def test_refuses_part_headers_over_the_limit(cut: bool) -> None:
    body = b"--b\r\nA: " + b"x" * 100 + (b"" if cut else b"\r\n\r\n\r\n--b--")
    with pytest.raises(MalformedInput, match="headers exceed"):
        read([body], limits=MimeLimits(header_bytes=50))


def test_refuses_more_header_lines_than_the_limit() -> None:
    with pytest.raises(MalformedInput, match="header lines"):
        read([b"--b\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n\r\n--b--"], limits=MimeLimits(header_lines=2))


def test_writes_exactly_the_layout_of_the_protocol() -> None:
    writer = MultipartWriter("xtop")
    written = writer.begin_part("a/b") + b"1" + writer.begin_part("c/d", [("h", "v")]) + b"2"
    assert written + writer.finish() == (
        b"--xtop\r\ncontent-type: a/b\r\n\r\n1"
        b"\r\n--xtop\r\ncontent-type: c/d\r\nh: v\r\n\r\n2"
        b"\r\n--xtop--\r\n"
    )


def test_a_nested_multipart_begins_with_a_line_end() -> None:
    writer = MultipartWriter("xatt", nested=True)
    assert writer.begin_part("a/b") == b"\r\n--xatt\r\ncontent-type: a/b\r\n\r\n"


def test_never_writes_a_header_that_breaks_out() -> None:
    with pytest.raises(MalformedInput):
        MultipartWriter("b").begin_part("a/b", [("h", "v\r\nx: 1")])


@pytest.mark.parametrize("boundary", ["", "a\r\nb", "x" * 71, "é"])
def test_refuses_to_write_with_an_unusable_boundary(boundary: str) -> None:
    with pytest.raises(MalformedInput):
        MultipartWriter(boundary)


def test_reads_a_media_type_with_quoted_parameters() -> None:
    media_type = MediaType.parse('Text/XML; Charset="utf-8" ; x="a\\"b";')
    assert media_type.base == "text/xml"
    assert media_type.parameter("charset") == "utf-8"
    assert media_type.parameter("x") == 'a"b'
    assert media_type.parameter("y") is None


@pytest.mark.parametrize(
    "text",
    ["", "text", "text/", "a/b; c", "a/b c", "a/b" + "; x=1" * 17, "a/b;" + " " * 3000 + "x"],
)
def test_refuses_a_broken_content_type(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        MediaType.parse(text)
    assert caught.value.code is FaultCode.INVALID_CONTENT_TYPE


@pytest.mark.parametrize(
    "text", ["a/b", 'a/b; boundary=""', 'a/b; boundary="a\tb"', "a/b; boundary=x; boundary=y"]
)
def test_refuses_a_multipart_type_without_one_usable_boundary(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        MediaType.parse(text).boundary()
    assert caught.value.code is FaultCode.INVALID_CONTENT_TYPE
