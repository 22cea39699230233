"""Which endpoints does an OpenAPI document describe, and where is its service?

Everything stays inside the document: what it refers to elsewhere is never fetched. Source: UG-SS
6.1.2; reference: OpenApiParser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import msgspec
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from postroad.authorization.rights import Endpoint, parse_endpoint
from postroad.errors import MalformedInput, PostroadError
from postroad.securityserver.descriptions.derived import (
    MAX_WARNINGS,
    Derived,
    DerivedService,
    check_identifier,
    malformed,
)
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
    What breaks the OpenAPI specification is a warning. Raises ``MalformedInput`` for another
    version than 3.0.x and 3.1.0, and for what is no OpenAPI document at all.
    """
    tree = _read(document)
    version = tree.get("openapi")
    text = version if isinstance(version, str | int | float) else ""
    if not (str(text).startswith("3.0") or text == "3.1.0"):
        raise malformed(f"OpenAPI version {str(text)[:20]!r} isn't supported")
    warnings = _Warnings()
    endpoints = tuple(_endpoints(tree.get("paths"), warnings))
    _validate(tree, warnings, is_31=text == "3.1.0")
    service = DerivedService(
        code=check_identifier("the service code", code), url=_base_url(tree.get("servers"), url)
    )
    return Derived(services=(service,), endpoints=endpoints, warnings=warnings.texts)


class _Warnings:
    """Warnings, up to a number that a person may read."""

    def __init__(self) -> None:
        self.texts: tuple[str, ...] = ()

    @property
    def are_enough(self) -> bool:
        return len(self.texts) >= MAX_WARNINGS

    def add(self, text: str) -> None:
        """One more."""
        if not self.are_enough:
            self.texts += (text.replace("\n", " ")[:300],)


def _read(document: bytes) -> dict[str, object]:
    stripped = document.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        # JSON is YAML, but not for every YAML parser: tabs, escapes of surrogates.
        tree = msgspec.json.decode(stripped) if stripped.startswith(b"{") else read_yaml(document)
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


def _endpoints(paths: object, warnings: _Warnings) -> Iterator[Endpoint]:
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


def _validate(tree: dict[str, object], warnings: _Warnings, *, is_31: bool) -> None:
    local = _without_foreign_references(tree, warnings)
    validator = _Validator31(local) if is_31 else _Validator30(local)
    try:
        for error in validator.iter_errors():
            if _is_unquoted_number(error.validator_value, error.instance):
                continue
            place = "/".join(str(part) for part in error.absolute_path)
            warnings.add(f"{place}: {error.message}" if place else error.message)
            if warnings.are_enough:
                return
    except PostroadError:
        raise
    except Exception as error:  # noqa: BLE001 - the library fails in many ways on what breaks the specification
        warnings.add(f"the document can't be validated: {type(error).__name__}: {error}")


def _is_unquoted_number(wanted: object, found: object) -> bool:
    """A version such as 1.0 that stands without quotes in YAML: everybody reads it as a text."""
    return wanted == "string" and isinstance(found, int | float)


class _Validator30(OpenAPIV30SpecValidator):
    """As the library has it, without access to anything."""

    resolver_handlers = {}  # noqa: RUF012 - the library's form


class _Validator31(OpenAPIV31SpecValidator):
    """As the library has it, without access to anything."""

    resolver_handlers = {}  # noqa: RUF012 - the library's form


def _without_foreign_references(tree: dict[str, object], warnings: _Warnings) -> dict[str, object]:
    """A copy in which every reference stays inside the document."""
    left = MAX_NODES

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
            warnings.add(f"not followed: the reference {reference[:200]!r}")
            return {}
        return {
            key: copied(each, depth + 1)
            for key, each in value.items()
            if key not in _BASES or not isinstance(each, str)
        }

    result = copied(tree, 0)
    return result if isinstance(result, dict) else {}
