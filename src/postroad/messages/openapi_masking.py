"""How are the hosts of services taken out of an OpenAPI document before others get to see it?

The address of every entry of the top-level ``servers`` is cut to its path, unless it has variables.
YAML keeps every other byte; JSON is written anew. Source: PR-MREST, getOpenAPI; reference:
Openapi3Anonymiser, which writes YAML anew too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import msgspec
import yaml

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES
from postroad.wire.json_document import read_json
from postroad.wire.yaml_document import MAX_DEPTH, MAX_NODES, plain_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VERSION: Final = "3."
_LOOKED_AT: Final = frozenset({"openapi", "servers"})
_NOT_IN_URI = re.compile(r"""[\s<>"\\^`{|}\x00-\x1f\x7f]""")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def is_json_document(content_types: Iterable[str], url: str) -> bool:
    """Whether a document is JSON, by what its server says and else by its address.

    >>> is_json_document(["application/json;charset=utf-8"], "http://h/openapi.yaml")
    True
    """
    declared = tuple(content_types)
    if any("application/json" in value for value in declared):
        return True
    return "application/x-yaml" not in declared and urlsplit(url).path.endswith(".json")


def mask_openapi(document: bytes, *, is_json: bool) -> bytes:
    """The document without the hosts of its servers.

    Raises ``MalformedInput`` (``internal_error``, as the reference) for what can't be read or could
    be read in two ways, for another version than 3, and for an address that is none.
    """
    if len(document) > MAX_DESCRIPTION_BYTES:
        raise _unreadable(f"more than {MAX_DESCRIPTION_BYTES} bytes")
    try:
        return _mask_json(document) if is_json else _mask_yaml(document)
    except (msgspec.DecodeError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise _unreadable("not well-formed") from error


def _mask_json(document: bytes) -> bytes:
    try:
        tree = read_json(document)
    except MalformedInput as error:
        raise _unreadable(error.message) from error
    if not isinstance(tree, dict):
        raise _unreadable("not an object")
    _check_version(tree.get("openapi"))
    servers = tree.get("servers")
    for server in servers if isinstance(servers, list) else ():
        if isinstance(server, dict) and isinstance(server.get("url"), str):
            server["url"] = _masked(server["url"])
    return msgspec.json.encode(tree)


def _mask_yaml(document: bytes) -> bytes:
    text = document.decode("utf-8-sig")
    pieces: list[str] = []
    position = 0
    for event in _server_addresses(text):
        if event.start_mark is None or event.end_mark is None:
            raise _unreadable("an entry without a place")
        start, end = event.start_mark.index, event.end_mark.index
        written = msgspec.json.encode(_masked(event.value)).decode("utf-8")
        if event.anchor:
            written = f"&{event.anchor} {written}"
        if text[start:end].endswith("\n"):
            written += "\n"  # a block scalar ends with its line
        pieces += (text[position:start], written)
        position = end
    return "".join((*pieces, text[position:])).encode("utf-8")


def _server_addresses(text: str) -> Iterator[yaml.ScalarEvent]:
    """The scalars that stand as ``url`` of an entry of the top-level ``servers``, in order."""
    path: list[_Level] = []
    for count, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader)):
        if count > MAX_NODES or len(path) > MAX_DEPTH:
            raise _unreadable("too many or too deeply nested entries")
        match event:
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                _note(path, None)
                path.append(_Level(isinstance(event, yaml.MappingStartEvent)))
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                path.pop()
            case yaml.ScalarEvent() | yaml.AliasEvent():
                scalar = event if isinstance(event, yaml.ScalarEvent) else None
                key = _note(path, scalar)
                if key is None and path and path[0].key in _LOOKED_AT:
                    yield from _address([level.key for level in path], scalar)
            case _:
                pass


def _address(
    names: list[str | None], scalar: yaml.ScalarEvent | None
) -> Iterator[yaml.ScalarEvent]:
    """The scalar at a place, or alias if it is None, when it is the address of a server."""
    if names == ["openapi"] and scalar is not None:
        _check_version(scalar.value)
    if names[0] == "servers":
        if scalar is None:
            raise _unreadable("servers named by an alias")
        if names == ["servers", None, "url"] and _is_text(scalar):
            yield scalar


def _is_text(scalar: yaml.ScalarEvent) -> bool:
    """Whether a scalar is a text, and no null, number or truth value."""
    return not scalar.implicit[0] or isinstance(plain_value(scalar.value), str)


class _Level:
    """A collection that is being read."""

    __slots__ = ("expects_key", "is_mapping", "key")

    def __init__(self, is_mapping: bool) -> None:  # noqa: FBT001 - two kinds
        self.is_mapping = self.expects_key = is_mapping
        self.key: str | None = None


def _note(path: list[_Level], scalar: yaml.ScalarEvent | None) -> str | None:
    """Note that a node begins where we are; returns the key if it is one."""
    if not path or not path[-1].is_mapping:
        return None
    level = path[-1]
    level.expects_key = not level.expects_key
    if level.expects_key:  # it was a value
        return None
    level.key = "" if scalar is None else scalar.value
    return level.key


def _check_version(version: object) -> None:
    if version is not None and not str(version).startswith(_VERSION):
        raise _unreadable("its version isn't 3")


def _masked(url: str) -> str:
    """The path of an address; one with variables stays.

    >>> _masked("https://10.0.0.1:8443/v1"), _masked("https://{host}/v1")
    ('/v1', 'https://{host}/v1')
    """
    if "{" in url and "}" in url:
        return url
    if _NOT_IN_URI.search(url) or _BROKEN_ESCAPE.search(url):
        raise _unreadable("the address of a server is none")
    try:
        return unquote(urlsplit(url).path)
    except ValueError as error:
        raise _unreadable("the address of a server is none") from error


def _unreadable(reason: str) -> MalformedInput:
    return MalformedInput(
        f"the OpenAPI document can't be read: {reason}", code=FaultCode.INTERNAL_ERROR
    )
