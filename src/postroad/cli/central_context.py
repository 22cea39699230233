"""What do all ``postroad central`` commands share: the home directory, the operator, the output?

Commands that change the registry print what was recorded in its change log.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from postroad.adapters.files import read_bounded
from postroad.centralserver.node import open_node
from postroad.centralserver.registry.change import details_of
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.errors import ConfigurationError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postroad.centralserver.models.history import ChangeLogEntry
    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.registry.change import Change
    from postroad.centralserver.settings import Settings

HOME_VARIABLE = "POSTROAD_CENTRAL_HOME"
PIN_VARIABLE = "POSTROAD_CENTRAL_PIN"
MAX_FILE_BYTES = 4 * 1024 * 1024

Cell = str | int | bool | None
_Command = TypeVar("_Command", bound=Callable[..., None])


def home_option(command: _Command) -> _Command:
    """Give a command the option ``--home``."""
    return click.option(
        "--home",
        envvar=HOME_VARIABLE,
        default="central",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Home directory of the Central Server (or {HOME_VARIABLE}).",
    )(command)


def algorithm_option(command: _Command) -> _Command:
    """Give a command that makes a signing key the option ``--algorithm``."""
    return click.option(
        "--algorithm",
        type=click.Choice([algorithm.value for algorithm in KeyAlgorithm]),
        default=KeyAlgorithm.RSA.value,
        show_default=True,
        help="RSA 2048 or EC P-256; clients before 7.6 can't verify EC.",
    )(command)


def json_option(command: _Command) -> _Command:
    """Give a listing the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def operator() -> str:
    """Who is recorded in the change log: the operating system's user."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return f"cli:{name}"


@contextmanager
def opened(home: Path) -> Iterator[CentralServerNode]:
    """The node in ``home``, closed at the end."""
    node = open_node(home)
    try:
        yield node
    finally:
        node.close()


@contextmanager
def changing(home: Path) -> Iterator[Change]:
    """One transaction on the registry; prints what it has changed once that is durable."""
    with opened(home) as node:
        with node.changing(operator()) as change:
            yield change
        report(change.entries)


@contextmanager
def reading(home: Path) -> Iterator[Session]:
    """A session that sees the registry at one moment."""
    with opened(home) as node, node.reading() as session:
        yield session


def report(entries: Sequence[ChangeLogEntry]) -> None:
    """Print what was recorded, a line per operation; "nothing to change" when nothing was."""
    if not entries:
        click.echo("nothing to change")
    for entry in entries:
        details = " ".join(
            f"{name}={_written(value)}"
            for name, value in details_of(entry).items()
            if value is not None and value != ""
        )
        click.echo(f"{entry.event}: {details}" if details else entry.event)


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, as_json: bool
) -> None:
    """Print rows as a table for people, or as a JSON list of objects for programs."""
    if as_json:
        objects = [dict(zip(columns, row, strict=True)) for row in rows]
        click.echo(json.dumps(objects, ensure_ascii=False, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(_written(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160, emoji=False).print(table)


def show_values(values: Mapping[str, Cell], *, as_json: bool) -> None:
    """Print named values, a line each, or as one JSON object."""
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False, indent=2))
        return
    width = max(len(name) for name in values) + 1
    for name, value in values.items():
        click.echo(f"{name.replace('_', ' ') + ':':<{width + 1}}{_written(value)}")


def read_file(path: Path) -> bytes:
    """The bytes of a small file that the operator named."""
    return read_bounded(path, MAX_FILE_BYTES)


def read_pin(settings: Settings, *, new: bool = False) -> str:
    """The PIN of the signing keys; see :func:`read_signing_pin`."""
    return read_signing_pin(settings.token.pin_file, PIN_VARIABLE, "central.toml", new=new)


def read_signing_pin(pin_file: str, variable: str, settings_file: str, *, new: bool = False) -> str:
    """The PIN of keys that sign configuration: from its file, the environment, or asked for.

    Raises ``ConfigurationError`` that tells the three ways when there is nobody to ask.
    """
    if pin_file:
        return read_file(Path(pin_file)).decode("utf-8", "replace").strip()
    pin = os.environ.get(variable)
    if pin:
        return pin
    if sys.stdin.isatty():
        answer: str = click.prompt(
            "PIN of the signing keys", hide_input=True, confirmation_prompt=new, err=True
        )
        return answer
    raise ConfigurationError(
        f"the PIN of the signing keys is needed: set {variable}, or `pin_file` in the section "
        f"[token] of {settings_file}, or start from a terminal"
    )


def knows_pin(settings: Settings) -> bool:
    """Whether the PIN can be had: from its file, the environment or a terminal."""
    return bool(settings.token.pin_file or os.environ.get(PIN_VARIABLE) or sys.stdin.isatty())


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str() | int():
            return str(value)
        case _:
            return ",".join(str(part) for part in value) if isinstance(value, list) else str(value)
