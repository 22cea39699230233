"""Which records are to be archived, and in which order?

Reading only, in small steps: a long look at the database would keep its write-ahead log from
shrinking. Every record that is stamped and in no archive is found, those too that were stored long
after their number was taken. What can't be archived yet holds up no other record, only the number
up to which everything is archived.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeVar

import msgspec

from postroad.adapters.archive_protocol import ArchiveState, unpack_ids
from postroad.errors import ConfigurationError, FaultCode
from postroad.evidence.linking_info import ArchiveEnd
from postroad.securityserver.messagelog.archive_register import ARCHIVED_STATE, archived_up_to
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.records import moment

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.securityserver.messagelog.database import LogDatabase, Row, Value

T = TypeVar("T")

Grouping = Literal["none", "member", "subsystem"]

SCAN_STEP: Final = 2000
"""Records looked at in one read."""
ROUND_RECORDS: Final = 200_000
"""Records planned at a time, which bounds memory; each round ends the archives of all groups."""


class _ScannedRow(msgspec.Struct, array_like=True):
    id: int
    instance: str
    member_class: str
    member_code: str
    subsystem_code: str | None
    is_stamped: int


class _FileRow(msgspec.Struct, array_like=True):
    name: str
    group: str
    digest: str
    time: int
    state: int


_SCAN: Final = """
    SELECT r.id, r.instance, r.memberclass, r.membercode, r.subsystemcode,
           CASE WHEN EXISTS (SELECT 1 FROM stamped_signature s
                              WHERE s.signature_id = r.signature_id) THEN 1 ELSE 0 END
      FROM logrecord r WHERE r.id > ? AND r.id <= ? ORDER BY r.id LIMIT ?
"""
_UNFINISHED: Final = """
    SELECT MIN(logrecord_id) FROM unfinished_record WHERE logrecord_id > ? AND logrecord_id <= ?
"""
_FILES: Final = "SELECT filename, groupname, digest, time, state FROM archive_file"


@dataclass(frozen=True, slots=True)
class KnownArchive:
    """An archive that the database knows of."""

    file_name: str
    group: str
    digest: str
    made_at: datetime
    state: ArchiveState


@dataclass(frozen=True, slots=True)
class Extent:
    """What there is to archive when a run begins."""

    archived: int
    """Every record up to here is archived."""
    newest: int
    unfinished: int | None
    """The first record that has a number but isn't stored yet."""
    done: frozenset[int]
    """Archived records above ``archived``."""


@dataclass(slots=True)
class Round:
    """Records to archive, by groups, each in the order of their numbers."""

    groups: dict[str, list[int]] = field(default_factory=dict)
    end: int = 0
    """The last number that was looked at."""
    first_waiting: int | None = None
    """The first record up to there that can't be archived yet."""

    @property
    def records(self) -> int:
        """How many there are."""
        return sum(map(len, self.groups.values()))


