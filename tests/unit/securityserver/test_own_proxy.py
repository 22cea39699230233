"""Where is our own client proxy, and who may answer there?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from postroad.adapters.http_client import FetchedResponse, HttpClient
from postroad.errors import ConfigurationError, MalformedInput, TrustError
from postroad.securityserver.internal_tls import ensure_internal_identity
from postroad.securityserver.own_proxy import OwnProxy, open_own_proxy
from postroad.securityserver.settings import Settings, parse_settings

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def settings(home: Path, proxy: str) -> Settings:
    text = f'[server]\nidentifier = "TEST/GOV/1/SS1"\n[client_proxy]\n{proxy}\n'
    return parse_settings(text, home=home)


class Listener(HttpClient):
    """Stands for whoever listens: a certificate and an answer."""

    def __init__(self, shown: bytes, answer: FetchedResponse) -> None:
        super().__init__()
        self.shown = shown
        self.answer = answer
        self.urls: list[str] = []

    async def fetch(
        self, _method: str, url: str, **given: object
    ) -> FetchedResponse:  # what is used of it
        self.urls.append(url)
        verify = given["verify_peer"]
        assert callable(verify)
        await verify(self.shown, (self.shown,))
        return self.answer


SOAP = FetchedResponse(200, (("Content-Type", "text/xml; charset=UTF-8"),), b"<answer/>")


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "https://127.0.0.1:8443/"), ("::", "https://[::1]:8443/")],
)
def test_the_answer_comes_from_this_machine(tmp_path: Path, host: str, url: str) -> None:
    ours = ensure_internal_identity(tmp_path, NOW).certificate.der
    http = Listener(ours, SOAP)
    proxy = open_own_proxy(settings(tmp_path, f'host = "{host}"'), http)
    assert asyncio.run(proxy.post("text/xml", b"<question/>")) == b"<answer/>"
    assert http.urls == [url]


def test_whoever_shows_another_certificate_hears_nothing(tmp_path: Path) -> None:
    identity = ensure_internal_identity(tmp_path / "ours", NOW)
    stranger = ensure_internal_identity(tmp_path / "theirs", NOW).certificate.der
    proxy = OwnProxy("https://127.0.0.1:8443/", identity, Listener(stranger, SOAP))
    with pytest.raises(TrustError, match="internal certificate"):
        asyncio.run(proxy.post("text/xml", b"<question/>"))


@pytest.mark.parametrize(
    "answer",
    [
        FetchedResponse(500, (("Content-Type", "text/xml"),), b"<x/>"),
        FetchedResponse(200, (("Content-Type", "text/html"),), b"<x/>"),
        FetchedResponse(200, (), b"<x/>"),
    ],
)
def test_what_is_not_soap_is_no_answer(tmp_path: Path, answer: FetchedResponse) -> None:
    identity = ensure_internal_identity(tmp_path, NOW)
    proxy = OwnProxy("https://x/", identity, Listener(identity.certificate.der, answer))
    with pytest.raises(MalformedInput, match="our client proxy answered"):
        asyncio.run(proxy.post("text/xml", b"<question/>"))


def test_without_an_https_port_the_operator_is_told_which_key_to_set(tmp_path: Path) -> None:
    ensure_internal_identity(tmp_path, NOW)
    with pytest.raises(ConfigurationError, match="https_port"):
        open_own_proxy(settings(tmp_path, "https_port = 0"), HttpClient())
