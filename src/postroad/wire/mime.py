"""How is a multipart body cut into parts, and put together, without ever holding it whole?

The reader is fed slices of any size and hands out part headers and slices of part bodies; it keeps
back at most one delimiter's length of data. The writer emits exactly the bytes of PR-MESSTRANSP 2.1
(reference: MultipartEncoder). Line ends: CRLF is always written; a lone LF is understood on input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from postroad.errors import FaultCode, MalformedInput
from postroad.wire.headers import HeaderList, is_header_name, is_header_value, last_value

if TYPE_CHECKING:
    from collections.abc import Sequence

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
# The protocol's own type of signatures, signature/bdoc-1.0/ts, has a second slash.
_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:/{_NAME})?")
_PARAMETER = re.compile(
    r"""\s*;\s*(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+))?\s*"""
)
_BLANK_LINE = re.compile(rb"\n\r?\n")
_MAX_PARAMETERS = 16
_MAX_CONTENT_TYPE = 2048
_SHORT_BLOCK = 256  # bytes of part headers up to which they are remembered
_MAX_PADDING = 128  # white space allowed between a boundary and its line end


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type with its parameters: ``base`` in lower case, parameter names in lower case.

    >>> MediaType.parse('Multipart/Mixed; charset=UTF-8; boundary="a b"').parameter("boundary")
    'a b'
    """

    base: str
    parameters: HeaderList = ()

    @classmethod
    def parse(cls, text: str) -> MediaType:
        """Read a Content-Type value; raises ``MalformedInput`` (invalid_content_type)."""
        if len(text) > _MAX_CONTENT_TYPE:
            raise _bad_type("content type is too long")
        return _media_type(text)

    @classmethod
    def _parse(cls, text: str) -> MediaType:
        base = _TYPE.match(text.strip())
        if base is None:
            raise _bad_type(f"not a content type: {text[:80]!r}")
        parameters: list[tuple[str, str]] = []
        stripped = text.strip()
        position = base.end()
        while position < len(stripped):
            match = _PARAMETER.match(stripped, position)
            if match is None or len(parameters) >= _MAX_PARAMETERS:
                raise _bad_type(f"bad parameters in content type: {text[:80]!r}")
            position = match.end()
            if match[1]:
                parameters.append((match[1].lower(), _unquote(match[2])))
        return cls(base[0].lower(), tuple(parameters))

    def parameter(self, name: str) -> str | None:
        """The value of a parameter, or None. Raises if it is given twice with two values."""
        values = {value for key, value in self.parameters if key == name.lower()}
        if len(values) > 1:
            raise _bad_type(f"content type has two different values of {name}")
        return values.pop() if values else None

    def boundary(self) -> str:
        """The boundary of a multipart type; raises ``MalformedInput`` if there is no usable one."""
        boundary = self.parameter("boundary")
        if boundary is None:
            raise _bad_type("multipart content type has no boundary")
        if _BOUNDARY.fullmatch(boundary) is None:
            raise _bad_type(f"not a multipart boundary: {boundary[:80]!r}")
        return boundary


# The same few types come with every message.
_media_type = lru_cache(maxsize=256)(MediaType._parse)  # noqa: SLF001 - its own class


def _unquote(value: str) -> str:
    if value.startswith('"'):
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _bad_type(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.INVALID_CONTENT_TYPE)


