"""When does the background process have the server backed up?

Once a day, by another process: the database library would stay in this one for good.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from postroad.adapters.backups.schedule import seconds_until_daily
from postroad.errors import ConfigurationError
from postroad.securityserver.jobs import Outcome

if TYPE_CHECKING:
    from postroad.clock import Clock
    from postroad.securityserver.settings import Settings

_SECONDS: Final = 600


class BackupJob:
    """Has the server backed up at 03:15 UTC, as the reference does."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._has_waited = False

    async def run(self) -> Outcome:
        """Back up once; the first call only waits for the hour."""
        if self._has_waited and self._settings.backup.automatic:
            await _back_up(self._settings)
        silent = not self._has_waited
        self._has_waited = True
        return Outcome(seconds_until_daily(self._clock.now()), silent=silent)


async def _back_up(settings: Settings) -> None:
    process = await asyncio.create_subprocess_exec(
        *("nice", "-n10", sys.executable, "-m", "postroad", "server", "backup", "create"),
        *("--automatic", "--home", settings.home),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            code = await process.wait()
    except TimeoutError:
        process.kill()
        code = -1
    if code != 0:
        raise ConfigurationError(f"the server could not be backed up (exit code {code})")