class ArchivePlanner:
    """Reads what is to be archived; has a connection of its own.

    Every method raises ``ConfigurationError`` (``database_error``) if the log can't be read.
    """

    def __init__(self, database: LogDatabase) -> None:
        self._database = database

    @classmethod
    def open(cls, url: str) -> ArchivePlanner:
        """Build a planner for the log at ``url``; nothing connects yet."""
        return cls(open_database(url, read_only=True))

    def extent(self) -> Extent:
        """Look once at everything that later looks must agree on."""
        with self._database.transaction():
            newest = self._number("SELECT MAX(id) FROM logrecord") or 0
            found = self._database.rows(
                "SELECT value FROM log_state WHERE name = ?", (ARCHIVED_STATE,)
            )
            value = found[0][0] if found else None
            archived = archived_up_to(value if isinstance(value, bytes) else None)
            unfinished = self._number(_UNFINISHED, (archived, newest))
            done: set[int] = set()
            for (ids,) in self._database.rows(
                "SELECT records FROM archive_file WHERE lastrecord > ?", (archived,)
            ):
                done.update(unpack_ids(ids if isinstance(ids, bytes) else b""))
        return Extent(archived, newest, unfinished, frozenset(done))

    def plan(
        self, extent: Extent, after: int, grouping: Grouping, *, at_most: int = ROUND_RECORDS
    ) -> Round:
        """Find the next records to archive, from a number on."""
        planned = Round(end=after)
        count = 0
        while count < at_most:
            rows = self._scan(planned.end, extent.newest)
            for row in rows:
                planned.end = row.id
                if row.id in extent.done:
                    continue
                if not row.is_stamped:
                    planned.first_waiting = planned.first_waiting or row.id
                    continue
                planned.groups.setdefault(_group_of(row, grouping), []).append(row.id)
                count += 1
            if len(rows) < SCAN_STEP:
                planned.end = max(planned.end, extent.newest)
                break
        return planned

    def last_archive(self, group: str) -> ArchiveEnd:
        """Return where a group's chain ends."""
        found = self._database.rows(
            "SELECT digest, filename FROM last_archive_digest WHERE groupname = ?", (group,)
        )
        return ArchiveEnd(str(found[0][0]), str(found[0][1])) if found else ArchiveEnd()

    def ends(self) -> dict[str, ArchiveEnd]:
        """Return where each group's chain ends."""
        found = self._database.rows(
            "SELECT groupname, digest, filename FROM last_archive_digest ORDER BY groupname"
        )
        return {str(row[0]): ArchiveEnd(str(row[1]), str(row[2])) for row in found}

    def archives(self, state: ArchiveState) -> list[KnownArchive]:
        """Return the archives that have come so far and no further, in the order of making."""
        rows = self._database.rows(f"{_FILES} WHERE state = ? ORDER BY id", (int(state),))
        return [
            KnownArchive(row.name, row.group, row.digest, moment(row.time), ArchiveState(row.state))
            for row in (_typed(raw, _FileRow) for raw in rows)
        ]

    def is_transferred(self, file_name: str) -> bool:
        """Whether an archive is known to be safe elsewhere."""
        found = self._database.rows(
            "SELECT state FROM archive_file WHERE filename = ?", (file_name,)
        )
        return bool(found) and found[0][0] == int(ArchiveState.TRANSFERRED)

    def count_waiting(self, extent: Extent) -> int:
        """Return how many records are in no archive yet, stamped or not."""
        rows = self._database.rows(
            "SELECT COUNT(*) FROM logrecord WHERE id > ? AND id <= ?",
            (extent.archived, extent.newest),
        )
        count = rows[0][0]
        return max(0, (count if isinstance(count, int) else 0) - len(extent.done))

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _scan(self, after: int, up_to: int) -> list[_ScannedRow]:
        rows = self._database.rows(_SCAN, (after, up_to, SCAN_STEP))
        return [_typed(row, _ScannedRow) for row in rows]

    def _number(self, statement: str, parameters: Sequence[Value] = ()) -> int | None:
        value = self._database.rows(statement, parameters)[0][0]
        return value if isinstance(value, int) else None


def member_of_group(group: str) -> str:
    """Return the member of a group, ``INSTANCE/CLASS/CODE``; empty if it is everybody's.

    >>> member_of_group("EE/GOV/1/register")
    'EE/GOV/1'
    """
    return "/".join(group.split("/")[:3])


def group_of_parts(parts: Sequence[str]) -> str:
    """Return the name of a group; a slash inside a code doesn't make two parties look like one.

    >>> group_of_parts(["EE", "GOV", "1/2"])
    'EE/GOV/1%2F2'
    """
    return "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)


def _group_of(row: _ScannedRow, grouping: Grouping) -> str:
    if grouping == "none":
        return ""
    parts = [row.instance, row.member_class, row.member_code]
    if grouping == "subsystem" and row.subsystem_code is not None:
        parts.append(row.subsystem_code)
    return group_of_parts(parts)


def _typed(row: Row, row_type: type[T]) -> T:
    try:
        return msgspec.convert(row, row_type, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise ConfigurationError(
            f"the message log holds an unexpected value: {error}", code=FaultCode.DATABASE_ERROR
        ) from error
