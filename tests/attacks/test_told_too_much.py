"""What a fault must not tell: where the provider's systems are, and what a sender made up."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.exchange import TARGET, World


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is taken, so that no other test gets it, and on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield int(sock.getsockname()[1])


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/internal-path",
        "https://127.0.0.1:{port}/internal-path",
        "http://internal-name.invalid/internal-path",
        "ftp://127.0.0.1:{port}/internal-path",
    ],
)
def test_a_failing_call_does_not_show_the_services_address(
    tmp_path: Path, url: str, port: int
) -> None:

    async def run() -> None:
        async with World(tmp_path) as world:
            world.offer(url=url.format(port=port))
            answer = await world.call("GET")
            assert answer.status == 500
            report = world.provider.reports[-1]
            for inner in (str(port), "internal", "127.0.0.1"):
                assert inner not in answer.body.decode()
            # The provider's own administrator still learns why.
            assert "127.0.0.1" in report.message or "internal-name" in report.message

    asyncio.run(run())


def test_a_fault_repeats_little_of_what_a_sender_made_up(tmp_path: Path) -> None:
    async def run() -> None:
        async with World(tmp_path) as world:
            for value in ("x" * 20_000, f"TEST/GOV/2/{'[' * 20_000}"):
                answer = await world.call("GET", TARGET, (("X-Road-Security-Server", value),))
                assert answer.status == 500
                assert len(answer.body) < 1000

    asyncio.run(run())
