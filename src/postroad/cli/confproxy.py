"""``postroad confproxy``: make, run and look at a configuration proxy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from postroad.adapters.files import write_atomic
from postroad.adapters.system_clock import SystemClock
from postroad.centralserver.signing_keys import KeyAlgorithm, SigningToken, initialize_token
from postroad.cli.central_context import algorithm_option, read_file, read_signing_pin
from postroad.configurationproxy import instances
from postroad.configurationproxy.publishing import published
from postroad.configurationproxy.settings import FILE_NAME, Settings, load_settings
from postroad.errors import ConfigurationError, PostroadError
from postroad.globalconf.anchor import Anchor, fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.configurationproxy.app import ServedAddresses
    from postroad.configurationproxy.instances import ProxyInstance

HOME_VARIABLE = "POSTROAD_CONFPROXY_HOME"
PIN_VARIABLE = "POSTROAD_CONFPROXY_PIN"
_LINE = "=" * 50
_SETTINGS = """\
# The configuration proxy's settings.

[proxy]
# Where clients reach it, with a port where it isn't the usual one; anchors name it.
address = "{address}"

[distribution]
host = "{host}"
http_port = {http_port}
https = {https}
https_port = {https_port}
"""

_Command = TypeVar("_Command", bound="Callable[..., None]")


def _home_option(command: _Command) -> _Command:
    return click.option(
        "--home",
        envvar=HOME_VARIABLE,
        default="confproxy",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Home directory of the configuration proxy (or {HOME_VARIABLE}).",
    )(command)


_NAME = click.argument("name", metavar="INSTANCE")
_FILE = click.Path(path_type=Path)


@click.group("confproxy")
def command() -> None:
    """Pass the global configuration of an instance on, signed with keys of its own."""


@command.command("init")
@click.argument("address")
@click.option("--host", default="0.0.0.0", show_default=True, help="Listen on this address.")  # noqa: S104 - clients come from the open internet
@click.option("--http-port", default=80, show_default=True)
@click.option("--https-port", default=443, show_default=True, help="0 serves plain HTTP only.")
@_home_option
def init(address: str, host: str, http_port: int, https_port: int, home: Path) -> None:
    """Make a home: settings, and the token of the signing keys with its PIN.

    ADDRESS is where clients reach the proxy, with a port if that isn't 80. An existing
    confproxy.toml is left as it is.
    """
    path = home / FILE_NAME
    if not path.exists():
        home.mkdir(mode=0o750, parents=True, exist_ok=True)
        text = _SETTINGS.format(
            address=address,
            host=host,
            http_port=http_port,
            https="true" if https_port else "false",
            https_port=https_port,
        )
        write_atomic(path, text.encode(), mode=0o640)
    settings = load_settings(home)
    initialize_token(settings.token_path, _read_pin(settings, new=True))
    click.echo(f"a configuration proxy is ready in {home}")
    click.echo("next: postroad confproxy create-instance INSTANCE ANCHOR, add-signing-key, run")


@command.command("create-instance")
@_NAME
@click.argument("anchor", type=_FILE)
@click.option("--validity", default=600, show_default=True, help="Seconds.")
@click.option(
    "--federations",
    default="none",
    show_default=True,
    help="Other instances that are passed on with it: none, all, or names with commas.",
)
@_home_option
def create_instance(name: str, anchor: Path, validity: int, federations: str, home: Path) -> None:
    """Make a proxy instance for the source whose anchor is in the file ANCHOR."""
    data = read_file(anchor)
    made = instances.create_instance(
        load_settings(home), name, data, validity=validity, federations=federations
    )
    click.echo(f"{made.name} passes on instance {Anchor.parse(data).instance}")
    click.echo(f"source anchor: fingerprint (SHA-224) {fingerprint(data)}")


@command.command("add-signing-key")
@_NAME
@algorithm_option
@_home_option
def add_signing_key(name: str, algorithm: str, home: Path) -> None:
    """Make a signing key and announce it; the first one is active."""
    settings = load_settings(home)
    key_id = instances.add_signing_key(settings, name, _token(settings), KeyAlgorithm(algorithm))
    click.echo(f"signing key {key_id}: clients learn of it with the next update")
    click.echo("The anchor has changed: clients that start anew need it (generate-anchor).")


@command.command("activate-signing-key")
@_NAME
@click.argument("key_id")
@click.option("--force", is_flag=True, help="Even if clients can't have learnt of the key yet.")
@_home_option
def activate_signing_key(name: str, key_id: str, home: Path, *, force: bool) -> None:
    """Let an announced key sign; give clients two updates to learn of it before."""
    instances.activate_signing_key(load_settings(home), name, key_id, force=force)


@command.command("del-signing-key")
@_NAME
@click.argument("key_id")
@_home_option
def delete_signing_key(name: str, key_id: str, home: Path) -> None:
    """Delete a key that doesn't sign."""
    settings = load_settings(home)
    instances.delete_signing_key(settings, name, _token(settings), key_id)


