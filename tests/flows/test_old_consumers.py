"""A provider's operator may refuse consumers' servers that are too old."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest

from support.exchange import World

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("oldest", "status"), [("7.8.0", 200), ("99.0.0", 500)])
def test_a_server_older_than_wanted_is_refused_before_its_message_is_read(
    tmp_path: Path, oldest: str, status: int
) -> None:
    async def run() -> tuple[int, bytes]:
        world = World(tmp_path)
        settings = world.provider.settings
        section = msgspec.structs.replace(
            settings.server_proxy, min_supported_client_version=oldest
        )
        world.provider.settings = msgspec.structs.replace(settings, server_proxy=section)
        async with asyncio.timeout(30), world:
            world.offer()
            answer = await world.call()
            assert len(world.called) == (1 if status == 200 else 0)
            return answer.status, answer.body

    answered, body = asyncio.run(run())
    assert answered == status
    assert (b"client_proxy_version_not_supported" in body) is (status != 200)
