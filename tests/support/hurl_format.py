"""How is a Hurl file read? Source: https://hurl.dev, the part of the format that scenarios use.

Entries of a request and what is expected of its answer: sections in brackets, JSON and fenced
bodies, comments. Templates stay as they are written: variables get their values while it runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

METHODS = "GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS"
_REQUEST = re.compile(rf"({METHODS})\s+(\S+)")
_RESPONSE = re.compile(r"HTTP(?:/\S+)?\s+(\d{3}|\*)")
_SECTION = re.compile(r"\[([A-Za-z]+)\]")
_PAIR = re.compile(r"([^:\s][^:]*?)\s*:\s*(.*)")
_REQUEST_SECTIONS = {
    "QueryStringParams": "query",
    "Query": "query",
    "FormParams": "form",
    "Form": "form",
    "MultipartFormData": "multipart",
    "Multipart": "multipart",
    "Cookies": "cookies",
    "BasicAuth": "basic_auth",
    "Options": "options",
}


class HurlSyntaxError(Exception):
    """A line that is no Hurl; the message names it."""


@dataclass
class Entry:
    """A request and what is expected of its answer."""

    line: int
    method: str
    url: str
    headers: list[tuple[str, str]] = field(default_factory=list)
    query: list[tuple[str, str]] = field(default_factory=list)
    form: list[tuple[str, str]] = field(default_factory=list)
    multipart: list[tuple[str, str]] = field(default_factory=list)
    cookies: list[tuple[str, str]] = field(default_factory=list)
    basic_auth: list[tuple[str, str]] = field(default_factory=list)
    options: list[tuple[str, str]] = field(default_factory=list)
    body: str | None = None
    is_json: bool = False
    status: str = "*"
    expected_headers: list[tuple[str, str]] = field(default_factory=list)
    captures: list[tuple[str, str]] = field(default_factory=list)
    asserts: list[str] = field(default_factory=list)


class _Lines:
    """The lines that are left; comments and blank lines are passed over."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()
        self.number = 0

    def peek(self) -> str | None:
        while self.number < len(self._lines):
            line = self._lines[self.number].strip()
            if line and not line.startswith("#"):
                return line
            self.number += 1
        return None

    def take(self) -> str:
        line = self.peek()
        if line is None:
            raise HurlSyntaxError("the file ends in the middle of an entry")
        self.number += 1
        return line

    def raw(self) -> str:
        if self.number >= len(self._lines):
            raise HurlSyntaxError("a body has no end")
        self.number += 1
        return self._lines[self.number - 1]


def parse(text: str) -> list[Entry]:
    """All entries of a file, in order."""
    lines = _Lines(text)
    entries = []
    while lines.peek() is not None:
        entries.append(_entry(lines))
    return entries


def _entry(lines: _Lines) -> Entry:
    first = lines.take()
    found = _REQUEST.fullmatch(first)
    if found is None:
        raise HurlSyntaxError(f"line {lines.number}: no request: {first}")
    entry = Entry(lines.number, found[1], found[2])
    entry.headers += _pairs(lines)
    while (line := lines.peek()) is not None and not _begins(line):
        section = _SECTION.fullmatch(line)
        if section is not None and section[1] in _REQUEST_SECTIONS:
            lines.take()
            getattr(entry, _REQUEST_SECTIONS[section[1]]).extend(_pairs(lines))
        else:
            _body(lines, entry)
    line = lines.peek()
    if line is not None and (response := _RESPONSE.fullmatch(line)):
        lines.take()
        entry.status = response[1]
        entry.expected_headers += _pairs(lines)
    _expectations(lines, entry)
    return entry


def _expectations(lines: _Lines, entry: Entry) -> None:
    while (line := lines.peek()) is not None and (section := _SECTION.fullmatch(line)):
        lines.take()
        if section[1] == "Captures":
            entry.captures += _pairs(lines)
        elif section[1] == "Asserts":
            while (line := lines.peek()) is not None and not (
                _begins(line) or _SECTION.fullmatch(line)
            ):
                entry.asserts.append(lines.take())
        else:
            raise HurlSyntaxError(f"line {lines.number}: no such section here: {line}")


def _pairs(lines: _Lines) -> list[tuple[str, str]]:
    pairs = []
    while (line := lines.peek()) is not None and not (
        _begins(line)
        or _SECTION.fullmatch(line)
        or (line[0] in '{["`' and not line.startswith("{{"))
    ):
        pair = _PAIR.fullmatch(line)
        if pair is None:
            break
        lines.take()
        pairs.append((pair[1], pair[2]))
    return pairs


def _body(lines: _Lines, entry: Entry) -> None:
    line = lines.take()
    if line.startswith("```"):
        kept = []
        while (raw := lines.raw()).strip() != "```":
            kept.append(raw)
        entry.body = "\n".join(kept)
    elif line[0] in "{[":
        kept, depth = [line], _depth(line)
        while depth > 0:
            raw = lines.raw()
            kept.append(raw)
            depth += _depth(raw)
        entry.body, entry.is_json = "\n".join(kept), True
    elif line.startswith("file,"):
        entry.body = line
    else:
        raise HurlSyntaxError(f"line {lines.number}: neither a section nor a body: {line}")


def _depth(line: str) -> int:
    """How many brackets a line of JSON leaves open; those in texts and templates don't count."""
    bare = re.sub(r'\{\{.*?\}\}|"(?:[^"\\]|\\.)*"', "", line)
    return sum(bare.count(c) for c in "{[") - sum(bare.count(c) for c in "}]")


def _begins(line: str) -> bool:
    return bool(_REQUEST.fullmatch(line) or _RESPONSE.fullmatch(line))
