"""What do the heads of HTTP messages look like on the wire, and which are too doubtful to accept.

The tokenising is llhttp's work (strict mode: it refuses obs-fold, bare CR or LF, blanks before the
colon, and a Content-Length beside a Transfer-Encoding). What it leaves open is decided here:
versions, transfer codings other than ``chunked``, more than one Host. Source: RFC 9110 and 9112.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Headers = tuple[tuple[str, str], ...]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(r"[\x21-\x22\x24-\x7e]+")
_URL: Final = re.compile(r"(?i:(https?))://(\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]\s]+)(?::([0-9]{1,5}))?")
_STATUS_LINES: Final = {
    int(status): f"HTTP/1.1 {int(status)} {status.phrase}" for status in HTTPStatus
}
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_CACHED_NAME: Final = 64
"""Names up to this length are remembered, so that the memory for it has a bound."""


class NameKind(Enum):
    """What a header field's name means for the connection."""

    BROKEN = auto()
    PLAIN = auto()
    HOST = auto()
    DATE = auto()
    EXPECT = auto()
    CONTENT_LENGTH = auto()
    TRANSFER_ENCODING = auto()
    CONNECTION = auto()


_KINDS: Final = {
    "host": NameKind.HOST,
    "date": NameKind.DATE,
    "expect": NameKind.EXPECT,
    "content-length": NameKind.CONTENT_LENGTH,
    "transfer-encoding": NameKind.TRANSFER_ENCODING,
    "connection": NameKind.CONNECTION,
    "keep-alive": NameKind.CONNECTION,
}
_FRAMING: Final = (NameKind.CONTENT_LENGTH, NameKind.TRANSFER_ENCODING, NameKind.CONNECTION)


def _judge_name(name: str) -> NameKind:
    if _TOKEN.fullmatch(name) is None:
        return NameKind.BROKEN
    return _KINDS.get(name.lower(), NameKind.PLAIN)


def _decode_name(name: bytes) -> tuple[str, NameKind]:
    text = name.decode("latin-1")
    return text, _judge_name(text)


_judge_cached: Final = lru_cache(maxsize=1024)(_judge_name)
_decode_cached: Final = lru_cache(maxsize=1024)(_decode_name)


@dataclass(frozen=True, slots=True)
class DecodedFields:
    """Header fields as text, and what they say about the body that follows."""

    headers: Headers
    size: int
    """Bytes of all fields, colon and line ends included."""
    content_length: str | None
    transfer_encoding: str | None
    expect: str | None
    hosts: int


def decode_fields(fields: Iterable[tuple[bytes, bytes]]) -> DecodedFields:
    """Return header fields as Latin-1 text, order and case kept, blanks at the end stripped."""
    headers = []
    size = hosts = 0
    length = coding = expect = None
    plain = NameKind.PLAIN
    for raw, value in fields:
        name, kind = (_decode_cached if len(raw) <= _CACHED_NAME else _decode_name)(raw)
        text = value.decode("latin-1").rstrip(" \t")
        headers.append((name, text))
        size += len(raw) + len(value) + 4
        if kind is plain:
            continue
        if kind is NameKind.HOST:
            hosts += 1
        elif kind is NameKind.CONTENT_LENGTH:
            length = text
        elif kind is NameKind.TRANSFER_ENCODING:
            coding = text if coding is None else f"{coding}, {text}"
        elif kind is NameKind.EXPECT:
            expect = text
    return DecodedFields(tuple(headers), size, length, coding, expect, hosts)


@dataclass(frozen=True, slots=True)
class RequestFraming:
    """What the header fields of a request say about its body."""

    has_body: bool
    expects_continue: bool


_NO_BODY: Final = RequestFraming(has_body=False, expects_continue=False)
_BODY: Final = RequestFraming(has_body=True, expects_continue=False)
_BODY_IF_INVITED: Final = RequestFraming(has_body=True, expects_continue=True)


def decide_request_framing(version: str, fields: DecodedFields) -> RequestFraming | tuple[int, str]:
    """Return the framing, or the status and reason for which the request is refused.

    llhttp has refused a second Content-Length, one that isn't digits, and one beside a
    Transfer-Encoding.
    """
    modern = version == "1.1"
    if not modern and version != "1.0":
        return 505, "only version 1.1 of HTTP is spoken here"
    if fields.hosts != 1 and (modern or fields.hosts):
        return 400, "a request has exactly one Host header field"
    coding, expect = fields.transfer_encoding, fields.expect
    if coding is not None and (not modern or coding.lower() != "chunked"):
        return 501, "only the transfer coding 'chunked' is understood"
    if expect is not None and expect.lower() != "100-continue":
        return 417, "only 'Expect: 100-continue' is understood"
    if coding is None and not (fields.content_length or "").strip("0"):
        return _NO_BODY
    return _BODY_IF_INVITED if expect is not None and modern else _BODY


