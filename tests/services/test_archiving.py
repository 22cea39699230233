"""A real log writer, and archivers that are real processes, killed while they work."""

from __future__ import annotations

import asyncio
import fcntl
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from postroad.adapters.log_client import LogClient
from postroad.adapters.system_clock import SystemClock
from postroad.errors import FaultCode
from postroad.evidence.archive_chain import ArchiveLink, judge_chains
from postroad.evidence.log_archive import ArchiveReader, check_links
from postroad.securityserver.archive_job import ArchiveJob
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.stamping_plan import plan_batch
from postroad.securityserver.settings import load_settings
from support.messagelog import NOW, WriterProcess, connected, record, running_writer

RECORDS = 400


async def fill(writer: WriterProcess, count: int) -> None:
    """Log and stamp so many records, as a server does."""
    async with connected(writer) as client:
        await asyncio.gather(*(client.append(record(created_at=NOW)) for _ in range(count)))
        await stamp(writer, client)


async def stamp(writer: WriterProcess, client: LogClient) -> None:
    reader = LogReader.open(writer.url)
    try:
        plan = plan_batch(reader.pending(10_000))
    finally:
        reader.close()
    timestamp_id = await client.insert_timestamp(b"token", plan.data, plan.leaves, at=NOW)
    await client.apply_timestamps(timestamp_id, 0, plan.signature_ids)


def archiver(home: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "postroad", "server", "archive", "now", "--json"]
    return subprocess.Popen(
        [*command, "--home", str(home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finished(process: subprocess.Popen[bytes]) -> dict[str, object]:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return dict(json.loads(output))


def archived_names(home: Path) -> list[str]:
    """All containers of archives that are whole and follow one another."""
    archives = [
        (path.name, ArchiveReader(io.BytesIO(path.read_bytes())))
        for path in sorted((home / "archive").iterdir())
        if not path.name.startswith(".")
    ]
    for _name, archive in archives:
        assert [wrong for _n, _d, wrong in check_links(archive) if wrong] == []
    links = [ArchiveLink(name, archive.linking) for name, archive in archives]
    assert judge_chains(links).problems == ()
    return [name for _name, archive in archives for name in archive.names]


def test_killed_archivers_neither_lose_nor_double_a_record(tmp_path: Path) -> None:
    with running_writer(tmp_path, archive_max_filesize=20_000) as writer:
        asyncio.run(fill(writer, RECORDS))
        kills = 0
        for number in range(8):
            process = archiver(tmp_path)
            directory, before = tmp_path / "archive", number * 4
            deadline = time.monotonic() + 30
            while process.poll() is None and time.monotonic() < deadline:
                seen = len(list(directory.glob("mlog-*"))) if directory.exists() else 0
                if seen > before:  # somewhere in the next archive
                    os.killpg(process.pid, signal.SIGKILL)
                    break
            kills += process.wait() == -signal.SIGKILL
            process.communicate()
        assert kills >= 4
        asyncio.run(fill(writer, 10))
        finished(archiver(tmp_path))
        names = archived_names(tmp_path)
        assert len(names) == len(set(names)) == RECORDS + 10
        assert finished(archiver(tmp_path))["records"] == 0


def test_a_log_writer_that_dies_meanwhile_is_no_loss(tmp_path: Path) -> None:
    with running_writer(tmp_path, archive_max_filesize=20_000) as writer:
        asyncio.run(fill(writer, RECORDS))
        process = archiver(tmp_path)
        while not list(tmp_path.glob("archive/mlog-*")):
            assert process.poll() is None, process.communicate()
        writer.kill()
        process.communicate(timeout=60)
        assert process.returncode == 1
        writer.start()
        finished(archiver(tmp_path))
        names = archived_names(tmp_path)
        assert len(names) == len(set(names)) == RECORDS


def test_the_job_has_the_log_archived_and_tells_how_it_went(tmp_path: Path) -> None:
    with running_writer(tmp_path) as writer:
        asyncio.run(fill(writer, 3))
        job = ArchiveJob(load_settings(tmp_path), SystemClock())
        assert asyncio.run(job.run()).silent
        outcome = asyncio.run(job.run())
        assert outcome.error is None
        assert (outcome.facts["records"], outcome.facts["archives"]) == (3, 1)
        with (tmp_path / "server.toml").open("a") as settings:
            settings.write("\narchive_encryption_enabled = true\n")
        outcome = asyncio.run(job.run())
        assert outcome.error is not None
        assert outcome.error.code is FaultCode.KEY_NOT_FOUND


def test_only_one_archives_at_a_time(tmp_path: Path) -> None:
    with running_writer(tmp_path), (tmp_path / "run" / "archive.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = archiver(tmp_path)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1
        assert json.loads(output)["error_code"] == "mlog.archiving_failed"
