"""What does a server ask of its Central Server, and what has become of it?

`postroad server client register | …`, `cert unregister`, `change-address`, `requests` and so on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.adapters.system_clock import SystemClock
from postroad.cli.server_certificates import cert
from postroad.cli.server_clients import client
from postroad.cli.server_context import home_option, opened_conf, show, with_signer
from postroad.identifiers import MemberId, parse_client_id
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from postroad.adapters.signer_client import SignerClient
    from postroad.securityserver.governance import Governance
    from postroad.securityserver.management_client import SubmittedRequest
    from postroad.securityserver.settings import Settings

_CLIENT = "INSTANCE/CLASS/CODE[/SUBSYSTEM]"


def _ask(home: Path, what: Callable[[Governance], Awaitable[SubmittedRequest]]) -> None:
    """Send one request and tell what came of it so far."""
    from postroad.securityserver.governance import opened_governance

    async def work(signer: SignerClient, settings: Settings) -> SubmittedRequest:
        with (
            opened_conf(settings) as conf,
            opened_governance(settings, conf, signer, SystemClock()) as asking,
        ):
            return await what(asking)

    submitted = with_signer(home, work)
    if submitted.request_id is None:
        click.echo("the same request was submitted before and waits for approval")
    else:
        click.echo(f"submitted as management request {submitted.request_id}")
    click.echo("the outcome shows in the global configuration: postroad server requests")


@client.command("register")
@click.argument("client_id", metavar=_CLIENT)
@click.option("--name", help="The subsystem's name for people.")
@home_option
def register_client(client_id: str, name: str | None, home: Path) -> None:
    """Ask the Central Server to register a client that was added here."""
    identifier = parse_client_id(client_id)
    _ask(home, lambda asking: asking.register_client(identifier, name))


@client.command("unregister")
@click.argument("client_id", metavar=_CLIENT)
@home_option
def unregister_client(client_id: str, home: Path) -> None:
    """Ask to end a client's registration, or the request for one that still waits."""
    identifier = parse_client_id(client_id)
    _ask(home, lambda asking: asking.unregister_client(identifier))


@client.command("disable")
@click.argument("client_id", metavar=_CLIENT)
@home_option
def disable_client(client_id: str, home: Path) -> None:
    """Ask to take a client out of service for a while."""
    identifier = parse_client_id(client_id)
    _ask(home, lambda asking: asking.disable_client(identifier))


@client.command("enable")
@click.argument("client_id", metavar=_CLIENT)
@home_option
def enable_client(client_id: str, home: Path) -> None:
    """Ask to put a disabled client back into service."""
    identifier = parse_client_id(client_id)
    _ask(home, lambda asking: asking.enable_client(identifier))


@client.command("rename")
@click.argument("client_id", metavar="INSTANCE/CLASS/CODE/SUBSYSTEM")
@click.argument("name")
@home_option
def rename_client(client_id: str, name: str, home: Path) -> None:
    """Ask for another name of a subsystem."""
    identifier = parse_client_id(client_id)
    _ask(home, lambda asking: asking.rename_client(identifier, name))


@client.command("delete")
@click.argument("client_id", metavar=_CLIENT)
@click.confirmation_option(prompt="Delete the client with its services and access rights?")
@home_option
def delete_client(client_id: str, home: Path) -> None:
    """Delete a client that is registered no longer, with its services and access rights."""
    from postroad.securityserver.serverconf.clients import (
        delete_client as delete,
    )

    identifier = parse_client_id(client_id)
    with opened_conf(load_settings(home)) as conf, conf.change() as session:
        delete(session, identifier)
    click.echo(f"deleted {identifier}")


@click.command("change-owner")
@click.argument("member_id", metavar="INSTANCE/CLASS/CODE")
@home_option
def change_owner(member_id: str, home: Path) -> None:
    """Ask to give the server to another of its members.

    Once approved, the server has another identifier: its settings are changed by itself.
    """
    member = MemberId.parse(member_id)
    _ask(home, lambda asking: asking.change_owner(member))


@click.command("change-address")
@click.argument("address")
@home_option
def change_address(address: str, home: Path) -> None:
    """Ask for another host name or IP address under which other servers reach this one."""
    _ask(home, lambda asking: asking.change_address(address))


@click.command("maintenance")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.option("--message", default="", help="What callers are told.")
@home_option
def maintenance(state: str, message: str, home: Path) -> None:
    """Ask to tell other servers that this one is in maintenance mode, or works again."""
    if state == "on":
        _ask(home, lambda asking: asking.start_maintenance(message))
    else:
        _ask(home, lambda asking: asking.end_maintenance())


@cert.command("unregister")
@click.argument("sha256")
@home_option
def unregister_auth_certificate(sha256: str, home: Path) -> None:
    """Ask to end the registration of an authentication certificate, named by its SHA-256."""
    _ask(home, lambda asking: asking.unregister_auth_certificate(sha256))


@click.command("requests")
@click.option("--limit", default=20, show_default=True, help="The newest so many.")
@home_option
def requests(limit: int, home: Path) -> None:
    """List the management requests of this server with their outcome, newest first.

    Those that "wait" were taken in by the Central Server and don't show in the global configuration
    yet: they wait for an approval, or for the next download. The registration of an authentication
    certificate is followed in the list of certificates.
    """
    from postroad.securityserver.serverconf.submissions import (
        list_submitted,
    )

    with opened_conf(load_settings(home)) as conf, conf.read() as session:
        rows: list[tuple[object, ...]] = [
            (
                row.request_id,
                row.service_code,
                row.client or None,
                row.value or None,
                row.submitted_at.isoformat(timespec="seconds"),
                "waits"
                if row.fulfilled_at is None
                else row.fulfilled_at.isoformat(timespec="seconds"),
            )
            for row in list_submitted(session, limit=limit)
        ]
    show(("request", "type", "client", "value", "submitted", "fulfilled"), rows)


@click.command("internal-certificate")
@home_option
def internal_certificate(home: Path) -> None:
    """Print the TLS certificate that this server shows to information systems (PEM).

    The Central Server is given that of the server which hosts the management services
    (`client_certificate_file`); it is made here if there is none yet.
    """
    from postroad.securityserver.internal_tls import ensure_internal_identity

    settings = load_settings(home)
    addresses = (settings.client_proxy.host,)
    identity = ensure_internal_identity(settings.home_path, SystemClock().now(), addresses)
    click.echo(identity.certificate.pem.decode("ascii"), nl=False)


COMMANDS = (change_owner, change_address, maintenance, requests, internal_certificate)
"""What this module adds to `postroad server`, beside its part of `client` and `cert`."""
