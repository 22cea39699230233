"""`postroad server token | key | csr | cert`: the signer's token, keys and certificates."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.signer_protocol import KeyAlgorithm, KeyRecord, KeyUsage
from postroad.cli.server_context import (
    home_option,
    opened_conf,
    pin_option,
    read_file,
    read_pin,
    show,
    with_signer,
)
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from postroad.adapters.signer_client import SignerClient
    from postroad.identifiers import MemberId
    from postroad.securityserver.certificates import Applicant
    from postroad.securityserver.settings import Settings

_USAGES = {"sign": KeyUsage.SIGNING, "auth": KeyUsage.AUTHENTICATION}


@click.group()
def token() -> None:
    """The software token: its PIN and its state."""


@token.command("init")
@click.option("--pin-policy", is_flag=True, help="Refuse a PIN that the usual policy refuses.")
@pin_option
@home_option
def token_init(home: Path, pin_file: Path | None, pin_policy: bool) -> None:  # noqa: FBT001
    """Give the token its PIN, and log it in."""
    pin = read_pin(pin_file, new=True, what="New PIN of the token")

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.initialise(pin, enforce_policy=pin_policy)
        await signer.login(pin)

    with_signer(home, work)
    click.echo("the token is initialised and logged in")


@token.command("login")
@pin_option
@home_option
def token_login(home: Path, pin_file: Path | None) -> None:
    """Log the token in, so that its keys can be used."""
    pin = read_pin(pin_file)
    with_signer(home, lambda signer, _settings: signer.login(pin))
    click.echo("the token is logged in")


@token.command("logout")
@home_option
def token_logout(home: Path) -> None:
    """Make the signer forget the private keys until the next login."""
    with_signer(home, lambda signer, _settings: signer.logout())
    click.echo("the token is logged out")


@token.command("change-pin")
@click.option(
    "--new-pin-file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the new PIN in its first line.",
)
@click.option("--pin-policy", is_flag=True, help="Refuse a PIN that the usual policy refuses.")
@pin_option
@home_option
def token_change_pin(
    home: Path,
    pin_file: Path | None,
    new_pin_file: Path,
    pin_policy: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Replace the PIN; the token is logged out afterwards."""
    old, new = read_pin(pin_file), read_pin(new_pin_file)
    with_signer(
        home, lambda signer, _settings: signer.change_pin(old, new, enforce_policy=pin_policy)
    )
    click.echo("the PIN is changed; log in with the new one")


@token.command("status")
@home_option
def token_status(home: Path) -> None:
    """Show whether the token is initialised and logged in."""
    info = with_signer(home, lambda signer, _settings: signer.info())
    click.echo(f"token {info.token.id} ({info.token.friendly_name}): {info.status}")
    click.echo("logged in" if info.active else "logged out")
    click.echo(f"{len(info.token.keys)} keys, {len(info.available_keys)} available")


@click.group()
def key() -> None:
    """Key pairs of the token."""


@key.command("generate")
@click.option("--label", required=True)
@click.option("--usage", type=click.Choice(list(_USAGES)), help="Fixed by the first CSR if absent.")
@click.option(
    "--algorithm",
    type=click.Choice([algorithm.value for algorithm in KeyAlgorithm]),
    default=KeyAlgorithm.RSA_2048.value,
    show_default=True,
)
@home_option
def key_generate(home: Path, label: str, usage: str | None, algorithm: str) -> None:
    """Generate a key pair and print its id."""
    record = with_signer(
        home,
        lambda signer, _settings: signer.generate_key(
            label, algorithm=KeyAlgorithm(algorithm), usage=_USAGES[usage] if usage else None
        ),
    )
    click.echo(record.id)


@key.command("list")
@home_option
def key_list(home: Path) -> None:
    """List the keys."""
    info = with_signer(home, lambda signer, _settings: signer.info())
    show(
        ("id", "label", "algorithm", "usage", "available", "certificates", "requests"),
        [
            (
                record.id,
                record.label,
                record.algorithm,
                record.usage,
                record.id in info.available_keys,
                len(record.certificates),
                len(record.requests),
            )
            for record in info.token.keys
        ],
    )


