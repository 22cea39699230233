"""What do the log writer and its clients say to each other?

Calls over the log writer's socket: a method name and one argument. Records travel many to a frame;
each is encoded by itself, so that one that can't be read fails alone. The messages of one batch
signature have the same signature document and hash chain result, which a frame holds once.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from postroad.evidence.log_record import Body, Direction, Side

APPEND: Final = "append"
INSERT_TIMESTAMP: Final = "insert_timestamp"
APPLY_TIMESTAMPS: Final = "apply_timestamps"
APPLY_SINGLE: Final = "apply_single"
SET_STATE: Final = "set_state"
STATUS: Final = "status"


class SignatureForm(msgspec.Struct, frozen=True, array_like=True):
    """A signature document, and the hash chain result of a batch."""

    signature: bytes
    hash_chain_result: bytes | None


class RecordForm(msgspec.Struct, frozen=True, array_like=True):
    """A ``MessageRecord`` on its way; ``signature`` is an index into the frame's signatures."""

    query_id: str
    request_id: str | None
    direction: Direction
    side: Side
    instance: str
    member_class: str
    member_code: str
    subsystem_code: str | None
    message: bytes
    attachments: tuple[Body, ...]
    signature: int
    hash_chain: bytes | None
    created_at: datetime


class AppendArgument(msgspec.Struct, frozen=True, array_like=True):
    """Records to store, each the encoded form of a ``RecordForm``."""

    signatures: list[SignatureForm]
    records: list[msgspec.Raw]


class AppendFailure(msgspec.Struct, frozen=True, array_like=True):
    """Why one record isn't in the log: a fault code and a text."""

    code: str
    message: str


class AppendResult(msgspec.Struct, frozen=True, array_like=True):
    """What became of a frame's records: their ids in order, 0 for those that have a failure."""

    ids: list[int]
    failures: dict[int, AppendFailure] = {}
    """By the record's position in the frame."""


class TimestampArgument(msgspec.Struct, frozen=True, array_like=True):
    """A batch's time-stamp to store: DER token, hash chain result, and the digests it joins."""

    token: bytes
    hash_chain_result: bytes
    leaves: bytes
    at: datetime


class ApplyArgument(msgspec.Struct, frozen=True, array_like=True):
    """Signatures that a time-stamp covers: their ids, from leaf ``first_leaf`` on, in order."""

    timestamp_id: int
    first_leaf: int
    signature_ids: list[int]


class SingleArgument(msgspec.Struct, frozen=True, array_like=True):
    """A signature's own time-stamp, and the signature with the token inside."""

    signature_id: int
    signature_hash: bytes
    signature: bytes
    token: bytes
    at: datetime


class StateArgument(msgspec.Struct, frozen=True, array_like=True):
    """A named value to keep."""

    name: str
    value: bytes


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How the message log is doing, for diagnostics."""

    refusing: str = ""
    """Why no message can be logged now; empty if messages can be logged."""
    last_error: str = ""
    """The last trouble with the database; empty since a commit has succeeded after it."""
    queued: int
    """Records that wait for a commit."""
    written: int
    """Records stored since this process started."""
    commits: int = 0
    """Commits that stored them."""
    oldest_pending: datetime | None
    """The oldest record without a time-stamp, as of the last look."""
    log_bytes: int
    """Size of the database's write-ahead log in bytes."""
