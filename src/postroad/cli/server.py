"""`postroad server`: make, run and ask a Security Server."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from postroad.adapters.system_clock import SystemClock
from postroad.cli import (
    server_acme,
    server_archive,
    server_audit,
    server_backup,
    server_certificates,
    server_clients,
    server_descriptions,
    server_governance,
    server_log,
    server_registration,
    server_requests,
    server_settings,
    server_signer,
    server_tokens,
)
from postroad.cli.server_context import (
    PIN_VARIABLE,
    home_option,
    opened_conf,
    pin_option,
    read_file,
    show,
    with_signer,
)
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.settings import load_settings, parse_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.identifiers import SecurityServerId

_DESCRIPTOR_VARIABLE = "POSTROAD_TOKEN_PIN_DESCRIPTOR"

_SETTINGS = """\
# The Security Server's settings; `postroad server apply` declares clients and services, and
# `postroad server settings` shows what holds. What isn't written here has its default.
{profile}
[server]
identifier = "{identifier}"
workers = {workers}
"""
_PLACES = {
    "client_proxy": {"host": "client_host", "http_port": "http_port", "https_port": "https_port"},
    "server_proxy": {
        "host": "host",
        "port": "port",
        "ocsp_host": "host",
        "ocsp_port": "ocsp_port",
    },
}
"""Which option of `init` each setting comes from."""


@click.group("server")
def command() -> None:
    """Run and configure a Security Server."""


@command.command("init")
@click.option("--owner", required=True, help="INSTANCE/CLASS/CODE of the member that owns it.")
@click.option("--code", required=True, help="Server code, unique among the owner's servers.")
@click.option(
    "--anchor",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration anchor, as the Central Server's operator hands it out.",
)
@click.option("--profile", type=click.Choice(["vanilla", "ee", "fi"]), help="Whose defaults hold.")
@click.option("--host", help="Where peers call; all addresses if not given.")
@click.option("--port", type=int, help="Port for peers; 5500 if not given.")
@click.option("--ocsp-port", type=int, help="OCSP port for peers; 5577 if not given.")
@click.option("--client-host", help="Where information systems call; 127.0.0.1 or the profile's.")
@click.option("--http-port", type=int, help="8080 or the profile's; 0 serves no plain HTTP.")
@click.option("--https-port", type=int, help="8443 or the profile's.")
@click.option("--workers", default=1, show_default=True, help="Proxy processes; one per core.")
@home_option
def init(home: Path, owner: str, code: str, anchor: Path, **options: int | str | None) -> None:
    """Make a Security Server's home: settings, anchor, database.

    An existing server.toml is left as it is, and must name the same server.
    """
    from postroad.adapters.backups.sealing import ensure_key
    from postroad.adapters.files import write_atomic
    from postroad.globalconf.anchor import Anchor, fingerprint
    from postroad.securityserver.app import prepare_directories

    identifier = _server_id(owner, code)
    data = read_file(anchor)
    instance = Anchor.parse(data).instance
    if instance != identifier.instance:
        raise ConfigurationError(
            f"the anchor is of the instance {instance!r}, the owner of {identifier.instance!r}"
        )
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / "server.toml"
    if not path.exists():
        text = _first_settings(identifier, options)
        parse_settings(text, home=home)
        write_atomic(path, text.encode("utf-8"), mode=0o600)
    settings = load_settings(home)
    if settings.server_id != identifier:
        raise ConfigurationError(f"{path} is of the server {settings.server_id}")
    write_atomic(settings.anchor_path, data, mode=0o600)
    prepare_directories(settings)
    with opened_conf(settings) as conf:
        conf.initialise(identifier)
    ensure_key(home, f"security/{identifier.encoded()}")
    click.echo(f"server {identifier} is ready in {home}")
    click.echo(f"anchor of {instance}: {fingerprint(data)}")
    click.echo("next: postroad server run, then in another shell: token init, key generate, csr")


def _first_settings(identifier: SecurityServerId, options: Mapping[str, int | str | None]) -> str:
    profile = f'\nprofile = "{options["profile"]}"\n' if options["profile"] else ""
    text = _SETTINGS.format(
        identifier=identifier.encoded(), workers=options["workers"], profile=profile
    )
    for section, keys in _PLACES.items():
        given = {key: options[option] for key, option in keys.items()}
        lines = [
            f"{key} = {json.dumps(value)}\n" for key, value in given.items() if value is not None
        ]
        if lines:
            text += f"\n[{section}]\n{''.join(lines)}"
    return text


def _server_id(owner: str, code: str) -> SecurityServerId:
    from postroad.identifiers import MemberId, SecurityServerId

    member = MemberId.parse(owner)
    return SecurityServerId(member.instance, member.member_class, member.member_code, code)


@command.command("run")
@pin_option
@home_option
def run(home: Path, pin_file: Path | None) -> None:
    """Run the server until told to stop.

    With a PIN (--pin-file, POSTROAD_TOKEN_PIN, or [tokens] in server.toml) the signer logs the
    token in at every start. Only its owner may be able to read a PIN file.
    """
    descriptor = None if pin_file is not None else _hidden_pin()
    from postroad.securityserver import app  # after the PIN has left this process

    settings = load_settings(home)
    login = server_signer.automatic_login(settings, pin_file, descriptor)
    signer = app.SignerProcess(
        run=partial(server_signer.run_signer, settings, login),
        module="postroad.signer.processes",
        secret_descriptor=descriptor,
        run_device=partial(server_signer.run_device, settings),
    )
    sys.exit(app.run(settings, signer))


def _hidden_pin() -> int | None:
    """Move a PIN from the environment into a memory file, and start over without it.

    All processes of the server descend from this one and would inherit its environment; after
    the restart only the signer reads the file, and the others close it.
    """
    known = os.environ.pop(_DESCRIPTOR_VARIABLE, None)
    if known is not None:
        descriptor = os.dup(int(known))  # a copy is not inherited by programs we start
        os.close(int(known))
        return descriptor
    pin = os.environ.pop(PIN_VARIABLE, None)
    if pin:
        _start_over(pin)
    return None


def _start_over(pin: str) -> NoReturn:
    descriptor = os.memfd_create("token-pin", 0)
    os.write(descriptor, pin.encode("utf-8"))
    os.environ[_DESCRIPTOR_VARIABLE] = str(descriptor)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves


@command.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@home_option
def status(home: Path, as_json: bool) -> None:
    """Show the processes and the last runs of the background jobs."""
    settings = load_settings(home)
    overall = _load_json(settings.run_path / "status.json")
    if not overall:
        raise ConfigurationError("the server has never run here")
    if not _is_alive(overall.get("pid")):
        overall["state"] = "stopped"
    jobs = [_load_json(path) for path in sorted(settings.run_path.glob("status-*.json"))]
    if as_json:
        click.echo(json.dumps({**overall, "jobs": jobs}, indent=2))
        return
    click.echo(f"{settings.server_id}: {overall['state']}")
    children = overall.get("children")
    if isinstance(children, list):
        show(
            ("process", "state", "pid", "restarts", "last end"),
            [tuple(child[name] for name in _CHILD_FIELDS) for child in children],
        )
    show(
        ("job", "state", "at", "error"),
        [(job["job"], job["state"], job["at"], job.get("error")) for job in jobs if job],
    )


_CHILD_FIELDS = ("name", "state", "pid", "restarts", "last_end")


def _load_json(path: Path) -> dict[str, object]:
    try:
        loaded = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _is_alive(pid: object) -> bool:
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@command.command("export")
@click.argument("query_id")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Directory.")
@home_option
def export(query_id: str, out: Path, home: Path) -> None:
    """Write the signed containers of an exchange, named by its query id, from the message log."""
    from postroad.securityserver.messagelog import export as exporting
    from postroad.securityserver.messagelog.record_keys import log_keys_of

    settings = load_settings(home)
    out.mkdir(parents=True, exist_ok=True)
    keys = log_keys_of(settings)
    written = exporting.export_containers(settings.messagelog_url, query_id, out, keys=keys)
    if not written:
        raise ConfigurationError(
            f"the message log holds no message of the id {query_id!r}", code=FaultCode.NOT_FOUND
        )
    for path in written:
        click.echo(str(path))


@command.command("follow-registrations", hidden=True)
@home_option
def follow_registrations(home: Path) -> None:
    """Bring the clients' statuses to what the global configuration says; run by the server."""
    from postroad.securityserver.following import follow

    settings = load_settings(home)
    keys = with_signer(home, lambda signer, _settings: signer.certificates())
    with opened_conf(settings) as conf:
        for line in follow(settings, conf, keys, at=SystemClock().now()):
            click.echo(line)


for group in (
    server_tokens.token,
    server_tokens.key,
    server_requests.csr,
    server_certificates.cert,
):
    command.add_command(group)
server_certificates.cert.add_command(server_acme.order)
command.add_command(server_registration.register)
command.add_command(server_log.log_key)
command.add_command(server_settings.settings)
for asking in server_governance.COMMANDS:
    command.add_command(asking)
command.add_command(server_descriptions.command)
command.add_command(server_signer.import_keyconf)
command.add_command(server_archive.archive)
command.add_command(server_backup.backup)
for subcommand in (server_clients.apply, server_clients.diff):
    command.add_command(subcommand)
for listing in (server_clients.client, server_clients.service):
    command.add_command(listing)
server_audit.audit(command)
