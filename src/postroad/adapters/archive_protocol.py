"""What does whoever archives the message log ask of the log writer?

More calls over the log writer's socket; see ``log_protocol``. Numbers of records travel as they are
kept: eight bytes each, the most significant first.
"""

from __future__ import annotations

from datetime import datetime
from enum import IntEnum
from typing import Final

import msgspec

ADD_ARCHIVE: Final = "add_archive"
SET_ARCHIVE_STATE: Final = "set_archive_state"
SET_ARCHIVED: Final = "set_archived"
CLEAN: Final = "clean"
RECORD_ID_BYTES: Final = 8


class ArchiveState(IntEnum):
    """How far an archive has come."""

    MADE = 0
    """It is on the disk and its records count as archived, but it hasn't its name yet."""
    PUBLISHED = 1
    TRANSFERRED = 2


class AddArchiveArgument(msgspec.Struct, frozen=True, array_like=True):
    """An archive that is complete on the disk, and what it holds."""

    group: str
    """``INSTANCE/CLASS/CODE[/SUBSYSTEM]``; empty where archives hold records of everybody."""
    previous_digest: str
    """The end that it goes on from; the group's last, or it is refused."""
    digest: str
    file_name: str
    record_ids: bytes
    at: datetime


class ArchiveStateArgument(msgspec.Struct, frozen=True, array_like=True):
    """How far an archive has come now."""

    file_name: str
    state: ArchiveState


class CleanArgument(msgspec.Struct, frozen=True, array_like=True):
    """Remove archived records made before a moment, from a number on, so many at most."""

    before: datetime
    after_id: int
    at_most: int


class CleanResult(msgspec.Struct, frozen=True, array_like=True):
    """How many records were removed, and where to go on; ``done`` if nothing else is due."""

    removed: int
    last_id: int
    done: bool


def pack_ids(ids: list[int]) -> bytes:
    """Write numbers of records."""
    return b"".join([number.to_bytes(RECORD_ID_BYTES, "big") for number in ids])


def unpack_ids(data: bytes) -> list[int]:
    """Read numbers of records."""
    size = RECORD_ID_BYTES
    return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]