@key.command("delete")
@click.argument("key_id")
@click.confirmation_option(prompt="Delete the key with its certificates for ever?")
@home_option
def key_delete(home: Path, key_id: str) -> None:
    """Delete a key with its requests and certificates."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.delete_key(_find_key((await signer.info()).token.keys, key_id).id)

    with_signer(home, work)
    click.echo("the key is deleted")


@click.command()
@click.option("--key", "key_id", required=True, help="Key id or label.")
@click.option("--usage", required=True, type=click.Choice(list(_USAGES)))
@click.option("--member", help="INSTANCE/CLASS/CODE to sign for; the owner if absent.")
@click.option("--ca", help="Name of the approved certification service; needed if several.")
@click.option("--profile", help="Certificate profile, instead of that of the service.")
@click.option("--member-name", help="Name of the member, if the registry's is not the one wanted.")
@click.option("--dns", default="", help="Host name of this server, for authentication.")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="Editable field.")
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@home_option
def csr(home: Path, key_id: str, form: str, out: Path, **options: object) -> None:
    """Make a certificate request for a key by the authority's certificate profile."""

    async def work(signer: SignerClient, settings: Settings) -> bytes:
        from postroad.securityserver.certificates import request_for  # noqa: PLC0415

        usage = _USAGES[str(options["usage"])]
        record = _find_key((await signer.info()).token.keys, key_id)
        applicant, profile = _applicant(settings, usage, options)
        values = dict(_field(text) for text in _texts(options["fields"]))
        made = await signer.make_request(request_for(record.id, applicant, profile, values))
        return made.der

    der = with_signer(home, work)
    out.write_bytes(der if form == "der" else _pem(der))
    click.echo(f"certificate request written to {out}")


def _applicant(
    settings: Settings, usage: KeyUsage, options: dict[str, object]
) -> tuple[Applicant, str]:
    from postroad.identifiers import MemberId  # noqa: PLC0415
    from postroad.securityserver.certificates import Applicant, profile_of  # noqa: PLC0415
    from postroad.securityserver.globalconf_files import load_globalconf  # noqa: PLC0415

    owner = settings.server_id.owner
    member = MemberId.parse(str(options["member"])) if options["member"] else owner
    name, profile = options["member_name"], options["profile"]
    if not (name and profile):
        globalconf = load_globalconf(settings)
        ca = None if options["ca"] is None else str(options["ca"])
        name = name or globalconf.name_of(member) or ""
        profile = profile or profile_of(globalconf, ca, usage)
    applicant = Applicant(
        server=settings.server_id,
        member=member if usage is KeyUsage.SIGNING else None,
        name=str(name),
        dns_name=str(options["dns"]),
    )
    return applicant, str(profile)


def _texts(value: object) -> list[str]:
    return [str(text) for text in value] if isinstance(value, tuple) else []


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"a field is NAME=VALUE, not {text!r}", code=FaultCode.CSR_FAILED)
    return name, value


def _pem(der: bytes) -> bytes:
    body = base64.encodebytes(der).decode("ascii")
    lines = body.replace("\n", "")
    wrapped = "\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    text = f"-----BEGIN CERTIFICATE REQUEST-----\n{wrapped}\n-----END CERTIFICATE REQUEST-----\n"
    return text.encode("ascii")


@click.group()
def cert() -> None:
    """Certificates of the token's keys."""


