"""What does the log's database know about archives, and how is that changed?

For an archive one row says which records are in it; the same transaction moves the end of its
group's chain. So a record is archived or it isn't, whatever happens to the process that archives,
and two such processes can't both continue a chain. Up to the number kept as ``ARCHIVED_STATE``
every record is archived, which is what cleaning goes by, and keeps the rows short.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from postroad.adapters.archive_protocol import ArchiveState
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.records import epoch_milliseconds

if TYPE_CHECKING:
    from postroad.adapters.archive_protocol import AddArchiveArgument
    from postroad.securityserver.messagelog.database import LogDatabase

ARCHIVED_STATE: Final = "archived"
"""Where the log's database keeps the number up to which every record is archived."""
_LAST: Final = "SELECT digest FROM last_archive_digest WHERE groupname = ?"
_SET_LAST: Final = """
    INSERT INTO last_archive_digest (id, groupname, digest, filename) VALUES (?, ?, ?, ?)
        ON CONFLICT (groupname) DO UPDATE SET digest = excluded.digest, filename = excluded.filename
"""
_SET_ARCHIVED: Final = """
    INSERT INTO log_state (name, value) VALUES (?, ?)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value
"""
_FORGET_IDS: Final = "UPDATE archive_file SET records = ? WHERE lastrecord <= ? AND records <> ?"


def archived_up_to(state: bytes | None) -> int:
    """Return the number up to which every record is archived; 0 if nothing is known."""
    return int(state) if state is not None and state.isdigit() else 0


class ArchiveRegister:
    """Writes what is known about archives; used by the log writer, between two commits."""

    def __init__(self, database: LogDatabase) -> None:
        self._database = database

    def add(self, archive: AddArchiveArgument, last_record: int) -> None:
        """Keep that an archive is complete; raises ``ConfigurationError`` if its chain has moved.

        ``last_record`` is the highest of its records' numbers.
        """
        database = self._database
        with database.transaction():
            found = database.rows(_LAST, (archive.group,))
            last = found[0][0] if found else ""
            if last != archive.previous_digest:
                raise ConfigurationError(
                    f"the archive {archive.file_name} doesn't follow the last one of its group: "
                    "another process archives this log",
                    code=FaultCode.MLOG_ARCHIVING_FAILED,
                )
            file_id, end_id = database.reserve_ids(2)
            database.insert(
                "archive_file",
                ("id", "time", "groupname", "filename", "digest", "lastrecord", "records", "state"),
                [
                    (
                        file_id,
                        epoch_milliseconds(archive.at),
                        archive.group,
                        archive.file_name,
                        archive.digest,
                        last_record,
                        archive.record_ids,
                        int(ArchiveState.MADE),
                    )
                ],
            )
            database.change(_SET_LAST, (end_id, archive.group, archive.digest, archive.file_name))

    def set_state(self, file_name: str, state: ArchiveState) -> None:
        """Keep how far an archive has come; it never goes back."""
        with self._database.transaction():
            self._database.change(
                "UPDATE archive_file SET state = ? WHERE filename = ? AND state < ?",
                (int(state), file_name, int(state)),
            )

    def set_archived(self, up_to: int) -> None:
        """Keep that every record up to a number is archived; that number never becomes less."""
        with self._database.transaction():
            if up_to <= self.archived():
                return
            self._database.change(_SET_ARCHIVED, (ARCHIVED_STATE, str(up_to).encode()))
            self._database.change(_FORGET_IDS, (b"", up_to, b""))

    def archived(self) -> int:
        """Return the number up to which every record is archived."""
        found = self._database.rows("SELECT value FROM log_state WHERE name = ?", (ARCHIVED_STATE,))
        return archived_up_to(cast("bytes", found[0][0]) if found else None)
