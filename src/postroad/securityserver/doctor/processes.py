"""Are all processes of the server up, and do the background jobs run in time?"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.server import look as look_at_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from postroad.securityserver.doctor.patient import Patient
    from postroad.securityserver.doctor.server import SeenChild

NAME: Final = "processes"
SLACK: Final = timedelta(minutes=10)
"""How late a job may be: the longest that one may take."""
RECENT: Final = timedelta(hours=1)
"""How long a new start of a process is worth a warning."""
_EXPLAINED_BY: Final = {
    "worker": ("ports", "files", "disk"),
    "logwriter": ("database", "files", "disk"),
    "signer": ("files", "disk"),
}


@dataclass(frozen=True, slots=True)
class SeenJob:
    """One background job as it told last."""

    name: str
    due: datetime


async def examine(patient: Patient) -> Sequence[Finding]:
    """Read what supervisor and jobs wrote."""
    run_path = patient.settings.run_path
    seen = await asyncio.to_thread(look_at_server, run_path)
    jobs = await asyncio.to_thread(look, run_path)
    return judge(seen.children, jobs, patient.clock.now())


def look(run_path: Path) -> list[SeenJob]:
    """Read `status-*.json`; blocking."""
    jobs: list[SeenJob] = []
    for path in sorted(run_path.glob("status-*.json")):
        try:
            told = json.loads(path.read_bytes())
            at = datetime.fromisoformat(told["at"])
            jobs.append(SeenJob(str(told["job"]), at + timedelta(seconds=float(told["next_in"]))))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return jobs


def judge(children: Sequence[SeenChild], jobs: Sequence[SeenJob], at: datetime) -> list[Finding]:
    """A process that isn't there is a failure, one that was started again a warning."""
    tell = Telling(NAME)
    findings: list[Finding] = []
    for child in children:
        last = f"; its last end: {child.last_end}" if child.last_end else ""
        if child.state not in {"running", "starting"} or not child.is_alive:
            findings.append(
                tell.failed(
                    f"the process {child.name} is down{last}",
                    f"it is started again by itself; the log of {child.name} tells why it ends",
                    child.name,
                    _EXPLAINED_BY.get(child.name.partition("-")[0], ()),
                )
            )
        elif child.restarts and child.started is not None and at - child.started < RECENT:
            times = "once" if child.restarts == 1 else f"{child.restarts} times"
            findings.append(
                tell.warning(
                    f"the process {child.name} had to be started again {times}{last}",
                    f"the log of {child.name} tells why it ended",
                    child.name,
                )
            )
    stuck = [job.name for job in jobs if job.name in _TIMELY and at > job.due + SLACK]
    if stuck and not findings:
        findings.append(
            tell.failed(
                f"the background jobs {', '.join(stuck)} are overdue",
                "restart the server; its log tells what the background process waits for",
                "background",
                ("clock",),
            )
        )
    return findings or [tell.ok(f"{len(children)} processes run: {_names(children)}")]


_TIMELY: Final = frozenset({"configuration", "ocsp"})
"""Jobs that tell of every run; others are silent while nothing happens."""


def _names(children: Sequence[SeenChild]) -> str:
    return ", ".join(child.name for child in children)
