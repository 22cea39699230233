"""`postroad server apply | diff | client | service`: what the server configuration holds."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.system_clock import SystemClock
from postroad.cli.description_reading import read_description
from postroad.cli.server_audit import note
from postroad.cli.server_context import home_option, opened_conf, show
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.serverconf.reconciliation import Change


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@home_option
def apply(file: Path, home: Path) -> None:
    """Make clients, services, rights and groups what FILE declares; all of it or nothing.

    Clients that FILE does not name are left alone. Applying a file twice changes nothing the second
    time.
    """
    from postroad.securityserver.serverconf import reconciliation
    from postroad.securityserver.serverconf.declaration import load_declaration

    settings = load_settings(home)
    wanted = load_declaration(file, partial(read_description, settings))
    with opened_conf(settings) as conf:
        with conf.change() as session:
            current = reconciliation.current_declaration(session)
            changes = reconciliation.difference(current, wanted)
            reconciliation.apply(session, changes, at=SystemClock().now())
        note(changes=[str(change) for change in changes])
        _tell(changes)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@home_option
def diff(file: Path, home: Path) -> None:
    """Show what `apply` would change; exit code 0 for nothing, 1 for something."""
    from postroad.securityserver.serverconf import reconciliation
    from postroad.securityserver.serverconf.declaration import load_declaration

    settings = load_settings(home)
    wanted = load_declaration(file, partial(read_description, settings))
    with opened_conf(settings) as conf, conf.read() as session:
        changes = reconciliation.difference(reconciliation.current_declaration(session), wanted)
    _tell(changes)
    sys.exit(1 if changes else 0)


def _tell(changes: Sequence[Change]) -> None:
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("no differences")


@click.group()
def client() -> None:
    """Clients of the server."""


@client.command("list")
@home_option
def client_list(home: Path) -> None:
    """List the clients with their state."""
    from postroad.securityserver.serverconf.clients import list_clients

    settings = load_settings(home)
    with opened_conf(settings) as conf, conf.read() as session:
        rows: list[tuple[object, ...]] = [
            (
                row.identifier.encoded(),
                row.status,
                row.connection_type,
                sum(len(description.services) for description in row.descriptions),
                len(row.certificates),
            )
            for row in list_clients(session)
        ]
    show(("client", "status", "connection", "services", "certificates"), rows)


@click.group()
def service() -> None:
    """Services that the server's clients provide."""


@service.command("list")
@home_option
def service_list(home: Path) -> None:
    """List the services and how many rights were given on each."""
    from postroad.identifiers import ServiceId
    from postroad.securityserver.serverconf.snapshot import (
        ServerConfView,
        load_snapshot,
    )

    view = ServerConfView(load_snapshot(load_settings(home).snapshot_path))
    rows: list[tuple[object, ...]] = []
    for provider in view.clients:
        for entry in provider.services:
            name = ServiceId(provider.identifier, entry.service_code, entry.service_version)
            rows.append(
                (
                    name.encoded(),
                    entry.type,
                    not entry.disabled,
                    entry.url,
                    entry.timeout,
                    len(provider.rights(entry.service_code)),
                )
            )
    show(("service", "type", "enabled", "url", "timeout", "rights"), rows)
