"""Which records may the log forget, and how, without making a message wait for it?

A record goes only when it is archived, its archive lies where it belongs, it is stamped and it is
older than the settings want to keep it. A few go in each transaction, so that messages wait for a
few milliseconds at most; whoever asks for more waits between two. A signature goes with the last
record that has it, and a time-stamp with the last signature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.archive_protocol import ArchiveState, CleanResult
from postroad.securityserver.messagelog.archive_register import ARCHIVED_STATE, archived_up_to
from postroad.securityserver.messagelog.database import unusable
from postroad.securityserver.messagelog.records import (
    LISTED_STATE,
    epoch_milliseconds,
    listed_up_to,
    query_hash,
)
from postroad.securityserver.messagelog.store import PIECE_BYTES, SHARING_DISTANCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from postroad.securityserver.messagelog.database import LogDatabase, Value

MAX_STEP_BYTES: Final = 4 * PIECE_BYTES
"""Most bytes of messages that one transaction removes, but one record at least."""
_PIECES_A_STEP: Final = 4


class _OldRecord(msgspec.Struct, array_like=True):
    id: int
    time: int
    signature_id: int
    query_id: str
    size: int
    has_pieces: int
    is_stamped: int
    is_batch: int


_OLD: Final = """
    SELECT r.id, r.time, r.signature_id, r.queryid,
           LENGTH(r.message) + COALESCE(LENGTH(r.body), 0),
           CASE WHEN EXISTS (SELECT 1 FROM message_attachment a
                              WHERE a.logrecord_id = r.id
                                AND (a.pieces IS NOT NULL OR a.filed IS NOT NULL))
                THEN 1 ELSE 0 END,
           CASE WHEN EXISTS (SELECT 1 FROM stamped_signature s
                              WHERE s.signature_id = r.signature_id) THEN 1 ELSE 0 END,
           CASE WHEN r.hashchain IS NULL THEN 0 ELSE 1 END
      FROM logrecord r WHERE r.id > ? AND r.id <= ? ORDER BY r.id LIMIT ?
"""
_STILL_SIGNED: Final = """
    SELECT DISTINCT signature_id FROM logrecord
     WHERE id BETWEEN ? AND ? AND signature_id BETWEEN ? AND ?
"""
_LEFTOVERS: Final = """
    SELECT u.logrecord_id FROM unfinished_record u
     WHERE u.logrecord_id <= ?
       AND NOT EXISTS (SELECT 1 FROM logrecord r WHERE r.id = u.logrecord_id)
     LIMIT 1
"""
_PIECES: Final = """
    SELECT attachment_no, piece_no FROM attachment_piece WHERE logrecord_id = ? LIMIT ?
"""
_FORGET_TIMESTAMP: Final = """
    DELETE FROM timestamp_record WHERE id = ?
       AND NOT EXISTS (SELECT 1 FROM stamped_signature WHERE timestamprecord = ?)
