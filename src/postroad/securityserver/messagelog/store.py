"""How are records and time-stamps put into the message log, and its state kept?

``LogStore`` is used by one thread of one process, the log writer. What must go together goes in one
transaction, and nothing is acknowledged before that transaction is on the disk. Reading is in
``reading``; it has a connection of its own and never waits for the writer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.securityserver.messagelog.records import (
    Direction,
    epoch_milliseconds,
    logging_failed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.securityserver.messagelog.database import LogDatabase, Value
    from postroad.securityserver.messagelog.records import MessageRecord

SIGNATURE_DIGEST: Final = DigestAlgorithm.SHA512
"""The algorithm of ``signaturehash``, and so of the leaves of time-stamp hash chains."""
PIECE_BYTES: Final = 1024 * 1024
"""Most bytes of an attachment that one row and one transaction take."""

_RECORD_COLUMNS: Final = (
    "id",
    "discriminator",
    "time",
    "queryid",
    "xrequestid",
    "response",
    "side",
    "instance",
    "memberclass",
    "membercode",
    "subsystemcode",
    "signaturehash",
)
_CONTENT_COLUMNS: Final = ("logrecord_id", "message", "signature", "hashchainresult", "hashchain")
_ATTACHMENT_COLUMNS: Final = (
    "logrecord_id",
    "attachment_no",
    "size",
    "digest",
    "pieces",
    "content",
)
_PIECE_COLUMNS: Final = ("logrecord_id", "attachment_no", "piece_no", "content")


@dataclass(frozen=True, slots=True)
class PreparedAttachment:
    """An attachment as it is stored: its SHA-512 and size, and where its bytes are.

    ``content`` holds them; or so many ``pieces`` were written before; or neither, and the digest
    alone is kept.
    """

    digest: bytes
    size: int
    content: bytes | None = field(default=None, repr=False)
    pieces: int | None = None


@dataclass(frozen=True, slots=True)
class PreparedRecord:
    """A record and its attachments, ready to be stored; ``id`` is set if pieces were stored."""

    record: MessageRecord
    attachments: tuple[PreparedAttachment, ...] = ()
    id: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Up to ``PIECE_BYTES`` of an attachment, stored ahead of its record; numbers from 0."""

    record_id: int
    attachment_no: int
    piece_no: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StampedRecord:
    """A record that a batch time-stamp covers, and the chain that proves it.

    ``signature_hash`` is what was stamped: if the record no longer has it, it's left alone.
    """

    record_id: int
    signature_hash: bytes
    hash_chain: bytes


