"""``postroad server settings``: which settings hold, and where does each come from?"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import click
import msgspec

from postroad.cli.server_context import home_option, show
from postroad.errors import ConfigurationError
from postroad.securityserver.settings import (
    Settings,
    load_settings,
    parse_settings,
    read_settings_file,
)
from postroad.securityserver.settings_layers import layers_of, origin_of, settable
from postroad.securityserver.settings_profiles import PROFILES

if TYPE_CHECKING:
    from pathlib import Path

_NOBODY = '[server]\nidentifier = "INSTANCE/CLASS/CODE/SERVER"\n'
_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@|(?<=password=)[^&\s]+", re.IGNORECASE)


@click.command("settings")
@click.option("--defaults", is_flag=True, help="Show the built-in defaults, of no server.")
@click.option(
    "--profile",
    type=click.Choice([name for name in PROFILES if name]),
    help="Show the defaults of a national profile, of no server.",
)
@click.option("--changed", is_flag=True, help="Leave out what is at its built-in default.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def settings(
    home: Path, profile: str | None, *, defaults: bool, changed: bool, as_json: bool
) -> None:
    """Show the settings that hold, and where each comes from.

    Sources, the later one wins: built-in defaults, the profile's, server.toml, the environment
    (POSTROAD_SECTION__KEY). A database's password isn't shown.
    """
    if defaults and profile:
        raise ConfigurationError("give --defaults or --profile, not both")
    if defaults or profile:
        text = f'profile = "{profile or ""}"\n{_NOBODY}'
        effective = parse_settings(text, home=home)
        layers = layers_of(text, Settings, source="", environ={})[:1]
    else:
        effective = load_settings(home)
        text = read_settings_file(home)
        layers = layers_of(text, Settings, source="server.toml", environ=os.environ)
    rows = [row for row in effective_rows(effective, layers) if not changed or row[2] != "default"]
    if as_json:
        fields = ("key", "value", "from")
        click.echo(json.dumps([dict(zip(fields, row, strict=True)) for row in rows], indent=2))
        return
    show(
        ("key", "value", "from"), [(key, json.dumps(value), origin) for key, value, origin in rows]
    )


def effective_rows(
    effective: Settings, layers: list[tuple[str, dict[str, object]]]
) -> list[tuple[str, object, str]]:
    """Key (``section.key``), value and origin of every setting."""
    rows: list[tuple[str, object, str]] = []
    for name in settable(Settings):
        value = msgspec.to_builtins(getattr(effective, name))
        if not isinstance(value, dict):
            rows.append((name, value, origin_of([name], layers)))
            continue
        rows += [
            (f"{name}.{key}", _without_password(entry), origin_of([name, key], layers))
            for key, entry in value.items()
        ]
    return rows


def _without_password(value: object) -> object:
    if not isinstance(value, str):
        return value
    return _PASSWORD.sub(lambda found: f"{found[1]}…@" if found[1] else "…", value)