def _bad_mime(message: str) -> MalformedInput:
    return MalformedInput(message, code=FaultCode.MIME_PARSING_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class MimeLimits:
    """What one multipart may cost: number of parts, bytes of one part's headers, header lines."""

    parts: int = 1000
    header_bytes: int = 16 * 1024
    header_lines: int = 64
    surrounding_bytes: int = 256  # allowed before the first part, and after the last one
    lenient: bool = False  # read what information systems write; see ``MultipartReader``


class PartBegin(msgspec.Struct, frozen=True):
    """A part starts; its headers in order, names as sent, values unfolded and stripped."""

    headers: HeaderList

    @property
    def content_type(self) -> str | None:
        """The part's Content-Type text, or None."""
        return last_value(self.headers, "content-type")


class PartData(msgspec.Struct, frozen=True):
    """The next slice of the current part's body; never empty, cut wherever it arrived."""

    data: bytes


class PartEnd(msgspec.Struct, frozen=True):
    """The current part is complete."""


class MultipartEnd(msgspec.Struct, frozen=True):
    """The closing delimiter was read."""


MimeEvent = PartBegin | PartData | PartEnd | MultipartEnd


class _State(Enum):
    PREAMBLE = auto()
    HEADERS = auto()
    BODY = auto()
    EPILOGUE = auto()


class MultipartReader:
    r"""Cuts one multipart body into parts, fed in slices of any size.

    >>> reader = MultipartReader("b")
    >>> [type(e).__name__ for e in reader.feed(b"--b\r\nA: 1\r\n\r\nxyz\r\n--b--\r\n")]
    ['PartBegin', 'PartData', 'PartEnd', 'MultipartEnd']

    ``feed`` raises ``MalformedInput`` (mime_parsing_failed) for broken syntax and for anything
    over the limits. ``finish`` raises it if the closing delimiter never came.

    Only with ``lenient`` limits may text surround the parts, which is dropped as MIME wants it,
    and may the input end within the last delimiter, which then closes: ``finish`` tells the rest.
    """

    __slots__ = ("_buffer", "_delimiter", "_limits", "_parts", "_state", "_surrounding")

    def __init__(self, boundary: str, limits: MimeLimits | None = None) -> None:
        self._delimiter = b"\n--" + boundary.encode("ascii")
        self._limits = limits or MimeLimits()
        # The first delimiter needs no line break before it: pretend there was one.
        self._buffer = b"\n"
        self._state = _State.PREAMBLE
        self._parts = 0
        self._surrounding = 0

    def feed(self, data: bytes) -> list[MimeEvent]:
        """Take the next slice; the events that it completes."""
        events: list[MimeEvent] = []
        self._buffer = self._buffer + data if self._buffer else bytes(data)
        while self._step(events):
            pass
        return events

    def skip(self) -> None:
        """The caller has read everything up to the closing delimiter by itself."""
        self._state = _State.EPILOGUE
        self._buffer = b""

    def finish(self) -> list[MimeEvent]:
        """The input is over; raises ``MalformedInput`` unless the multipart was closed."""
        if self._state is _State.EPILOGUE:
            return []
        if self._limits.lenient and self._state is _State.BODY:
            last = self._buffer.removeprefix(b"\r")
            padding = last.removeprefix(self._delimiter)
            if padding != last and not padding.strip(b" \t\r-"):
                self._state = _State.EPILOGUE
                return [PartEnd(), MultipartEnd()]
        raise _bad_mime("multipart body ended before its closing delimiter")

    def _step(self, events: list[MimeEvent]) -> bool:
        """Do one thing with the buffer; False when more input is needed."""
        if self._state is _State.HEADERS:
            return self._read_headers(events)
        if self._state is _State.EPILOGUE:
            self._swallow_white_space(self._buffer)
            self._buffer = b""
            return False
        return self._read_up_to_delimiter(events)

    def _read_up_to_delimiter(self, events: list[MimeEvent]) -> bool:
        found = self._find_delimiter()
        if found is None:
            keep = self._undecided_from()
            self._emit(self._buffer[:keep], events)
            self._buffer = self._buffer[keep:]
            return False
        start, end, closing = found
        content_end = start - 1 if start and self._buffer[start - 1] == 0x0D else start
        self._emit(self._buffer[:content_end], events)
        if end < 0:  # a delimiter begins here, but its line is not complete
            self._buffer = self._buffer[content_end:]
            return False
        if self._state is _State.BODY:
            events.append(PartEnd())
        self._buffer = self._buffer[end:]
        if closing:
            self._state = _State.EPILOGUE
            self._surrounding = 0
            events.append(MultipartEnd())
            return True
        self._parts += 1
        if self._parts > self._limits.parts:
            raise _bad_mime(f"more than {self._limits.parts} parts")
        self._state = _State.HEADERS
        return True

    def _find_delimiter(self) -> tuple[int, int, bool] | None:
        """The first delimiter: (where its line feed is, where its line ends or -1, closing)."""
        position = 0
        while True:
            start = self._buffer.find(self._delimiter, position)
            if start < 0:
                return None
            after = start + len(self._delimiter)
            if self._buffer.startswith(b"\r\n", after):  # as everybody writes it
                return start, after + 2, False
            rest = self._buffer[after : after + _MAX_PADDING]
            if rest.startswith(b"--"):
                return start, after + 2, True
            padding = rest.lstrip(b" \t")
            line_end = after + len(rest) - len(padding)
            if padding.startswith(b"\n"):
                return start, line_end + 1, False
            if padding.startswith(b"\r\n"):
                return start, line_end + 2, False
            if len(rest) < _MAX_PADDING and (padding in (b"", b"\r") or rest == b"-"):
                return start, -1, False
            position = start + 1  # the boundary is only the beginning of another line

    def _undecided_from(self) -> int:
        """Where the end of the buffer might be the beginning of a delimiter."""
        buffer = self._buffer
        size = len(buffer)
        newline = buffer.rfind(b"\n", max(0, size - len(self._delimiter)))
        if newline >= 0 and self._delimiter.startswith(buffer[newline:]):
            return newline - 1 if newline and buffer[newline - 1] == 0x0D else newline
        return size - 1 if buffer.endswith(b"\r") else size

    def _emit(self, data: bytes, events: list[MimeEvent]) -> None:
        if not data:
            return
        if self._state is _State.BODY:
            events.append(PartData(data))
        else:
            self._swallow_white_space(data)

    def _swallow_white_space(self, data: bytes) -> None:
        # Between servers nothing but white space may surround the parts: what no part holds, no
        # signature covers.
        self._surrounding += len(data)
        is_text = not self._limits.lenient and data.strip(b" \t\r\n")
        if is_text or self._surrounding > self._limits.surrounding_bytes:
            raise _bad_mime("data outside the parts of a multipart body")

    def _read_headers(self, events: list[MimeEvent]) -> bool:
        end, after = _header_block_end(self._buffer)
        if after < 0:
            if len(self._buffer) > self._limits.header_bytes:
                raise _bad_mime(f"part headers exceed {self._limits.header_bytes} bytes")
            return False
        if end > self._limits.header_bytes:
            raise _bad_mime(f"part headers exceed {self._limits.header_bytes} bytes")
        block = self._buffer[:end]
        parse = _known_headers if end <= _SHORT_BLOCK else _parse_headers
        headers = parse(block, self._limits.header_lines)
        events.append(PartBegin(headers))
        self._buffer = self._buffer[after:]
        self._state = _State.BODY
        return True


def _header_block_end(buffer: bytes) -> tuple[int, int]:
    """(end of the header lines, start of the body), or (-1, -1) if the blank line isn't there."""
    if buffer.startswith(b"\n"):
        return 0, 1
    if buffer.startswith(b"\r\n"):
        return 0, 2
    found = _BLANK_LINE.search(buffer)
    return (-1, -1) if found is None else (found.start() + 1, found.end())


def _parse_headers(block: bytes, max_lines: int) -> HeaderList:
    lines = block.decode("latin-1").split("\n")
    if len(lines) > max_lines + 1:
        raise _bad_mime(f"more than {max_lines} header lines in a part")
    headers: list[tuple[str, str]] = []
    for raw in lines:
        line = raw.removesuffix("\r")
        if not line:
            continue
        if line[0] in " \t" and headers:
            name, value = headers.pop()
            value = " ".join((value, line.strip(" \t"))).strip(" \t")
            if not is_header_value(value):
                raise _bad_mime(f"bad part header line: {line[:80]!r}")
            headers.append((name, value))
            continue
        name, colon, value = line.partition(":")
        if not colon or not is_header_name(name) or not is_header_value(value):
            raise _bad_mime(f"bad part header line: {line[:80]!r}")
        headers.append((name, value.strip(" \t")))
    return tuple(headers)


# The same few header blocks stand in every message.
_known_headers = lru_cache(maxsize=256)(_parse_headers)


class MultipartWriter:
    r"""Writes one multipart body; the caller sends what it returns, and the data between.

    >>> writer = MultipartWriter("b")
    >>> writer.begin_part("text/plain") + b"hi" + writer.finish()
    b'--b\r\ncontent-type: text/plain\r\n\r\nhi\r\n--b--\r\n'

    ``nested=True`` is for a multipart inside a part: even its first delimiter follows a CRLF.
    """

    __slots__ = ("_delimiter", "_nested", "_started")

    def __init__(self, boundary: str, *, nested: bool = False) -> None:
        if _BOUNDARY.fullmatch(boundary) is None:
            raise _bad_type(f"not a multipart boundary: {boundary[:80]!r}")
        self._delimiter = b"--" + boundary.encode("ascii")
        self._nested = nested
        self._started = False

    def begin_part(self, content_type: str, headers: Sequence[tuple[str, str]] = ()) -> bytes:
        """The bytes that begin a part."""
        head = _part_head(content_type, tuple(headers))
        prefix = b"\r\n" if self._started or self._nested else b""
        self._started = True
        return b"%b%b\r\n%b" % (prefix, self._delimiter, head)

    def finish(self) -> bytes:
        """The closing delimiter."""
        return b"\r\n" + self._delimiter + b"--\r\n"


@lru_cache(maxsize=64)
def _part_head(content_type: str, headers: HeaderList) -> bytes:
    lines = (("content-type", content_type), *headers)
    for name, value in lines:
        if not is_header_name(name) or not is_header_value(value):
            raise _bad_mime(f"part header can't be written: {name[:80]!r}")
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return text.encode("latin-1", "replace") + b"\r\n"