class LogStore:
    """Writes to the message log.

    Every method raises ``ConfigurationError``: ``logging_failed.database_error`` while the
    database can't be used (a later call may succeed), ``logging_failed`` for values it refuses.
    """

    def __init__(self, database: LogDatabase) -> None:
        self._database = database
        self._prepared = False

    def prepare(self) -> None:
        """Create or upgrade the schema and remove what a crash left half written; once is enough.

        Every other method does this first if it hasn't succeeded yet.
        """
        if self._prepared:
            return
        self._database.migrate()
        with self._database.transaction():
            for (record_id,) in self._database.rows("SELECT logrecord_id FROM unfinished_record"):
                self._remove_pieces(record_id)
        self._prepared = True

    def write(self, records: Sequence[PreparedRecord], pieces: Sequence[Piece] = ()) -> list[int]:
        """Store records, and pieces of other records, in one transaction; return the records' ids.

        They are durable when this returns.
        """
        self.prepare()
        with self._database.transaction():
            if pieces:
                self._database.insert(
                    "attachment_piece",
                    _PIECE_COLUMNS,
                    [(p.record_id, p.attachment_no, p.piece_no, p.content) for p in pieces],
                )
            return self._insert_records(records) if records else []

    def append_many(self, records: Sequence[MessageRecord]) -> list[int]:
        """Store records without attachments in one transaction; return their ids."""
        return self.write([PreparedRecord(record) for record in records])

    def begin_pieces(self) -> int:
        """Reserve the id of a record whose attachments will be stored ahead of it, in pieces."""
        self.prepare()
        with self._database.transaction():
            (record_id,) = self._database.reserve_ids(1)
            self._database.insert("unfinished_record", ("logrecord_id",), [(record_id,)])
        return record_id

    def discard_pieces(self, record_id: int) -> None:
        """Remove the pieces of a record that will not be stored."""
        self.prepare()
        with self._database.transaction():
            self._remove_pieces(record_id)

    def insert_timestamp(
        self, token: bytes, hash_chain_result: bytes | None, *, at: datetime
    ) -> int:
        """Store a time-stamp (DER token; a batch's hash chain result) and return its record id."""
        self.prepare()
        with self._database.transaction():
            return self._insert_timestamp(token, hash_chain_result, at)

    def apply_timestamps(self, timestamp_id: int, stamped: Sequence[StampedRecord]) -> int:
        """Mark records as covered by a batch time-stamp; return how many were still waiting."""
        self.prepare()
        with self._database.transaction():
            return self._apply(timestamp_id, stamped)

    def apply_single(
        self, record_id: int, signature_hash: bytes, *, signature: bytes, token: bytes, at: datetime
    ) -> bool:
        """Store a record's own time-stamp and its signature with the token inside.

        Returns False, and changes nothing, if the record is no longer waiting for this stamp.
        """
        self.prepare()
        with self._database.transaction():
            waiting = self._database.rows(
                "SELECT 1 FROM logrecord WHERE id = ? AND signaturehash = ?",
                (record_id, signature_hash),
            )
            if not waiting:
                return False
            timestamp_id = self._insert_timestamp(token, None, at)
            self._database.change(
                "UPDATE message_content SET signature = ? WHERE logrecord_id = ?",
                (signature, record_id),
            )
            self._database.change(
                "UPDATE logrecord SET timestamprecord = ?, signaturehash = NULL WHERE id = ?",
                (timestamp_id, record_id),
            )
            return True

    def set_state(self, name: str, value: bytes) -> None:
        """Keep a small named value, such as since when time-stamping fails."""
        self.prepare()
        with self._database.transaction():
            self._database.change(
                "INSERT INTO log_state (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )

    def get_state(self, name: str) -> bytes | None:
        """Return a value kept by ``set_state``."""
        self.prepare()
        found = self._database.rows("SELECT value FROM log_state WHERE name = ?", (name,))
        return cast("bytes", found[0][0]) if found else None

    def checkpoint(self) -> int:
        """Move what the write-ahead log holds, between two transactions; return its extent."""
        return self._database.checkpoint()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _insert_records(self, records: Sequence[PreparedRecord]) -> list[int]:
        database = self._database
        fresh = iter(database.reserve_ids(sum(1 for prepared in records if prepared.id is None)))
        ids = [next(fresh) if prepared.id is None else prepared.id for prepared in records]
        narrow: list[tuple[Value, ...]] = []
        content: list[tuple[Value, ...]] = []
        attachments: list[tuple[Value, ...]] = []
        for record_id, prepared in zip(ids, records, strict=True):
            record = prepared.record
            narrow.append(_record_row(record_id, record))
            content.append((record_id, *_content(record)))
            attachments += _attachment_rows(prepared, record_id)
        database.insert("logrecord", _RECORD_COLUMNS, narrow)
        database.insert("message_content", _CONTENT_COLUMNS, content)
        database.insert("message_attachment", _ATTACHMENT_COLUMNS, attachments)
        finished = [(prepared.id,) for prepared in records if prepared.id is not None]
        if finished:
            database.change_many("DELETE FROM unfinished_record WHERE logrecord_id = ?", finished)
        return ids

    def _insert_timestamp(self, token: bytes, result: bytes | None, at: datetime) -> int:
        (timestamp_id,) = self._database.reserve_ids(1)
        self._database.insert(
            "logrecord",
            ("id", "discriminator", "time"),
            [(timestamp_id, "t", epoch_milliseconds(at))],
        )
        self._database.insert(
            "timestamp_token",
            ("logrecord_id", "timestamp", "hashchainresult"),
            [(timestamp_id, token, result)],
        )
        return timestamp_id

    def _apply(self, timestamp_id: int, stamped: Sequence[StampedRecord]) -> int:
        database = self._database
        if not database.rows(
            "SELECT 1 FROM timestamp_token WHERE logrecord_id = ?", (timestamp_id,)
        ):
            raise logging_failed(f"there is no time-stamp record {timestamp_id}")
        database.change_many(
            "INSERT INTO timestamp_chain (logrecord_id, timestamphashchain) "
            "SELECT id, ? FROM logrecord WHERE id = ? AND signaturehash = ?",
            [(item.hash_chain, item.record_id, item.signature_hash) for item in stamped],
        )
        return database.change_many(
            "UPDATE logrecord SET timestamprecord = ?, signaturehash = NULL "
            "WHERE id = ? AND signaturehash = ?",
            [(timestamp_id, item.record_id, item.signature_hash) for item in stamped],
        )

    def _remove_pieces(self, record_id: Value) -> None:
        self._database.change(
            "DELETE FROM attachment_piece WHERE logrecord_id = ? "
            "AND NOT EXISTS (SELECT 1 FROM logrecord WHERE id = logrecord_id)",
            (record_id,),
        )
        self._database.change("DELETE FROM unfinished_record WHERE logrecord_id = ?", (record_id,))


def _record_row(record_id: int, record: MessageRecord) -> tuple[Value, ...]:
    return (
        record_id,
        "m",
        epoch_milliseconds(record.created_at),
        record.query_id,
        record.request_id,
        int(record.direction is Direction.RESPONSE),
        record.side.value,
        record.instance,
        record.member_class,
        record.member_code,
        record.subsystem_code,
        SIGNATURE_DIGEST.digest(record.signature),
    )


def _content(record: MessageRecord) -> tuple[Value, ...]:
    return (record.message, record.signature, record.hash_chain_result, record.hash_chain)


def _attachment_rows(prepared: PreparedRecord, record_id: int) -> list[tuple[Value, ...]]:
    return [
        (record_id, number, body.size, body.digest, body.pieces, body.content)
        for number, body in enumerate(prepared.attachments, start=1)
    ]
