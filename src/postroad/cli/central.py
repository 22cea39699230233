"""``postroad central``: make, run and govern a Central Server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from postroad.adapters.backups.restoring import stopped
from postroad.adapters.backups.sealing import ensure_key
from postroad.centralserver.backups import backed_up
from postroad.centralserver.declaration import apply_declaration, load_declaration
from postroad.centralserver.generator import load_status
from postroad.centralserver.node import NewInstance, initialize_node, join_node
from postroad.centralserver.registry.system import instance_status
from postroad.centralserver.settings import FILE_NAME, load_settings
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.centralserver.token_login import TokenLogin
from postroad.cli import (
    central_admin,
    central_backup,
    central_federation,
    central_keys,
    central_log,
    central_nodes,
    central_registry,
    central_requests,
    central_trust,
)
from postroad.cli.central_context import (
    Cell,
    changing,
    home_option,
    json_option,
    knows_pin,
    opened,
    operator,
    read_pin,
    show_values,
)

if TYPE_CHECKING:
    from postroad.centralserver.app import ServedAddresses

_SETTINGS = """\
# The Central Server's settings. What concerns the instance itself is in the registry:
# see `postroad central parameter get`.

{cluster}[distribution]
host = "{host}"
http_port = {http_port}
https = {https}
https_port = {https_port}

# Where servers register; clients find it in the configuration.
[registration_service]
host = "{host}"
port = {registration_port}

# Where the Security Server of the management services delivers requests: keep strangers out.
[management_service]
port = {management_port}

