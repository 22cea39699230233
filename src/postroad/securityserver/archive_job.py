"""When does the background process have the message log archived?

Another process does it (see ``messagelog.archive_run``), with less of a claim to the processor than
messages have, and is gone afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.jobs import Outcome

if TYPE_CHECKING:
    from postroad.clock import Clock
    from postroad.securityserver.settings import Settings

FIRST_RUN: Final = 300.0
"""Seconds after the start of a server: what starts it has other work first."""
_NICE: Final = 19
_STOP_SECONDS: Final = 10.0
_MAX_OUTPUT: Final = 1 << 20


class _RunFacts(msgspec.Struct, kw_only=True):
    """What ``postroad server archive now --json`` prints."""

    archives: list[str]
    records: int
    transferred: list[str]
    missing: list[str]
    cleaned: int
    damaged: list[int]
    error_code: str | None
    error: str | None


class ArchiveJob:
    """Has the log archived every ``archive_interval``, and cleaned every ``clean_interval``."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._next_clean = clock.now()
        self._has_waited = False

    async def run(self) -> Outcome:
        """Archive once; the first call only waits until a server has started."""
        section = self._settings.message_log
        interval = min(section.archive_interval, section.clean_interval)
        if not self._has_waited:
            self._has_waited = True
            return Outcome(min(FIRST_RUN, interval), silent=True)
        is_cleaning = self._clock.now() >= self._next_clean
        facts = await _archive(self._settings, clean=is_cleaning)
        error = None
        if facts.error is not None:
            error = ConfigurationError(facts.error, code=_code(facts.error_code))
        elif is_cleaning:
            self._next_clean = self._clock.now() + timedelta(seconds=section.clean_interval)
        told = {
            "archives": len(facts.archives),
            "records": facts.records,
            "transferred": len(facts.transferred),
            "missing": facts.missing[:10],
            "cleaned": facts.cleaned,
            "damaged": facts.damaged[:10],
        }
        return Outcome(interval, told, error)


async def _archive(settings: Settings, *, clean: bool) -> _RunFacts:
    process = await asyncio.create_subprocess_exec(
        "nice",
        f"-n{_NICE}",
        sys.executable,
        "-m",
        "postroad",
        "server",
        "archive",
        "now",
        "--json",
        "--clean" if clean else "--no-clean",
        "--home",
        settings.home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        limit=_MAX_OUTPUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        raise
    try:
        return msgspec.json.decode(output, type=_RunFacts)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # It has said why on its standard error, which is the server's own.
        raise ConfigurationError(
            f"archiving could not begin (exit code {process.returncode}); see above",
            code=FaultCode.MLOG_ARCHIVING_FAILED,
        ) from None


def _code(text: str | None) -> FaultCode:
    try:
        return FaultCode(text or "")
    except ValueError:
        return FaultCode.MLOG_ARCHIVING_FAILED
