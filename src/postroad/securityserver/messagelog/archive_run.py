"""How is a server's message log archived, by a process of its own?

Packing containers keeps a processor busy and needs memory, so no process that has other work does
it. A lock keeps a second one out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.adapters.archive_client import ArchiveClient
from postroad.adapters.file_locks import only_one
from postroad.adapters.system_clock import SystemClock
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.messagelog.archive_files import ArchiveDirectory
from postroad.securityserver.messagelog.archive_plan import ArchivePlanner
from postroad.securityserver.messagelog.archiving import Archiver, ArchiveReport, ArchiveRules
from postroad.securityserver.messagelog.reading import LogReader
from postroad.securityserver.messagelog.record_keys import log_keys_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.securityserver.settings import Settings

LOCK_FILE: Final = "archive.lock"


async def archive_log(settings: Settings, *, clean: bool = True) -> ArchiveReport:
    """Archive, transfer and clean a running server's message log once.

    Raises ``ConfigurationError`` (``mlog.archiving_failed``) if that goes on already, and what
    ``load_sealer`` raises for keys that are missing.
    """
    taken = ConfigurationError(
        "the message log is being archived already", code=FaultCode.MLOG_ARCHIVING_FAILED
    )
    with only_one(settings.run_path / LOCK_FILE, taken):
        seal = _sealing(settings)
        log = ArchiveClient(settings.logwriter_socket)
        reader = LogReader.open(settings.messagelog_url, log_keys_of(settings))
        planner = ArchivePlanner.open(settings.messagelog_url)
        try:
            archiver = Archiver(
                log=log,
                reader=reader,
                planner=planner,
                directory=ArchiveDirectory(settings.archive_path),
                rules=rules_of(settings),
                clock=SystemClock(),
                seal=seal,
            )
            return await archiver.run(clean=clean)
        finally:
            planner.close()
            reader.close()
            log.close()


def rules_of(settings: Settings) -> ArchiveRules:
    """Take the rules of archiving out of the settings."""
    section = settings.message_log
    return ArchiveRules(
        max_bytes=section.archive_max_filesize,
        grouping=section.archive_grouping,
        transfer_command=section.archive_transfer_command,
        transfer_seconds=section.archive_transfer_timeout,
        remove_transferred=section.archive_remove_transferred,
        keep_records=timedelta(days=section.keep_records_for),
    )


def _sealing(settings: Settings) -> Callable[[bytes, str], bytes] | None:
    if not settings.message_log.archive_encryption_enabled:
        return None
    # Only who encrypts pays for the library.
    from postroad.securityserver.messagelog.archive_encryption import load_sealer  # noqa: PLC0415 - only where archives are encrypted

    return load_sealer(settings).seal
