"""How do `postroad server` commands start the signer's processes, and bring keys from elsewhere?"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.private_files import read_private_file
from postroad.cli.server_context import home_option, pin_option, read_pin
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from postroad.securityserver.settings import Settings
    from postroad.signer.automatic_login import AutomaticLogin


def automatic_login(
    settings: Settings, pin_file: Path | None, descriptor: int | None
) -> AutomaticLogin | None:
    """The source of PINs: the option, the environment (hidden in `descriptor`), or the settings."""
    from postroad.signer import automatic_login as logins  # after the PIN has left

    section = settings.tokens
    if pin_file is not None:
        return logins.AutomaticLogin(partial(read_private_file, pin_file.absolute()))
    if descriptor is not None:
        return logins.AutomaticLogin(partial(_read_descriptor, descriptor))
    if section.pin_file:
        path = settings.home_path / section.pin_file
        return logins.AutomaticLogin(partial(read_private_file, path))
    if section.pin_command:
        return logins.AutomaticLogin(partial(logins.run_command, section.pin_command))
    return None


def _read_descriptor(descriptor: int) -> str:
    return os.pread(descriptor, 4096, 0).decode("utf-8")


def run_signer(settings: Settings, login: AutomaticLogin | None) -> None:
    """Be the signer's process."""
    from postroad.adapters.logs import configure_logging
    from postroad.signer import processes  # in the signer's process only

    configure_logging(process="signer", style=settings.server.log_format)
    paths = processes.SignerPaths(
        directory=settings.signer_path,
        socket=settings.signer_socket,
        ocsp_directory=settings.ocsp_path,
        devices=settings.device_sockets,
    )
    processes.run(paths, login=login, enforce_pin_policy=settings.tokens.enforce_pin_policy)


def run_device(settings: Settings, name: str) -> None:
    """Be the process of one device; its tokens' PINs come from the settings."""
    from postroad.adapters.logs import configure_logging
    from postroad.signer import processes

    configure_logging(process=f"token-{name}", style=settings.server.log_format)
    processes.run_device(
        name,
        settings.devices[name],
        processes.DevicePaths(
            directory=settings.signer_path / "devices" / name,
            socket=settings.device_sockets[name],
        ),
        login=automatic_login(settings, None, None),
    )


@click.command("import-keyconf")
@click.argument("directory", type=click.Path(file_okay=False, exists=True, path_type=Path))
@pin_option
@home_option
def import_keyconf(directory: Path, pin_file: Path | None, home: Path) -> None:
    """Take over the keys of a Security Server of the reference, once, while this one is stopped.

    DIRECTORY is a copy of its /etc/xroad/signer; the PIN is that of its software token, and will be
    that of ours. Keys of hardware tokens stay there: name the [devices.NAME] as in devices.ini.
    """
    from postroad.adapters.supervision import accepts_connections
    from postroad.securityserver.settings import load_settings
    from postroad.signer import keyconf_import

    settings = load_settings(home)
    if accepts_connections(settings.signer_socket):
        raise ConfigurationError("stop the server first: its signer holds these files")
    report = keyconf_import.import_keyconf(directory, settings.signer_path, read_pin(pin_file))
    click.echo(
        f"{report.keys} keys, {report.certificates} certificates, {report.requests} requests"
    )
    for line in report.left:
        click.echo(f"left: {line}")
