"""Can messages be logged, and does time-stamping keep up with them?"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import attempt
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.adapters.log_protocol import LogStatus
    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "message log"


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for a time-stamp, as the database tells."""

    pending: int
    oldest: datetime | None
    state: TimestampingState


async def examine(patient: Patient) -> Sequence[Finding]:
    """Ask the log writer, and look into the database."""
    url = patient.settings.messagelog_url
    status, backlog = await asyncio.gather(
        attempt(patient.log.status()), attempt(asyncio.to_thread(look, url))
    )
    acceptable = timedelta(seconds=patient.settings.message_log.acceptable_timestamp_failure_period)
    return judge(status, backlog, acceptable, patient.clock.now())


def look(url: str) -> Backlog:
    """Count what waits; blocking."""
    reader = LogReader.open(url)
    try:
        return Backlog(
            reader.count_pending(),
            reader.oldest_pending(),
            TimestampingState.parse(reader.state(STATE_NAME)),
        )
    finally:
        reader.close()


def judge(
    status: LogStatus | PostroadError,
    backlog: Backlog | PostroadError,
    acceptable: timedelta,
    at: datetime,
) -> list[Finding]:
    """It takes records, and the oldest unstamped one is young."""
    tell = Telling(NAME)
    if isinstance(status, PostroadError):
        return [
            tell.failed(
                f"the log writer doesn't answer: {status.message}",
                "the supervisor starts it again by itself; its log tells why it ended",
                symptom_of=("server", "processes", "database", "disk"),
            )
        ]
    if status.refusing:
        return [
            tell.failed(
                f"no message can be logged, so none is exchanged: {status.refusing}",
                "see the checks of time-stamping; it goes on by itself with the next time-stamp",
                symptom_of=("time-stamping", "clock", "database", "disk"),
            )
        ]
    if isinstance(backlog, PostroadError):
        return [
            tell.failed(
                f"its database can't be read: {backlog.message}",
                "bring the database back where the settings name it",
                symptom_of=("database", "disk", "files"),
            )
        ]
    if status.last_error:
        return [
            tell.failed(
                f"the last records could not be stored: {status.last_error}",
                "see the log writer's log",
                symptom_of=("database", "disk"),
            )
        ]
    return [_judge_backlog(backlog, acceptable, at, tell)]


def _judge_backlog(backlog: Backlog, acceptable: timedelta, at: datetime, tell: Telling) -> Finding:
    interval = timedelta(seconds=backlog.state.interval)
    age = timedelta(0) if backlog.oldest is None else at - backlog.oldest
    seen = f"{backlog.pending} signatures wait for a time-stamp, for {_minutes(age)} at most"
    late = age > max(3 * interval, timedelta(minutes=5))
    failing = backlog.state.failing_since
    if failing is None and not late:
        return tell.ok(seen)
    if failing is not None:
        seen += f"; stamping has failed since {failing:%Y-%m-%d %H:%M:%S} UTC"
    stop = f"; exchange stops after {_minutes(acceptable)}" if acceptable else ""
    return tell.warning(f"{seen}{stop}", "see the checks of time-stamping and processes")


def _minutes(duration: timedelta) -> str:
    seconds = duration.total_seconds()
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
