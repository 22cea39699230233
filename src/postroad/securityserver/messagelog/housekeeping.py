"""What does the log writer do from time to time: checkpoints, the index, looks, cleaning up?

SQLite's checkpoints are made from a thread and a connection of their own, little and often, so
that no message waits for one.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.adapters.logs import logger
from postroad.errors import ConfigurationError
from postroad.securityserver.messagelog.opening import open_database
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.spooling import remove_orphans

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from postroad.clock import Clock
    from postroad.securityserver.messagelog.intake import LogWriter

CHECKPOINT_BYTES: Final = 2 * 1024 * 1024
"""Committed bytes after which a checkpoint is made at the next tick; they take about three times
as much of the write-ahead log."""
CHECKPOINT_S: Final = 1.0
"""Seconds after which there is one also for less."""
LOG_RESERVE: Final = 16 * 1024 * 1024
"""Room that the write-ahead log has from the start."""
LONGEST_LOG: Final = 8 * 1024 * 1024
"""A write-ahead log that extends so far is begun again, long before its room is used up."""
TICK_S: Final = 0.25
LOOK_S: Final = 10.0
"""Seconds between two looks for the oldest record without a time-stamp."""
LIST_AFTER: Final = 4096
"""So many records that searches have to look through are put into the index at once."""
LIST_S: Final = 10.0
"""Seconds after which also fewer are."""
LIST_STEP: Final = 500
"""Records put into the index in one transaction; messages wait for one such step at most."""
ORPHAN_AGE: Final = timedelta(hours=1)
"""Spool files untouched for so long belong to no exchange any more."""


class Housekeeping:
    """The writer's periodic work; a failure is tried again at the next tick."""

    def __init__(self, writer: LogWriter, url: str, spool: Path, clock: Clock) -> None:
        self._writer = writer
        self._spool = spool
        self._clock = clock
        self._reader = LogReader.open(url)
        self._checkpoints = open_database(url)
        self.log_bytes = 0
        """Extent of the write-ahead log at the last checkpoint."""
        self._next_look = 0.0
        self._trouble: dict[str, str] = {}
        self._log = logger("messagelog")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; nothing is left running when this returns."""
        loop = asyncio.get_running_loop()
        next_clean = 0.0
        next_checkpoint = 0.0
        next_listing = loop.time() + LIST_S
        while not stop.is_set():
            now = loop.time()
            if now >= self._next_look:
                self._next_look = now + LOOK_S
                await self._attempt("look", self.look())
            if now >= next_clean:
                next_clean = now + ORPHAN_AGE.total_seconds()
                await self._attempt("spool", self.clean_spool())
            if now >= next_listing or self._writer.unlisted >= LIST_AFTER:
                next_listing = now + LIST_S
                await self._attempt("list", self.list_queries())
            if now >= next_checkpoint or self._writer.uncheckpointed >= CHECKPOINT_BYTES:
                next_checkpoint = now + CHECKPOINT_S
                await self._attempt("checkpoint", self.checkpoint())
            if self._writer.uncheckpointed < CHECKPOINT_BYTES:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await stop.wait()

    def look_soon(self) -> None:
        """Look for the oldest record without a time-stamp at the next tick."""
        self._next_look = 0.0

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._checkpoints.close()

    async def look(self) -> None:
        """Tell the writer what waits for a time-stamp, and whether stamping works."""
        await self._writer.load_state()
        self._writer.saw_oldest_pending(await asyncio.to_thread(self._reader.oldest_pending))

    async def list_queries(self) -> None:
        """Put the records stored since the last time into the index for searches."""
        if self._writer.unlisted:
            while await self._writer.run(lambda store: store.list_queries(LIST_STEP)):
                pass

    async def checkpoint(self) -> None:
        """Move what was committed out of the write-ahead log, beside the commits."""
        if not self._writer.uncheckpointed:
            return
        self._writer.uncheckpointed = 0
        self.log_bytes = await asyncio.to_thread(self._checkpoints.checkpoint)
        if self.log_bytes > LONGEST_LOG:
            # New frames arrive while others are moved, so the log never gets empty. Between two
            # transactions the few new ones are moved quickly, and the next begins a new log.
            await self._writer.run(lambda store: store.checkpoint())

    async def clean_spool(self) -> None:
        """Remove spool files that nobody came for."""
        limit = (self._clock.now() - ORPHAN_AGE).timestamp()
        removed = await asyncio.to_thread(remove_orphans, self._spool, older_than=limit)
        if removed:
            self._log.warning("orphan spool files removed", count=removed)

    async def _attempt(self, what: str, work: Awaitable[None]) -> None:
        try:
            await work
        except (ConfigurationError, OSError) as error:
            if self._trouble.get(what) != str(error):  # say it once, not at every tick
                self._trouble[what] = str(error)
                with contextlib.suppress(OSError):  # a full disk may hold our own diary, too
                    self._log.warning(
                        "message log housekeeping failed", what=what, reason=str(error)
                    )
        else:
            self._trouble.pop(what, None)
