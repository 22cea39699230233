"""What do callers of a disabled service get to know?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from postroad.identifiers import SubsystemId
from support.exchange import CLIENT, World
from support.soap_exchange import answer_with, call, message

if TYPE_CHECKING:
    from pathlib import Path

OTHER = SubsystemId("TEST", "COM", "1", "other")


@pytest.mark.parametrize("kind", ["REST", "OPENAPI3", "WSDL"])
@pytest.mark.parametrize("has_right", [True, False])
def test_the_notice_is_told_to_those_who_may_call(
    tmp_path: Path, kind: str, has_right: bool
) -> None:
    async def run() -> bytes:
        async with asyncio.timeout(30), World(tmp_path) as world:
            world.offer(
                type=kind,
                subject=CLIENT if has_right else OTHER,
                disabled=True,
                disabled_notice="until Monday",
            )
            answer_with(world)
            answer = await (call(world, message()) if kind == "WSDL" else world.call())
            assert world.called == []
            return answer.body

    body = asyncio.run(run())
    code = b"service_disabled" if has_right else b"access_denied"
    assert b"server.serverproxy." + code in body
    assert (b"persons is disabled: until Monday" in body) is has_right
