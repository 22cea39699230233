from __future__ import annotations

import json
from pathlib import Path

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.openapi_masking import is_json_document, mask_openapi

VECTORS = Path(__file__).parents[2] / "data" / "reference" / "descriptions"
YAML = """\
# what 10 services say
openapi: 3.0.0
x-url: &u http://stays/1
servers:
  - description: "\U0001f600 ä"
    url: {url}
    variables: {{a: {{url: http://stays/2}}}}
  - url: '' # empty
paths:
  /a:
    servers: [{{url: http://stays/3}}]
    get: {{responses: {{200: {{description: no}}}}}}
"""


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://10.0.0.1:8443/v1", "/v1"),
        ("'https://user:secret@h/v1?a=b#c'", "/v1"),
        ('"https://h"', ""),
        ("&a https://h/x%20y", "/x y"),
        ("/relative", "/relative"),
        ("relative/x", "relative/x"),
        ("//h/v2", "/v2"),
        ("https://{host}:8/v1", "https://{host}:8/v1"),
        (">-\n      http://h/folded", "/folded"),
    ],
)
def test_yaml_keeps_all_but_the_hosts_of_servers(url: str, path: str) -> None:
    masked = mask_openapi(YAML.format(url=url).encode(), is_json=False).decode()
    written = f"&a {json.dumps(path)}" if url.startswith("&a") else json.dumps(path)
    assert masked == YAML.format(url=written).replace("''", '""')


def test_json_keeps_all_but_the_hosts_of_servers() -> None:
    document = {
        "openapi": "3.1.0",
        "servers": [{"url": "https://h/v2", "d": 1.5}, {"url": "https://{a}/"}, {"url": 1}, "x"],
        "paths": {"/ä": {"servers": [{"url": "http://stays"}]}, "big": 2**70},
    }
    expected = json.loads(json.dumps(document))
    expected["servers"][0]["url"] = "/v2"
    masked = mask_openapi(b"\xef\xbb\xbf" + json.dumps(document).encode(), is_json=True)
    assert json.loads(masked) == expected


@pytest.mark.parametrize(
    ("document", "is_json"),
    [
        (b'{"openapi":"2.0"}', True),
        (b"openapi: 2.0.0\n", False),
        (b'{"swagger":"2.0"', True),
        (b"[1]", True),
        (b"[" * 100_000, True),
        (b"[" * 100_000, False),
        (b"a: [", False),
        (b"\xff", False),
        (b'{"a":"\xff"}', True),
        (b'{"openapi":"3.0.0","servers":[{"url":"http://a b"}]}', True),
        (b'{"openapi":"3.0.0","servers":[{"url":"http://a/%zz"}]}', True),
        (b'{"openapi":"3.0.0","servers":[{"url":"http://[::1"}]}', True),
        (b"openapi: 3.0.0\nservers:\n- url: 'http://{a'\n", False),
        # What an alias stands for isn't where the address is looked for.
        (b"x: &a http://h\nservers:\n- url: *a\n", False),
        (b"x: &a [{url: http://h}]\nservers: *a\n", False),
        (b"x: &a {url: http://h}\nservers:\n- *a\n", False),
        (b"x: &a {url: http://h}\nservers:\n- <<: *a\n", False),
        (b"- a\n" * 500_001, False),
        (b" " * (10 * 1024 * 1024 + 1), False),
    ],
)
def test_refuses_what_could_show_a_host_or_is_no_openapi(document: bytes, is_json: bool) -> None:
    with pytest.raises(MalformedInput) as caught:
        mask_openapi(document, is_json=is_json)
    assert caught.value.code is FaultCode.INTERNAL_ERROR


def test_the_references_samples_lose_their_hosts_alone() -> None:
    yaml = (VECTORS / "petstore.yaml").read_bytes()
    masked = mask_openapi(yaml, is_json=False)
    assert masked == yaml.replace(b"http://petstore.swagger.io/v1/cats", b'"/v1/cats"')
    document = (VECTORS / "petstore.json").read_bytes()
    expected = json.loads(document)
    expected["servers"][0]["url"] = "/v2"
    found = json.loads(mask_openapi(document, is_json=True))
    assert found == expected
    assert any("{username}" in server["url"] for server in found["servers"])
    with pytest.raises(MalformedInput):
        mask_openapi((VECTORS / "openapi_incompatible_version.yaml").read_bytes(), is_json=False)


def test_a_second_list_of_servers_is_masked_too() -> None:
    document = b"servers: [{url: http://h/1}]\nservers: [{url: http://h/2}]\n"
    masked = mask_openapi(document, is_json=False)
    assert masked == b'servers: [{url: "/1"}]\nservers: [{url: "/2"}]\n'


def test_many_aliases_cost_nothing() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    document = "\n".join(lines).encode()
    assert mask_openapi(document, is_json=False) == document


@pytest.mark.parametrize(
    ("content_types", "url", "expected"),
    [
        (["application/json"], "http://h/a.yaml", True),
        (["application/vnd.x+json", "application/json;charset=utf-8"], "http://h/a", True),
        (["application/x-yaml"], "http://h/a.json", False),
        (["application/x-yaml; charset=utf-8"], "http://h/a.json", True),
        (["text/plain"], "http://h/a.json?x", True),
        ([], "http://h/a", False),
    ],
)
def test_the_server_tells_the_kind_of_document_and_else_its_name(
    content_types: list[str], url: str, expected: bool
) -> None:
    assert is_json_document(content_types, url) is expected
