"""``postroad central admin``: who may use the management interface, from a shell.

The shell needs no password: whoever reads the database may do anything anyway. So this makes the
first administrator, and helps out those who have locked themselves out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from postroad.centralserver.registry import administrators
from postroad.centralserver.roles import Role
from postroad.cli.central_context import (
    changing,
    home_option,
    json_option,
    read_file,
    reading,
    show,
)
from postroad.errors import ConfigurationError

_HUMAN_ROLES = [role.value for role in Role if role is not Role.MANAGEMENT_SERVICE]
_PASSWORD = click.option(
    "--password-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Read the password from this file, - for the standard input; else it's asked for.",
)


_ALLOW_WEAK = click.option(
    "--allow-weak-password",
    "allow_weak",
    is_flag=True,
    help="Take any password: for set-ups that nobody else can reach.",
)


@click.group("admin")
def admin() -> None:
    """Administrators of the management interface."""


@admin.command("create")
@click.argument("username")
@click.option(
    "--role",
    "roles",
    multiple=True,
    type=click.Choice(_HUMAN_ROLES),
    help="One of the roles they have; repeat it for more. Without it: all of them.",
)
@_PASSWORD
@_ALLOW_WEAK
@home_option
def create(
    username: str,
    roles: tuple[str, ...],
    password_file: Path | None,
    home: Path,
    *,
    allow_weak: bool,
) -> None:
    """Let somebody log in to the management interface."""
    password = _read_password(password_file)
    with changing(home) as change:
        parsed = administrators.parse_roles(roles or _HUMAN_ROLES)
        administrators.add_administrator(change, username, password, parsed, allow_weak=allow_weak)


@admin.command("password")
@click.argument("username")
@_PASSWORD
@_ALLOW_WEAK
@home_option
def set_password(
    username: str, password_file: Path | None, home: Path, *, allow_weak: bool
) -> None:
    """Give somebody another password; their sessions end."""
    password = _read_password(password_file)
    with changing(home) as change:
        administrators.change_password(change, username, password, allow_weak=allow_weak)


@admin.command("delete")
@click.argument("username")
@home_option
def delete(username: str, home: Path) -> None:
    """No longer let somebody log in; their sessions end."""
    with changing(home) as change:
        administrators.delete_administrator(change, username)


@admin.command("list")
@home_option
@json_option
def list_all(home: Path, *, as_json: bool) -> None:
    """List the administrators and their roles."""
    with reading(home) as session:
        rows = [
            (row.username, " ".join(sorted(administrators.roles_of(row))))
            for row in administrators.list_administrators(session)
        ]
    show("Administrators", ("username", "roles"), rows, as_json=as_json)


def _read_password(path: Path | None) -> str:
    """The password, without the line end that editors put behind it."""
    if path is not None:
        data = sys.stdin.buffer.read(4096) if str(path) == "-" else read_file(path)
        try:
            return data.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise ConfigurationError(f"the password in {path} is not UTF-8 text") from None
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "a password is needed: use --password-file, or start from a terminal"
        )
    answer: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return answer


COMMANDS = (admin,)
"""What this module adds to ``postroad central``."""
