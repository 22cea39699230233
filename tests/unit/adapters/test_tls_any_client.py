from __future__ import annotations

import ssl
import sys

import pytest

from postroad.adapters import tls_any_client
from postroad.adapters.tls_any_client import accept_any_client_certificate


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


def test_context_keeps_its_options_and_mode() -> None:
    made = context()
    options = made.options
    assert accept_any_client_certificate(made)
    assert made.options == options
    assert made.verify_mode is ssl.CERT_OPTIONAL


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (sys, "version_info", (3, 99)),
        (sys.modules["_ssl"], "__file__", None),
        (sys.modules["_ssl"], "__file__", "/nonexistent.so"),
        (tls_any_client, "_pointer", lambda _context, _library: None),
    ],
)
def test_says_no_where_openssl_can_not_be_reached_safely(
    owner: object, name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls_any_client._library.cache_clear()
    monkeypatch.setattr(owner, name, value)
    try:
        assert not accept_any_client_certificate(context())
    finally:
        tls_any_client._library.cache_clear()
