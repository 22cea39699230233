"""How is a small MIME multipart document, held whole in memory, taken apart?

Signed directories are multiparts whose header stands inside the HTTP body. Line ends may be CRLF
or LF, header names have any case, boundaries may be quoted, inner closing delimiters may be
missing. Which bytes belong to a part matters: they are what is signed. Source: RFC 2046 5.1 as
PR-GCONF 2.6 uses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_HEADERS = 32
MAX_HEADER_BYTES = 8 * 1024
MAX_BOUNDARY = 70

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}", re.ASCII)


@dataclass(frozen=True, slots=True)
class HeaderValue:
    """A header field's value and its parameters, names in lower case."""

    value: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """Header fields by lower-case name, and the body exactly as it stands."""

    headers: Mapping[str, str]
    body: bytes


def parse_part(data: bytes) -> Part:
    """Split header fields from the body at the first blank line.

    Raises ``MalformedInput`` for a line that is no header field, a field given twice, or too many
    or too long ones.
    """
    headers: dict[str, str] = {}
    position = 0
    name = ""
    while position < len(data):
        end = data.find(b"\n", position)
        if end < 0:
            end = len(data)
        line = data[position:end].removesuffix(b"\r")
        position = end + 1
        if not line:
            break
        name = _take_line(line, name, headers)
        if len(headers) > MAX_HEADERS or position > MAX_HEADER_BYTES:
            raise broken("a part has too many header fields")
    return Part(headers, data[position:])


def _take_line(line: bytes, previous: str, headers: dict[str, str]) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise broken("a header field is not UTF-8") from None
    if text[0] in " \t":
        if not previous:
            raise broken("a part begins with the continuation of a header field")
        headers[previous] += " " + text.strip()
        return previous
    name, colon, value = text.partition(":")
    name = name.strip().lower()
    if not colon or not name:
        raise broken(f"no header field: {text[:60]!r}")
    if name in headers:
        raise broken(f"header field {name[:60]!r} is given twice")
    headers[name] = value.strip()
    return name


def parse_header_value(text: str) -> HeaderValue:
    """Split a value from its ``; name=value`` parameters, quotes of either kind removed.

    >>> parse_header_value("SHARED-PARAMETERS; instance='DEV'")
    HeaderValue(value='SHARED-PARAMETERS', parameters={'instance': 'DEV'})
    """
    value, *rest = _split_outside_quotes(text)
    parameters: dict[str, str] = {}
    for item in rest:
        name, equals, content = item.partition("=")
        name = name.strip().lower()
        if not name:
            continue
        if name in parameters:
            raise broken(f"parameter {name[:60]!r} is given twice")
        parameters[name] = _unquote(content.strip()) if equals else ""
    return HeaderValue(value.strip(), parameters)


def _split_outside_quotes(text: str) -> list[str]:
    pieces = [""]
    quote = ""
    for char in text:
        if char == ";" and not quote:
            pieces.append("")
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"" and pieces[-1].rstrip().endswith("="):
            quote = char
        pieces[-1] += char
    return pieces


def _unquote(text: str) -> str:
    # One kind of quote may stand inside the other, as an old writer did it.
    for quote in ('"', "'"):
        if len(text) > 1 and text[0] == quote and text[-1] == quote:
            text = text[1:-1]
    return text


def boundary_of(content_type: str, *, subtypes: tuple[str, ...]) -> bytes:
    """Return the boundary of a multipart content type; ``MalformedInput`` for any other type."""
    parsed = parse_header_value(content_type)
    if parsed.value.lower() not in {f"multipart/{subtype}" for subtype in subtypes}:
        raise broken(f"not a multipart document: {content_type[:60]!r}")
    boundary = parsed.parameters.get("boundary", "")
    if not _BOUNDARY.fullmatch(boundary) or boundary.endswith(" "):
        raise broken("a multipart document has no usable boundary")
    return boundary.encode("ascii")


def split_multipart(body: bytes, boundary: bytes, *, max_parts: int) -> list[bytes]:
    """Return the bytes between the delimiters, without the line end before each delimiter.

    The last part ends at the closing delimiter or, where that is missing, at the end of the text.
    Raises ``MalformedInput`` when there are more than ``max_parts``.
    """
    delimiter = re.compile(
        rb"(?:^|\r?\n)--" + re.escape(boundary) + rb"(?P<closing>--)?[ \t]*(?P<end>\r?\n|\Z)"
    )
    parts: list[bytes] = []
    start = -1
    position = 0
    while match := delimiter.search(body, position):
        if start >= 0:
            parts.append(body[start : match.start()])
        if len(parts) > max_parts:
            raise broken(f"a multipart document has more than {max_parts} parts")
        start = -1 if match["closing"] else match.end()
        if match["closing"]:
            break
        # The line end after a delimiter is also the one before the next, in an empty part.
        position = max(match.end() - len(match["end"]), match.start() + 1)
    if start >= 0:
        parts.append(body[start:])
    return parts


def broken(message: str) -> MalformedInput:
    """Build the refusal of a document that isn't the multipart it should be."""
    return MalformedInput(
        message, code=FaultCode.GLOBAL_CONF_PARSING_DOWNLOADED_CONF_DIRECTORY_FAILURE
    )
