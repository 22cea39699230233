"""How do records become archives, and what happens to both afterwards?

One run, by one process, beside the log writer that goes on with messages:

1. what a crash interrupted is brought to its end
2. archives are written, a group at a time, and each becomes known to the database in one step
3. archives are handed to the operator's program, in the order of making
4. old records are removed, a few at a time and with pauses

A run that is killed anywhere loses nothing and archives nothing twice; the next one goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from postroad.adapters.archive_protocol import (
    AddArchiveArgument,
    ArchiveState,
    CleanResult,
    pack_ids,
)
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.securityserver.messagelog.archive_files import ArchiveDirectory, ArchiveDraft
from postroad.securityserver.messagelog.archive_plan import ROUND_RECORDS
from postroad.securityserver.messagelog.archive_transfer import transfer_archive
from postroad.securityserver.messagelog.export import encode_record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from postroad.clock import Clock
    from postroad.securityserver.messagelog.archive_plan import (
        ArchivePlanner,
        Extent,
        Grouping,
        Round,
    )
    from postroad.securityserver.messagelog.reading import LogReader

CLEAN_RECORDS: Final = 50
"""Records removed in one transaction: messages wait for it."""
CLEAN_PAUSE_S: Final = 0.01
CLEAN_SHARE: Final = 9.0
"""So many times as long as a step took, nothing is removed: messages come first."""
REST_AGE: Final = timedelta(hours=1)
MAX_DAMAGED: Final = 100
"""So many records that can't be read are a damaged database, not some damaged records."""


class ArchiveLog(Protocol):
    """What the log writer does for archiving; ``ArchiveClient`` fulfils it."""

    async def add_archive(self, archive: AddArchiveArgument) -> None:
        """Keep that an archive is complete."""
        ...

    async def set_archive_state(self, file_name: str, state: ArchiveState) -> None:
        """Keep how far an archive has come."""
        ...

    async def set_archived(self, up_to: int) -> None:
        """Keep that every record up to a number is archived."""
        ...

    async def clean(self, before: datetime, after_id: int, at_most: int) -> CleanResult:
        """Remove some archived records."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRules:
    """What the settings say about archives."""

    max_bytes: int = 32 * 1024 * 1024
    grouping: Grouping = "none"
    transfer_command: tuple[str, ...] = ()
    transfer_seconds: float = 600.0
    remove_transferred: bool = False
    keep_records: timedelta = timedelta(days=30)
    round_records: int = ROUND_RECORDS


@dataclass(slots=True)
class ArchiveReport:
    """What a run did."""

    archives: list[str] = field(default_factory=list)
    records: int = 0
    transferred: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Archives that were to be transferred and aren't there."""
    cleaned: int = 0
    damaged: list[int] = field(default_factory=list)
    """Records that can't be read; they stay in the database, and are in no archive."""
    error: PostroadError | None = None
    """Why something was left undone; the rest was done."""


