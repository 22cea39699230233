"""A message log with an archiver, in one process, for tests of archiving."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from postroad.adapters.archive_protocol import (
    AddArchiveArgument,
    ArchiveState,
    CleanResult,
    unpack_ids,
)
from postroad.clock import FixedClock
from postroad.evidence.archive_chain import ArchiveLink, judge_chains
from postroad.evidence.log_archive import ArchiveReader, check_links
from postroad.securityserver.messagelog.archive_files import ArchiveDirectory
from postroad.securityserver.messagelog.archive_plan import ArchivePlanner
from postroad.securityserver.messagelog.archive_register import ArchiveRegister
from postroad.securityserver.messagelog.archiving import Archiver, ArchiveRules
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.retention import Retention
from postroad.securityserver.messagelog.store import SHARING_DISTANCE, LogStore
from support.messagelog import NOW, OpenLog, stamp_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from postroad.securityserver.messagelog.records import MessageRecord


class DirectLog:
    """What the log writer's process does for archiving, without the socket between."""

    def __init__(self, log: ArchiveBench) -> None:
        self._register = ArchiveRegister(log.database)
        self._retention = Retention(log.database)

    async def add_archive(self, archive: AddArchiveArgument) -> None:
        self._register.add(archive, max(unpack_ids(archive.record_ids)))

    async def set_archive_state(self, file_name: str, state: ArchiveState) -> None:
        self._register.set_state(file_name, state)

    async def set_archived(self, up_to: int) -> None:
        self._register.set_archived(up_to)

    async def clean(self, before: datetime, after_id: int, at_most: int) -> CleanResult:
        return self._retention.clean(before, after_id, at_most)


@dataclass
class ArchiveBench(OpenLog):
    """An open log, the directory of its archives, and what is needed to archive it."""

    path: Path
    now: datetime = NOW
    database: object = field(init=False)
    planner: ArchivePlanner = field(init=False)

    def __post_init__(self) -> None:
        self.database = self.store._database
        self.planner = ArchivePlanner.open(self.url)

    def append(self, *records: MessageRecord, stamped: bool = True) -> list[int]:
        ids = self.store.append_many(list(records))
        if stamped:
            self.stamp()
        return ids

    def stamp(self) -> None:
        """Stamp whatever waits."""
        waiting = self.reader.pending(10_000)
        if waiting:
            stamp_batch(self, waiting)

    def archiver(
        self,
        *,
        seal: Callable[[bytes, str], bytes] | None = None,
        directory: ArchiveDirectory | None = None,
        log: object = None,
        **rules: object,
    ) -> Archiver:
        return Archiver(
            log=log or DirectLog(self),
            reader=self.reader,
            planner=self.planner,
            directory=directory or ArchiveDirectory(self.path, reserve=0),
            rules=ArchiveRules(**rules),
            clock=FixedClock(self.now),
            seal=seal,
        )

    def settle(self) -> None:
        """Let searches' index know all records, and let the last ones be long ago."""
        while self.store.list_queries(1000):
            pass
        with self.database.transaction():
            self.database.reserve_ids(SHARING_DISTANCE * 2)

    def archives(self) -> list[tuple[str, ArchiveReader]]:
        """The archives that can be seen, by their names."""
        return [
            (path.name, ArchiveReader(io.BytesIO(path.read_bytes())))
            for path in sorted(self.path.iterdir())
            if not path.name.startswith(".")
        ]

    def archived_names(self) -> list[str]:
        """The containers of all archives, which must be whole and follow one another."""
        archives = self.archives()
        for _name, archive in archives:
            assert [wrong for _n, _d, wrong in check_links(archive) if wrong] == []
        report = judge_chains(ArchiveLink(name, archive.linking) for name, archive in archives)
        assert report.problems == ()
        return [name for _name, archive in archives for name in archive.names]


@contextlib.contextmanager
def archive_bench(url: str, path: Path) -> Iterator[ArchiveBench]:
    store = LogStore(open_database(url))
    store.prepare()
    bench = ArchiveBench(url, store, LogReader.open(url), path)
    try:
        yield bench
    finally:
        bench.planner.close()
        bench.reader.close()
        store.close()


LATER = NOW + timedelta(days=31)