# Where administrators and their programs work: see `postroad central admin create`.
[management_api]
enabled = {api}
host = "{host}"
port = {api_port}
"""


@click.group("central")
def command() -> None:
    """Run and govern a Central Server."""


@command.command("init")
@click.argument("instance")
@click.argument("address")
@click.option("--host", default="0.0.0.0", show_default=True, help="Listen on this address.")  # noqa: S104 - participants come from the open internet
@click.option("--http-port", default=80, show_default=True)
@click.option("--https-port", default=443, show_default=True, help="0 serves plain HTTP only.")
@click.option("--registration-port", default=4001, show_default=True)
@click.option("--management-port", default=4002, show_default=True, help="On 127.0.0.1.")
@click.option("--api-port", default=4000, show_default=True, help="0 leaves it closed.")
@click.option(
    "--algorithm",
    type=click.Choice([algorithm.value for algorithm in KeyAlgorithm]),
    default=KeyAlgorithm.RSA.value,
    show_default=True,
    help="Of the first signing keys; clients before 7.6 can't verify EC.",
)
@click.option("--node-name", default="", help="This node's name, where several share a database.")
@click.option("--database-url", default="", help="PostgreSQL; without it a file in --home.")
@click.option("--join", is_flag=True, help="Add this node to the instance in that database.")
@home_option
def init(
    instance: str,
    address: str,
    host: str,
    http_port: int,
    https_port: int,
    registration_port: int,
    management_port: int,
    api_port: int,
    algorithm: str,
    node_name: str,
    database_url: str,
    home: Path,
    *,
    join: bool,
) -> None:
    """Make an instance: identifier, token, signing keys, certificates.

    ADDRESS is where participants reach this server, with a port if that isn't 80. An existing
    central.toml is left as it is; doing it twice changes nothing. With --join this becomes a
    further node of an instance that others run on the same database.
    """
    settings_path = home / FILE_NAME
    if not settings_path.exists():
        home.mkdir(mode=0o750, parents=True, exist_ok=True)
        text = _SETTINGS.format(
            host=host,
            http_port=http_port,
            https="true" if https_port else "false",
            https_port=https_port,
            registration_port=registration_port,
            management_port=management_port,
            api="true" if api_port else "false",
            api_port=api_port,
            cluster=_cluster_settings(node_name, database_url),
        )
        settings_path.write_text(text, encoding="utf-8")
    with opened(home) as node:
        new = NewInstance(
            instance=instance,
            address=address,
            pin=read_pin(node.settings, new=True),
            algorithm=KeyAlgorithm(algorithm),
        )
        (join_node if join else initialize_node)(node, new, operator())
    ensure_key(home, backed_up(home).label)
    if join:
        click.echo(f"node {node_name} of instance {instance} is ready in {home}: run it")
        click.echo("security servers of 7.3 and older need the new anchor to know it")
        return
    click.echo(f"instance {instance} is ready in {home}")
    click.echo("next: add member classes and members, then name the management service provider")
    click.echo("      (postroad central provider INSTANCE/CLASS/CODE/SUBSYSTEM), then run")


def _cluster_settings(node_name: str, database_url: str) -> str:
    text = ""
    for section, key, value in (
        ("central", "node_name", node_name),
        ("database", "url", database_url),
    ):
        if value:
            text += f"[{section}]\n{key} = {json.dumps(value)}\n\n"
    return text


@command.command("run")
@home_option
def run(home: Path) -> None:
    """Generate the configuration regularly and serve it, until told to stop.

    With the management interface the PIN may come later, and so may the whole instance.
    """
    from postroad.adapters.logs import configure_logging
    from postroad.centralserver.app import serve

    with opened(home) as node, stopped(node.settings.lock_path):
        configure_logging(process="central", style=node.settings.central.log_format)
        login = TokenLogin(node.settings.token_path, unlock=node.unlock)
        if not node.settings.management_api.enabled or (
            login.is_initialized and knows_pin(node.settings)
        ):
            login.login(read_pin(node.settings))
        asyncio.run(serve(node, login, ready=_announce))


def _announce(addresses: ServedAddresses) -> None:
    https = f", https {addresses.https_port}" if addresses.https_port is not None else ""
    click.echo(f"serving the configuration: http {addresses.http_port}{https}")
    if addresses.registration_port is not None:
        click.echo(f"taking registrations: port {addresses.registration_port}")
    if addresses.management_port is not None:
        click.echo(f"taking management requests: port {addresses.management_port}")
    if addresses.api_port is not None:
        click.echo(f"management interface: port {addresses.api_port}")


@command.command("generate-now")
@click.option(
    "--accept-other-history",
    is_flag=True,
    help="Even if the registry doesn't know what this node has published: it was restored.",
)
@home_option
def generate_now(home: Path, *, accept_other_history: bool) -> None:
    """Generate and publish the configuration once."""
    with opened(home) as node:
        token = node.unlock(read_pin(node.settings))
        generated = node.generate(token, accept_other_history=accept_other_history)
    click.echo(
        f"published {generated.stamp}: {len(generated.parts)} parts, "
        f"{len(generated.directories)} directories, valid until {generated.expires_at.isoformat()}"
    )


@command.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@home_option
def apply(file: Path, home: Path) -> None:
    """Bring the registry to what a TOML file declares, and print what was changed.

    Nothing is ever removed; applying a file twice changes nothing the second time.
    """
    declared = load_declaration(file)
    with changing(home) as change:
        apply_declaration(change, declared, file.parent)


@command.command("status")
@home_option
@json_option
def status(home: Path, *, as_json: bool) -> None:
    """Show which instance this is and how the last generation went."""
    with opened(home) as node:
        with node.reading() as session:
            instance = instance_status(session, node.settings.central.node_name)
        last = load_status(node.settings)
        now = node.clock.now()
    values: dict[str, Cell] = {"instance": instance.instance, "address": instance.address}
    if last is not None:
        values["generation"] = "succeeded" if last.success else f"failing: {last.error}"
        values["since" if not last.success else "generated_at"] = last.time.isoformat()
        if last.expires_at is not None:
            expired = " (expired)" if last.expires_at < now else ""
            values["valid_until"] = f"{last.expires_at.isoformat()}{expired}"
    else:
        values["generation"] = "never"
    show_values(values, as_json=as_json)


@command.command("check-config")
@home_option
def check_config(home: Path) -> None:
    """Read central.toml and show the settings in force."""
    settings = load_settings(home)
    for section, values in msgspec.to_builtins(settings).items():
        if isinstance(values, dict):
            click.echo(f"[{section}]")
            for name, value in values.items():
                click.echo(f"{name} = {value!r}")


for addition in (
    *central_admin.COMMANDS,
    *central_registry.COMMANDS,
    *central_requests.COMMANDS,
    *central_trust.COMMANDS,
    *central_keys.COMMANDS,
    *central_federation.COMMANDS,
    *central_nodes.COMMANDS,
    *central_log.COMMANDS,
):
    command.add_command(addition)
command.add_command(central_backup.backup)
