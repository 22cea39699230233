"""How do a request's bytes become the types that an operation declares, and what is refused?

Bodies are read to a bound, texts are trimmed (reference ``StringDeserializerModifier``), unknown
fields are passed over, as its clients are used to; a wrong type is never guessed into a right one.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from postroad.centralserver.api.operations import JSON_BYTES, UPLOAD_BYTES, Operation, Upload
from postroad.centralserver.api.refusals import ApiRefusal, validation_failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Message

BODY_SECONDS: Final = 30.0
_MAX_FIELDS: Final = 20
_MAX_FILES: Final = 2
_MAX_DEPTH: Final = 8
_LIST_FIELDS: Final = frozenset({"types"})


async def read_body(request: Request, operation: Operation) -> Any:
    """The payload of a request, as the operation's type; None when it declares none."""
    if operation.body is not None:
        _require_type(request, "application/json")
        data = await read_limited(request, JSON_BYTES)
        return _convert(_decode_json(data), operation.body, strict=True)
    if operation.form is not None:
        _require_type(request, "multipart/form-data")
        data = await read_limited(request, UPLOAD_BYTES)
        return _convert(await read_form(request, data), operation.form, strict=False)
    await read_limited(request, JSON_BYTES)
    return None


async def read_limited(request: Request, limit: int) -> bytes:
    """The body, refused as soon as it is longer than ``limit`` or comes too slowly."""
    declared = request.headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit() or len(declared) > 15:
        raise ApiRefusal(400, "invalid_content_length")
    if int(declared) > limit:
        raise ApiRefusal(413, "request_too_large")
    chunks, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise ApiRefusal(413, "request_too_large")
                chunks.append(chunk)
    except TimeoutError:
        raise ApiRefusal(408, "request_too_slow") from None
    return b"".join(chunks)


async def read_form(request: Request, data: bytes) -> dict[str, str | Upload]:
    """The fields of a form whose body was read already; refused when one comes twice."""

    async def replay() -> Message:
        return {"type": "http.request", "body": data, "more_body": False}

    fields: dict[str, str | Upload] = {}
    try:
        async with Request(request.scope, replay).form(
            max_files=_MAX_FILES, max_fields=_MAX_FIELDS, max_part_size=JSON_BYTES
        ) as form:
            for name, value in form.multi_items():
                if name in fields:
                    raise validation_failure(name[:64], "the field comes twice")
                if isinstance(value, str):
                    fields[name] = _trimmed(value)
                else:
                    fields[name] = Upload((value.filename or "")[:255], await value.read())
    except (HTTPException, MultiPartException, KeyError) as error:
        raise validation_failure("form", "not a readable form") from error
    return fields


def read_query(request: Request, operation: Operation) -> Any:
    """The query parameters as the operation's type; empty ones count as not given.

    Names may be in camel case too: the reference binds them so.
    """
    if operation.query is None:
        return None
    values: dict[str, str | list[str]] = {}
    for name, value in request.query_params.multi_items():
        key = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name[:64]).lower()
        text = _trimmed(value)
        if not text:
            continue
        if key in _LIST_FIELDS:
            before = values.get(key)
            values[key] = [*(before if isinstance(before, list) else []), *text.split(",")]
        else:
            values[key] = text
    return _convert(values, operation.query, strict=False)


def read_path(parameters: Mapping[str, str]) -> Mapping[str, str]:
    """The path parameters; a control character in one is no part of any identifier."""
    for name, value in parameters.items():
        if any(character < " " or character == "\x7f" for character in value):
            raise validation_failure(name, "holds a control character")
    return parameters


def _require_type(request: Request, wanted: str) -> None:
    shown = request.headers.getlist("content-type")
    if len(shown) != 1 or shown[0].partition(";")[0].strip().lower() != wanted:
        raise ApiRefusal(415, "invalid_content_type", (wanted,))


def _decode_json(data: bytes) -> Any:
    try:
        return _cleaned(msgspec.json.decode(data), 0)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise validation_failure("body", "not JSON") from error


def _cleaned(value: Any, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise validation_failure("body", "nested too deeply")
    match value:
        case str():
            return _trimmed(value)
        case list():
            return [_cleaned(item, depth + 1) for item in value]
        case dict():
            return {key: _cleaned(item, depth + 1) for key, item in value.items()}
        case _:
            return value


def _trimmed(text: str) -> str:
    if "\0" in text:
        raise validation_failure("body", "holds a NUL character")  # no database keeps one
    return text.strip()


def _convert(value: Any, wanted: Any, *, strict: bool) -> Any:
    try:
        return msgspec.convert(value, wanted, strict=strict)
    except msgspec.ValidationError as error:
        message, _separator, where = str(error).partition(" - at `$")
        raise validation_failure(where.strip("`.") or "body", message) from error
