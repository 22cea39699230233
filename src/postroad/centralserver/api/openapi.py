"""Which document describes the management interface to programs?

OpenAPI 3.1, made from the same tables of operations and the same types that requests are read with,
so it can't say anything else than what happens.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml
from starlette.responses import Response
from starlette.routing import Route

from postroad import __version__
from postroad.centralserver.api.operations import Download, Upload
from postroad.centralserver.api.refusals import ErrorInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from postroad.centralserver.api.operations import Operation

_REFERENCE: Final = "#/components/schemas/{name}"
_NUMBERS: Final = frozenset(
    {
        "certification_service_id",
        "certificate_id",
        "intermediate_ca_id",
        "key_id",
        "management_request_id",
        "ocsp_responder_id",
        "timestamping_service_id",
        "version",
    }
)
"""Path parameters that are numbers."""


def document_routes(prefix: str, operations: Sequence[Operation]) -> list[Route]:
    """Where the document is: the reference has it in YAML, for everybody."""

    @cache
    def document() -> dict[str, Any]:
        return build_document(prefix, operations)

    async def as_json(_request: Request) -> Response:
        return Response(msgspec.json.encode(document()), media_type="application/json")

    async def as_yaml(_request: Request) -> Response:
        text = yaml.safe_dump(document(), sort_keys=False, allow_unicode=True)
        return Response(text, media_type="application/x-yaml")

    return [
        Route(f"{prefix}/openapi.json", as_json, methods=["GET"]),
        Route(f"{prefix}/openapi.yaml", as_yaml, methods=["GET"]),
    ]


def build_document(prefix: str, operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    types = [ErrorInfo]
    for each in operations:
        types += [kind for kind in (each.body, each.query, each.answer) if _is_described(kind)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    described = dict(zip(map(_key, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(
            each, described, components
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Central Server management interface",
            "version": __version__,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": prefix}],
        "security": [{"ApiKeyAuth": []}, {"SessionAuth": [], "XsrfToken": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "ApiKeyAuth": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "X-Road-ApiKey token=<api key>",
                },
                "SessionAuth": {"type": "apiKey", "in": "cookie", "name": "JSESSIONID"},
                "XsrfToken": {"type": "apiKey", "in": "header", "name": "X-XSRF-TOKEN"},
                "PasswordAuth": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _operation(
    each: Operation, described: dict[str, Any], components: dict[str, Any]
) -> dict[str, Any]:
    needs = ", ".join(sorted(each.needs)) or "any caller"
    described_as: dict[str, Any] = {
        "operationId": each.name,
        "tags": [each.path.split("/")[1]],
        "description": f"Needs: {needs}.",
        "parameters": [*_path_parameters(each), *_query_parameters(each, described, components)],
        "responses": _responses(each, described),
    }
    if each.body is not None:
        content = {"application/json": {"schema": described[_key(each.body)]}}
        described_as["requestBody"] = {"required": True, "content": content}
    if each.form is not None:
        content = {"multipart/form-data": {"schema": _form_schema(each.form)}}
        described_as["requestBody"] = {"required": True, "content": content}
    if each.keys_only_by_password:
        described_as["security"] = [{"PasswordAuth": []}, {"SessionAuth": [], "XsrfToken": []}]
    return described_as


def _path_parameters(each: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer" if name in _NUMBERS else "string"},
        }
        for name in re.findall(r"\{(\w+)\}", each.path)
    ]


def _query_parameters(
    each: Operation, described: dict[str, Any], components: dict[str, Any]
) -> list[dict[str, Any]]:
    if each.query is None:
        return []
    name = described[_key(each.query)]["$ref"].rpartition("/")[2]
    properties: dict[str, Any] = components[name]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in properties.items()
    ]


def _responses(each: Operation, described: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "done"}
    if each.answer is Download:
        binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
        answer["content"] = {"application/octet-stream": binary}
    elif each.answer is not None:
        answer["content"] = {"application/json": {"schema": described[_key(each.answer)]}}
    refused = {"application/json": {"schema": {"$ref": _REFERENCE.format(name="ErrorInfo")}}}
    responses = {str(status): answer for status in (each.status, *each.other_statuses)}
    for status, why in (
        (400, "the request was invalid"),
        (401, "nobody knows who asks"),
        (403, "who asks may not"),
        (404, "there is no such thing"),
        (409, "it is in the way of what there is"),
        (429, "too many requests"),
        (500, "an error of this server"),
    ):
        responses[str(status)] = {"description": why, "content": refused}
    return responses


def _form_schema(form: Any) -> dict[str, Any]:
    """The schema of a form: files are binary, and everything else is text."""
    properties: dict[str, Any] = {}
    required = []
    for each in msgspec.structs.fields(form):
        is_file = each.type is Upload or Upload in getattr(each.type, "__args__", ())
        content = {"contentMediaType": "application/octet-stream"} if is_file else {}
        properties[each.name] = {"type": "string", **content}
        if each.required:
            required.append(each.name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    return {**schema, "required": required} if required else schema


def _is_described(kind: Any) -> bool:
    return kind is not None and kind is not Download


def _key(kind: Any) -> str:
    return repr(kind)
