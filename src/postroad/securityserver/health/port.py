"""What does the port for load balancers and monitoring systems answer?

On any path: 200 with nothing, or 500 and what fails. ``/healthz`` says only that this process is
alive; ``/metrics`` has the figures, if the settings want that. Plain HTTP on a port of its own, off
by default, and never one of the message ports. Source: IG-XLB 3.4; reference: HealthCheckPort.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_server import HttpServer
from postroad.errors import ConfigurationError, PostroadError
from postroad.securityserver.jobs import Outcome
from postroad.securityserver.snapshots import OcspDirectory

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from postroad.adapters.http_exchange import Request, Responder
    from postroad.adapters.http_server import Listener
    from postroad.securityserver.health.checks import Health, Sources
    from postroad.securityserver.health.figures import Figures
    from postroad.securityserver.settings import Settings

_T = TypeVar("_T")

METRICS_PATH: Final = "/metrics"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The format of Prometheus."""
LIVENESS_PATH: Final = "/healthz"
REMEMBERED_SECONDS: Final = 2.0
"""How long figures are told without looking again."""
ASK_SECONDS: Final = 5.0
HEARD_SECONDS: Final = 60.0
_LOOK_INTERVAL: Final = 3600.0
_LIMITS: Final = ServerLimits(max_connections=64, idle_timeout=30.0, max_head=16 * 1024)
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")


class MonitoringPort:
    """The port of the background process."""

    def __init__(self, settings: Settings, health: Health, sources: Sources) -> None:
        self._settings = settings
        self._health = health
        self._sources = sources
        self._ocsp = OcspDirectory(settings.ocsp_path)
        self._server = HttpServer(self._answer, _LIMITS)
        self._listener: Listener | None = None
        self._looking = asyncio.Lock()
        self._text = b""
        self._until = float("-inf")
        self.figures: Figures | None = None
        """None if nobody is to get them."""
        if settings.monitoring.metrics:
            # Most servers do without, and the library would cost them some memory.
            from postroad.securityserver.health.figures import Figures  # noqa: PLC0415 - only where figures are shown

            self.figures = Figures()

    @property
    def port(self) -> int:
        """Where it listens; 0 if it doesn't."""
        return 0 if self._listener is None else self._listener.port

    async def open(self) -> Outcome:
        """A job: open the port, unless it is; one that can't be opened is tried again."""
        section = self._settings.monitoring
        if section.health_check_port and self._listener is None:
            host, port = section.health_check_host, section.health_check_port
            try:
                self._listener = await self._server.listen(host, port, reuse_port=False)
            except OSError as error:
                raise ConfigurationError(
                    f"the health check can't listen on {host} port {port}: {error.strerror}"
                ) from error
        return Outcome(_LOOK_INTERVAL, {"port": self.port}, silent=not self.port)

    async def close(self) -> None:
        """Answer no more."""
        await self._server.drain(1.0)

    async def _answer(self, request: Request, responder: Responder) -> None:
        path = request.target.partition("?")[0]
        if path == LIVENESS_PATH:
            await responder.respond(200)
        elif path == METRICS_PATH and self.figures is not None:
            text = await self._figures(self.figures)
            await responder.respond(200, [("Content-Type", CONTENT_TYPE)], text)
        elif failure := await self._health.failure():
            await responder.respond(500, [_TEXT], f"{failure}\n".encode())
        else:
            await responder.respond(200)

    async def _figures(self, figures: Figures) -> bytes:
        async with self._looking:
            if monotonic() >= self._until:
                await self._look(figures)
                self._text = figures.text()
                self._until = monotonic() + REMEMBERED_SECONDS
            return self._text

    async def _look(self, figures: Figures) -> None:
        at = self._sources.clock.now()
        figures.note_health(healthy=not await self._health.failure())
        figures.note_workers(self._sources.workers.lately(HEARD_SECONDS))
        figures.note_processes(await asyncio.to_thread(self._processes))
        figures.note_log(await _asked(self._sources.log_status), at)
        globalconf = await _asked(self._sources.configuration.get)
        figures.note_configuration(None if globalconf is None else globalconf.expires_at)
        with suppress(OSError):
            await asyncio.to_thread(self._ocsp.refresh)
        keys = await _asked(self._sources.certificates)
        figures.note_certificates(keys or (), self._ocsp.responses, at)

    def _processes(self) -> Mapping[str, int]:
        try:
            status = json.loads((self._settings.run_path / "status.json").read_bytes())
            return own_processes(status["children"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return own_processes(())


async def _asked(question: Callable[[], Awaitable[_T]]) -> _T | None:
    """The answer of another process, or None if there is none in time."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await question()
    except (PostroadError, TimeoutError):
        return None


def own_processes(children: Sequence[Mapping[str, object]]) -> dict[str, int]:
    """Names and ids of our processes, of what the supervisor's status file lists."""
    found = {"supervisor": os.getppid()}
    for child in children:
        name, pid = child.get("name"), child.get("pid")
        if isinstance(name, str) and isinstance(pid, int):
            found[name] = pid
    return found
