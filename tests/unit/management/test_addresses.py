"""Which addresses a security server can have."""

from __future__ import annotations

import pytest

from postroad.management.addresses import is_host_name, is_ip_address, is_server_address

GOOD = [
    "192.0.2.1",
    "2001:db8::1",
    "ss1.example",
    "ülemiste.example",
    "localhost",
    "a" * 63,
    "a.b.",
]
BAD = [
    "",
    " ",
    "ss1 .example",
    "http://ss1",
    "ss1:5500",
    "a" * 64,
    "-a.example",
    "a-.example",
    "a..b",
    ".",
    "[2001:db8::1]",
    "fe80::1%eth0",
    ".".join(["a" * 63] * 5),
    "a_b.example/",
    "a\n",
    "ü" * 60,
]


@pytest.mark.parametrize("address", GOOD)
def test_accepts(address: str) -> None:
    assert is_server_address(address)


@pytest.mark.parametrize("address", BAD)
def test_refuses(address: str) -> None:
    assert not is_server_address(address)


def test_tells_numbers_from_names() -> None:
    assert is_ip_address("192.0.2.1")
    assert not is_ip_address("ss1.example")
    assert is_host_name("ss1.example")
