from __future__ import annotations

import pytest

from postroad.wire.headers import all_values, is_header_name, is_header_value, last_value, without

HEADERS = (("Host", "a"), ("X-Id", "1"), ("x-id", "2"))


def test_drops_headers_in_any_case_and_keeps_order() -> None:
    assert without(HEADERS, {"host"}) == (("X-Id", "1"), ("x-id", "2"))


def test_the_last_header_of_a_name_counts() -> None:
    assert last_value(HEADERS, "X-ID") == "2"
    assert last_value(HEADERS, "none") is None


def test_finds_every_value_in_order() -> None:
    assert all_values(HEADERS, "x-id") == ("1", "2")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n", "é"])
def test_a_header_name_is_a_token(name: str) -> None:
    assert not is_header_name(name)


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "\x00", "\x7f"])
def test_a_header_value_holds_no_control_character(value: str) -> None:
    assert not is_header_value(value)