class Archiver:
    """Archives, transfers and cleans one message log; only one may run at a time."""

    def __init__(
        self,
        *,
        log: ArchiveLog,
        reader: LogReader,
        planner: ArchivePlanner,
        directory: ArchiveDirectory,
        rules: ArchiveRules,
        clock: Clock,
        seal: Callable[[bytes, str], bytes] | None = None,
    ) -> None:
        self._log = log
        self._reader = reader
        self._planner = planner
        self._directory = directory
        self._rules = rules
        self._clock = clock
        self._seal = seal

    async def run(self, *, clean: bool = True) -> ArchiveReport:
        """Do everything once; what fails is in the report, and what doesn't depend on it goes on.

        Raises nothing but cancellation and programming mistakes.
        """
        report = ArchiveReport()
        steps = [self._recover_and_archive, self._transfer]
        if clean:
            steps.append(self._clean)
        for step in steps:
            try:
                await step(report)
            except PostroadError as error:
                report.error = report.error or error
        return report

    async def _recover_and_archive(self, report: ArchiveReport) -> None:
        self._directory.prepare()
        for archive in self._planner.archives(ArchiveState.MADE):
            await self._publish(archive.file_name)
        rests = self._clock.now() - REST_AGE
        self._directory.remove_rests(older_than=rests.timestamp())
        extent = self._planner.extent()
        after = extent.archived
        is_gapless = True
        while after < extent.newest:
            planned = self._planner.plan(
                extent, after, self._rules.grouping, at_most=self._rules.round_records
            )
            for group in sorted(planned.groups):
                await self._archive_group(group, planned.groups[group], report)
            if is_gapless:
                is_gapless = await self._advance(extent, planned, report)
            after = planned.end
        if report.damaged:
            raise ConfigurationError(
                f"{len(report.damaged)} records can't be read, the first is {report.damaged[0]}; "
                "all others are archived",
                code=FaultCode.MLOG_ARCHIVING_FAILED,
            )

    async def _archive_group(
        self, group: str, record_ids: Sequence[int], report: ArchiveReport
    ) -> None:
        draft: ArchiveDraft | None = None
        try:
            for record_id in record_ids:
                if draft is None:
                    draft = self._begin(group)
                self._add(draft, record_id, report)
                if draft.size > self._rules.max_bytes:
                    await self._keep(draft, group, report)
                    draft = None
                # Whoever wants the run to end gets the chance here.
                await asyncio.sleep(0)
            if draft is not None and draft.record_ids:
                await self._keep(draft, group, report)
                draft = None
        finally:
            if draft is not None:
                with contextlib.suppress(ConfigurationError):
                    draft.discard()

    def _begin(self, group: str) -> ArchiveDraft:
        self._directory.require_room(2 * self._rules.max_bytes)
        previous = self._planner.last_archive(group)
        return ArchiveDraft(self._directory, previous, group, self._seal)

    def _add(self, draft: ArchiveDraft, record_id: int, report: ArchiveReport) -> None:
        try:
            record = self._reader.load(record_id)
            container = None if record is None else encode_record(record)
        except ConfigurationError as error:
            # Unlike a database that can't be used, one damaged record must not stop the others.
            if error.fault_code != FaultCode.DATABASE_ERROR or len(report.damaged) >= MAX_DAMAGED:
                raise
            report.damaged.append(record_id)
            return
        if record is not None and container is not None:
            draft.add(record_id, container.name, container.data, record.created_at)

    async def _keep(self, draft: ArchiveDraft, group: str, report: ArchiveReport) -> None:
        name = draft.finish()
        await self._log.add_archive(
            AddArchiveArgument(
                group,
                draft.previous.digest,
                draft.digest,
                name,
                pack_ids(draft.record_ids),
                self._clock.now(),
            )
        )
        await self._publish(name)
        report.archives.append(name)
        report.records += len(draft.record_ids)

    async def _publish(self, file_name: str) -> None:
        self._directory.publish(file_name)
        await self._log.set_archive_state(file_name, ArchiveState.PUBLISHED)

    async def _advance(self, extent: Extent, planned: Round, report: ArchiveReport) -> bool:
        """Move the number up to which everything is archived; False once there is a gap."""
        gaps = [
            number
            for number in (planned.first_waiting, extent.unfinished, *report.damaged)
            if number is not None and number <= planned.end
        ]
        await self._log.set_archived(min([planned.end, *(gap - 1 for gap in gaps)]))
        return not gaps

    async def _transfer(self, report: ArchiveReport) -> None:
        rules = self._rules
        if not rules.transfer_command:
            return
        present = set(self._directory.names())
        if rules.remove_transferred:
            for name in present:  # a crash may have come before the removal
                if self._planner.is_transferred(name):
                    self._directory.remove(name)
        for archive in self._planner.archives(ArchiveState.PUBLISHED):
            name = archive.file_name
            if name not in present:
                report.missing.append(name)
                continue
            path = self._directory.path(name)
            await transfer_archive(rules.transfer_command, path, seconds=rules.transfer_seconds)
            await self._log.set_archive_state(name, ArchiveState.TRANSFERRED)
            report.transferred.append(name)
            if rules.remove_transferred:
                self._directory.remove(name)

    async def _clean(self, report: ArchiveReport) -> None:
        before = self._clock.now() - self._rules.keep_records
        after_id = 0
        while True:
            began = time.monotonic()
            result = await self._log.clean(before, after_id, CLEAN_RECORDS)
            report.cleaned += result.removed
            after_id = result.last_id
            if result.done:
                return
            took = time.monotonic() - began
            await asyncio.sleep(max(CLEAN_PAUSE_S, took * CLEAN_SHARE))