@cert.command("import")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--activate", "also_activate", is_flag=True, help="Activate it too.")
@home_option
def cert_import(home: Path, file: Path, also_activate: bool) -> None:  # noqa: FBT001
    """Import a certificate (PEM or DER) for one of the keys."""
    data = read_file(file)

    async def work(signer: SignerClient, settings: Settings) -> str:
        from postroad.adapters.system_clock import SystemClock  # noqa: PLC0415
        from postroad.securityserver.certificates import import_certificate  # noqa: PLC0415
        from postroad.securityserver.globalconf_files import load_globalconf  # noqa: PLC0415

        record = await import_certificate(
            signer,
            data,
            globalconf=load_globalconf(settings),
            local_members=_local_members(settings),
            at=SystemClock().now(),
        )
        if also_activate:
            await _activate(signer, settings, record.hash)
        return record.hash

    click.echo(with_signer(home, work))


@cert.command("activate")
@click.argument("certificate_hash")
@home_option
def cert_activate(home: Path, certificate_hash: str) -> None:
    """Use a certificate from now on; its OCSP response must be good."""
    with_signer(home, lambda signer, settings: _activate(signer, settings, certificate_hash))
    click.echo("the certificate is active")


@cert.command("deactivate")
@click.argument("certificate_hash")
@home_option
def cert_deactivate(home: Path, certificate_hash: str) -> None:
    """Stop using a certificate."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        from postroad.securityserver.certificates import find_certificate  # noqa: PLC0415

        certificate = await find_certificate(signer, certificate_hash)
        await signer.set_certificate(certificate.sha256.hex(), active=False)

    with_signer(home, work)
    click.echo("the certificate is not active")


@cert.command("delete")
@click.argument("certificate_hash")
@click.confirmation_option(prompt="Delete the certificate?")
@home_option
def cert_delete(home: Path, certificate_hash: str) -> None:
    """Delete a certificate; its key stays."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        from postroad.securityserver.certificates import find_certificate  # noqa: PLC0415

        certificate = await find_certificate(signer, certificate_hash)
        await signer.delete_certificate(certificate.sha256.hex())

    with_signer(home, work)
    click.echo("the certificate is deleted")


@cert.command("list")
@home_option
def cert_list(home: Path) -> None:
    """List the certificates with their state."""
    from postroad.crypto.certificates import Certificate  # noqa: PLC0415

    entries = with_signer(home, lambda signer, _settings: signer.certificates())
    rows: list[tuple[object, ...]] = []
    for entry in entries:
        certificate = Certificate.from_der(entry.der)
        rows.append(
            (
                certificate.sha256.hex().upper()[:16],
                entry.usage,
                entry.member,
                entry.active,
                entry.status,
                certificate.not_after.date().isoformat(),
                certificate.subject_rfc2253,
            )
        )
    show(("sha-256", "usage", "member", "active", "status", "valid until", "subject"), rows)


async def _activate(signer: SignerClient, settings: Settings, certificate_hash: str) -> None:
    from postroad.adapters.http_client import HttpClient  # noqa: PLC0415
    from postroad.adapters.system_clock import SystemClock  # noqa: PLC0415
    from postroad.securityserver.certificates import activate_certificate  # noqa: PLC0415
    from postroad.securityserver.globalconf_files import load_globalconf  # noqa: PLC0415
    from postroad.securityserver.ocsp_fetching import OcspClient  # noqa: PLC0415

    clock = SystemClock()
    http = HttpClient()
    try:
        await activate_certificate(
            signer,
            certificate_hash,
            globalconf=load_globalconf(settings),
            ocsp=OcspClient(settings.ocsp_path, http, clock),
            at=clock.now(),
        )
    finally:
        http.close()


def _local_members(settings: Settings) -> frozenset[MemberId]:
    from postroad.securityserver.serverconf.clients import list_clients  # noqa: PLC0415

    with opened_conf(settings) as conf, conf.read() as session:
        return frozenset(row.identifier.member for row in list_clients(session))


def _find_key(keys: tuple[KeyRecord, ...], name: str) -> KeyRecord:
    found = [record for record in keys if record.id == name.upper() or record.label == name]
    if len(found) != 1:
        raise ConfigurationError(
            "no such key" if not found else f"several keys have the label {name!r}: give the id",
            code=FaultCode.KEY_NOT_FOUND,
        )
    return found[0]
