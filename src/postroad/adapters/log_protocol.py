"""What do the log writer and its clients say to each other?

Calls over the log writer's socket: a method name and one argument. A record travels as the
MessagePack of ``MessageRecord`` (see the message log), each encoded by itself, so that one that
can't be read fails alone.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import Final

import msgspec

APPEND: Final = "append"
INSERT_TIMESTAMP: Final = "insert_timestamp"
APPLY_TIMESTAMPS: Final = "apply_timestamps"
APPLY_SINGLE: Final = "apply_single"
SET_STATE: Final = "set_state"
STATUS: Final = "status"


class AppendOutcome(msgspec.Struct, frozen=True, array_like=True):
    """What became of one record: its id, or the fault code and why it isn't in the log."""

    id: int
    code: str = ""
    message: str = ""


class TimestampArgument(msgspec.Struct, frozen=True, array_like=True):
    """A time-stamp to store: DER token, and a batch's hash chain result."""

    token: bytes
    hash_chain_result: bytes | None
    at: datetime


class StampedArgument(msgspec.Struct, frozen=True, array_like=True):
    """A record that a batch time-stamp covers, what of it was stamped, and its hash chain."""

    record_id: int
    signature_hash: bytes
    hash_chain: bytes


class ApplyArgument(msgspec.Struct, frozen=True, array_like=True):
    """Records that the time-stamp of the given record id covers."""

    timestamp_id: int
    stamped: tuple[StampedArgument, ...]


class SingleArgument(msgspec.Struct, frozen=True, array_like=True):
    """A record's own time-stamp, and its signature with the token inside."""

    record_id: int
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
    oldest_pending: datetime | None
    """The oldest record without a time-stamp, as of the last look."""
    log_bytes: int
    """Size of the database's write-ahead log in bytes."""
