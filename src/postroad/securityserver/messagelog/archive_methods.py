"""What does the log writer's socket answer to whoever archives the log?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from postroad.adapters import archive_protocol as protocol
from postroad.securityserver.messagelog.archive_register import ArchiveRegister
from postroad.securityserver.messagelog.records import logging_failed
from postroad.securityserver.messagelog.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from postroad.securityserver.messagelog.database import LogDatabase
    from postroad.securityserver.messagelog.intake import LogWriter
    from postroad.securityserver.messagelog.store import LogStore

T = TypeVar("T")

MAX_CLEANED: Final = 1000
"""Most records that one call removes: messages wait meanwhile."""
CLEANED_BYTES: Final = 8 * 1024
"""What the removal of a record adds to what must be moved from the write-ahead log."""


class ArchiveMethods:
    """Answers the calls of ``archive_protocol``; raises ``ConfigurationError`` for the caller."""

    def __init__(self, writer: LogWriter, database: LogDatabase) -> None:
        self._writer = writer
        self._register = ArchiveRegister(database)
        self._retention = Retention(database)

    @property
    def methods(self) -> dict[str, Callable[[bytes], Awaitable[object]]]:
        """The calls by their names."""
        return {
            protocol.ADD_ARCHIVE: self._add,
            protocol.SET_ARCHIVE_STATE: self._set_state,
            protocol.SET_ARCHIVED: self._set_archived,
            protocol.CLEAN: self._clean,
        }

    async def _add(self, argument: bytes) -> None:
        archive = msgspec.msgpack.decode(argument, type=protocol.AddArchiveArgument)
        ids = protocol.unpack_ids(archive.record_ids)
        if not ids or len(archive.record_ids) % protocol.RECORD_ID_BYTES:
            raise logging_failed("an archive holds records")
        await self._run(lambda: self._register.add(archive, max(ids)))
        self._writer.uncheckpointed += len(archive.record_ids)

    async def _set_state(self, argument: bytes) -> None:
        changed = msgspec.msgpack.decode(argument, type=protocol.ArchiveStateArgument)
        await self._run(lambda: self._register.set_state(changed.file_name, changed.state))

    async def _set_archived(self, argument: bytes) -> None:
        up_to = msgspec.msgpack.decode(argument, type=int)
        await self._run(lambda: self._register.set_archived(up_to))

    async def _clean(self, argument: bytes) -> protocol.CleanResult:
        asked = msgspec.msgpack.decode(argument, type=protocol.CleanArgument)
        at_most = min(max(asked.at_most, 1), MAX_CLEANED)
        return await self._run(lambda: self._retention.clean(asked.before, asked.after_id, at_most))

    async def _run(self, work: Callable[[], T]) -> T:
        def prepared(store: LogStore) -> T:
            store.prepare()
            return work()

        return await self._writer.run(prepared)
