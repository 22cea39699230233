from __future__ import annotations

import msgspec
import pytest

from postroad.errors import MalformedInput
from postroad.wire.json_document import read_json


@pytest.mark.parametrize(
    "document",
    [b'{"a": 1, "a": 1}', b'[{"x": {"b": [], "b": []}}]', b'{"a": 1, "\\u0061": 2}'],
)
def test_a_name_that_stands_twice_is_refused(document: bytes) -> None:
    with pytest.raises(MalformedInput, match="stands twice"):
        read_json(document)


def test_the_same_name_in_two_objects_is_no_second_one() -> None:
    document = b'\xef\xbb\xbf{"a": {"a": 12345678901234567890}, "b": {"a": "x"}}'
    assert read_json(document) == {"a": {"a": 12345678901234567890}, "b": {"a": "x"}}


@pytest.mark.parametrize("document", [b"", b"{", b"NaN", b'{"a": NaN}', b"{} {}", b"'a'"])
def test_what_is_no_json_is_refused(document: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_json(document)


def test_deep_nesting_ends_in_an_error() -> None:
    with pytest.raises((RecursionError, msgspec.DecodeError)):
        read_json(b"[" * 100_000 + b"]" * 100_000)
