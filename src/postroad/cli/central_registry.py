"""``postroad central``: members, servers and groups from a shell.

Identifiers are written as everywhere: ``INSTANCE/CLASS/CODE[/SUBSYSTEM or SERVER]``, each part
percent-escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.centralserver.registry import groups, members, servers
from postroad.cli.central_context import (
    changing,
    home_option,
    json_option,
    reading,
    show,
)
from postroad.identifiers import MemberId, SecurityServerId, SubsystemId, parse_client_id

if TYPE_CHECKING:
    from pathlib import Path


@click.group("member-class")
def member_class() -> None:
    """Classes of members, such as GOV or COM."""


@member_class.command("add")
@click.argument("code")
@click.argument("description")
@home_option
def add_member_class(code: str, description: str, home: Path) -> None:
    """Add a member class."""
    with changing(home) as change:
        members.add_member_class(change, code, description)


@member_class.command("remove")
@click.argument("code")
@home_option
def remove_member_class(code: str, home: Path) -> None:
    """Delete a member class that nobody is in."""
    with changing(home) as change:
        members.delete_member_class(change, code)


@member_class.command("list")
@home_option
@json_option
def list_member_classes(home: Path, *, as_json: bool) -> None:
    """List the member classes."""
    with reading(home) as session:
        rows = [(row.code, row.description) for row in members.list_member_classes(session)]
    show("Member classes", ("code", "description"), rows, as_json=as_json)


@click.group("member")
def member() -> None:
    """Members of the instance."""


@member.command("add")
@click.argument("member_id", metavar="INSTANCE/CLASS/CODE")
@click.argument("name")
@home_option
def add_member(member_id: str, name: str, home: Path) -> None:
    """Add a member."""
    with changing(home) as change:
        members.add_member(change, MemberId.parse(member_id), name)


@member.command("rename")
@click.argument("member_id", metavar="INSTANCE/CLASS/CODE")
@click.argument("name")
@home_option
def rename_member(member_id: str, name: str, home: Path) -> None:
    """Change the name of a member."""
    with changing(home) as change:
        members.rename_member(change, MemberId.parse(member_id), name)


@member.command("remove")
@click.argument("member_id", metavar="INSTANCE/CLASS/CODE")
@click.confirmation_option(prompt="Delete the member with its subsystems and servers?")
@home_option
def remove_member(member_id: str, home: Path) -> None:
    """Delete a member with its subsystems, servers and registrations."""
    with changing(home) as change:
        servers.delete_member(change, MemberId.parse(member_id))


@member.command("list")
@home_option
@json_option
def list_members(home: Path, *, as_json: bool) -> None:
    """List the members."""
    with reading(home) as session:
        rows = [
            (
                members.member_id(session, row).encoded(),
                row.name,
                len(row.subsystems),
                len(row.owned_servers),
            )
            for row in members.list_members(session)
        ]
    show("Members", ("member", "name", "subsystems", "servers"), rows, as_json=as_json)


@click.group("subsystem")
def subsystem() -> None:
    """Subsystems of members."""


@subsystem.command("add")
@click.argument("subsystem_id", metavar="INSTANCE/CLASS/CODE/SUBSYSTEM")
@click.option("--name", help="A name for people.")
@home_option
def add_subsystem(subsystem_id: str, name: str | None, home: Path) -> None:
    """Add a subsystem to a member."""
    with changing(home) as change:
        members.add_subsystem(change, SubsystemId.parse(subsystem_id), name)


@subsystem.command("rename")
@click.argument("subsystem_id", metavar="INSTANCE/CLASS/CODE/SUBSYSTEM")
@click.argument("name")
@home_option
def rename_subsystem(subsystem_id: str, name: str, home: Path) -> None:
    """Change the name of a subsystem; an empty one removes it."""
    with changing(home) as change:
        members.rename_subsystem(change, SubsystemId.parse(subsystem_id), name)


@subsystem.command("remove")
@click.argument("subsystem_id", metavar="INSTANCE/CLASS/CODE/SUBSYSTEM")
@home_option
def remove_subsystem(subsystem_id: str, home: Path) -> None:
    """Delete a subsystem that no server has as its client."""
    with changing(home) as change:
        members.delete_subsystem(change, SubsystemId.parse(subsystem_id))


@subsystem.command("list")
@home_option
@json_option
def list_subsystems(home: Path, *, as_json: bool) -> None:
    """List the subsystems and the servers they are registered with."""
    with reading(home) as session:
        rows = [
            (
                members.subsystem_id(session, child).encoded(),
                child.name,
                " ".join(
                    servers.server_id(session, registration.security_server).encoded()
                    for registration in child.registrations
                ),
            )
            for row in members.list_members(session)
            for child in row.subsystems
        ]
    show("Subsystems", ("subsystem", "name", "servers"), rows, as_json=as_json)


@click.group("server")
def server() -> None:
    """Registered security servers."""


@server.command("list")
@home_option
@json_option
def list_servers(home: Path, *, as_json: bool) -> None:
    """List the security servers."""
    with reading(home) as session:
        rows = [
            (
                servers.server_id(session, row).encoded(),
                row.address,
                len(row.auth_certificates),
                len(row.clients),
                row.in_maintenance_mode,
            )
            for row in servers.list_servers(session)
        ]
    columns = ("server", "address", "auth_certificates", "clients", "in_maintenance")
    show("Security servers", columns, rows, as_json=as_json)


@server.command("clients")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@home_option
@json_option
def list_clients(server_id: str, home: Path, *, as_json: bool) -> None:
    """List the registered clients of a security server."""
    with reading(home) as session:
        found = servers.load_server(session, SecurityServerId.parse(server_id))
        rows = [
            (servers.client_of(session, registration).encoded(), registration.enabled)
            for registration in found.clients
        ]
    show(f"Clients of {server_id}", ("client", "enabled"), rows, as_json=as_json)


@server.command("address")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@click.argument("address")
@home_option
def change_server_address(server_id: str, address: str, home: Path) -> None:
    """Change the address of a security server."""
    with changing(home) as change:
        servers.update_server_address(change, SecurityServerId.parse(server_id), address)


@server.command("maintenance")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.option("--message", help="What callers are told.")
@home_option
def change_maintenance(server_id: str, state: str, message: str | None, home: Path) -> None:
    """Begin or end the maintenance of a security server."""
    with changing(home) as change:
        if state == "on":
            servers.start_maintenance(change, SecurityServerId.parse(server_id), message)
        else:
            servers.end_maintenance(change, SecurityServerId.parse(server_id))


@server.command("remove")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@click.confirmation_option(prompt="Delete the server with its certificates and registrations?")
@home_option
def remove_server(server_id: str, home: Path) -> None:
    """Delete a security server."""
    with changing(home) as change:
        servers.delete_server(change, SecurityServerId.parse(server_id))


@server.command("remove-certificate")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@click.argument("sha256")
@home_option
def remove_auth_certificate(server_id: str, sha256: str, home: Path) -> None:
    """Remove an authentication certificate, named by its SHA-256 fingerprint."""
    with changing(home) as change:
        servers.delete_auth_certificate(change, SecurityServerId.parse(server_id), sha256)


@click.command("unregister-client")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@click.argument("client_id", metavar="INSTANCE/CLASS/CODE[/SUBSYSTEM]")
@home_option
def unregister_client(server_id: str, client_id: str, home: Path) -> None:
    """End the registration of a client with a security server."""
    with changing(home) as change:
        servers.unregister_client(
            change, SecurityServerId.parse(server_id), parse_client_id(client_id)
        )


@click.command("client")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@click.argument("client_id", metavar="INSTANCE/CLASS/CODE[/SUBSYSTEM]")
@click.argument("state", type=click.Choice(["enable", "disable"]))
@home_option
def change_client_state(server_id: str, client_id: str, state: str, home: Path) -> None:
    """Enable or disable a registered client."""
    with changing(home) as change:
        servers.set_client_enabled(
            change,
            SecurityServerId.parse(server_id),
            parse_client_id(client_id),
            enabled=state == "enable",
        )


@click.group("group")
def group() -> None:
    """Global access right groups."""


@group.command("add")
@click.argument("code")
@click.argument("description")
@home_option
def add_group(code: str, description: str, home: Path) -> None:
    """Add a global group."""
    with changing(home) as change:
        groups.add_group(change, code, description)


@group.command("remove")
@click.argument("code")
@home_option
def remove_group(code: str, home: Path) -> None:
    """Delete a global group."""
    with changing(home) as change:
        groups.delete_group(change, code)


@group.command("list")
@home_option
@json_option
def list_groups(home: Path, *, as_json: bool) -> None:
    """List the global groups with their members."""
    with reading(home) as session:
        rows = [
            (
                row.group_code,
                row.description,
                " ".join(client.encoded() for client in groups.group_clients(row)),
            )
            for row in groups.list_groups(session)
        ]
    show("Global groups", ("group", "description", "members"), rows, as_json=as_json)


@group.command("add-member")
@click.argument("code")
@click.argument("clients", nargs=-1, required=True, metavar="INSTANCE/CLASS/CODE[/SUBSYSTEM]...")
@home_option
def add_group_members(code: str, clients: tuple[str, ...], home: Path) -> None:
    """Put members or subsystems into a global group."""
    with changing(home) as change:
        groups.add_group_members(change, code, [parse_client_id(client) for client in clients])


@group.command("remove-member")
@click.argument("code")
@click.argument("clients", nargs=-1, required=True, metavar="INSTANCE/CLASS/CODE[/SUBSYSTEM]...")
@home_option
def remove_group_members(code: str, clients: tuple[str, ...], home: Path) -> None:
    """Take members or subsystems out of a global group."""
    with changing(home) as change:
        groups.remove_group_members(change, code, [parse_client_id(client) for client in clients])


COMMANDS = (
    member_class,
    member,
    subsystem,
    server,
    group,
    unregister_client,
    change_client_state,
)
"""What this module adds to ``postroad central``."""
