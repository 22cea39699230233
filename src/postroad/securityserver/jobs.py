"""How do recurring jobs run side by side, so that one that fails never stops the others?

Each job is a coroutine that says when it wants to run again; how its last run went is told in
`run/status-<job>.json` for diagnostics.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.files import write_atomic
from postroad.adapters.logs import logger
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from postroad.clock import Clock

RETRY_DELAY: Final = 60.0
"""Seconds until a failed job runs again, unless it asks for less."""
FIRST_RETRY_DELAY: Final = 0.25
"""Seconds until a job that has not worked yet runs again, doubled each time: at the start of a
server the signer and the log writer may come up after the jobs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a job went, and when the next one is due."""

    next_in: float
    """Seconds until the next run."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What diagnostics show; texts, numbers and lists of them."""
    error: PostroadError | None = None
    """A failure that the job could tell itself, with the facts that belong to it."""
    silent: bool = False
    """Whether nothing happened that is worth writing the status for."""


@dataclass(frozen=True, slots=True)
class Job:
    """A recurring piece of work."""

    name: str
    run: Callable[[], Awaitable[Outcome]]
    retry_in: float = RETRY_DELAY
    """Seconds until the next run when one fails with an error that it did not expect."""


class JobStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `run/status-<job>.json` holds."""

    job: str
    state: str
    """`ok` or `failed`."""
    at: str
    next_in: float
    error_code: str | None = None
    error: str | None = None
    facts: dict[str, object] = {}


class JobRunner:
    """Runs jobs until told to stop."""

    def __init__(self, jobs: Sequence[Job], run_path: Path, clock: Clock) -> None:
        self._jobs = jobs
        self._run_path = run_path
        self._clock = clock
        self._log = logger("background")
        self._failing: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run all jobs until `stop` is set; running ones are cancelled then."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._repeat(job), name=job.name) for job in self._jobs]
            await stop.wait()
            for task in tasks:
                task.cancel()

    async def _repeat(self, job: Job) -> None:
        soon: float | None = FIRST_RETRY_DELAY
        while True:
            outcome = await self.run_once(job)
            if outcome.error is None or soon is None or soon >= outcome.next_in:
                soon = None
                await asyncio.sleep(outcome.next_in)
            else:
                await asyncio.sleep(soon)
                soon *= 2

    async def run_once(self, job: Job) -> Outcome:
        """Run a job once and tell how it went; nothing but cancellation comes out of it."""
        try:
            outcome = await job.run()
        except PostroadError as error:
            outcome = Outcome(job.retry_in, error=error)
        except Exception as error:  # noqa: BLE001 - one broken job must not stop the others
            told = PostroadError(f"{type(error).__name__} in the job {job.name}")
            outcome = Outcome(job.retry_in, error=told)
        self._tell(job, outcome)
        return outcome

    def _tell(self, job: Job, outcome: Outcome) -> None:
        error = outcome.error
        if error is not None and job.name not in self._failing:
            self._failing.add(job.name)
            self._log.warning("job failed", job=job.name, code=error.fault_code, why=error.message)
        elif error is None and job.name in self._failing:
            self._failing.discard(job.name)
            self._log.info("job works again", job=job.name)
        elif outcome.silent:
            return
        status = JobStatus(
            job=job.name,
            state="ok" if error is None else "failed",
            at=self._clock.now().isoformat(timespec="seconds"),
            next_in=outcome.next_in,
            error_code=None if error is None else error.fault_code,
            error=None if error is None else error.message,
            facts=dict(outcome.facts),
        )
        data = msgspec.json.format(msgspec.json.encode(status), indent=2)
        try:
            write_atomic(self._run_path / f"status-{job.name}.json", data, mode=0o600)
        except OSError as failure:
            self._log.warning("status not written", job=job.name, why=failure.strerror)
