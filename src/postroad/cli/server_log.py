"""`postroad server log-key`: the keys that messages are encrypted with in the log's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.cli.server_context import home_option, show
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.group("log-key")
def log_key() -> None:
    """The keys that encrypt messages in the message log's database."""


@log_key.command("add")
@click.argument("key_id")
@home_option
def add(key_id: str, home: Path) -> None:
    """Make a new random key KEY_ID; the settings say which key is used."""
    from postroad.securityserver.messagelog.record_keys import add_log_key

    settings = load_settings(home)
    add_log_key(settings.log_keys_path, key_id)
    click.echo(f"added {key_id} to {settings.log_keys_path}; keep a copy apart from the database's")
    click.echo("next: in server.toml, below [message_log],")
    click.echo(f'  messagelog_encryption_enabled = true\n  messagelog_key_id = "{key_id}"')
    click.echo("and start the server again. Keep older keys as long as records need them.")


@log_key.command("list")
@home_option
def list_keys(home: Path) -> None:
    """List the keys, and which one encrypts new messages."""
    from postroad.securityserver.messagelog.record_keys import load_log_keys

    settings = load_settings(home)
    section = settings.message_log
    used = section.messagelog_key_id if section.messagelog_encryption_enabled else None
    ids = load_log_keys(settings.log_keys_path).ids
    show(("KEY", "USED"), [(key_id, key_id == used) for key_id in ids])
