"""How is JSON from outside read, so that nobody can read it in another way?

A name that stands twice in an object is refused: readers differ in which one counts. Source: RFC
8259, 4.
"""

from __future__ import annotations

import json

import msgspec

from postroad.errors import FaultCode, MalformedInput


def read_json(document: bytes) -> object:
    """Read one document, with or without a byte-order mark.

    Raises ``msgspec.DecodeError`` or ``RecursionError`` for what isn't JSON or nested too deeply,
    and ``MalformedInput`` (``invalid_request``) for a name that stands twice.

    >>> read_json(b'{"a": [1, true]}')
    {'a': [1, True]}
    """
    text = document.removeprefix(b"\xef\xbb\xbf")
    tree: object = msgspec.json.decode(text)
    json.loads(text, object_pairs_hook=_names, parse_int=str, parse_float=str)
    return tree


def _names(pairs: list[tuple[str, object]]) -> None:
    """Look at the names of one object; its values are read elsewhere."""
    seen: set[str] = set()
    for name, _value in pairs:
        if name in seen:
            raise MalformedInput(
                f"the JSON can't be read: the name {name[:80]!r} stands twice",
                code=FaultCode.INVALID_REQUEST,
            )
        seen.add(name)
