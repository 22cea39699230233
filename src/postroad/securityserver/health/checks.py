"""Can this server exchange messages now?

The checks are made in their order up to the first that fails; texts name what fails and nothing
else, for load balancers and whoever listens to them. Source: IG-XLB 3.4; reference: HealthChecks,
HealthCheckPort. Beyond the reference's: a signing key, the message log, the proxy workers. And a
token that is logged out shows within seconds, for the signer is asked every time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from postroad.errors import PostroadError
from postroad.securityserver.certificate_states import OcspState, ocsp_state
from postroad.securityserver.serverconf.snapshot import SnapshotFile
from postroad.securityserver.snapshots import OcspDirectory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.adapters.log_protocol import LogStatus
    from postroad.clock import Clock
    from postroad.ports import KeyCertificate
    from postroad.securityserver.globalconf_files import CurrentConfiguration
    from postroad.securityserver.opmonitoring.service import WorkerStates
    from postroad.securityserver.settings import Settings

CHECK_SECONDS: Final = 5.0
"""How long one check may take."""
REMEMBERED_SECONDS: Final = 2.0
"""How long a verdict is told without looking again."""
MISSED_SIGNS: Final = 3
"""Signs of life that a worker may miss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Whom we ask how the server is doing."""

    configuration: CurrentConfiguration
    certificates: Callable[[], Awaitable[Sequence[KeyCertificate]]]
    log_status: Callable[[], Awaitable[LogStatus]]
    workers: WorkerStates
    clock: Clock


class Health:
    """Asks everything that an exchange needs; many may ask at a time, one look is made."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self._settings = settings
        self._sources = sources
        self._ocsp = OcspDirectory(settings.ocsp_path)
        self._serverconf = SnapshotFile(settings.snapshot_path)
        self._looking = asyncio.Lock()
        self._verdict = "Nothing has been checked yet"
        self._until = float("-inf")

    async def failure(self) -> str:
        """What fails first; empty if the server is healthy."""
        async with self._looking:
            if monotonic() >= self._until:
                self._verdict = await self._first_failure()
                self._until = monotonic() + REMEMBERED_SECONDS
            return self._verdict

    async def _first_failure(self) -> str:
        checks: Sequence[tuple[Callable[[], Awaitable[str]], str]] = (
            (self._check_configuration, "Global configuration is expired"),
            (self._check_keys, "No authentication key available. Signer might be down."),
            (self._check_serverconf, "ServerConf is not available"),
            (self._check_log, "Message log is not available"),
            (self._check_workers, "No proxy worker is running"),
        )
        for check, otherwise in checks:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    failure = await check()
            except (PostroadError, OSError, TimeoutError):
                failure = otherwise
            if failure:
                return failure
        return ""

    async def _check_configuration(self) -> str:
        await self._sources.configuration.get()
        return ""

    async def _check_keys(self) -> str:
        keys = [
            key for key in await self._sources.certificates() if key.active and key.token_active
        ]
        authentication = [key for key in keys if key.usage == "AUTHENTICATION"]
        if not authentication:
            return "No authentication key available. Signer might be down."
        globalconf = await self._sources.configuration.get()
        await asyncio.to_thread(self._ocsp.refresh)
        responses, at = self._ocsp.responses, self._sources.clock.now()
        states = [ocsp_state(key, responses, globalconf, at) for key in authentication]
        if OcspState.GOOD not in states:
            return f"Authentication key OCSP response status {states[0]}"
        signing = [key for key in keys if key.usage == "SIGNING"]
        return "" if signing else "No signing key available"

    async def _check_serverconf(self) -> str:
        await asyncio.to_thread(self._serverconf.refresh)
        return ""

    async def _check_log(self) -> str:
        status = await self._sources.log_status()
        if status.last_error:
            return "Message log database did not respond as expected"
        return "Message log takes no messages" if status.refusing else ""

    async def _check_workers(self) -> str:
        patience = MISSED_SIGNS * self._settings.monitoring.sending_interval
        return "" if self._sources.workers.lately(patience) else "No proxy worker is running"
