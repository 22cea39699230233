"""What runs in a Central Server process, and how does it start and stop?

The composition root: generation of the configuration at its interval, the ports that serve it, the
ports where management requests come in, and the port of the management interface.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from traceback import format_exception
from typing import TYPE_CHECKING

from postroad.adapters.backups.schedule import seconds_until_daily
from postroad.adapters.backups.service import back_up_daily
from postroad.adapters.logs import logger
from postroad.adapters.web_server import QuietServer, open_listener, port_of, web_config, web_server
from postroad.centralserver.api.server import opened_api
from postroad.centralserver.backups import backed_up
from postroad.centralserver.distribution import distribution_application
from postroad.centralserver.generator import load_status
from postroad.centralserver.management_certificate import ManagementCertificate
from postroad.centralserver.management_ports import (
    CertificateSwitch,
    open_management_ports,
    services_url,
)
from postroad.centralserver.node import ensure_tls_certificates
from postroad.centralserver.registry.system import instance_status
from postroad.errors import PostroadError
from postroad.management.wsdl import encode_wsdl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.applications import Starlette

    from postroad.centralserver.management_ports import ManagementPorts
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.token_login import TokenLogin


@dataclass(frozen=True, slots=True)
class ServedAddresses:
    """The ports that a running server listens on; with port 0 in the settings, the real ones."""

    http_port: int
    https_port: int | None
    registration_port: int | None = None
    management_port: int | None = None
    api_port: int | None = None


async def serve(
    node: CentralServerNode,
    login: TokenLogin,
    *,
    stop: asyncio.Event | None = None,
    ready: Callable[[ServedAddresses], None] | None = None,
) -> None:
    """Generate and serve the configuration until ``stop`` is set, or a signal to end comes.

    ``ready`` is called once the ports are open. A failing generation is logged and tried again;
    what was published before stays. Nothing is generated while the token is closed, which the
    management interface can open. Raises ``ConfigurationError`` when a port can't be opened.
    """
    stop = stop or _stopping_on_signals()
    ensure_tls_certificates(node, await asyncio.to_thread(_known_address, node))
    certificates = CertificateSwitch()
    await asyncio.to_thread(_settle_certificate, node, certificates)
    async with open_management_ports(node, certificates) as management:
        with _api(node, login, certificates) as api:
            application = distribution_application(
                node.settings.public_path,
                node.clock,
                lambda: encode_wsdl(services_url(node.settings, _known_address(node))),
            )
            await _serve(node, login, stop, application, management, api, ready)
    logger("central").info("stopped")


async def _serve(  # noqa: PLR0917 - what was opened
    node: CentralServerNode,
    login: TokenLogin,
    stop: asyncio.Event,
    application: Starlette,
    management: ManagementPorts,
    api: tuple[QuietServer, socket.socket] | None,
    ready: Callable[[ServedAddresses], None] | None,
) -> None:
    with _listening(node) as (http, https):
        servers = [(web_server(application), http)]
        if https is not None:
            tls = web_server(
                application,
                tls_certificate=node.settings.tls_certificate_path,
                tls_key=node.settings.tls_key_path,
            )
            servers.append((tls, https))
        if api is not None:
            servers.append(api)
        addresses = ServedAddresses(
            port_of(http),
            None if https is None else port_of(https),
            management.registration,
            management.management,
            None if api is None else port_of(api[1]),
        )
        async with asyncio.TaskGroup() as tasks:
            for server, listener in servers:
                tasks.create_task(server.serve(sockets=[listener]))
            tasks.create_task(_generate_regularly(node, login, stop))
            if node.settings.backup.automatic:
                tasks.create_task(_back_up_daily(node, stop))
            logger("central").info(
                "started",
                http_port=addresses.http_port,
                https_port=addresses.https_port,
                registration_port=addresses.registration_port,
                management_port=addresses.management_port,
                api_port=addresses.api_port,
            )
            if ready is not None:
                ready(addresses)
            await stop.wait()
            for server, _listener in servers:
                server.should_exit = True


async def _generate_regularly(
    node: CentralServerNode, login: TokenLogin, stop: asyncio.Event
) -> None:
    interval = node.settings.configuration.generation_interval
    while not stop.is_set():
        started = time.monotonic()
        if login.is_initialized:  # before that there is no instance to generate for
            await asyncio.to_thread(_generate_once, node, login)
        pause = max(0.0, interval - (time.monotonic() - started))
        try:
            async with asyncio.timeout(pause):
                await stop.wait()
        except TimeoutError:
            continue


async def _back_up_daily(node: CentralServerNode, stop: asyncio.Event) -> None:
    keep = timedelta(days=node.settings.backup.keep_days)
    while True:
        try:
            async with asyncio.timeout(seconds_until_daily(node.clock.now())):
                await stop.wait()
                return
        except TimeoutError:
            await asyncio.to_thread(_back_up_once, node, keep)


def _back_up_once(node: CentralServerNode, keep: timedelta) -> None:
    log = logger("backup")
    try:
        server = backed_up(node.settings.home_path)
        removed = back_up_daily(server, at=node.clock.now(), keep=keep)
    except (PostroadError, OSError) as error:
        log.error("not_backed_up", reason=str(error))  # noqa: TRY400 - the reason is all
    else:
        log.info("backed_up", deleted=removed)


def _generate_once(node: CentralServerNode, login: TokenLogin) -> None:
    log = logger("generation")
    try:
        generated = node.generate(login.token)
    except PostroadError as error:
        log.warning("configuration_not_generated", reason=error.message, code=error.fault_code)
        _tell_of_expiry(node)
    except Exception as error:  # noqa: BLE001 - one bad generation must not end the server
        log.warning("configuration_not_generated", reason="".join(format_exception(error)))
    else:
        log.info(
            "configuration_generated",
            stamp=generated.stamp,
            expires_at=generated.expires_at.isoformat(),
            files=len(generated.parts) + len(generated.directories),
        )


def _tell_of_expiry(node: CentralServerNode) -> None:
    last = load_status(node.settings)
    if last is not None and last.expires_at is not None and last.expires_at < node.clock.now():
        logger("generation").error(
            "configuration_expired",
            expired_at=last.expires_at.isoformat(),
            consequence="this node serves none until it can generate again",
        )


def _stopping_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def _known_address(node: CentralServerNode) -> str:
    """What certificates that are missing name: the node's address, or the machine's name."""
    with node.reading() as session:
        address = instance_status(session, node.settings.central.node_name).address
    return address or socket.gethostname()


def _settle_certificate(node: CentralServerNode, certificates: CertificateSwitch) -> None:
    """Finish what a crash has interrupted, before a port shows anything."""
    with node.reading() as session:
        ManagementCertificate(node.settings, certificates).settle(session)


@contextmanager
def _api(
    node: CentralServerNode, login: TokenLogin, certificates: CertificateSwitch
) -> Iterator[tuple[QuietServer, socket.socket] | None]:
    settings = node.settings.management_api
    if not settings.enabled:
        yield None
        return
    application, context = opened_api(node, login, certificates)
    config = web_config(application)
    config.http = "h11"  # the one that bounds request heads
    config.ssl_context_factory = lambda _config, _default: context
    with open_listener(settings.host, settings.port) as listener:
        yield QuietServer(config), listener


@contextmanager
def _listening(node: CentralServerNode) -> Iterator[tuple[socket.socket, socket.socket | None]]:
    settings = node.settings.distribution
    with open_listener(settings.host, settings.http_port) as http:
        if not settings.https:
            yield http, None
            return
        with open_listener(settings.host, settings.https_port) as https:
            yield http, https
