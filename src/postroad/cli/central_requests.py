"""``postroad central request``: what servers asked for, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.centralserver.registry import management_requests, requests
from postroad.cli.central_context import (
    Cell,
    changing,
    home_option,
    json_option,
    reading,
    show,
    show_values,
)
from postroad.crypto.certificates import Certificate

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.centralserver.models.history import ManagementRequest


@click.group("request")
def request() -> None:
    """Management requests: registrations and changes that servers ask for."""


@request.command("list")
@click.option("--waiting", is_flag=True, help="Only those that wait for a decision.")
@click.option("--limit", default=50, show_default=True, help="The newest so many.")
@home_option
@json_option
def list_requests(limit: int, home: Path, *, waiting: bool, as_json: bool) -> None:
    """List management requests, newest first."""
    states = requests.PENDING if waiting else ()
    with reading(home) as session:
        rows = [_row(row) for row in requests.list_requests(session, limit=limit, states=states)]
    columns = ("id", "type", "status", "origin", "server", "client", "at")
    show("Management requests", columns, rows, as_json=as_json)


def _row(row: ManagementRequest) -> tuple[Cell, ...]:
    client = requests.client_of(row)
    return (
        row.id,
        row.request_type,
        row.status,
        row.origin,
        requests.server_of(row).encoded(),
        None if client is None else client.encoded(),
        row.created_at.isoformat(timespec="seconds"),
    )


@request.command("show")
@click.argument("request_id", type=int)
@home_option
@json_option
def show_request(request_id: int, home: Path, *, as_json: bool) -> None:
    """Show one management request."""
    with reading(home) as session:
        row = requests.load_request(session, request_id)
        client = requests.client_of(row)
        values: dict[str, Cell] = {
            "id": row.id,
            "type": row.request_type,
            "status": row.status,
            "origin": row.origin,
            "server": requests.server_of(row).encoded(),
            "client": None if client is None else client.encoded(),
            "subsystem_name": row.subsystem_name,
            "address": row.address,
            "comments": row.comments,
            "at": row.created_at.isoformat(timespec="seconds"),
        }
        if row.auth_certificate is not None:
            certificate = Certificate.from_pem_or_der(row.auth_certificate)
            values["certificate"] = certificate.subject_rfc2253
            values["certificate_sha256"] = certificate.sha256.hex().upper()
    show_values(values, as_json=as_json)


@request.command("approve")
@click.argument("request_id", type=int)
@home_option
def approve(request_id: int, home: Path) -> None:
    """Approve a request that waits; its effects are in the next configuration."""
    with changing(home) as change:
        management_requests.approve_request(change, request_id)


@request.command("decline")
@click.argument("request_id", type=int)
@home_option
def decline(request_id: int, home: Path) -> None:
    """Decline a request that waits."""
    with changing(home) as change:
        management_requests.decline_request(change, request_id)


COMMANDS = (request,)
"""What this module adds to ``postroad central``."""
