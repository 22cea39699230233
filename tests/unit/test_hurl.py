"""The runner of Hurl scenarios: what it reads, and that it fails where it should."""

from __future__ import annotations

import httpx
import pytest

from support.hurl import Scenario
from support.hurl_format import HurlSyntaxError, parse
from support.hurl_queries import HurlFailure, check, json_path

FILE = """
# A comment
POST https://{{host}}/a?b=1
X-Header: {{value}}
[FormParams]
name: {{value}}

HTTP 201
[Captures]
id: jsonpath "$.items[0].id"
[Asserts]
jsonpath "$.items" count == 1
jsonpath "$.none" not exists

PUT https://{{host}}/c
{
  "text": "a } in a text", "n": {{id}}
}
HTTP *

POST https://{{host}}/d
Content-Type: text/plain
```
one
{{value}}
```

GET https://{{host}}/e
[Options]
retry: 2
retry-interval: 1ms
HTTP 200
"""


def scenario(*answers: httpx.Response) -> tuple[Scenario, list[httpx.Request]]:
    asked: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return left.pop(0)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    return Scenario(client, {"host": "h", "value": "v"}), asked


def test_entries_are_read() -> None:
    first, second, third, fourth = parse(FILE)
    assert (first.method, first.status, first.form) == ("POST", "201", [("name", "{{value}}")])
    assert first.headers == [("X-Header", "{{value}}")]
    assert (second.is_json, second.status) == (True, "*")
    assert third.body == "one\n{{value}}"
    assert fourth.options == [("retry", "2"), ("retry-interval", "1ms")]


def test_a_scenario_runs() -> None:
    opened, asked = scenario(
        httpx.Response(201, json={"items": [{"id": 7}]}),
        httpx.Response(500),
        httpx.Response(200),
        httpx.Response(503),
        httpx.Response(200),
    )
    steps = [opened.run(entry) for entry in parse(FILE)]
    assert [step.failure for step in steps] == [None] * 4
    assert asked[0].content == b"name=v"
    assert asked[1].headers["content-type"] == "application/json"
    assert b'"n": 7' in asked[1].content
    assert asked[2].content == b"one\nv"
    assert len(asked) == 5


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (200, {"items": [{"id": 7}]}, "201 was expected"),
        (201, {"items": []}, "nothing to capture"),
        (201, {"items": [{"id": 7}, {}]}, "it is 2"),
        (201, {"items": [{"id": 7}], "none": 1}, "it is 1"),
    ],
)
def test_an_answer_that_is_not_expected_fails(status: int, body: object, failure: str) -> None:
    opened, _asked = scenario(httpx.Response(status, json=body))
    step = opened.run(parse(FILE)[0])
    assert step.failure is not None
    assert failure in step.failure


def test_a_variable_without_a_value_fails() -> None:
    opened, asked = scenario()
    step = opened.run(parse("GET https://{{nobody}}/")[0])
    assert step.failure == "the variable nobody has no value"
    assert asked == []


@pytest.mark.parametrize("text", ["FETCH x", "GET x\nHTTP 200\nnonsense", "GET x\n{", "GET x\n```"])
def test_what_is_no_hurl_is_refused(text: str) -> None:
    with pytest.raises(HurlSyntaxError):
        parse(text)


def test_paths_into_documents() -> None:
    text = '{"a": [{"t": "x", "v": 1}, {"t": "y", "v": 2}]}'
    assert json_path(text, "$.a[1].v") == 2
    assert json_path(text, "$.a[*].v") == [1, 2]
    assert json_path(text, "$.a[?(@.t == 'y')].v") == [2]
    assert json_path(text, "$['a'][0]['t']") == "x"


@pytest.mark.parametrize(
    ("line", "holds"),
    [
        ("status == 200", True),
        ("status < 200", False),
        ('body contains "ell"', True),
        ('header "x-a" startsWith "b"', True),
        ('header "x-b" exists', False),
        ('body matches "^h.*o$"', True),
        ('body not contains "ell"', False),
        ('body regex "h(.)l" == "e"', True),
    ],
)
def test_assertions_hold_or_fail(line: str, holds: bool) -> None:
    answer = httpx.Response(200, text="hello", headers={"x-a": "bc"})
    if holds:
        check(line, answer)
    else:
        with pytest.raises(HurlFailure):
            check(line, answer)
