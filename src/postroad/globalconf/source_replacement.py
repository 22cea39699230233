"""How do shared parameters get other configuration sources, and keep every other byte?

A configuration proxy names itself as the source, or clients would go past it. Source: reference
``OutputBuilder``, which writes the whole part anew instead, and so loses what it doesn't know.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from xml.parsers import expat

from postroad.errors import MalformedInput
from postroad.globalconf.elements import XmlText
from postroad.globalconf.shared_parameters import FIRST_WITH_SOURCES, SharedParameters
from postroad.globalconf.shared_writing import write_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.globalconf.shared_parameters import ConfigurationSource

_LEVEL_OF_CHILDREN = 1


def replace_sources(data: bytes, version: int, sources: Sequence[ConfigurationSource]) -> bytes:
    """Shared parameters of that version with these sources in the place of their own.

    Versions that know no sources stay as they are. Raises ``MalformedInput`` for what are no
    shared parameters of the version.
    """
    if version < FIRST_WITH_SOURCES:
        return data
    wanted = replace(SharedParameters.parse(data, version), sources=tuple(sources))
    try:
        spliced = _splice(data, _written(sources))
        if SharedParameters.parse(spliced, version) == wanted:
            return spliced
    except MalformedInput:
        pass  # for example in another encoding than UTF-8
    return wanted.encode(version)


def _written(sources: Sequence[ConfigurationSource]) -> bytes:
    out = XmlText()
    with out.root("conf"):
        for source in sources:
            write_source(out, source)
    lines = out.encode().splitlines(keepends=True)
    return b"".join(lines[2:-1]).strip()


def _splice(data: bytes, written: bytes) -> bytes:
    """Put ``written`` where the sources stand.

    The document has passed its schema: it has sources, they follow each other, and no entities.
    """
    parser = expat.ParserCreate()
    depth = 0
    begins = ends = -1

    def start(name: str, _attributes: dict[str, str]) -> None:
        nonlocal depth, begins
        if depth == _LEVEL_OF_CHILDREN and name == "source" and begins < 0:
            begins = parser.CurrentByteIndex
        depth += 1

    def end(name: str) -> None:
        nonlocal depth, ends
        depth -= 1
        if depth == _LEVEL_OF_CHILDREN and name == "source":
            ends = data.index(b">", parser.CurrentByteIndex) + 1

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(data, True)  # noqa: FBT003 - the last piece
    except (expat.ExpatError, ValueError) as error:
        raise MalformedInput(f"shared parameters can't be read: {error}") from error
    return data[:begins] + written + data[ends:]
