"""How are records and time-stamps put into the message log, and its state kept?

``LogStore`` is used by one process, the log writer, for one call at a time. What must go together
goes in one transaction, and nothing is acknowledged before that transaction is on the disk.
Reading is in ``reading``; it has a connection of its own and never waits for the writer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

import msgspec

from postroad.securityserver.messagelog.database import unusable
from postroad.securityserver.messagelog.query_index import QueryIndex
from postroad.securityserver.messagelog.records import (
    SIGNATURE_DIGEST,
    Direction,
    MessageRecord,
    epoch_milliseconds,
    logging_failed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.securityserver.messagelog.body_files import BodyFiles
    from postroad.securityserver.messagelog.database import LogDatabase, Value

PIECE_BYTES: Final = 1024 * 1024
"""Most bytes of an attachment that one row and one transaction take."""

SHARING_DISTANCE: Final = 1000
"""How far apart, in record numbers, records may be that have their signature in common."""
_SIGNATURES_KNOWN: Final = 64
_MAX_KNOWN_BYTES: Final = 64 * 1024

_RECORD_COLUMNS: Final = (
    "id",
    "time",
    "signature_id",
    "response",
    "side",
    "queryid",
    "xrequestid",
    "instance",
    "memberclass",
    "membercode",
    "subsystemcode",
    "message",
    "hashchain",
    "body",
)
_SIGNATURE_COLUMNS: Final = ("id", "hashchainresult", "signature")
_WAITING_COLUMNS: Final = ("signature_id", "time", "signaturehash")
_ATTACHMENT_COLUMNS: Final = (
    "logrecord_id",
    "attachment_no",
    "size",
    "digest",
    "pieces",
    "content",
    "filed",
)
_PIECE_COLUMNS: Final = ("logrecord_id", "attachment_no", "piece_no", "content")
_WAITING_BETWEEN: Final = """
    SELECT signature_id, signaturehash FROM waiting_signature WHERE signature_id BETWEEN ? AND ?
"""
_NOT_WAITING_BETWEEN: Final = "DELETE FROM waiting_signature WHERE signature_id BETWEEN ? AND ?"
_NOT_WAITING: Final = "DELETE FROM waiting_signature WHERE signature_id = ?"


@dataclass(frozen=True, slots=True)
class PreparedAttachment:
    """An attachment as it is stored: its SHA-512 and size, and where its bytes are.

    ``content`` holds them; or so many ``pieces`` were written before; or they are a file
    (``filed``); or none of that, and the digest alone is kept.
    """

    digest: bytes
    size: int
    content: bytes | None = field(default=None, repr=False)
    pieces: int | None = None
    filed: bool = False


class PreparedRecord(msgspec.Struct, frozen=True):
    """A record ready to be stored: with the content of its only attachment, or its attachments.

    ``id`` is set if pieces were stored ahead of it.
    """

    record: MessageRecord
    attachments: tuple[PreparedAttachment, ...] = ()
    id: int | None = None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Up to ``PIECE_BYTES`` of an attachment, stored ahead of its record; numbers from 0."""

    record_id: int
    attachment_no: int
    piece_no: int
    content: bytes = field(repr=False)


