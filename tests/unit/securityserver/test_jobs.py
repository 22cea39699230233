"""Recurring jobs: one that fails never stops the others, and each tells how it went."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

from postroad.clock import FixedClock
from postroad.errors import FaultCode, UnavailablePeer
from postroad.securityserver.jobs import Job, JobRunner, Outcome

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def status(directory: Path, name: str) -> dict[str, object]:
    return dict(json.loads((directory / f"status-{name}.json").read_bytes()))


def test_failing_and_broken_jobs_do_not_stop_the_others(tmp_path: Path) -> None:
    runs: list[str] = []

    async def work() -> None:
        stop = asyncio.Event()

        async def failing() -> Outcome:
            runs.append("failing")
            raise UnavailablePeer("nobody there", code=FaultCode.HTTP_ERROR)

        async def broken() -> Outcome:
            runs.append("broken")
            raise ZeroDivisionError("canary 4711")

        async def good() -> Outcome:
            runs.append("good")
            if runs.count("good") == 5:
                stop.set()
            return Outcome(0.0, {"answer": 42})

        jobs = [Job("failing", failing, 0.0), Job("broken", broken, 0.0), Job("good", good)]
        async with asyncio.timeout(10):
            await JobRunner(jobs, tmp_path, FixedClock(NOW)).run(stop)

    asyncio.run(work())
    assert min(runs.count(name) for name in ("failing", "broken", "good")) >= 4
    assert status(tmp_path, "good") == {
        "job": "good",
        "state": "ok",
        "at": NOW.isoformat(timespec="seconds"),
        "next_in": 0.0,
        "error_code": None,
        "error": None,
        "facts": {"answer": 42},
    }
    assert status(tmp_path, "failing")["error_code"] == "http_error"
    assert status(tmp_path, "failing")["error"] == "nobody there"
    assert "ZeroDivisionError" in str(status(tmp_path, "broken")["error"])
    assert "4711" not in str(status(tmp_path, "broken"))


def test_silent_run_writes_no_status_until_something_happens(tmp_path: Path) -> None:
    outcomes = [
        Outcome(1.0, silent=True),
        Outcome(1.0, error=UnavailablePeer("gone"), silent=True),
        Outcome(1.0, silent=True),
    ]

    async def next_outcome() -> Outcome:
        return outcomes.pop(0)

    job = Job("quiet", next_outcome)
    runner = JobRunner([job], tmp_path, FixedClock(NOW))
    path = tmp_path / "status-quiet.json"
    asyncio.run(runner.run_once(job))
    assert not path.exists()
    asyncio.run(runner.run_once(job))
    assert status(tmp_path, "quiet")["state"] == "failed"
    asyncio.run(runner.run_once(job))
    assert status(tmp_path, "quiet")["state"] == "ok"


def test_status_that_can_not_be_written_is_no_failure(tmp_path: Path) -> None:
    async def good() -> Outcome:
        return Outcome(1.0)

    job = Job("good", good)
    runner = JobRunner([job], tmp_path / "missing", FixedClock(NOW))
    assert asyncio.run(runner.run_once(job)).error is None


def test_stopping_cancels_a_job_under_way(tmp_path: Path) -> None:
    async def work() -> None:
        stop = asyncio.Event()

        async def endless() -> Outcome:
            stop.set()
            await asyncio.Event().wait()
            raise AssertionError

        async with asyncio.timeout(10):
            await JobRunner([Job("x", endless)], tmp_path, FixedClock(NOW)).run(stop)

    asyncio.run(work())
    assert not list(tmp_path.iterdir())
