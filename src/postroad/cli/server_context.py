"""What do all `postroad server` commands share: the home directory, the PIN, the signer?"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from postroad.adapters.files import read_bounded
from postroad.errors import ConfigurationError
from postroad.securityserver.settings import Settings, load_settings

if TYPE_CHECKING:
    from postroad.adapters.signer_client import SignerClient
    from postroad.identifiers import MemberId
    from postroad.securityserver.serverconf.repository import ServerConf

HOME_VARIABLE = "POSTROAD_SERVER_HOME"
PIN_VARIABLE = "POSTROAD_TOKEN_PIN"
MAX_FILE_BYTES = 16 * 1024 * 1024

_Command = TypeVar("_Command", bound=Callable[..., object])
_T = TypeVar("_T")


def home_option(command: _Command) -> _Command:
    """Give a command the option `--home`."""
    return click.option(
        "--home",
        envvar=HOME_VARIABLE,
        default="server",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Home directory of the Security Server (or {HOME_VARIABLE}).",
    )(command)


def pin_option(command: _Command) -> _Command:
    """Give a command the option `--pin-file`."""
    return click.option(
        "--pin-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help=f"File with the token's PIN in its first line (or {PIN_VARIABLE}, or a prompt).",
    )(command)


def read_pin(pin_file: Path | None, *, new: bool = False, what: str = "PIN of the token") -> str:
    """The token's PIN: from a file, the environment, or asked for.

    Raises `ConfigurationError` that tells the three ways when there is nobody to ask.
    """
    if pin_file is not None:
        return read_pin_file(pin_file)
    pin = os.environ.get(PIN_VARIABLE)
    if pin:
        return pin
    if sys.stdin.isatty():
        answer: str = click.prompt(what, hide_input=True, confirmation_prompt=new, err=True)
        return answer
    raise ConfigurationError(
        f"the token's PIN is needed: give --pin-file, set {PIN_VARIABLE}, or use a terminal"
    )


def read_pin_file(path: Path) -> str:
    """The first line of a PIN file."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(2048).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the PIN file {path} can't be read") from error


def read_file(path: Path) -> bytes:
    """The bytes of a file that the operator named."""
    return read_bounded(path, MAX_FILE_BYTES)


def with_signer(home: Path, work: Callable[[SignerClient, Settings], Awaitable[_T]]) -> _T:
    """Do something with the running server's signer."""
    from postroad.adapters.signer_client import SignerClient

    settings = load_settings(home)

    async def call() -> _T:
        signer = SignerClient(settings.signer_socket)
        try:
            return await work(signer, settings)
        finally:
            signer.close()

    return asyncio.run(call())


@contextmanager
def opened_conf(settings: Settings) -> Iterator[ServerConf]:
    """The server configuration's database, closed at the end."""
    from postroad.securityserver.serverconf.repository import (
        ServerConf,
    )

    conf = ServerConf.open(settings.serverconf_url, settings.snapshot_path)
    try:
        yield conf
    finally:
        conf.close()


def local_members(settings: Settings) -> frozenset[MemberId]:
    """The members that this server serves, themselves or by a subsystem."""
    from postroad.securityserver.serverconf.clients import list_clients

    with opened_conf(settings) as conf, conf.read() as session:
        return frozenset(row.identifier.member for row in list_clients(session))


def show(columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Print rows in aligned columns; a heading alone when there are none."""
    table = [columns, *(tuple(_written(cell) for cell in row) for row in rows)]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    for row in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


def _written(cell: object) -> str:
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case _:
            return str(cell)
