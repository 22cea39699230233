from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import pytest

from postroad.errors import MalformedInput
from postroad.securityserver.descriptions import openapi_validation
from postroad.securityserver.descriptions.openapi_validation import find_violations, violations

VECTORS = Path(__file__).parents[3] / "data" / "reference" / "descriptions"
OK = "{responses: {'200': {description: d}}}"


@pytest.mark.parametrize(
    "name",
    ["valid.yaml", "valid.json", "valid_modified.yaml", "v310.yaml", "v310.json", "petstore.json"],
)
def test_nothing_is_said_of_a_good_document(name: str) -> None:
    assert violations((VECTORS / name).read_bytes()) == ()


def test_what_breaks_the_specification_is_said_with_its_place() -> None:
    found = violations((VECTORS / "warnings.yml").read_bytes())
    assert any("instanceId" in violation for violation in found)
    assert violations((VECTORS / "petstore.yaml").read_bytes()) == (
        "servers/1/url: None is not of type 'string'",
        "servers/2/url: None is not of type 'string'",
        "servers/4/url: ['this', 'should', 'be', 'a string'] is not of type 'string'",
    )


def test_violations_are_few_enough_to_be_read() -> None:
    paths = "".join(f"  '/{number}/{{x}}': {{get: {OK}}}\n" for number in range(100))
    document = f"openapi: 3.0.3\ninfo: {{title: t, version: '1'}}\npaths:\n{paths}"
    assert len(violations(document.encode())) == 20


def forbidden(*_: object, **__: object) -> None:
    raise AssertionError("nothing is fetched")


@pytest.mark.parametrize("version", ["3.0.3", "3.1.0"])
@pytest.mark.parametrize(
    "reference",
    ["http://127.0.0.1:1/x.yaml", "file:///etc/passwd", "other.yaml#/a", "https://h/#/a"],
)
def test_nothing_that_the_document_names_is_fetched(
    monkeypatch: pytest.MonkeyPatch, reference: str, version: str
) -> None:
    violations((VECTORS / "petstore.json").read_bytes())  # whatever the library loads once
    monkeypatch.setattr(socket, "create_connection", forbidden)
    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    violations(
        f"openapi: {version}\ninfo: {{title: t, version: '1'}}\n"
        f"paths: {{/a: {{$ref: '{reference}'}}, /b: {{get: {OK}}}}}\n"
        f"components: {{schemas: {{A: {{$id: 'http://127.0.0.1:1/', properties: "
        f"{{a: {{$ref: '{reference}'}}, b: {{$ref: '#/components/schemas/A'}}}}}}}}}}\n".encode()
    )


def test_a_program_of_its_own_says_the_same() -> None:
    document = (VECTORS / "petstore.yaml").read_bytes()
    assert find_violations(document) == violations(document)


def test_a_document_that_would_take_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openapi_validation, "LIMIT_SECONDS", 3)
    names = [f"#/components/schemas/S{number}" for number in range(40)]
    schemas = {
        f"S{number}": {"allOf": [{"$ref": names[number + 1]}] * 2} for number in range(39)
    } | {"S39": {"type": "string"}}
    document = {
        "openapi": "3.0.0",
        "info": {"title": "t", "version": "1"},
        "paths": {},
        "components": {"schemas": schemas},
    }
    (found,) = find_violations(json.dumps(document).encode())
    assert "too intertwined" in found


def test_a_document_that_is_none_is_told_by_the_program() -> None:
    assert "isn't supported" in find_violations(b"openapi: 2.0.0")[0]
    with pytest.raises(MalformedInput):
        violations(b"openapi: 2.0.0")
