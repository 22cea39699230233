"""What do the queries, filters and predicates of a Hurl file mean for an answer?"""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|/((?:[^/\\]|\\.)*)/|(\S+)')
_STEP = re.compile(
    r"\.(\w+)|\[(\d+)\]|\[\*\]|\['([^']*)'\]|\[\?\(@\.([\w.]+)\s*==\s*(?:'([^']*)'|([\w.]+))\)\]"
)
_FILTERS = {"count": 0, "nth": 1, "first": 0, "last": 0, "toString": 0, "regex": 1, "trim": 0}
MISSING = object()


class HurlFailure(Exception):
    """An answer that isn't what the file expects; the message says why."""


def words_of(line: str) -> list[str]:
    """The words of a query or predicate; quotes and slashes keep blanks together."""
    words = []
    for found in _WORD.finditer(line):
        quoted = found[1] if found[1] is not None else found[2]
        words.append(found[3] if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return words


def evaluate(words: list[str], answer: httpx.Response) -> tuple[Any, list[str]]:
    """The value of a query with its filters, and the words behind them."""
    kind, rest = words[0], words[1:]
    value: Any
    match kind:
        case "status":
            value = answer.status_code
        case "body":
            value = answer.text
        case "header":
            value, rest = answer.headers.get(rest[0], MISSING), rest[1:]
        case "cookie":
            value, rest = answer.cookies.get(rest[0], MISSING), rest[1:]
        case "jsonpath":
            value, rest = json_path(answer.text, rest[0]), rest[1:]
        case "regex":
            found = re.search(rest[0], answer.text)
            value, rest = (found[1] if found else MISSING), rest[1:]
        case _:
            raise HurlFailure(f"no such query: {kind}")
    while rest and rest[0] in _FILTERS:
        taken = _FILTERS[rest[0]]
        value = _filtered(rest[0], rest[1 : 1 + taken], value)
        rest = rest[1 + taken :]
    return value, rest


def json_path(text: str, path: str) -> Any:
    """What a JSONPath finds in a document; a filter or a star finds a list."""
    try:
        found = [json.loads(text)]
    except ValueError as error:
        raise HurlFailure(f"the answer is not JSON: {text[:200]}") from error
    position, is_list = 1, False
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise HurlFailure(f"no such JSONPath: {path}")
        is_list = is_list or step[0] == "[*]" or step[4] is not None
        found = [inner for value in found for inner in _stepped(step, value)]
        position = step.end()
    if is_list:
        return found
    return found[0] if found else MISSING


def _stepped(step: re.Match[str], value: Any) -> list[Any]:
    name = step[1] if step[1] is not None else step[3]
    if name is not None:
        return [value[name]] if isinstance(value, dict) and name in value else []
    if not isinstance(value, list):
        return []
    if step[2] is not None:
        return value[int(step[2]) : int(step[2]) + 1]
    if step[4] is None:
        return value
    wanted = step[5] if step[5] is not None else json.loads(step[6])
    return [item for item in value if isinstance(item, dict) and item.get(step[4]) == wanted]


def _filtered(name: str, arguments: list[str], value: Any) -> Any:  # noqa: PLR0911 - a table of words
    if value is MISSING:
        return MISSING
    match name:
        case "count":
            return len(value)
        case "nth":
            number = int(arguments[0])
            return value[number] if number < len(value) else MISSING
        case "first":
            return value[0] if value else MISSING
        case "last":
            return value[-1] if value else MISSING
        case "regex":
            found = re.search(arguments[0], value)
            return found[1] if found else MISSING
        case "trim":
            return value.strip()
        case _:
            return str(value)


def check(line: str, answer: httpx.Response) -> None:
    """Raise ``HurlFailure`` when an assertion doesn't hold."""
    value, rest = evaluate(words_of(line), answer)
    negated = rest[:1] == ["not"]
    predicate, *arguments = rest[1:] if negated else rest
    if _holds(predicate, value, arguments) == negated:
        shown = "nothing" if value is MISSING else repr(value)
        raise HurlFailure(f"{line}: it is {shown}")


def _holds(predicate: str, value: Any, arguments: list[str]) -> bool:  # noqa: C901, PLR0911 - a table of words
    if predicate == "exists":
        return value is not MISSING
    if value is MISSING:
        return False
    wanted = arguments[0] if arguments else ""
    match predicate:
        case "==" | "equals":
            return bool(_written(value) == wanted)
        case "!=" | "notEquals":
            return bool(_written(value) != wanted)
        case ">" | ">=" | "<" | "<=":
            number = float(wanted)
            return {
                ">": value > number,
                ">=": value >= number,
                "<": value < number,
                "<=": value <= number,
            }[predicate]
        case "contains" | "includes":
            return wanted in value
        case "startsWith":
            return bool(value.startswith(wanted))
        case "endsWith":
            return bool(value.endswith(wanted))
        case "matches":
            return re.search(wanted, value) is not None
        case "isEmpty":
            return len(value) == 0
        case "isString":
            return isinstance(value, str)
        case _:
            raise HurlFailure(f"no such predicate: {predicate}")


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
