"""Is the stored global configuration, by which all messages are judged, valid now?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError
from postroad.securityserver.doctor.configuration import NAME as DOWNLOAD
from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.patient import attempt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "configuration expiry"
SOON: Final = timedelta(minutes=3)
_EXPLAINED_BY: Final = (DOWNLOAD, "anchor", "server", "clock", "processes", "files", "disk")


async def examine(patient: Patient) -> Sequence[Finding]:
    """Load what is stored."""
    return judge(await attempt(patient.globalconf()), patient.clock.now())


def judge(stored: GlobalConfiguration | PostroadError, at: datetime) -> list[Finding]:
    """Once it has expired no message is exchanged."""
    tell = Telling(NAME)
    advice = "it is renewed by the background process: look at its log, and restart the server"
    if isinstance(stored, PostroadError):
        return [tell.failed(stored.message, advice, symptom_of=_EXPLAINED_BY)]
    try:
        stored.ensure_valid(at)
    except PostroadError as error:
        return [
            tell.failed(
                f"{error.message}; no message is exchanged", advice, symptom_of=_EXPLAINED_BY
            )
        ]
    if stored.expires_at is None:
        return [tell.ok(f"version {stored.version}, which never expires")]
    left = stored.expires_at - at
    seen = f"version {stored.version}, valid for {int(left.total_seconds())} s more"
    return [tell.warning(seen, advice) if left < SOON else tell.ok(seen)]