class LogStore:
    """Writes to the message log.

    Every method raises ``ConfigurationError``: ``logging_failed.database_error`` while the
    database can't be used (a later call may succeed), ``logging_failed`` for values it refuses.
    """

    def __init__(self, database: LogDatabase) -> None:
        self._database = database
        self._prepared = False
        self._known: dict[bytes, tuple[int, bytes]] = {}
        """By hash chain result: the number and the signature of batches stored lately."""
        self._index = QueryIndex(database)

    @property
    def is_remote(self) -> bool:
        """Whether another process or machine must answer before a call returns."""
        return self._database.is_remote

    @property
    def body_files(self) -> BodyFiles | None:
        """Where large bodies are kept as files, if anywhere."""
        return self._database.body_files

    def prepare(self) -> None:
        """Create or upgrade the schema and remove what a crash left half written; once is enough.

        Every other method does this first if it hasn't succeeded yet.
        """
        if not self._prepared:
            self._database.migrate()
            with self._database.transaction():
                for (record_id,) in self._database.rows(
                    "SELECT logrecord_id FROM unfinished_record"
                ):
                    self._remove_pieces(record_id)
            self._prepared = True
        self._index.settle()

    def write(self, records: Sequence[PreparedRecord], pieces: Sequence[Piece] = ()) -> list[int]:
        """Store records, and pieces of other records, in one transaction; return the records' ids.

        They are durable when this returns.
        """
        self.prepare()
        try:
            with self._database.transaction():
                if pieces:
                    self._database.insert(
                        "attachment_piece",
                        _PIECE_COLUMNS,
                        [(p.record_id, p.attachment_no, p.piece_no, p.content) for p in pieces],
                    )
                ids = self._insert_records(records) if records else []
            self._index.stored(
                (prepared.record.query_id, record_id)
                for record_id, prepared in zip(ids, records, strict=True)
                if prepared.id is None
            )
            return ids
        except BaseException:
            # A connection that is lost during a commit doesn't tell whether the records are there.
            self._known.clear()
            self._index.doubt()
            raise

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
        self, token: bytes, hash_chain_result: bytes, leaves: bytes, *, at: datetime
    ) -> int:
        """Store a batch's time-stamp (DER token) and return its record id.

        ``leaves`` are the digests that the hash chain joins, one after the other.
        """
        self.prepare()
        with self._database.transaction():
            return self._insert_timestamp(token, hash_chain_result, leaves, at)

    def apply_timestamps(
        self, timestamp_id: int, first_leaf: int, signature_ids: Sequence[int]
    ) -> int:
        """Mark signatures as covered by a batch time-stamp, from one of its leaves on, in order.

        A signature whose digest isn't that leaf is left alone, and so is one that has a stamp.
        Returns how many were marked.
        """
        self.prepare()
        with self._database.transaction():
            leaves = self._leaves(timestamp_id, first_leaf, len(signature_ids))
            if not signature_ids:
                return 0
            bounds = (min(signature_ids), max(signature_ids))
            waiting = self._waiting_between(*bounds)
            marked: list[tuple[Value, ...]] = [
                (signature_id, timestamp_id, leaf)
                for leaf, (signature_id, digest) in enumerate(
                    zip(signature_ids, leaves, strict=True), first_leaf
                )
                if waiting.get(signature_id) == digest
            ]
            self._database.insert(
                "stamped_signature", ("signature_id", "timestamprecord", "leaf"), marked
            )
            if len(marked) == len(waiting):
                self._database.change(_NOT_WAITING_BETWEEN, bounds)
            else:
                self._database.change_many(_NOT_WAITING, [row[:1] for row in marked])
            return len(marked)

    def apply_single(
        self,
        signature_id: int,
        signature_hash: bytes,
        *,
        signature: bytes,
        token: bytes,
        at: datetime,
    ) -> bool:
        """Store a signature's own time-stamp, and the signature with the token inside.

        Returns False, and changes nothing, if the signature is no longer waiting for this stamp.
        """
        self.prepare()
        with self._database.transaction():
            waiting = self._waiting_between(signature_id, signature_id)
            if waiting.get(signature_id) != signature_hash:
                return False
            self._database.change(_NOT_WAITING, (signature_id,))
            timestamp_id = self._insert_timestamp(token, None, None, at)
            self._database.change(
                "UPDATE signature SET signature = ? WHERE id = ?", (signature, signature_id)
            )
            self._database.insert(
                "stamped_signature",
                ("signature_id", "timestamprecord"),
                [(signature_id, timestamp_id)],
            )
            self._known.clear()  # the signature there isn't the one that further records have
            return True

    @property
    def unlisted(self) -> int:
        """How many records the index for searches doesn't have yet."""
        return self._index.missing

    def list_queries(self, at_most: int) -> int:
        """Put some records into the index for searches; return how many are left of this round."""
        self.prepare()
        return self._index.list(at_most)

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
        fresh = iter(database.reserve_ids(sum([prepared.id is None for prepared in records])))
        ids: list[int] = []
        rows: list[tuple[Value, ...]] = []
        signatures: list[tuple[Value, ...]] = []
        waiting: list[tuple[Value, ...]] = []
        attachments: list[tuple[Value, ...]] = []
        for prepared in records:
            record = prepared.record
            record_id = next(fresh) if prepared.id is None else prepared.id
            time = epoch_milliseconds(record.created_at)
            signature_id = self._signature_id(record, record_id)
            if signature_id == record_id:
                digest = SIGNATURE_DIGEST.digest(record.signature)
                signatures.append((record_id, record.hash_chain_result, record.signature))
                waiting.append((record_id, time, digest))
            ids.append(record_id)
            rows.append(_record_row(prepared, record_id, time, signature_id))
            if prepared.attachments:
                attachments += _attachment_rows(prepared, record_id)
        database.insert("signature", _SIGNATURE_COLUMNS, signatures)
        database.insert("waiting_signature", _WAITING_COLUMNS, waiting)
        database.insert("logrecord", _RECORD_COLUMNS, rows)
        database.insert("message_attachment", _ATTACHMENT_COLUMNS, attachments)
        early = [prepared for prepared in records if prepared.id is not None]
        if early:
            self._index.list_at_once(
                (prepared.record.query_id, record_id)
                for record_id, prepared in zip(ids, records, strict=True)
                if prepared.id is not None
            )
            database.change_many(
                "DELETE FROM unfinished_record WHERE logrecord_id = ?", [(p.id,) for p in early]
            )
        return ids

    def _set_state(self, name: str, value: bytes) -> None:
        self._database.change(
            "INSERT INTO log_state (name, value) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _signature_id(self, record: MessageRecord, record_id: int) -> int:
        """Return the number of a signature stored lately that is the record's, or the record's."""
        result = record.hash_chain_result
        if result is None:  # no batch
            return record_id
        known = self._known.get(result)
        if (
            known is not None
            and 0 < record_id - known[0] < SHARING_DISTANCE
            and known[1] == record.signature
        ):
            return known[0]
        if len(record.signature) > _MAX_KNOWN_BYTES:
            return record_id
        if len(self._known) >= _SIGNATURES_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[result] = (record_id, record.signature)
        return record_id

    def _insert_timestamp(
        self, token: bytes, result: bytes | None, leaves: bytes | None, at: datetime
    ) -> int:
        (timestamp_id,) = self._database.reserve_ids(1)
        self._database.insert(
            "timestamp_record",
            ("id", "time", "timestamp", "hashchainresult", "leaves"),
            [(timestamp_id, epoch_milliseconds(at), token, result, leaves)],
        )
        return timestamp_id

    def _waiting_between(self, first: int, last: int) -> dict[int, bytes]:
        """Return the digests of the signatures that wait, by their numbers."""
        rows = self._database.rows(_WAITING_BETWEEN, (first, last))
        return dict(cast("list[tuple[int, bytes]]", rows))

    def _leaves(self, timestamp_id: int, first: int, count: int) -> list[bytes]:
        size = SIGNATURE_DIGEST.size
        found = self._database.rows(
            "SELECT SUBSTR(leaves, ?, ?) FROM timestamp_record WHERE id = ?",
            (first * size + 1, count * size, timestamp_id),
        )
        leaves = found[0][0] if found else None
        if not isinstance(leaves, bytes) or len(leaves) != count * size:
            raise logging_failed(
                f"there is no time-stamp record {timestamp_id} of {first + count} signatures"
            )
        return [leaves[at : at + size] for at in range(0, len(leaves), size)]

    def _remove_pieces(self, record_id: Value) -> None:
        """Remove what was stored ahead of a record, unless the record is there."""
        files = self._database.body_files
        if (
            files is not None
            and isinstance(record_id, int)
            and not self._database.rows("SELECT 1 FROM logrecord WHERE id = ?", (record_id,))
        ):
            try:
                files.remove(record_id)
            except OSError as error:
                raise unusable(str(error)) from error
        self._database.change(
            "DELETE FROM attachment_piece WHERE logrecord_id = ? "
            "AND NOT EXISTS (SELECT 1 FROM logrecord WHERE id = logrecord_id)",
            (record_id,),
        )
        self._database.change("DELETE FROM unfinished_record WHERE logrecord_id = ?", (record_id,))


def _record_row(
    prepared: PreparedRecord, record_id: int, time: int, signature_id: int
) -> tuple[Value, ...]:
    record = prepared.record
    return (
        record_id,
        time,
        signature_id,
        int(record.direction is Direction.RESPONSE),
        record.side.value,
        record.query_id,
        record.request_id,
        record.instance,
        record.member_class,
        record.member_code,
        record.subsystem_code,
        record.message,
        record.hash_chain,
        prepared.body,
    )


def _attachment_rows(prepared: PreparedRecord, record_id: int) -> list[tuple[Value, ...]]:
    return [
        (
            record_id,
            number,
            body.size,
            body.digest,
            body.pieces,
            body.content,
            1 if body.filed else None,
        )
        for number, body in enumerate(prepared.attachments, start=1)
    ]
