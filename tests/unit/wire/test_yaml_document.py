from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.wire.yaml_document import MAX_BYTES, MAX_DEPTH, read_yaml


def test_plain_scalars_mean_what_they_mean_in_yaml_1_2() -> None:
    document = b"[null, ~, true, no, off, 1, -0x1, 1.5, .5, 1e3, 2024-01-01, 1:30, 0o7, =, 3.0.0]"
    assert read_yaml(document) == [
        None,
        None,
        True,
        "no",
        "off",
        1,
        "-0x1",
        1.5,
        0.5,
        1000.0,
        "2024-01-01",
        "1:30",
        "0o7",
        "=",
        "3.0.0",
    ]


def test_quoted_scalars_and_keys_are_texts() -> None:
    document = "\ufeff200: '1'\n1.10: \"true\"\nno: |\n  null\n? true\n: x\n".encode()
    assert read_yaml(document) == {"200": "1", "1.10": "true", "no": "null\n", "true": "x"}


def test_tags_and_merge_keys_mean_nothing() -> None:
    document = b"a: &a {x: 1}\nb: {<<: *a, y: !!python/object/apply:os.system [id]}\n"
    assert read_yaml(document) == {"a": {"x": 1}, "b": {"<<": {"x": 1}, "y": ["id"]}}


def test_an_alias_stands_for_what_it_names() -> None:
    assert read_yaml(b"a: &k key\nb: &s [*k]\nc: *s\n*k : 1\n") == {
        "a": "key",
        "b": ["key"],
        "c": ["key"],
        "key": 1,
    }


def test_an_empty_document_is_nothing() -> None:
    assert read_yaml(b"") is None


@pytest.mark.parametrize(
    "document",
    [
        b"a: [",
        b"\xff",
        b"a: 1\n---\nb: 2\n",
        b"a: 1\na: 2\n",
        b"? [1]\n: 2\n",
        b"a: *b\n",
        b"a: &a [*a]\n",
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b"- a\n" * 500_001,
        b"\n".join(
            b"a%d: &a%d [*a%d, *a%d]" % (n, n, n - 1, n - 1) if n else b"a0: &a0 [x, x]"
            for n in range(40)
        ),
        b" " * (MAX_BYTES + 1),
    ],
)
def test_refuses_what_is_not_one_small_document(document: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        read_yaml(document)
    assert caught.value.code is FaultCode.INVALID_REQUEST
