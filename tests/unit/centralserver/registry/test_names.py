"""Which codes, names and addresses are accepted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy.orm import Session

from postroad.centralserver.registry.change import Change
from postroad.centralserver.registry.names import (
    check_address,
    check_code,
    check_name,
    check_node_address,
    check_url,
    host_of,
)
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from support.central_server import NOW


@pytest.fixture
def change() -> Change:
    return Change(Session(), "tester", NOW)


def test_the_strict_characters_are_accepted(change: Change) -> None:
    code = "azAZ09'()+,-.=?"
    assert check_code(change, "code", code) == code


@pytest.mark.parametrize(
    "code", ["a b", "ä", "a_b", "a/b", "a:b", "a\n", "", " a", "a ", "x" * 256]
)
def test_strict_checks_refuse_everything_else(change: Change, code: str) -> None:
    with pytest.raises(RegistryRefusal) as refused:
        check_code(change, "code", code)
    assert refused.value.problem is Problem.INVALID_IDENTIFIER


@pytest.mark.parametrize("code", ["a b", "ä", "a_b", "a&b", "用户"])
def test_legacy_checks_accept_most_characters(change: Change, code: str) -> None:
    assert check_code(replace(change, strict_identifiers=False), "code", code) == code


@pytest.mark.parametrize(
    "code", [*(f"a{c}b" for c in ":;%/\\\ufeff\u200b\x00\x1f\x7f\x85"), "", "x" * 256, "a\n"]
)
def test_legacy_checks_refuse_separators_and_controls(change: Change, code: str) -> None:
    with pytest.raises(RegistryRefusal):
        check_code(replace(change, strict_identifiers=False), "code", code)


def test_names_are_trimmed() -> None:
    assert check_name("name", "  Ministry of Ä ") == "Ministry of Ä"


@pytest.mark.parametrize("name", ["", "  ", "x" * 256, "two\nlines", "nul\x00"])
def test_names_are_one_line_of_bounded_length(name: str) -> None:
    with pytest.raises(RegistryRefusal):
        check_name("name", name)


@pytest.mark.parametrize(
    "address", ["ss1", "ss1.example.org", "192.0.2.1", "2001:db8::1", "jõgeva.ee", "a" * 63 + ".ee"]
)
def test_host_names_and_ip_addresses_are_addresses(address: str) -> None:
    assert check_address(f" {address} ") == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a b",
        "-a.ee",
        "a-.ee",
        "http://a.ee",
        "a.ee/x",
        "a..ee",
        "a" * 64 + ".ee",
        "a.ee:80",
        "user@a.ee",
        ".",
        "a" * 300,
    ],
)
def test_anything_else_is_no_address(address: str) -> None:
    with pytest.raises(RegistryRefusal):
        check_address(address)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("cs.example", "cs.example"),
        ("cs.example:8080", "cs.example"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]:8080", "[::1]"),
        ("::1", "::1"),
    ],
)
def test_a_node_address_may_have_a_port(address: str, host: str) -> None:
    assert check_node_address(address) == address
    assert host_of(address) == host


@pytest.mark.parametrize("address", ["a.ee:0", "a.ee:65536", "a.ee:x", "a.ee:", "[::1]:", ":80"])
def test_a_node_address_has_a_usable_port(address: str) -> None:
    with pytest.raises(RegistryRefusal):
        check_node_address(address)


def test_http_addresses_are_accepted() -> None:
    assert check_url("url", " https://ca.example:8443/ocsp?x ") == "https://ca.example:8443/ocsp?x"


@pytest.mark.parametrize(
    "url",
    ["", "ca.example", "ftp://a", "http://", "http:///x", "http://a b", "http://" + "a" * 300],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(RegistryRefusal):
        check_url("url", url)
