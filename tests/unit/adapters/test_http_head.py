from __future__ import annotations

import pytest

from postroad.adapters.http_head import (
    RequestFraming,
    Url,
    decide_request_framing,
    decode_fields,
    encode_request_head,
    encode_response_head,
    has_header,
    is_request_target,
)
from postroad.errors import FaultCode, MalformedInput

HOST = (b"Host", b"server")


def framing(*fields: tuple[bytes, bytes], version: str = "1.1") -> RequestFraming | tuple[int, str]:
    return decide_request_framing(version, decode_fields(fields))


def refusal(*fields: tuple[bytes, bytes], version: str = "1.1") -> int:
    decision = framing(*fields, version=version)
    assert isinstance(decision, tuple)
    return decision[0]


def test_header_names_keep_case_and_order() -> None:
    fields = decode_fields(
        [(b"X-Road-Client", b"a"), (b"x-b", b"b \t"), (b"X-ROAD-CLIENT", b"\xe9")]
    )
    assert fields.headers == (("X-Road-Client", "a"), ("x-b", "b"), ("X-ROAD-CLIENT", "\xe9"))
    assert fields.size == len(b"X-Road-Client: a\r\nx-b: b \t\r\nX-ROAD-CLIENT: \xe9\r\n")


def test_names_too_long_to_remember_are_still_decoded() -> None:
    name = b"x" * 100
    assert decode_fields([(name, b"1")]).headers == (("x" * 100, "1"),)


def test_request_without_length_has_no_body() -> None:
    assert framing(HOST) == RequestFraming(has_body=False, expects_continue=False)
    assert framing(HOST, (b"Content-Length", b"000")) == framing(HOST)


def test_request_with_length_or_chunks_has_a_body() -> None:
    expected = RequestFraming(has_body=True, expects_continue=False)
    assert framing(HOST, (b"Content-Length", b"10")) == expected
    assert framing(HOST, (b"Transfer-Encoding", b"Chunked")) == expected


def test_continue_is_expected_only_with_a_body_and_from_http_1_1() -> None:
    expect, length = (b"Expect", b"100-Continue"), (b"Content-Length", b"1")
    assert framing(HOST, expect, length) == RequestFraming(has_body=True, expects_continue=True)
    assert framing(HOST, expect) == RequestFraming(has_body=False, expects_continue=False)
    assert framing(HOST, expect, length, version="1.0") == RequestFraming(
        has_body=True, expects_continue=False
    )


def test_refuses_other_expectations() -> None:
    assert refusal(HOST, (b"Expect", b"200-ok")) == 417


@pytest.mark.parametrize(
    "values", [[b"gzip, chunked"], [b"chunked", b"chunked"], [b"identity"], [b"\x0bchunked"], [b""]]
)
def test_refuses_transfer_codings_other_than_chunked(values: list[bytes]) -> None:
    assert refusal(HOST, *((b"Transfer-Encoding", value) for value in values)) == 501


def test_refuses_chunks_from_http_1_0() -> None:
    assert refusal(HOST, (b"Transfer-Encoding", b"chunked"), version="1.0") == 501


@pytest.mark.parametrize("version", ["0.9", "2.0", "1.2"])
def test_refuses_other_versions(version: str) -> None:
    assert refusal(HOST, version=version) == 505


def test_refuses_no_host_or_two() -> None:
    assert refusal() == 400
    assert refusal(HOST, HOST) == 400
    assert refusal(HOST, HOST, version="1.0") == 400
    assert isinstance(framing(version="1.0"), RequestFraming)


@pytest.mark.parametrize("target", ["/", "/a%2Fb/../c//d?x=%zz&y", "*", "http://h/a", "/a|b{}"])
def test_targets_of_visible_ascii_are_kept(target: str) -> None:
    assert is_request_target(target)


@pytest.mark.parametrize(
    "target", ["", "/a b", "/a\r\nb", "/a#b", "/\x7f", "/\xe9", "/a\0", "/a\n"]
)
def test_refuses_targets_with_other_characters(target: str) -> None:
    assert not is_request_target(target)
    with pytest.raises(MalformedInput) as caught:
        encode_request_head("GET", target, [], "")
    assert caught.value.code is FaultCode.HTTP_ERROR


def test_response_head_is_written_exactly_as_given() -> None:
    head = encode_response_head(
        200,
        [("x-hash-algorithm", "SHA-512"), ("X-Mixed", "v")],
        "content-length: 3\r\n",
        date="now",
    )
    assert head == (
        b"HTTP/1.1 200 OK\r\nx-hash-algorithm: SHA-512\r\nX-Mixed: v\r\n"
        b"date: now\r\ncontent-length: 3\r\n\r\n"
    )


def test_own_date_of_the_handler_replaces_ours() -> None:
    head = encode_response_head(200, [("Date", "yesterday")], "", date="now")
    assert head == b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n"


def test_unknown_status_has_an_empty_reason() -> None:
    assert encode_response_head(299, [], "").startswith(b"HTTP/1.1 299 \r\n")


@pytest.mark.parametrize("status", [0, 99, 100, 199, 1000, -200])
def test_refuses_statuses_that_are_not_final(status: int) -> None:
    with pytest.raises(MalformedInput):
        encode_response_head(status, [], "")


def test_framing_fields_of_the_caller_are_left_out() -> None:
    given = [("Content-Length", "5"), ("Transfer-encoding", "chunked"), ("Connection", "close")]
    head = encode_request_head("POST", "/", [*given, ("Keep-Alive", "1"), ("A", "b")], "")
    assert head == b"POST / HTTP/1.1\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\n", "\u0151"])
def test_refuses_values_that_would_break_the_head(value: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        encode_response_head(200, [("x", value), ("y", "z")], "")
    assert caught.value.code is FaultCode.HTTP_ERROR


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "é", "x" * 100 + " "])
def test_refuses_names_that_are_no_tokens(name: str) -> None:
    with pytest.raises(MalformedInput):
        encode_response_head(200, [(name, "v")], "")


@pytest.mark.parametrize("method", ["", "GET /", "G\r\nX"])
def test_refuses_methods_that_are_no_tokens(method: str) -> None:
    with pytest.raises(MalformedInput):
        encode_request_head(method, "/", [], "")


def test_header_is_found_whatever_its_case() -> None:
    assert has_header([("HOST", "a")], "host")
    assert not has_header([("Hosts", "a")], "host")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h", Url("http", "h", 80, "/", "h")),
        ("HTTPS://H.example/a", Url("https", "H.example", 443, "/a", "H.example")),
        ("http://h:8080?q=1", Url("http", "h", 8080, "/?q=1", "h:8080")),
        ("https://h:443/%2f/..//x?y=/z", Url("https", "h", 443, "/%2f/..//x?y=/z", "h")),
        ("http://[::1]:80/", Url("http", "::1", 80, "/", "[::1]")),
        ("https://[2001:db8::1]/", Url("https", "2001:db8::1", 443, "/", "[2001:db8::1]")),
    ],
)
def test_url_keeps_its_target_byte_for_byte(text: str, expected: Url) -> None:
    assert Url.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h/a",
        "ftp://h/",
        "http:///a",
        "http://user@h/",
        "http://u:p@h/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:1x/",
        "http://h/#f",
        "http://h/a b",
        "http://h/\r\nX: y",
        "http://h\\@evil/",
        "http://[::1/",
        "http://h /",
    ],
)
def test_refuses_urls_that_could_mean_something_else(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        Url.parse(text)
    assert caught.value.code is FaultCode.SERVICE_MALFORMED_URL
