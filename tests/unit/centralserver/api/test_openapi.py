"""The OpenAPI document says what the operations do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml
from openapi_spec_validator import validate

from postroad.centralserver.api.openapi import build_document
from postroad.centralserver.api.resources import OPERATIONS

if TYPE_CHECKING:
    from support.management_api import ManagementApi


def document() -> dict[str, Any]:
    built: dict[str, Any] = json.loads(json.dumps(build_document("/api/v1", OPERATIONS)))
    return built


def test_the_document_is_valid() -> None:
    validate(document())


def test_every_operation_is_described() -> None:
    paths = document()["paths"]
    described = {
        (method, path, operation["operationId"])
        for path, methods in paths.items()
        for method, operation in methods.items()
    }
    assert described == {(each.method.lower(), each.path, each.name) for each in OPERATIONS}


def test_everybody_may_read_it(empty: ManagementApi) -> None:
    as_json = empty.client.get("/api/v1/openapi.json")
    as_yaml = empty.client.get("/api/v1/openapi.yaml")
    assert as_json.status_code == as_yaml.status_code == 200
    assert as_json.json() == yaml.safe_load(as_yaml.text) == document()


def test_forms_and_queries_are_described() -> None:
    paths = document()["paths"]
    form = paths["/certification-services"]["post"]["requestBody"]["content"]
    schema = form["multipart/form-data"]["schema"]
    assert schema["required"] == ["certificate"]
    assert "contentMediaType" in schema["properties"]["certificate"]
    query = {parameter["name"] for parameter in paths["/clients"]["get"]["parameters"]}
    assert {"q", "sort", "desc", "limit", "offset", "excluding_group"} <= query


def test_an_unknown_path_and_a_wrong_method_are_told(empty: ManagementApi) -> None:
    assert empty.refusal("GET", "/nothing") == (404, "not_found")
    assert empty.refusal("PUT", "/members") == (405, "method_not_allowed")
