"""Service paths with one meaning only, and endpoint patterns."""

from __future__ import annotations

import pytest

from postroad.authorization.paths import (
    MAX_PATH_CHARACTERS,
    Refusal,
    RefusalReason,
    path_matches,
    safe_service_path,
)


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("", ""),
        ("/", "/"),
        ("/pets", "/pets"),
        ("/pets/", "/pets/"),
        ("/pets/7%20a", "/pets/7 a"),
        ("/caf%C3%A9", "/café"),
        ("/100%25", "/100%"),
        ("/100%25/x", "/100%/x"),
        ("/a;v=1/b", "/a;v=1/b"),
        ("/a..b/.well-known", "/a..b/.well-known"),
        ("/a+b@c:d,e=f!$&'()*", "/a+b@c:d,e=f!$&'()*"),
        ("/%41", "/A"),
        ("/%7B%22x%22%7D", '/{"x"}'),
        ("/%F0%9F%90%B6", "/\U0001f436"),
    ],
)
def test_decodes_an_unambiguous_path_exactly_once(raw: str, decoded: str) -> None:
    assert safe_service_path(raw) == decoded


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("/a/../b", RefusalReason.DOT_SEGMENT),
        ("/a/..", RefusalReason.DOT_SEGMENT),
        ("/./a", RefusalReason.DOT_SEGMENT),
        ("/.", RefusalReason.DOT_SEGMENT),
        ("/a/%2e%2e/b", RefusalReason.DOT_SEGMENT),
        ("/a/.%2E/b", RefusalReason.DOT_SEGMENT),
        ("/%2e", RefusalReason.DOT_SEGMENT),
        ("/a/..;x=1/b", RefusalReason.DOT_SEGMENT),
        ("/a/..%3Bx/b", RefusalReason.DOT_SEGMENT),
        ("/a/.;/b", RefusalReason.DOT_SEGMENT),
        ("/a/..%20/b", RefusalReason.DOT_SEGMENT),
        ("/a/.../b", RefusalReason.DOT_SEGMENT),
        ("//a", RefusalReason.EMPTY_SEGMENT),
        ("/a//b", RefusalReason.EMPTY_SEGMENT),
        ("/a//", RefusalReason.EMPTY_SEGMENT),
        ("//", RefusalReason.EMPTY_SEGMENT),
        ("/;x/b", RefusalReason.EMPTY_SEGMENT),
        ("/a/;", RefusalReason.EMPTY_SEGMENT),
        ("/a/%20/b", RefusalReason.EMPTY_SEGMENT),
        ("/a\\b", RefusalReason.BACKSLASH),
        ("/a/..%5cb", RefusalReason.BACKSLASH),
        ("/a%2Fb", RefusalReason.ENCODED_DELIMITER),
        ("/a%2fb", RefusalReason.ENCODED_DELIMITER),
        ("/..%2Fb", RefusalReason.ENCODED_DELIMITER),
        ("/a%3Fb", RefusalReason.ENCODED_DELIMITER),
        ("/a%23b", RefusalReason.ENCODED_DELIMITER),
        ("/a%252e%252e/b", RefusalReason.DOUBLE_ENCODING),
        ("/a%25%32%66b", RefusalReason.DOUBLE_ENCODING),
        ("/a%2525", RefusalReason.DOUBLE_ENCODING),
        ("/a%25u002fb", RefusalReason.DOUBLE_ENCODING),
        ("/a%c0%afb", RefusalReason.INVALID_UTF8),
        ("/a%c0%ae", RefusalReason.INVALID_UTF8),
        ("/a%e0%80%af", RefusalReason.INVALID_UTF8),
        ("/a%ED%A0%80", RefusalReason.INVALID_UTF8),
        ("/a%ff", RefusalReason.INVALID_UTF8),
        ("/a%00", RefusalReason.CONTROL_CHARACTER),
        ("/a%0d%0aX", RefusalReason.CONTROL_CHARACTER),
        ("/a%7f", RefusalReason.CONTROL_CHARACTER),
        ("/a%C2%85", RefusalReason.CONTROL_CHARACTER),
        ("/a%E2%80%A8b", RefusalReason.CONTROL_CHARACTER),
        ("/a%", RefusalReason.INVALID_ESCAPE),
        ("/a%2", RefusalReason.INVALID_ESCAPE),
        ("/a%zz", RefusalReason.INVALID_ESCAPE),
        ("/a%u002f", RefusalReason.INVALID_ESCAPE),
        ("/a b", RefusalReason.ILLEGAL_CHARACTER),
        ("/a?b", RefusalReason.ILLEGAL_CHARACTER),
        ("/a#b", RefusalReason.ILLEGAL_CHARACTER),
        ("/é", RefusalReason.ILLEGAL_CHARACTER),
        ("/a\nb", RefusalReason.ILLEGAL_CHARACTER),
        ("/a\n", RefusalReason.ILLEGAL_CHARACTER),
        ("a/b", RefusalReason.NOT_ABSOLUTE),
        ("%2Fa", RefusalReason.NOT_ABSOLUTE),
        ("/%EF%BC%8F", RefusalReason.LOOKALIKE_DELIMITER),
        ("/a/%EF%BC%8E%EF%BC%8E/b", RefusalReason.LOOKALIKE_DELIMITER),
        ("/a/%E2%80%A5/b", RefusalReason.LOOKALIKE_DELIMITER),
        ("/a%E2%88%95b", RefusalReason.LOOKALIKE_DELIMITER),
        ("/" + "a" * MAX_PATH_CHARACTERS, RefusalReason.TOO_LONG),
    ],
)
def test_refuses_a_path_that_two_servers_could_read_differently(
    raw: str, reason: RefusalReason
) -> None:
    refusal = safe_service_path(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is reason


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**", "", True),
        ("**", "/a/b", True),
        ("/**", "", False),
        ("/**", "/a/b/c", True),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/", True),
        ("/a/*", "/a/b/c", False),
        ("/a/**", "/a/b/c", True),
        ("/a/**", "/a", False),
        ("/a/***", "/a/b/c", True),
        ("/a*b", "/ab", False),
        ("/a*b", "/axb", False),
        ("/a*/b", "/axx/b", True),
        ("/**/b", "/a/b", False),
        (r"/a\*b", "/a*b", True),
        (r"/a\*b", "/axb", False),
        (r"/a\\b", r"/a\b", True),
        (r"/a\x", r"/a\x", True),
        ("/a.b", "/axb", False),
        ("/a{1}", "/a{1}", True),
        ("/(x|y)", "/x", False),
        ("/*", "/a\nb", True),
        ("/**", "/a\nb", True),
        ("/a", "/a\n", False),
        ("/A", "/a", False),
    ],
)
def test_matches_the_pattern_grammar_of_the_reference(
    pattern: str, path: str, expected: bool
) -> None:
    assert path_matches(pattern, path) is expected
