"""How do the signer's processes start and end?

The signer itself holds the software token and the way to the others; each PKCS#11 library has a
process of its own (``devices``), so that a library that crashes or hangs takes nothing with it.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from postroad.adapters import kernel
from postroad.adapters.ipc import IpcClient, IpcServer
from postroad.adapters.logs import logger
from postroad.adapters.signer_protocol import SOFTWARE_ID
from postroad.adapters.system_clock import SystemClock
from postroad.errors import PostroadError
from postroad.signer.keyring import Keyring
from postroad.signer.routing import TokenRouter
from postroad.signer.service import SignerService

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from postroad.adapters.hardware_devices import DeviceSettings
    from postroad.signer.automatic_login import AutomaticLogin


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerPaths:
    """Where a signer process finds its tokens and opens its socket."""

    directory: Path
    socket: Path
    ocsp_directory: Path
    devices: Mapping[str, Path] = field(default_factory=dict)
    """The sockets of the processes for hardware tokens, by the name of the device."""


async def serve(
    paths: SignerPaths, *, login: AutomaticLogin | None = None, enforce_pin_policy: bool = False
) -> None:
    """Serve until SIGTERM or SIGINT; log the software token in first when its PIN is known.

    A wrong PIN leaves the token logged out, and is not tried again.
    """
    kernel.forbid_memory_dumps()
    stop = _stop_signal()
    service = SignerService(
        Keyring(paths.directory, paths.ocsp_directory),
        SystemClock(),
        enforce_policy=enforce_pin_policy,
    )
    pin = await _pin_of(login, SOFTWARE_ID)
    if pin is not None:
        try:
            await service.login(pin)
        except PostroadError as error:
            logger("signer").warning("automatic login failed", reason=error.code.value)
    del pin
    devices = {
        name: IpcClient(socket, what=f"process of device {name}")
        for name, socket in paths.devices.items()
    }
    server = IpcServer(paths.socket, TokenRouter(service, devices).handle)
    await server.start()
    logger("signer").info("signer started", socket=str(paths.socket))
    try:
        await stop.wait()
    finally:
        await server.stop()
        for device in devices.values():
            device.close()
        service.close()


async def _pin_of(login: AutomaticLogin | None, token_id: str) -> str | None:
    if login is None:
        return None
    try:
        return (await asyncio.to_thread(login.pins)).get(token_id)
    except PostroadError as error:
        logger("signer").warning("no automatic login", why=error.message)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePaths:
    """Where a device's process keeps its records and opens its socket."""

    directory: Path
    socket: Path


async def serve_device(
    name: str,
    settings: DeviceSettings,
    paths: DevicePaths,
    *,
    login: AutomaticLogin | None = None,
) -> None:
    """Serve the tokens of one PKCS#11 library until SIGTERM or SIGINT."""
    from postroad.signer.devices import DeviceService  # noqa: PLC0415 - servers without need none

    kernel.forbid_memory_dumps()
    stop = _stop_signal()
    service = DeviceService(name, settings, paths.directory, SystemClock(), login=login)
    server = IpcServer(paths.socket, service.handle)
    await server.start()
    logger("signer").info("device started", device=name, library=settings.module_path)
    following = asyncio.ensure_future(service.follow())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if following.done():
            following.result()
    finally:
        stopping.cancel()
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await server.stop()
        service.close()


def run(
    paths: SignerPaths, *, login: AutomaticLogin | None = None, enforce_pin_policy: bool = False
) -> None:
    """Run the signer process; returns after an orderly stop."""
    asyncio.run(serve(paths, login=login, enforce_pin_policy=enforce_pin_policy))


def run_device(
    name: str,
    settings: DeviceSettings,
    paths: DevicePaths,
    *,
    login: AutomaticLogin | None = None,
) -> None:
    """Run a device's process; returns after an orderly stop."""
    asyncio.run(serve_device(name, settings, paths, login=login))


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop
