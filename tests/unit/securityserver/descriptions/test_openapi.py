from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.securityserver.descriptions.derived import Derived
from postroad.securityserver.descriptions.openapi import derive_openapi

VECTORS = Path(__file__).parents[3] / "data" / "reference" / "descriptions"
HEAD = "openapi: 3.0.3\ninfo: {title: t, version: '1'}\n"
OK = "{responses: {'200': {description: d}}}"


def derive(document: str | bytes, url: str = "https://h:1/a/b.yaml") -> Derived:
    data = document.encode() if isinstance(document, str) else document
    return derive_openapi(data, code="pets", url=url)


def endpoints(derived: Derived) -> list[str]:
    return [f"{each.method} {each.path}" for each in derived.endpoints]


@pytest.mark.parametrize(
    ("name", "url", "expected"),
    [
        ("valid.yaml", "https://example.org/api", ["GET /test", "POST /test"]),
        ("valid.json", "https://example.org/api", ["GET /test", "POST /test"]),
        (
            "valid_modified.yaml",
            "https://example.org/api",
            ["GET /test", "PATCH /test", "GET /foo"],
        ),
        ("v310.yaml", "https://example.org/api", ["GET /test", "POST /test", "POST /file"]),
        ("v310.json", "https://example.org/api", ["GET /test", "POST /test", "POST /file"]),
    ],
)
def test_derives_what_the_reference_derives(name: str, url: str, expected: list[str]) -> None:
    derived = derive((VECTORS / name).read_bytes())
    assert (derived.services[0].code, derived.services[0].url) == ("pets", url)
    assert endpoints(derived) == expected
    assert derived.warnings == ()


def test_path_variables_become_stars_and_methods_have_their_order() -> None:
    derived = derive((VECTORS / "petstore.json").read_bytes())
    assert derived.services[0].url == "https://petstore.swagger.io/v2"
    assert len(derived.endpoints) == 20
    assert endpoints(derived)[:8] == [
        "PUT /pet",
        "POST /pet",
        "GET /pet/findByStatus",
        "GET /pet/findByTags",
        "GET /pet/*",
        "POST /pet/*",
        "DELETE /pet/*",
        "POST /pet/*/uploadImage",
    ]


def test_a_document_that_breaks_the_specification_is_derived_all_the_same() -> None:
    derived = derive((VECTORS / "warnings.yml").read_bytes())
    assert endpoints(derived) == ["GET /*/*/*/*/listMethods", "GET /*/*/*/*/allowedMethods"]
    assert derived.services[0].url == "https://{securityserver}/r1"
    petstore = derive((VECTORS / "petstore.yaml").read_bytes())
    assert petstore.services[0].url == "http://petstore.swagger.io/v1/cats"


@pytest.mark.parametrize(
    "name",
    [
        "invalid_version.json",
        "invalid_version.yaml",
        "openapi_incompatible_version.yaml",
        "duplicateendpoint.yaml",
        "invalid.wsdl",
    ],
)
def test_refuses_what_the_reference_refuses(name: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        derive((VECTORS / name).read_bytes())
    assert caught.value.code is FaultCode.INVALID_REQUEST


def test_no_openapi_sample_is_left_out() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    samples = [path.name for path in VECTORS.iterdir() if path.suffix != ".wsdl"]
    assert [name for name in samples if f'"{name}"' not in source] == []


@pytest.mark.parametrize(
    ("servers", "url"),
    [
        ("", "https://h:1/"),
        ("servers: []\n", "https://h:1/"),
        ("servers: [{url: ''}]\n", "https://h:1/a/"),
        ("servers: [{}]\n", "https://h:1/a/"),
        ("servers: [{url: v2}, {url: 'http://no'}]\n", "https://h:1/a/v2"),
        ("servers: [{url: /v2}]\n", "https://h:1/v2"),
        ("servers: [{url: //other/v2}]\n", "https://other/v2"),
        ("servers: [{url: 'http://other/v2'}]\n", "http://other/v2"),
        ("servers: [{url: '/{v}'}]\n", "/{v}"),
    ],
)
def test_the_first_server_is_the_service_relative_to_the_document(servers: str, url: str) -> None:
    assert derive(f"{HEAD}{servers}paths: {{}}\n").services[0].url == url


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/a/{b}.{c}/d", "/a/*/d"),
        ("/a/{b}/{c}", "/a/*/*"),
        ("/a/x{b}y", "/a/x*y"),
        ("/{", "/{"),
    ],
)
def test_a_variable_is_a_star_within_its_segment(path: str, pattern: str) -> None:
    derived = derive(f"{HEAD}paths: {{'{path}': {{get: {OK}}}}}\n")
    assert endpoints(derived) == [f"GET {pattern}"]


def test_paths_that_become_one_are_one_endpoint() -> None:
    derived = derive(f"{HEAD}paths: {{'/{{a}}': {{get: {OK}}}, '/{{b}}': {{get: {OK}}}}}\n")
    assert endpoints(derived) == ["GET /*"]


@pytest.mark.parametrize("path", ["a", "/a?b", "//a", "/a/../b", "/\u0007"])
def test_an_endpoint_that_no_call_could_reach_is_left_out_with_a_warning(path: str) -> None:
    document = f'{HEAD}paths: {{"{path}": {{get: {OK}, x-own: 1}}}}\n'.replace("\u0007", "\\a")
    derived = derive(document)
    assert derived.endpoints == ()
    assert any(warning.startswith("left out: ") for warning in derived.warnings)


def test_references_to_elsewhere_are_named() -> None:
    derived = derive(f"{HEAD}paths: {{/a: {{$ref: 'file:///etc/passwd'}}, /b: {{get: {OK}}}}}\n")
    assert endpoints(derived) == ["GET /b"]
    assert derived.warnings == ("not followed: the reference 'file:///etc/passwd'",)


@pytest.mark.parametrize(
    "document",
    [
        "[1]",
        "a",
        "",
        "{",
        "openapi: 3.2.0\n",
        "openapi: 3.1.1\n",
        "openapi: {}\n",
        "info: {}\n",
        "swagger: '2.0'\n",
        f"{HEAD}paths: [1]\n",
        b"\xff",
        b'{"\x80": 1}',
        f"{HEAD}servers: [{{url: 'http://[1'}}]\n",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"openapi":"3.0.0","paths":' + b'{"a":' * 150 + b"1" + b"}" * 151,
    ],
)
def test_refuses_what_is_no_openapi_document(document: str | bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        derive(document)
    assert caught.value.code is FaultCode.INVALID_REQUEST


def test_json_may_have_what_yaml_parsers_stumble_over() -> None:
    document = (
        '{\n\t"openapi": "3.0.1",\n\t"info": {"title": "\\ud83d\\ude00", "version": "1"},'
        '\n\t"paths": {"/a": {"get": {"responses": {"200": {"description": "d"}}}}}\n}'
    )
    assert endpoints(derive(document)) == ["GET /a"]


def test_warnings_are_few_enough_to_be_read() -> None:
    paths = "".join(f"  '/{number}?': {{get: {OK}}}\n" for number in range(100))
    assert len(derive(f"{HEAD}paths:\n{paths}").warnings) == 20


def test_the_service_code_must_be_an_identifier() -> None:
    with pytest.raises(MalformedInput):
        derive_openapi(f"{HEAD}paths: {{}}".encode(), code="a/b", url="http://h")
