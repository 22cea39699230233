"""Whatever way bytes are cut, the same requests are read; whatever bytes come, nothing breaks."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.adapters.http_head import encode_request_head
from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_request_reader import RequestHead, RequestReader

TOKEN = st.text("abcXYZ019-_!", min_size=1, max_size=12).filter(
    lambda name: name.lower() not in {"te", "host", "date", "expect", "upgrade", "connection"}
)
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30)
TARGET = st.text("/abc%2F?&=.;~|{}", max_size=30).map(lambda text: f"/{text}")
METHOD = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"])
REQUEST = st.tuples(
    METHOD,
    TARGET,
    st.lists(st.tuples(TOKEN, VALUE), max_size=8),
    st.binary(max_size=200),
    st.booleans(),
)

Seen = list[tuple[str, str, tuple[tuple[str, str], ...], bytes]]


class Sink:
    """Gathers whole requests."""

    def __init__(self) -> None:
        self.seen: Seen = []
        self._head: RequestHead | None = None
        self._body = b""

    def on_request(self, head: RequestHead) -> None:
        assert self._head is None
        self._head = head
        self._body = b""

    def on_body(self, data: bytes) -> None:
        assert self._head is not None
        self._body += data

    def on_end(self) -> None:
        assert self._head is not None
        self.seen.append((self._head.method, self._head.target, self._head.headers, self._body))
        self._head = None


def feed(data: bytes, cuts: list[int]) -> tuple[Sink, RequestReader]:
    sink = Sink()
    reader = RequestReader(sink, ServerLimits())
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        reader.feed(data[begin:end])
    return sink, reader


@settings(max_examples=80, deadline=None)
@given(st.lists(REQUEST, min_size=1, max_size=4), st.lists(st.integers(0, 5000), max_size=12))
def test_what_is_written_is_read_however_it_is_cut(
    requests: list[tuple[str, str, list[tuple[str, str]], bytes, bool]], cuts: list[int]
) -> None:
    stream, expected = b"", []
    for method, target, headers, body, chunked in requests:
        framing = f"Content-Length: {len(body)}\r\n"
        sent = body
        if chunked:
            framing = "Transfer-Encoding: chunked\r\n"
            sent = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        stream += encode_request_head(method, target, [("Host", "h"), *headers], framing) + sent
        framed = tuple(framing.removesuffix("\r\n").split(": ", 1))
        expected.append((method, target, (("Host", "h"), *headers, framed), body))
    sink, reader = feed(stream, cuts)
    assert reader.refusal is None
    assert sink.seen == expected


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.lists(st.integers(0, 5000), max_size=6))
def test_any_bytes_are_read_or_refused(noise: bytes, cuts: list[int]) -> None:
    line = b"POST / HTTP/1.1\r\nHost: h\r\n"
    for start in (b"", line, line + b"Transfer-Encoding: chunked\r\n\r\n"):
        _, reader = feed(start + noise, cuts)
        assert reader.refusal is None or 400 <= reader.refusal[0] <= 505
