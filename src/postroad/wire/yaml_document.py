"""How is YAML from outside read: bounded, and into nothing but the values of JSON?

Plain scalars mean what they mean in YAML 1.2 (so ``no`` is a text and a date is one too), keys are
always texts. Aliases are followed as long as what they stand for is small. Source: YAML 1.2.2, core
schema.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from postroad.errors import FaultCode, MalformedInput

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES: Final = 10 * 1024 * 1024
MAX_NODES: Final = 500_000
MAX_DEPTH: Final = 100

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,4})?")


def read_yaml(document: bytes) -> object:
    """Read one document; ``MalformedInput`` (``invalid_request``) if it can't be, or is too large.

    >>> read_yaml(b"a: [1, no, 2024-01-01, '1', null]")
    {'a': [1, 'no', '2024-01-01', '1', None]}
    """
    if len(document) > MAX_BYTES:
        raise _refused(f"more than {MAX_BYTES} bytes")
    try:
        text = document.decode("utf-8-sig")
        builder = _Builder()
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            builder.take(event)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = str(error).replace("\n", " ")[:200]
        raise _refused(f"not well-formed: {place}") from error
    return builder.root


def plain_value(text: str) -> object:
    """What a plain scalar means."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


@dataclass(slots=True)
class _Open:
    """A collection that isn't complete."""

    put: Callable[[object, str | None], None]
    """Takes a value, and how it is written if it is a scalar."""
    anchor: str | None
    size_before: int
    value: object


class _Builder:
    """Builds values from events."""

    def __init__(self) -> None:
        self.root: object = None
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[object, int, str | None]] = {}
        self._size = 0
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """The next event."""
        match event:
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise _refused("more than one document")
            case yaml.MappingStartEvent():
                mapping: dict[str, object] = {}
                self._begin(_mapping_filler(mapping), event.anchor, mapping)
            case yaml.SequenceStartEvent():
                sequence: list[object] = []
                self._begin(lambda value, _text: sequence.append(value), event.anchor, sequence)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                done = self._open.pop()
                self._keep(done.anchor, done.value, self._size - done.size_before)
                self._put(done.value, None)
            case yaml.ScalarEvent():
                self._grow(1)
                value = plain_value(event.value) if event.implicit[0] else event.value
                self._keep(event.anchor, value, 1, event.value)
                self._put(value, event.value)
            case yaml.AliasEvent():
                known = self._anchors.get(str(event.anchor))
                if known is None:  # the parser lets an alias stand inside what it names
                    raise _refused("an alias of nothing")
                value, size, text = known
                self._grow(size)
                self._put(value, text)
            case _:
                pass

    def _begin(
        self, put: Callable[[object, str | None], None], anchor: str | None, value: object
    ) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise _refused(f"nested deeper than {MAX_DEPTH} levels")
        self._open.append(_Open(put, anchor, self._size, value))
        self._grow(1)

    def _grow(self, nodes: int) -> None:
        self._size += nodes
        if self._size > MAX_NODES:
            raise _refused(f"more than {MAX_NODES} entries, aliases counted by what they stand for")

    def _keep(self, anchor: str | None, value: object, size: int, text: str | None = None) -> None:
        if anchor:
            self._anchors[anchor] = value, size, text

    def _put(self, value: object, text: str | None) -> None:
        if self._open:
            self._open[-1].put(value, text)
        else:
            self.root = value


def _mapping_filler(mapping: dict[str, object]) -> Callable[[object, str | None], None]:
    """Takes key, value, key, …; a key that stands twice would be read in two ways."""
    keys: list[str] = []

    def put(value: object, text: str | None) -> None:
        if keys:
            mapping[keys.pop()] = value
        elif text is None:
            raise _refused("a key that is a collection")
        elif text in mapping:
            raise _refused(f"the key {text[:80]!r} stands twice")
        else:
            keys.append(text)

    return put


def _refused(reason: str) -> MalformedInput:
    return MalformedInput(f"the YAML can't be read: {reason}", code=FaultCode.INVALID_REQUEST)
