"""Which processes make a Security Server, and how do they come to be?

    supervisor ─┬─ signer       the only one with private keys
                ├─ token-NAME   one for each library of hardware tokens
                ├─ logwriter    the only one that writes the message log
                ├─ background   configuration, OCSP, time-stamps
                └─ worker 0…N   both proxies; they share the ports

The supervisor imports what its children need and forks them (see `adapters.supervision`). Work at
the start that needs the database library is done in a process that ends at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.adapters import kernel
from postroad.adapters.backups.restoring import require_finished
from postroad.adapters.file_locks import only_one
from postroad.adapters.logs import configure_logging, logger
from postroad.adapters.supervision import (
    Child,
    Supervisor,
    accepts_connections,
    listens_on_port,
    run_once,
)
from postroad.errors import ConfigurationError
from postroad.securityserver.serverconf.freshness import is_published

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroad.securityserver.settings import Settings

_DRAIN: Final = 40.0
"""Seconds for a worker to finish running exchanges; it gives up by itself before that."""
_WORKERS, _BACKGROUND, _SERVICES = range(3)
"""The order of stopping: who calls is stopped before who is called."""


@dataclass(frozen=True, slots=True)
class SignerProcess:
    """The signer as the supervisor starts it; another package knows how."""

    run: Callable[[], None]
    module: str
    """What it needs, imported before the fork."""
    secret_descriptor: int | None = None
    """A file descriptor with the PIN, which no other process may keep open."""
    run_device: Callable[[str], None] | None = None
    """Runs the process of the hardware token device of that name."""


def run(settings: Settings, signer: SignerProcess) -> int:
    """Run a Security Server until SIGTERM or SIGINT; the exit code.

    Raises `ConfigurationError` when another one runs in the same home directory, or the server
    configuration can't be opened.
    """
    configure_logging(process="supervisor", style=settings.server.log_format)
    if signer.secret_descriptor is not None:
        kernel.forbid_memory_dumps()
    kernel.allow_many_files()
    require_finished(settings.home_path)
    prepare_directories(settings)
    taken = ConfigurationError("a server runs in this home directory already")
    with only_one(settings.run_path / "server.lock", taken):
        _prepare_serverconf(settings, signer)
        log = logger("supervisor")
        supervisor = Supervisor(
            children=children(settings, signer),
            status_path=settings.run_path / "status.json",
            report=lambda event, facts: log.info(event, **facts),
        )
        return supervisor.run()


def _prepare_serverconf(settings: Settings, signer: SignerProcess) -> None:
    scheme, _, database = settings.serverconf_url.partition(":///")
    if scheme == "sqlite" and is_published(
        Path(database), settings.snapshot_path, settings.server_id
    ):
        return
    prepare = partial(_without_secrets, signer, partial(_publish, settings))
    if run_once(prepare, "prepare") != 0:
        raise ConfigurationError("the server configuration can't be opened (see above)")


def prepare_directories(settings: Settings) -> None:
    """Make the directories that the processes share."""
    for path in (
        settings.run_path,
        settings.ocsp_path,
        settings.spool_path,
        settings.home_path / "db",
    ):
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"{path} can't be made: {error.strerror}") from error


def children(settings: Settings, signer: SignerProcess) -> Sequence[Child]:
    """All processes of a server, in the order of starting.

    Logging a token in takes longest, so the signer starts first, and does that while the supervisor
    imports what the others need.
    """
    guarded = partial(_without_secrets, signer)
    return (
        Child(
            "signer",
            signer.run,
            modules=(signer.module,),
            stop_order=_SERVICES,
            is_ready=partial(accepts_connections, settings.signer_socket),
        ),
        *_devices(settings, signer),
        Child(
            "logwriter",
            partial(guarded, partial(_write_log, settings)),
            modules=("postroad.securityserver.messagelog.writer",),
            stop_order=_SERVICES,
            is_ready=partial(accepts_connections, settings.logwriter_socket),
        ),
        Child(
            "background",
            partial(guarded, partial(_run_background, settings)),
            modules=("postroad.securityserver.background",),
            stop_order=_BACKGROUND,
        ),
        *(
            Child(
                f"worker-{index}",
                partial(guarded, partial(_work, settings, index)),
                modules=_worker_modules(settings),
                stop_order=_WORKERS,
                is_ready=partial(_listens, settings),
                reloads=True,
                stop_timeout=_DRAIN,
            )
            for index in range(settings.server.workers)
        ),
    )


def _worker_modules(settings: Settings) -> tuple[str, ...]:
    """What workers share from before the fork; the tracing library only if traces are wanted."""
    tracing = ("postroad.adapters.tracing",) if settings.telemetry.endpoint else ()
    return ("postroad.securityserver.worker", *tracing)


def _devices(settings: Settings, signer: SignerProcess) -> Sequence[Child]:
    """One process a library of hardware tokens: what it breaks is its own."""
    if signer.run_device is None:
        return ()
    return [
        Child(
            f"token-{name}",
            partial(_without_secrets, signer, partial(signer.run_device, name)),
            stop_order=_SERVICES,
            is_ready=partial(accepts_connections, socket),
        )
        for name, socket in settings.device_sockets.items()
    ]


def _listens(settings: Settings) -> bool:
    """Whether a worker is there; the port for peers opens only when a key for it is active."""
    ports = (
        (settings.server_proxy.ocsp_host, settings.server_proxy.ocsp_port),
        (settings.client_proxy.host, settings.client_proxy.http_port),
    )
    return all(listens_on_port(host, port) for host, port in ports if port)


def _without_secrets(signer: SignerProcess, target: Callable[[], None]) -> None:
    """What every process but the signer does first: give up what is the signer's alone."""
    if signer.secret_descriptor is not None:
        os.close(signer.secret_descriptor)
        kernel.allow_memory_dumps()
    target()


def _publish(settings: Settings) -> None:
    from postroad.securityserver.serverconf.repository import ServerConf  # noqa: PLC0415 - only the process that runs it needs it

    conf = ServerConf.open(settings.serverconf_url, settings.snapshot_path)
    conf.initialise(settings.server_id)
    conf.close()


def _write_log(settings: Settings) -> None:
    from postroad.securityserver.messagelog import writer  # noqa: PLC0415 - only the process that runs it needs it

    writer.run(settings)


def _run_background(settings: Settings) -> None:
    from postroad.securityserver import background  # noqa: PLC0415 - only the process that runs it needs it

    background.run(settings)


def _work(settings: Settings, index: int) -> None:
    from postroad.securityserver import worker  # noqa: PLC0415 - only the process that runs it needs it

    worker.run_worker(settings, index)
