"""Which endpoints does an OpenAPI document describe, and where is its service?

Everything stays inside the document: what it refers to elsewhere is never fetched. Whether it keeps
the OpenAPI specification is asked elsewhere (`openapi_validation`). Source: UG-SS 6.1.2; reference:
OpenApiParser.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import msgspec

from postroad.authorization.rights import Endpoint, parse_endpoint
from postroad.errors import MalformedInput
from postroad.securityserver.descriptions.derived import (
    Derived,
    DerivedService,
    Warnings,
    check_identifier,
    malformed,
)
from postroad.wire.json_document import read_json
from postroad.wire.yaml_document import MAX_DEPTH, MAX_NODES, read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator


_METHODS: Final = ("get", "put", "head", "post", "delete", "patch", "options", "trace")
"""In the order in which the reference lists them."""
_VARIABLE = re.compile(r"\{[^/]*\}")
_BASES: Final = frozenset({"$id", "$schema", "$anchor", "$dynamicAnchor", "$dynamicRef"})
"""Words by which a schema changes what its references are relative to, or its own dialect."""


def derive_openapi(document: bytes, *, code: str, url: str) -> Derived:
    """The service and its endpoints; ``url`` is where the document came from.

    The address of the service is the first of ``servers``, relative to ``url``; path variables
    become ``*``. An address with variables stays as it is, which is no address that can be called.
    Endpoints that nobody could call are left out with a warning. Raises as ``read_openapi``.
    """
    read = read_openapi(document)
    warnings = Warnings()
    endpoints = tuple(_endpoints(read.tree.get("paths"), warnings))
    for reference in read.foreign_references:
        warnings.add(f"not followed: the reference {reference!r}")
    service = DerivedService(
        code=check_identifier("the service code", code),
        url=_base_url(read.tree.get("servers"), url),
    )
    return Derived(services=(service,), endpoints=endpoints, warnings=warnings.texts)


@dataclass(frozen=True, slots=True)
class OpenApi:
    """An OpenAPI document as plain values."""

    tree: dict[str, object]
    local: dict[str, object]
    """The same with every reference to elsewhere replaced by nothing."""
    foreign_references: tuple[str, ...]
    is_31: bool
    """Whether its version is 3.1.0; otherwise it is 3.0.x."""


def read_openapi(document: bytes) -> OpenApi:
    """Read a document in YAML or JSON.

    Raises ``MalformedInput`` for another version than 3.0.x and 3.1.0, for what is no OpenAPI
    document at all, and for one that is too large or too deep.
    """
    tree = _read(document)
    version = tree.get("openapi")
    text = version if isinstance(version, str | int | float) else ""
    if not (str(text).startswith("3.0") or text == "3.1.0"):
        raise malformed(f"OpenAPI version {str(text)[:20]!r} isn't supported")
    local, foreign = _without_foreign_references(tree)
    return OpenApi(tree, local, foreign, text == "3.1.0")


def _read(document: bytes) -> dict[str, object]:
    stripped = document.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        # JSON is YAML, but not for every YAML parser: tabs, escapes of surrogates.
        tree = read_json(stripped) if stripped.startswith(b"{") else read_yaml(document)
    except RecursionError as error:
        raise malformed("the document is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        tree = read_yaml(document)
    if not isinstance(tree, dict):
        raise malformed("the document is no OpenAPI: it is not a mapping")
    return tree


def _base_url(servers: object, url: str) -> str:
    first = servers[0] if isinstance(servers, list) and servers else {"url": "/"}
    base = first.get("url") if isinstance(first, dict) else None
    if not isinstance(base, str):
        base = ""
    if "{" in base:
        return base
    # The reference resolves an empty address to the directory of the document.
    try:
        return urljoin(url, base or ".")
    except ValueError as error:
        raise malformed(f"the service's address {base[:200]!r} is none") from error


def _endpoints(paths: object, warnings: Warnings) -> Iterator[Endpoint]:
    if paths is None:
        return
    if not isinstance(paths, dict):
        raise malformed("the paths are not a mapping")
    seen: set[Endpoint] = set()
    for path, item in paths.items():
        for method in _METHODS:
            if not isinstance(item, dict) or item.get(method) is None:
                continue
            pattern = _VARIABLE.sub("*", str(path))
            try:
                endpoint = parse_endpoint(method.upper(), pattern)
            except MalformedInput as error:
                warnings.add(f"left out: {error.message}")
                continue
            if endpoint not in seen:
                seen.add(endpoint)
                yield endpoint


def _without_foreign_references(
    tree: dict[str, object],
) -> tuple[dict[str, object], tuple[str, ...]]:
    """A copy in which every reference stays inside the document."""
    left = MAX_NODES
    foreign: list[str] = []

    def copied(value: object, depth: int) -> object:
        nonlocal left
        left -= 1
        if left < 0 or depth > MAX_DEPTH:
            raise malformed("the document has too many or too deeply nested entries")
        if isinstance(value, list):
            return [copied(each, depth + 1) for each in value]
        if not isinstance(value, dict):
            return value
        reference = value.get("$ref")
        if isinstance(reference, str) and not reference.startswith("#"):
            foreign.append(reference[:200])
            return {}
        return {
            key: copied(each, depth + 1)
            for key, each in value.items()
            if key not in _BASES or not isinstance(each, str)
        }

    result = copied(tree, 0)
    return (result if isinstance(result, dict) else {}), tuple(foreign)
