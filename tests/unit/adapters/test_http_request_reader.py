from __future__ import annotations

import pytest

from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_request_reader import RequestHead, RequestReader

POST = b"POST /a%2Fb?c HTTP/1.1\r\nHost: h\r\n"


class Sink:
    """Writes down the dialogue."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []
        self.bodies: list[bytes] = []
        self.ends = 0

    def on_request(self, head: RequestHead) -> None:
        self.heads.append(head)
        self.bodies.append(b"")

    def on_body(self, data: bytes) -> None:
        self.bodies[-1] += data

    def on_end(self) -> None:
        self.ends += 1


def read(*pieces: bytes, limits: ServerLimits | None = None) -> tuple[Sink, RequestReader]:
    sink = Sink()
    reader = RequestReader(sink, limits or ServerLimits())
    for piece in pieces:
        reader.feed(piece)
    return sink, reader


def refused(*pieces: bytes, limits: ServerLimits | None = None) -> int:
    _, reader = read(*pieces, limits=limits)
    assert reader.refusal is not None
    return reader.refusal[0]


STREAM = (
    POST
    + b"X-Mixed-Case: 1\r\nContent-Length: 3\r\n\r\nabc"
    + POST
    + b"Transfer-Encoding: chunked\r\n\r\n2;ext=1\r\nde\r\n3\r\nfgh\r\n0\r\nTrailer: t\r\n\r\n"
    + b"\r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)


def check_stream(sink: Sink, reader: RequestReader) -> None:
    assert reader.refusal is None
    assert [head.method for head in sink.heads] == ["POST", "POST", "GET"]
    assert [head.target for head in sink.heads] == ["/a%2Fb?c", "/a%2Fb?c", "/"]
    assert sink.heads[0].headers == (("Host", "h"), ("X-Mixed-Case", "1"), ("Content-Length", "3"))
    assert sink.heads[1].headers == (("Host", "h"), ("Transfer-Encoding", "chunked"))
    assert [head.keep_alive for head in sink.heads] == [True, True, False]
    assert sink.bodies == [b"abc", b"defgh", b""]
    assert sink.ends == 3
    assert not reader.in_head


def test_reads_several_requests_from_one_piece() -> None:
    check_stream(*read(STREAM))


def test_reads_the_same_byte_by_byte() -> None:
    check_stream(*read(*(STREAM[i : i + 1] for i in range(len(STREAM)))))


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_reads_the_same_when_cut_anywhere(cut: int) -> None:
    check_stream(*read(STREAM[:cut], STREAM[cut:]))


def test_http_1_0_closes_unless_it_asks_otherwise() -> None:
    sink, _ = read(b"GET / HTTP/1.0\r\n\r\n")
    assert (sink.heads[0].modern, sink.heads[0].keep_alive) == (False, False)
    sink, _ = read(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert sink.heads[0].keep_alive


UPGRADE = (
    POST
    + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    + b"Content-Length: 3\r\n\r\nabc"
    + POST
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"2\r\nde\r\n0\r\n\r\n"
    + b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    + b"GET /last HTTP/1.1\r\nHost: h\r\n\r\n"
)


@pytest.mark.parametrize("size", [1, 7, 64, len(UPGRADE)])
def test_declines_upgrades_and_keeps_the_bodies(size: int) -> None:
    sink, reader = read(*(UPGRADE[i : i + size] for i in range(0, len(UPGRADE), size)))
    assert reader.refusal is None
    assert [head.target for head in sink.heads] == ["/a%2Fb?c", "/a%2Fb?c", "/", "/last"]
    assert sink.bodies == [b"abc", b"de", b"", b""]
    assert sink.ends == 4
    assert ("Upgrade", "h2c") in sink.heads[0].headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
        POST + b"Content-Length: +3\r\n\r\nabc",
        POST + b"Content-Length: 0x3\r\n\r\nabc",
        POST + b"Content-Length:\r\n\r\n",
        POST + b"Content-Length : 3\r\n\r\nabc",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Transfer-Encoding: gzip\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        POST + b"X: a\r\n folded\r\n\r\n",
        POST + b"X: a\rY: b\r\n\r\n",
        POST + b"X: a\0b\r\n\r\n",
        POST + b": x\r\n\r\n",
        POST + b"no colon\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /#f HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    ],
)
def test_refuses_what_two_parsers_could_read_differently(request_bytes: bytes) -> None:
    assert 400 <= refused(request_bytes) <= 505
    whole, _ = read(request_bytes)
    assert refused(*(request_bytes[i : i + 1] for i in range(len(request_bytes)))) >= 400
    assert whole.ends == 0


def test_nothing_is_read_after_a_request_that_closes() -> None:
    sink, reader = read(
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert len(sink.heads) == 1
    assert reader.refusal is not None


SMALL = ServerLimits(max_head=200, max_headers=4, max_target=20)


def test_refuses_a_target_that_is_too_long() -> None:
    assert refused(b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 30), limits=SMALL) == 414


def test_refuses_too_many_header_fields() -> None:
    assert refused(POST + b"a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n\r\n", limits=SMALL) == 431


def test_refuses_header_fields_that_are_too_large_together() -> None:
    assert refused(POST + b"a: %b\r\nb: %b\r\n\r\n" % (b"x" * 99, b"x" * 99), limits=SMALL) == 431


def test_refuses_a_header_field_that_never_ends() -> None:
    sink, reader = read(POST, limits=SMALL)
    fed = 0
    while reader.refusal is None:
        reader.feed(b"x" * 10)
        fed += 10
        assert fed <= 2 * SMALL.max_head + 10
    assert reader.refusal[0] == 431
    assert not sink.heads


def test_head_limit_counts_each_request_anew() -> None:
    request = POST + b"a: %b\r\nContent-Length: 300\r\n\r\n%b" % (b"x" * 99, b"y" * 300)
    sink, reader = read(request * 5, limits=SMALL)
    assert reader.refusal is None
    assert sink.ends == 5
