from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from postroad.securityserver.messagelog import housekeeping as rules
from postroad.securityserver.messagelog.housekeeping import Housekeeping
from postroad.securityserver.messagelog.intake import LogWriter, WriterRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.stop_rule import STATE_NAME
from postroad.securityserver.messagelog.store import LogStore
from support.central_server import MovingClock
from support.messagelog import NOW, WORKING, eventually, record, submit


@dataclass
class Open:
    writer: LogWriter
    housekeeping: Housekeeping
    path: Path
    spool: Path


@contextlib.asynccontextmanager
async def opened(home: Path) -> AsyncIterator[Open]:
    path = home / "messagelog.sqlite"
    url = f"sqlite:///{path}"
    clock = MovingClock(NOW)
    writer = LogWriter(LogStore(open_database(url)), home / "spool", WriterRules(), clock)
    await writer.set_state(STATE_NAME, WORKING.encode())
    housekeeping = Housekeeping(writer, url, home / "spool", clock)
    try:
        yield Open(writer, housekeeping, path, home / "spool")
    finally:
        await writer.close()
        housekeeping.close()


def test_tells_the_writer_what_waits_for_a_stamp(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            await submit(log.writer, record(created_at=NOW))
            await log.housekeeping.look()
            assert log.writer.status(0).oldest_pending == NOW

    asyncio.run(scenario())


def test_checkpoints_only_after_commits(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            await log.housekeeping.checkpoint()
            assert log.housekeeping.log_bytes == 0
            await submit(log.writer, record())
            await log.housekeeping.checkpoint()  # the first one opens its connection
            await submit(log.writer, record())
            assert log.writer.uncheckpointed > 0
            await log.housekeeping.checkpoint()
            assert log.housekeeping.log_bytes > 0
            assert log.writer.uncheckpointed == 0

    asyncio.run(scenario())


def test_a_log_that_never_gets_empty_is_emptied_between_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "LONGEST_LOG", 1)

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            asked = []
            real = LogStore.checkpoint
            monkeypatch.setattr(LogStore, "checkpoint", lambda s: asked.append(1) or real(s))
            for _ in range(2):
                await submit(log.writer, record())
                await log.housekeeping.checkpoint()
            assert asked

    asyncio.run(scenario())


def test_removes_orphan_spool_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as log:
            log.spool.mkdir()
            for name, age in (("old", 3601), ("young", 3599)):
                (log.spool / name).write_bytes(b"x")
                written = NOW.timestamp() - age
                os.utime(log.spool / name, (written, written))
            await log.housekeeping.clean_spool()
            assert [path.name for path in log.spool.iterdir()] == ["young"]

    asyncio.run(scenario())


def test_works_until_stopped_and_says_trouble_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "TICK_S", 0.001)
    monkeypatch.setattr(rules, "LOOK_S", 0.0)

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            said: list[str] = []

            class Listener:
                def warning(self, event: str, **facts: object) -> None:
                    said.append(f"{event}: {facts['what']}")

            log.housekeeping._log = Listener()
            stop = asyncio.Event()
            running = asyncio.ensure_future(log.housekeeping.run(stop))
            await submit(log.writer, record())
            await eventually(lambda: log.writer.status(0).oldest_pending)
            away = log.path.rename(tmp_path / "elsewhere")
            await eventually(lambda: said)
            await asyncio.sleep(0.02)
            away.rename(log.path)
            await eventually(lambda: not log.housekeeping._trouble)
            stop.set()
            await running
            assert "message log housekeeping failed: look" in said
            assert len(said) == len(set(said))

    asyncio.run(scenario())


def test_looks_again_soon_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "TICK_S", 0.001)

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            stop = asyncio.Event()
            running = asyncio.ensure_future(log.housekeeping.run(stop))
            await asyncio.sleep(0.02)
            await submit(log.writer, record())
            assert log.writer.status(0).oldest_pending is None
            log.housekeeping.look_soon()
            await eventually(lambda: log.writer.status(0).oldest_pending)
            stop.set()
            await running

    asyncio.run(scenario())


def test_message_ids_are_listed_in_small_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "TICK_S", 0.001)
    monkeypatch.setattr(rules, "LIST_AFTER", 5)
    monkeypatch.setattr(rules, "LIST_STEP", 2)

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            stop = asyncio.Event()
            running = asyncio.ensure_future(log.housekeeping.run(stop))
            for _ in range(4):
                await submit(log.writer, record())
            await asyncio.sleep(0.02)
            assert log.writer.unlisted == 4
            await submit(log.writer, record())
            await eventually(lambda: not log.writer.unlisted)
            await submit(log.writer, record())
            await log.housekeeping.list_queries()
            assert log.writer.unlisted == 0
            stop.set()
            await running

    asyncio.run(scenario())


def test_even_a_few_message_ids_are_listed_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "TICK_S", 0.001)
    monkeypatch.setattr(rules, "LIST_S", 0.02)

    async def scenario() -> None:
        async with opened(tmp_path) as log:
            stop = asyncio.Event()
            running = asyncio.ensure_future(log.housekeeping.run(stop))
            await submit(log.writer, record())
            await eventually(lambda: not log.writer.unlisted)
            stop.set()
            await running

    asyncio.run(scenario())