@command.command("generate-anchor")
@_NAME
@click.option("-f", "--filename", type=_FILE, required=True, help="File to write.")
@_home_option
def generate_anchor(name: str, filename: Path, home: Path) -> None:
    """Write the anchor for clients of the proxy."""
    settings = load_settings(home)
    instance = instances.load_instance(settings, name)
    data = instance.build_anchor(settings, at=SystemClock().now()).encode()
    try:
        write_atomic(filename, data, mode=0o644)
    except OSError as error:
        raise ConfigurationError(f"{filename} can't be written: {error.strerror}") from error
    click.echo(f"{filename}: fingerprint (SHA-224) {fingerprint(data)}")


@command.command("update")
@click.argument("names", nargs=-1, metavar="[INSTANCE]...")
@_home_option
def update(names: tuple[str, ...], home: Path) -> None:
    """Download and publish once; all proxy instances, or those named."""
    from postroad.configurationproxy.app import update_once

    settings = load_settings(home)
    reports = update_once(settings, _token(settings), names)
    for report in reports:
        for each in report.versions:
            done = "" if each.expires_at is None else f"valid until {each.expires_at.isoformat()}"
            said = done if each.error is None else f"failed: {each.error.message}"
            click.echo(f"{report.name} version {each.version}: {said}")
            for text in each.federated_errors:
                click.echo(f"  not renewed: {text}")
    failed = next((report.error for report in reports if report.error is not None), None)
    if failed is not None:
        raise failed


@command.command("run")
@_home_option
def run(home: Path) -> None:
    """Update regularly and serve, until told to stop."""
    from postroad.adapters.logs import configure_logging
    from postroad.configurationproxy.app import serve

    settings = load_settings(home)
    configure_logging(process="confproxy", style=settings.proxy.log_format)
    asyncio.run(serve(settings, _token(settings), ready=_announce))


@command.command("view-conf")
@click.argument("name", metavar="[INSTANCE]", required=False)
@click.option("-a", "--all", "everything", is_flag=True, help="All proxy instances.")
@_home_option
def view_conf(name: str | None, home: Path, *, everything: bool) -> None:
    """Show a proxy instance: source anchor, addresses, keys, what is published."""
    settings = load_settings(home)
    if name is None and not everything:
        raise click.UsageError("name a proxy instance, or use --all")
    shown = (
        instances.list_instances(settings)
        if name is None
        else [instances.load_instance(settings, name)]
    )
    for instance in shown:
        _show(instance, settings)


def _show(instance: ProxyInstance, settings: Settings) -> None:
    lines = [
        f"Configuration for proxy '{instance.name}'",
        f"Validity interval: {int(instance.validity.total_seconds())} s.",
        f"Federations:       {instance.allowed_federations}",
        "",
        "anchor.xml",
        _LINE,
        *_anchor_lines(instance),
        "",
        "Configuration URLs",
        _LINE,
        *(instance.addresses(settings) or ["the proxy has no address: set it in confproxy.toml"]),
        "",
        "Signing keys and certificates",
        _LINE,
        "active-signing-key-id:",
        f"\t{_key(instance, instance.active_key)}",
        "signing-key-id-*:",
        *(f"\t{_key(instance, key)}" for key in instance.keys),
        "",
        "Published",
        _LINE,
        *(
            f"version {version}: {len(directory.parts)} parts, valid until "
            f"{directory.expires_at.isoformat()}"
            for version, directory in published(settings.public_path / instance.name).items()
        ),
        "",
    ]
    click.echo("\n".join(lines))


def _anchor_lines(instance: ProxyInstance) -> list[str]:
    try:
        data = instance.load_anchor()
        anchor = Anchor.parse(data)
    except PostroadError as error:
        return [f"'anchor.xml' could not be loaded: {error.message}"]
    generated_at = "" if anchor.generated_at is None else anchor.generated_at.isoformat()
    return [
        f"Instance identifier: {anchor.instance}",
        f"Generated at:        {generated_at}",
        f"Hash:                {fingerprint(data)}",
    ]


def _key(instance: ProxyInstance, key_id: str | None) -> str:
    if key_id is None:
        return "NOT CONFIGURED (postroad confproxy add-signing-key)"
    try:
        instance.certificate(key_id)
    except ConfigurationError as error:
        return f"{key_id} (INVALID CERTIFICATE - {error.message})"
    return f"{key_id} (Certificate: {instance.certificate_path(key_id)})"


def _announce(addresses: ServedAddresses) -> None:
    https = f", https {addresses.https_port}" if addresses.https_port is not None else ""
    click.echo(f"serving the configuration: http {addresses.http_port}{https}")


def _token(settings: Settings) -> SigningToken:
    return SigningToken(settings.token_path, _read_pin(settings))


def _read_pin(settings: Settings, *, new: bool = False) -> str:
    return read_signing_pin(settings.token.pin_file, PIN_VARIABLE, FILE_NAME, new=new)
