"""Ways to reach ``/secret`` with a right to ``/public/*`` only; the service never hears of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.exchange import TARGET, World


@pytest.mark.parametrize(
    "path",
    [
        "/secret",
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/.%2E/secret",
        "/public/..%2fsecret",
        "/public/%2e%2e%2fsecret",
        "/public/%252e%252e/secret",
        "/public/%25%32%65%25%32%65/secret",
        "/public/..;/secret",
        "/public/..;x=1/secret",
        "/public/;/../secret",
        "/public/%c0%ae%c0%ae/secret",
        "/public/%e0%80%ae%e0%80%ae/secret",
        "/public/..%5csecret",
        "/public/%u002e%u002e/secret",
        "/public/%EF%BC%8E%EF%BC%8E/secret",
        "/public/..%00/secret",
        "/public/a%2f..%2f..%2fsecret",
        "//secret",
        "//host/public/a",
        "/public//a",
        "/./secret",
        "/public/./a",
        "/public/",
        "/publicity/a",
        "/PUBLIC/a",
        "/public/a/b",
        "/public/a%2fb",
        "/public/a%3fb",
        "/public/a%23b",
        "",
        "/",
        "?/public/a",
    ],
)
def test_a_right_to_one_path_opens_no_other(tmp_path: Path, path: str) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            world.offer(endpoint=("GET", "/public/*"))
            answer = await world.call("GET", TARGET + path)
            # The single empty segment below /public/ is what the pattern says: nothing or more.
            if path == "/public/":
                assert answer.status == 200
                return
            assert answer.status == 500
            assert answer.header("X-Road-Error") in {
                "server.serverproxy.access_denied",
                "server.clientproxy.internal_error",  # not even a URL
            }
            assert world.called == []

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/public/a", "/public/caf%C3%A9", "/public/a;b", "/public/~a!$"])
def test_the_path_that_was_judged_is_forwarded_byte_for_byte(tmp_path: Path, path: str) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            world.offer(endpoint=("GET", "/public/*"))
            assert (await world.call("GET", f"{TARGET}{path}?q=%2e%2e")).status == 200
            assert world.called[0][1] == f"/api{path}?q=%2e%2e"

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/../secret", "/%2e%2e/secret", "/..;/secret", "/a//b"])
def test_even_a_right_to_the_whole_service_does_not_lead_out_of_it(
    tmp_path: Path, path: str
) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            answer = await world.call("GET", TARGET + path)
            assert answer.header("X-Road-Error") == "server.serverproxy.access_denied"
            assert world.called == []

    asyncio.run(run())