"""


class Retention:
    """Removes old records; used by the log writer, between two commits."""

    def __init__(self, database: LogDatabase) -> None:
        self._database = database

    def clean(self, before: datetime, after_id: int, at_most: int) -> CleanResult:
        """Remove up to so many archived records made before a moment, in one transaction."""
        with self._database.transaction():
            limit = self._limit()
            if self._remove_leftovers(limit):
                return CleanResult(0, after_id, done=False)
            rows = self._database.rows(_OLD, (after_id, limit, at_most))
            found = [msgspec.convert(row, _OldRecord) for row in rows]
            if not found:
                return CleanResult(0, after_id, done=True)
            oldest_kept = epoch_milliseconds(before)
            old: list[_OldRecord] = []
            size, last_id = 0, after_id
            for record in found:
                if old and size + record.size > MAX_STEP_BYTES:
                    break
                last_id = record.id
                if record.time < oldest_kept and record.is_stamped:
                    old.append(record)
                    size += record.size
            if old:
                self._remove(old)
            return CleanResult(len(old), last_id, done=not old)

    def _limit(self) -> int:
        """Up to which number records may go, if they are old enough."""
        made = "SELECT 1 FROM archive_file WHERE state = ? LIMIT 1"
        if self._database.rows(made, (int(ArchiveState.MADE),)):
            return 0  # an archive isn't where it belongs yet
        newest = self._database.rows("SELECT MAX(id) FROM logrecord")[0][0]
        if not isinstance(newest, int):
            return 0
        return min(
            archived_up_to(self._state(ARCHIVED_STATE)),
            # Searches' index must know a record that is taken out of it.
            listed_up_to(self._state(LISTED_STATE)),
            # The next record may have the signature of one that came so shortly before.
            newest - SHARING_DISTANCE,
        )

    def _state(self, name: str) -> bytes | None:
        found = self._database.rows("SELECT value FROM log_state WHERE name = ?", (name,))
        value = found[0][0] if found else None
        return value if isinstance(value, bytes) else None

    def _remove(self, old: Sequence[_OldRecord]) -> None:
        change_many = self._database.change_many
        pieced = [(record.id,) for record in old if record.has_pieces]
        # Pieces are large: they go in steps of their own, after a crash at the next start.
        self._database.insert("unfinished_record", ("logrecord_id",), pieced)
        change_many("DELETE FROM logrecord WHERE id = ?", [(record.id,) for record in old])
        change_many(
            "DELETE FROM query_index WHERE queryhash = ? AND logrecord_id = ?",
            [(query_hash(record.query_id), record.id) for record in old],
        )
        # Only the messages of a batch have their signature in common.
        shared = {record.signature_id for record in old if record.is_batch}
        alone = {record.signature_id for record in old if not record.is_batch}
        self._remove_signatures(sorted(alone | (shared - self._still_signed(shared))))

    def _still_signed(self, signature_ids: set[int]) -> set[int]:
        """Which of these signatures do further records have?"""
        if not signature_ids:
            return set()
        first, last = min(signature_ids), max(signature_ids)
        rows = self._database.rows(_STILL_SIGNED, (first, last + SHARING_DISTANCE, first, last))
        return {row[0] for row in rows if isinstance(row[0], int)}

    def _remove_signatures(self, unused: Sequence[int]) -> None:
        if not unused:
            return
        keys = [(signature_id,) for signature_id in unused]
        stamps = self._timestamps_of(unused)
        self._database.change_many("DELETE FROM stamped_signature WHERE signature_id = ?", keys)
        self._database.change_many("DELETE FROM signature WHERE id = ?", keys)
        self._database.change_many(_FORGET_TIMESTAMP, [(stamp, stamp) for stamp in stamps])

    def _timestamps_of(self, signature_ids: Iterable[int]) -> set[Value]:
        found: set[Value] = set()
        for signature_id in signature_ids:
            found.update(
                row[0]
                for row in self._database.rows(
                    "SELECT timestamprecord FROM stamped_signature WHERE signature_id = ?",
                    (signature_id,),
                )
            )
        return found

    def _remove_files(self, record_id: Value) -> None:
        files = self._database.body_files
        if files is None or not isinstance(record_id, int):
            return
        try:
            files.remove(record_id)
        except OSError as error:
            raise unusable(str(error)) from error

    def _remove_leftovers(self, limit: int) -> bool:
        """Remove some pieces of a record that is gone; False if there are none."""
        found = self._database.rows(_LEFTOVERS, (limit,))
        if not found:
            return False
        record_id = found[0][0]
        pieces = self._database.rows(_PIECES, (record_id, _PIECES_A_STEP))
        self._database.change_many(
            "DELETE FROM attachment_piece "
            "WHERE logrecord_id = ? AND attachment_no = ? AND piece_no = ?",
            [(record_id, *piece) for piece in pieces],
        )
        if len(pieces) < _PIECES_A_STEP:
            self._remove_files(record_id)
            self._database.change(
                "DELETE FROM unfinished_record WHERE logrecord_id = ?", (record_id,)
            )
        return True
