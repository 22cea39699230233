"""Fetching service descriptions over real sockets: what is followed, and what it may cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from postroad.adapters.http_server import HttpServer, Request, Responder
from postroad.adapters.tls import information_system_context
from postroad.errors import (
    ConfigurationError,
    FaultCode,
    MalformedInput,
    PostroadError,
    RefusedRequest,
    UnavailablePeer,
)
from postroad.messages.wsdl_masking import MAX_DESCRIPTION_BYTES
from postroad.securityserver.descriptions import fetching
from postroad.securityserver.descriptions.fetching import (
    fetch_derived,
    fetch_document,
    refuse_link_local,
)
from postroad.securityserver.descriptions.wsdl_validation import validate_wsdl
from postroad.securityserver.internal_tls import InternalIdentity, ensure_internal_identity
from postroad.securityserver.serverconf.models import DescriptionType

if TYPE_CHECKING:
    from postroad.adapters.http_server import Listener

Handler = Callable[[Request, Responder], Awaitable[None]]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> InternalIdentity:
    home: Path = tmp_path_factory.mktemp("home")
    return ensure_internal_identity(home, datetime(2026, 1, 1, tzinfo=UTC))


def served(
    handler: Handler,
    ask: Callable[[Listener], Awaitable[bytes]],
    *,
    tls: InternalIdentity | None = None,
) -> bytes:
    async def run() -> bytes:
        server = HttpServer(handler)
        context = None
        if tls is not None:
            context = information_system_context(tls.key_pem, tls.chain_pem, [])
        listener = await server.listen("127.0.0.1", 0, tls=context)
        try:
            async with asyncio.timeout(20):
                return await ask(listener)
        finally:
            await server.drain(0.1)

    return asyncio.run(run())


def answering(status: int, body: bytes, *headers: tuple[str, str]) -> Handler:
    async def handle(_request: Request, responder: Responder) -> None:
        await responder.respond(status, headers, body)

    return handle


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_document_is_fetched_from_any_server_that_the_administrator_names(
    identity: InternalIdentity, is_tls: bool
) -> None:
    async def ask(listener: Listener) -> bytes:
        scheme = "https" if is_tls else "http"
        return await fetch_document(f"{scheme}://127.0.0.1:{listener.port}/x?wsdl", identity)

    handler = answering(200, b"document")
    assert served(handler, ask, tls=identity if is_tls else None) == b"document"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://h/x",
        "gopher://h/x",
        "HTTP:",
        "http://user@h/x",
        "http://h/a b",
        "//h/x",
        "",
    ],
)
def test_nothing_but_http_is_fetched(identity: InternalIdentity, url: str) -> None:
    with pytest.raises(ConfigurationError):
        asyncio.run(fetch_document(url, identity))


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://127.0.0.1:1/", "/other"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(identity: InternalIdentity, status: int, location: str) -> None:
    asked: list[str] = []

    async def handle(request: Request, responder: Responder) -> None:
        asked.append(request.target)
        await responder.respond(status, (("Location", location),), b"")

    async def ask(listener: Listener) -> bytes:
        with pytest.raises(UnavailablePeer, match="not followed") as caught:
            await fetch_document(f"http://127.0.0.1:{listener.port}/", identity)
        assert caught.value.code is FaultCode.HTTP_ERROR
        return b""

    served(handle, ask)
    assert asked == ["/"]


def test_a_document_without_end_is_refused(identity: InternalIdentity) -> None:
    async def handle(_request: Request, responder: Responder) -> None:
        await responder.start(200, ())
        for _ in range(2 * MAX_DESCRIPTION_BYTES // 65536):
            await responder.write(b"x" * 65536)
        await responder.finish()

    async def ask(listener: Listener) -> bytes:
        with pytest.raises(MalformedInput):
            await fetch_document(f"http://127.0.0.1:{listener.port}/", identity)
        return b""

    served(handle, ask)


def test_a_document_that_does_not_come_is_given_up(
    identity: InternalIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "FETCH_SECONDS", 0.3)

    async def handle(_request: Request, responder: Responder) -> None:
        await responder.start(200, ())
        await asyncio.sleep(5)

    async def ask(listener: Listener) -> bytes:
        with pytest.raises(UnavailablePeer):
            await fetch_document(f"http://127.0.0.1:{listener.port}/", identity)
        return b""

    served(handle, ask)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:169.254.1.1",
        "224.0.0.1",
        "0.0.0.0",
        "::",
    ],
)
def test_addresses_without_services_are_not_asked(address: str) -> None:
    with pytest.raises(RefusedRequest):
        refuse_link_local(address)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "8.8.8.8", "::1"])
def test_services_of_the_inner_network_are_asked(address: str) -> None:
    refuse_link_local(address)


def test_the_guard_stands_before_the_connection(identity: InternalIdentity) -> None:
    with pytest.raises(PostroadError) as caught:
        asyncio.run(fetch_document("http://169.254.169.254/latest/meta-data/", identity))
    assert caught.value.code is FaultCode.BAD_REQUEST


def test_an_openapi_document_is_relative_to_where_it_was_fetched(
    identity: InternalIdentity,
) -> None:
    document = b"openapi: 3.0.0\ninfo: {title: t, version: '1'}\npaths: {}\n"

    async def ask(listener: Listener) -> bytes:
        url = f"http://127.0.0.1:{listener.port}/a/openapi.yaml"
        derived = await fetch_derived(DescriptionType.OPENAPI3, url, code="pets", identity=identity)
        assert derived.services[0].url == f"http://127.0.0.1:{listener.port}/"
        return b""

    served(answering(200, document), ask)


WSDL = (Path(__file__).parents[1] / "data/reference/descriptions/valid.wsdl").read_bytes()


def judged(identity: InternalIdentity, tmp_path: Path, script: str, *, seconds: float = 20) -> str:
    """The warnings about a WSDL, by a validator that is a shell script."""
    program = tmp_path / "validator"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)

    async def ask(listener: Listener) -> bytes:
        derived = await fetch_derived(
            DescriptionType.WSDL,
            f"http://127.0.0.1:{listener.port}/x?wsdl",
            code="",
            identity=identity,
            validate=partial(validate_wsdl, (str(program), "-q"), seconds=seconds),
        )
        assert derived.services
        return "\n".join(derived.warnings).encode()

    return served(answering(200, WSDL), ask).decode()


def test_what_the_operators_validator_writes_are_warnings(
    identity: InternalIdentity, tmp_path: Path
) -> None:
    told = judged(identity, tmp_path, 'echo "odd: $2"; echo; echo "no style $1" >&2').splitlines()
    assert told[0].startswith("odd: http://127.0.0.1:")
    assert told[0].endswith("/x?wsdl")
    assert told[1:] == ["no style -q"]
    assert not judged(identity, tmp_path, "exit 0")


def test_a_wsdl_that_the_validator_refuses_can_not_be_used(
    identity: InternalIdentity, tmp_path: Path
) -> None:
    with pytest.raises(MalformedInput, match="exit code 3: no binding"):
        judged(identity, tmp_path, "echo no binding; exit 3")


def test_a_validator_that_hangs_or_is_missing_is_told_by_its_key(
    identity: InternalIdentity, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=r"wsdl_validator_command.*took longer"):
        judged(identity, tmp_path, "sleep 60", seconds=0.2)
    missing = validate_wsdl(("/nowhere/validator",), "http://h/x", seconds=5)
    with pytest.raises(ConfigurationError, match=r"wsdl_validator_command.*can't be started"):
        asyncio.run(missing)
    assert asyncio.run(validate_wsdl((), "http://h/x", seconds=5)) == ()
