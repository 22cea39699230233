"""How does whoever archives the message log reach the log writer?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.adapters import archive_protocol as protocol
from postroad.adapters.log_client import LogClient

if TYPE_CHECKING:
    from datetime import datetime


class ArchiveClient(LogClient):
    """The log writer behind its socket, with what only archiving needs."""

    async def add_archive(self, archive: protocol.AddArchiveArgument) -> None:
        """Keep that an archive is complete and its records are archived, both or neither."""
        await self._call(protocol.ADD_ARCHIVE, archive, type(None))

    async def set_archive_state(self, file_name: str, state: protocol.ArchiveState) -> None:
        """Keep how far an archive has come."""
        argument = protocol.ArchiveStateArgument(file_name, state)
        await self._call(protocol.SET_ARCHIVE_STATE, argument, type(None))

    async def set_archived(self, up_to: int) -> None:
        """Keep that every record up to a number is archived, and none of these will come."""
        await self._call(protocol.SET_ARCHIVED, up_to, type(None))

    async def clean(self, before: datetime, after_id: int, at_most: int) -> protocol.CleanResult:
        """Remove some archived records, and what belongs to them alone."""
        argument = protocol.CleanArgument(before, after_id, at_most)
        return await self._call(protocol.CLEAN, argument, protocol.CleanResult)