def is_request_target(target: str) -> bool:
    """Say whether a target is made of visible ASCII without a fragment."""
    return _TARGET.fullmatch(target) is not None


def _encode_head(
    first: str, headers: Sequence[tuple[str, str]], framing: str, date: str | None
) -> bytes:
    """Join a first line and fields, without framing fields: those are not for callers to set."""
    lines = [first]
    plain = NameKind.PLAIN
    for name, value in headers:
        kind = (_judge_cached if len(name) <= _CACHED_NAME else _judge_name)(name)
        if kind is not plain:
            if kind is NameKind.BROKEN:
                raise MalformedInput(f"{name!r} is no HTTP header name", code=FaultCode.HTTP_ERROR)
            if kind in _FRAMING:
                continue
            if kind is NameKind.DATE:
                date = None
        lines.append(f"{name}: {value}")
    if date is not None:
        lines.append(f"date: {date}")
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    # one search over the whole block finds any line break smuggled in by a value
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise MalformedInput("an HTTP header value has a line break", code=FaultCode.HTTP_ERROR)
    try:
        return f"{text}\r\n{framing}\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise MalformedInput(
            "an HTTP header value has a character beyond Latin-1", code=FaultCode.HTTP_ERROR
        ) from error


def encode_response_head(
    status: int, headers: Sequence[tuple[str, str]], framing: str, *, date: str | None = None
) -> bytes:
    """Return status line and fields, names exactly as given, framing fields last.

    ``framing`` is what the server adds, lines with their CRLF. ``date`` is added unless the headers
    have one. Raises ``MalformedInput`` for what HTTP can't carry.
    """
    if not 200 <= status <= 999:
        raise MalformedInput(f"{status} is no final HTTP status", code=FaultCode.HTTP_ERROR)
    first = _STATUS_LINES.get(status) or f"HTTP/1.1 {status} "
    return _encode_head(first, headers, framing, date)


def encode_request_head(
    method: str, target: str, headers: Sequence[tuple[str, str]], framing: str
) -> bytes:
    """Return request line and fields, names and target exactly as given, framing fields last.

    Raises ``MalformedInput`` for what HTTP can't carry.
    """
    if _judge_cached(method[:100]) is NameKind.BROKEN or not is_request_target(target):
        raise MalformedInput(
            f"{method[:100]!r} {target[:200]!r} is no HTTP request line", code=FaultCode.HTTP_ERROR
        )
    return _encode_head(f"{method} {target} HTTP/1.1", headers, framing, None)


def has_header(headers: Iterable[tuple[str, str]], name: str) -> bool:
    """Say whether a field of that (lower-case) name is there."""
    for key, _ in headers:  # noqa: SIM110 - a generator costs as much as the search
        if key.lower() == name:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Url:
    """An ``http`` or ``https`` address, its target kept byte for byte."""

    scheme: str
    host: str
    """Without the brackets of an IPv6 address."""
    port: int
    target: str
    """Path and query exactly as written; ``/`` when the address has none."""
    authority: str
    """What a Host header says: host, and the port when it isn't the scheme's own."""

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse an address.

        Raises ``MalformedInput`` for other schemes, credentials, fragments and control characters.

        >>> Url.parse("https://Example.org:8443/a%2Fb?c=d").target
        '/a%2Fb?c=d'
        """
        found = _URL.match(text)
        if found is None:
            raise MalformedInput(
                f"{text[:200]!r} is no http or https address",
                code=FaultCode.SERVICE_MALFORMED_URL,
            )
        scheme, host = found[1].lower(), found[2]
        port = int(found[3]) if found[3] else _DEFAULT_PORTS[scheme]
        rest = text[found.end() :]
        target = rest if rest.startswith("/") else f"/{rest}"
        if (rest and rest[0] not in "/?") or not is_request_target(target) or not 0 < port < 65536:
            raise MalformedInput(
                f"{text[:200]!r} is no http or https address",
                code=FaultCode.SERVICE_MALFORMED_URL,
            )
        authority = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
        return cls(scheme, host.strip("[]"), port, target, authority)
