"""How does the time-stamping job fit among a server's background jobs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from postroad.errors import ConfigurationError
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.timestamping import (
    StampingReport,
    StampingRules,
    TimestampingJob,
)
from postroad.securityserver.serverconf.snapshot import SnapshotFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from postroad.adapters.log_client import LogClient
    from postroad.clock import Clock
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.ports import HttpFetcher
    from postroad.securityserver.settings import Settings

BUSY_RETRY_S: Final = 2.0
"""Seconds until the next attempt when the log itself can't be read or written."""


class BackgroundStamping:
    """Runs a ``TimestampingJob`` as a background job (``Job("timestamping", stamping.run)``)."""

    def __init__(self, job: TimestampingJob) -> None:
        self._job = job
        self._told: dict[str, object] = {}

    async def run(self) -> Outcome:
        """Stamp what waits now."""
        try:
            report = await self._job.run_once()
        except ConfigurationError as error:
            return Outcome(BUSY_RETRY_S, error=error)
        facts = _facts(report)
        silent = facts == self._told and report.error is None
        self._told = facts
        return Outcome(report.next_in, facts, report.error, silent=silent)


def build_stamping(
    settings: Settings,
    *,
    log: LogClient,
    fetcher: HttpFetcher,
    configuration: Callable[[], Awaitable[GlobalConfiguration]],
    clock: Clock,
) -> TimestampingJob:
    """Build the job of a server; its services come from the server configuration's snapshot."""
    snapshot = SnapshotFile(settings.snapshot_path)

    def services() -> Sequence[str]:
        snapshot.refresh()
        return () if snapshot.view is None else [url for _name, url in snapshot.view.timestamping]

    section = settings.message_log
    return TimestampingJob(
        reader=LogReader.open(settings.messagelog_url),
        log=log,
        fetcher=fetcher,
        configuration=configuration,
        services=services,
        clock=clock,
        rules=StampingRules(
            interval=section.timestamp_interval,
            retry_delay=section.timestamp_retry_delay,
            records_limit=section.timestamp_records_limit,
        ),
    )


def _facts(report: StampingReport) -> dict[str, object]:
    state = report.state
    return {
        "stamped": report.stamped,
        "configured": bool(state.configured),
        "failing_since": _text(state.failing_since),
        "last_success": _text(state.last_success),
        "services": [
            {
                "url": service.url,
                "state": "ok" if service.ok else "failed",
                "at": service.at.isoformat(),
                "error_code": service.code,
                "message": service.message,
            }
            for service in state.services
        ],
    }


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
