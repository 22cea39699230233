"""``postroad central``: signing keys, anchors and system parameters from a shell."""

from __future__ import annotations

import os
from pathlib import Path

import click

from postroad.centralserver.registry import sources
from postroad.centralserver.registry.parameters import (
    list_parameters,
    parse_parameter,
    set_parameter,
)
from postroad.centralserver.registry.provider import (
    find_management_provider,
    set_management_provider,
)
from postroad.centralserver.registry.provider_registration import register_management_provider
from postroad.centralserver.signing_keys import KeyAlgorithm
from postroad.cli.central_context import (
    algorithm_option,
    changing,
    home_option,
    json_option,
    opened,
    operator,
    read_pin,
    reading,
    report,
    show,
)
from postroad.errors import ConfigurationError
from postroad.globalconf.anchor import fingerprint
from postroad.identifiers import SecurityServerId, parse_client_id

_SOURCE = click.Choice([source.value for source in sources.SourceType])


@click.group("key")
def key() -> None:
    """Keys that sign the configuration."""


@key.command("generate")
@click.argument("source", type=_SOURCE)
@algorithm_option
@home_option
def generate_key(source: str, algorithm: str, home: Path) -> None:
    """Make a key for a source and announce it; the anchor changes."""
    with opened(home) as node:
        token = node.unlock(read_pin(node.settings))
        source_type = sources.SourceType(source)
        key_id = node.generate_key(token, source_type, KeyAlgorithm(algorithm), operator())
    click.echo(f"Generate {source} configuration signing key: keyId={key_id}")
    click.echo("The anchor has changed: clients that start anew need it.")


@key.command("activate")
@click.argument("key_id")
@click.option("--force", is_flag=True, help="Even if clients can't have learnt of the key yet.")
@home_option
def activate_key(key_id: str, home: Path, *, force: bool) -> None:
    """Let an announced key sign from the next generation on."""
    with opened(home) as node:
        report(node.activate_key(key_id, operator(), force=force))


@key.command("delete")
@click.argument("key_id")
@home_option
def delete_key(key_id: str, home: Path) -> None:
    """Delete a key that doesn't sign; the anchor changes."""
    with opened(home) as node:
        token = node.unlock(read_pin(node.settings))
        node.delete_key(token, key_id, operator())
    click.echo(f"Delete configuration signing key: keyId={key_id}")


@key.command("list")
@home_option
@json_option
def list_keys(home: Path, *, as_json: bool) -> None:
    """List the signing keys of this node."""
    with opened(home) as node, node.reading() as session:
        rows = [
            (
                row.source.source_type,
                row.key_identifier,
                row.algorithm,
                row.is_active,
                row.generated_at.isoformat(timespec="seconds"),
            )
            for row in sources.list_signing_keys(session, node.settings.central.node_name)
        ]
    show(
        "Signing keys",
        ("source", "key", "algorithm", "active", "generated_at"),
        rows,
        as_json=as_json,
    )


@click.group("anchor")
def anchor() -> None:
    """Configuration anchors."""


@anchor.command("show")
@click.argument("source", type=_SOURCE, default="internal")
@home_option
def show_anchor(source: str, home: Path) -> None:
    """Show the fingerprint that people compare, and the anchor itself."""
    data = _anchor(home, source)
    click.echo(f"fingerprint (SHA-224): {fingerprint(data)}\n")
    click.echo(data.decode("utf-8"), nl=False)


@anchor.command("export")
@click.argument("source", type=_SOURCE, default="internal")
@click.option("--output", type=click.Path(path_type=Path), help="File to write; else the output.")
@home_option
def export_anchor(source: str, output: Path | None, home: Path) -> None:
    """Write the anchor, byte for byte, to a file or to the output."""
    data = _anchor(home, source)
    if output is None:
        click.echo(data, nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"{output} can't be written: {error.strerror}") from error
    click.echo(f"{os.fspath(output)}: fingerprint (SHA-224) {fingerprint(data)}")


@anchor.command("re-create")
@click.argument("source", type=_SOURCE)
@home_option
def recreate_anchor(source: str, home: Path) -> None:
    """Make the anchor anew."""
    with changing(home) as change:
        sources.rebuild_anchors(change, sources.SourceType(source))


@click.group("parameter")
def parameter() -> None:
    """System parameters of the instance."""


@parameter.command("get")
@click.argument("name", required=False)
@home_option
@json_option
def get_parameter(name: str | None, home: Path, *, as_json: bool) -> None:
    """Show one system parameter, or all of them."""
    with opened(home) as node, node.reading() as session:
        values = list_parameters(session, node.settings.central.node_name)
    if name is None:
        rows = [(value.key.value, value.value, value.is_default) for value in values]
        show("System parameters", ("key", "value", "is_default"), rows, as_json=as_json)
        return
    wanted = parse_parameter(name)
    click.echo(next((value.value for value in values if value.key is wanted), ""))


@parameter.command("set")
@click.argument("name")
@click.argument("value")
@home_option
def change_parameter(name: str, value: str, home: Path) -> None:
    """Set a system parameter."""
    with opened(home) as node:
        with node.changing(operator()) as change:
            set_parameter(change, parse_parameter(name), value, node.settings.central.node_name)
        report(change.entries)


@click.command("provider")
@click.argument("client_id", required=False, metavar="[INSTANCE/CLASS/CODE[/SUBSYSTEM]]")
@home_option
def provider(client_id: str | None, home: Path) -> None:
    """Show or name the client that provides the management services."""
    if client_id is None:
        with reading(home) as session:
            found = find_management_provider(session)
        click.echo("nobody yet" if found is None else found.encoded())
        return
    with changing(home) as change:
        set_management_provider(change, parse_client_id(client_id))


@click.command("register-provider")
@click.argument("server_id", metavar="INSTANCE/CLASS/CODE/SERVER")
@home_option
def register_provider(server_id: str, home: Path) -> None:
    """Make the provider of the management services a client of its first security server.

    The one registration that no server can ask for: before it there is nobody to ask.
    """
    with changing(home) as change:
        register_management_provider(change, SecurityServerId.parse(server_id))


def _anchor(home: Path, source: str) -> bytes:
    with opened(home) as node, node.reading() as session:
        return sources.load_anchor(
            session, sources.SourceType(source), node.settings.central.node_name
        )


COMMANDS = (key, anchor, parameter, provider, register_provider)
"""What this module adds to ``postroad central``."""
