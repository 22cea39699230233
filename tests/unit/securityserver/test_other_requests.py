from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from postroad.securityserver import other_requests
from postroad.securityserver.messagelog.container_requests import Answer
from postroad.securityserver.other_requests import MAX_DOWNLOADS, serve_other

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_downloads_of_containers_are_refused_while_as_many_as_allowed_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        going_on = asyncio.Event()
        statuses: list[int] = []

        async def slow(*_: object, **__: object) -> Answer:
            await going_on.wait()
            return Answer(200, (), b"")

        async def respond(status: int, _headers: object, _body: bytes) -> None:
            statuses.append(status)

        monkeypatch.setattr(other_requests, "handle_asic", slow)
        section = SimpleNamespace(archive_encryption_enabled=False)
        proxy = SimpleNamespace(settings=SimpleNamespace(message_log=section, home_path=tmp_path))
        request = SimpleNamespace(target="/asic?queryId=q", headers=())

        async def ask() -> None:
            await serve_other(
                cast("Any", proxy),
                cast("Any", request),
                cast("Any", SimpleNamespace(respond=respond)),
            )

        async with asyncio.TaskGroup() as tasks:
            for _ in range(MAX_DOWNLOADS):
                tasks.create_task(ask())
            await asyncio.sleep(0)
            await ask()
            assert statuses == [503]
            going_on.set()
        assert statuses == [503] + [200] * MAX_DOWNLOADS
        await ask()
        assert statuses[-1] == 200

    asyncio.run(scenario())
