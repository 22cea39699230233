"""What does the background process measure of this machine, and answer for it?"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.errors import PostroadError
from postroad.messages.soap_metrics import metric_content
from postroad.securityserver.environment.certificates_known import known_certificates
from postroad.securityserver.environment.sensors import SAMPLE_INTERVAL, Sensors
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.opmonitoring.protocol import MetricsArgument
from postroad.securityserver.serverconf.snapshot import SnapshotFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from postroad.clock import Clock
    from postroad.ports import KeyCertificate
    from postroad.securityserver.opmonitoring.service import WorkerStates
    from postroad.securityserver.settings import Settings

HEARD_SECONDS: Final = 60.0
"""How long a worker counts after it was last heard of."""


class EnvironmentService:
    """The sensors, and who asks them; one question at a time, for it takes a look at everything."""

    def __init__(
        self,
        settings: Settings,
        certificates: Callable[[], Awaitable[Sequence[KeyCertificate]]],
        workers: WorkerStates,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._certificates = certificates
        self._clock = clock
        self._serverconf = SnapshotFile(settings.snapshot_path)
        self._sensors = Sensors(lambda: workers.lately(HEARD_SECONDS))
        self._asking = asyncio.Lock()

    async def sample(self) -> Outcome:
        """A job: measure once."""
        await asyncio.to_thread(self._sensors.sample)
        return Outcome(SAMPLE_INTERVAL, silent=True)

    async def answer(self, argument: bytes) -> str:
        """Metrics as XML."""
        wanted = msgspec.msgpack.decode(argument, type=MetricsArgument)
        async with self._asking:
            keys: Sequence[KeyCertificate] = ()
            with suppress(PostroadError):  # the rest is worth telling when the signer is down
                keys = await self._certificates()
            return await asyncio.to_thread(self._measure, wanted, keys)

    def _measure(self, wanted: MetricsArgument, keys: Sequence[KeyCertificate]) -> str:
        with suppress(PostroadError):
            self._serverconf.refresh()
        certificates = known_certificates(self._settings.home_path, keys, self._serverconf.view)
        return metric_content(
            self._sensors.metrics(
                wanted.names, certificates, self._clock.now(), limited=wanted.limited
            )
        )
