"""What runs in a configuration proxy's process, and how does it start and stop?

The composition root: updates at their interval, and the ports that serve what they published.
"""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from postroad.adapters.http_client import HttpClient
from postroad.adapters.logs import logger
from postroad.adapters.system_clock import SystemClock
from postroad.adapters.web_server import open_listener, port_of, web_server
from postroad.centralserver.publication import exclusive
from postroad.centralserver.tls_certificates import ensure_tls_certificate
from postroad.configurationproxy.distribution import distribution_application
from postroad.configurationproxy.updating import ProxyUpdater
from postroad.errors import PostroadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from postroad.centralserver.signing_keys import SigningToken
    from postroad.configurationproxy.settings import Settings
    from postroad.configurationproxy.updating import InstanceReport
    from postroad.ports import HttpFetcher


@dataclass(frozen=True, slots=True)
class ServedAddresses:
    """The ports that a running proxy listens on; with port 0 in the settings, the real ones."""

    http_port: int
    https_port: int | None


def update_once(
    settings: Settings, token: SigningToken, names: Sequence[str] = ()
) -> list[InstanceReport]:
    """Bring the published configuration up to date, once."""

    async def run() -> list[InstanceReport]:
        http = HttpClient()
        try:
            return await _updater(settings, token, http).run_once(names)
        finally:
            http.close()

    with exclusive(settings.home_path / "update.lock"):
        return asyncio.run(run())


async def serve(
    settings: Settings,
    token: SigningToken,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[ServedAddresses], None] | None = None,
) -> None:
    """Update and serve until ``stop`` is set, or a signal to end comes.

    ``ready`` is called once the ports are open. Raises ``ConfigurationError`` when one can't be.
    """
    stop = stop or _stopping_on_signals()
    application = distribution_application(settings.public_path, SystemClock())
    http = HttpClient()
    with ExitStack() as stack:
        stack.callback(http.close)
        section = settings.distribution
        listener = stack.enter_context(open_listener(section.host, section.http_port))
        servers = [(web_server(application), listener)]
        if section.https:
            ensure_tls_certificate(
                settings.tls_certificate_path,
                settings.tls_key_path,
                address=settings.proxy.address or "localhost",
                at=SystemClock().now(),
            )
            listener = stack.enter_context(open_listener(section.host, section.https_port))
            secure = web_server(
                application,
                tls_certificate=settings.tls_certificate_path,
                tls_key=settings.tls_key_path,
            )
            servers.append((secure, listener))
        ports = [port_of(each) for _server, each in servers]
        async with asyncio.TaskGroup() as tasks:
            for server, each in servers:
                tasks.create_task(server.serve(sockets=[each]))
            tasks.create_task(_update_regularly(settings, token, http, stop))
            logger("confproxy").info("started", ports=ports)
            if ready is not None:
                ready(ServedAddresses(ports[0], ports[1] if section.https else None))
            await stop.wait()
            for server, _each in servers:
                server.should_exit = True
    logger("confproxy").info("stopped")


def _updater(settings: Settings, token: SigningToken, http: HttpClient) -> ProxyUpdater:
    fetcher: HttpFetcher = http
    if not settings.proxy.verify_tls:
        from postroad.securityserver.background import UnverifiedWeb  # noqa: PLC0415 - much comes along

        fetcher = UnverifiedWeb(http)
    return ProxyUpdater(settings, token, fetcher, SystemClock())


async def _update_regularly(
    settings: Settings, token: SigningToken, http: HttpClient, stop: asyncio.Event
) -> None:
    updater = _updater(settings, token, http)
    async for _turn in _turns(settings.proxy.update_interval, stop):
        try:
            with ExitStack() as held:
                # An update from a shell may be under way; serving goes on meanwhile.
                lock = exclusive(settings.home_path / "update.lock")
                await asyncio.to_thread(held.enter_context, lock)
                reports = await updater.run_once()
        except (PostroadError, OSError) as error:
            logger("confproxy").warning("not_updated", reason=str(error))
            continue
        for report in reports:
            log_report(report)


async def _turns(interval: float, stop: asyncio.Event) -> AsyncIterator[None]:
    while not stop.is_set():
        started = time.monotonic()
        yield
        pause = max(0.0, interval - (time.monotonic() - started))
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            continue


def log_report(report: InstanceReport) -> None:
    """Say in the log how the update of one proxy instance went."""
    log = logger("confproxy")
    facts = {
        f"v{each.version}": each.error.message
        if each.error is not None
        else (each.expires_at.isoformat() if each.expires_at else "")
        for each in report.versions
    }
    others = sorted({text for each in report.versions for text in each.federated_errors})
    left_out = sorted({name for each in report.versions for name in each.left_out})
    if report.error is not None:
        log.warning("instance_not_published", instance=report.name, **facts)
    else:
        log.info(
            "instance_published",
            instance=report.name,
            left_out=left_out,
            federated_errors=others,
            **facts,
        )


def _stopping_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
