"""`postroad server csr`: certificate requests of the signer's keys."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.signer_protocol import KeyUsage
from postroad.cli.server_context import home_option, local_members, show, with_signer
from postroad.cli.server_tokens import USAGES, find_key
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.possible_actions import (
    Action,
    key_actions,
    require_action,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.adapters.signer_client import SignerClient
    from postroad.adapters.signer_protocol import TokenInfo
    from postroad.securityserver.certificates import Applicant
    from postroad.securityserver.settings import Settings


@click.group("csr", invoke_without_command=True)
@click.option("--key", "key_id", help="Key id, label or friendly name.")
@click.option("--usage", type=click.Choice(list(USAGES)))
@click.option("--member", help="INSTANCE/CLASS/CODE to sign for; the owner if absent.")
@click.option("--ca", help="Name of the approved certification service; needed if several.")
@click.option("--profile", help="Certificate profile, instead of that of the service.")
@click.option("--member-name", help="Name of the member, if the registry's is not the one wanted.")
@click.option("--dns", default="", help="Host name of this server, for authentication.")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="Editable field.")
@click.option("--show-fields", is_flag=True, help="Show the profile's fields, make nothing.")
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path))
@home_option
@click.pass_context
def csr(
    context: click.Context,
    /,
    home: Path,
    key_id: str | None,
    form: str,
    out: Path | None,
    show_fields: bool,
    **options: object,
) -> None:
    """Make a certificate request for a key by the authority's certificate profile.

    `csr list`, `csr again` and `csr delete` are about requests that were made before.
    """
    if context.invoked_subcommand is not None:
        return
    usage_name = options["usage"]
    if usage_name is None or (not show_fields and (key_id is None or out is None)):
        raise click.UsageError("give --key, --usage and --out")
    usage = USAGES[str(usage_name)]
    if show_fields:
        _show_fields(home, usage, options)
        return
    if key_id is None or out is None:
        raise click.UsageError("give --key, --usage and --out")
    wanted = key_id

    async def work(signer: SignerClient, settings: Settings) -> bytes:
        from postroad.securityserver.certificates import request_for

        info, record = find_key(await signer.tokens(), wanted)
        signing = usage is KeyUsage.SIGNING
        possible = key_actions(
            info, record, csr_with_certificate=settings.tokens.allow_csr_for_key_with_certificate
        )
        require_action(
            possible,
            Action.GENERATE_SIGN_CSR if signing else Action.GENERATE_AUTH_CSR,
            f"the key {record.label!r} can't ask for a certificate of that usage: it must be "
            "available, for that usage or none yet, without a certificate (see "
            "allow_csr_for_key_with_certificate), and for authentication in the software token",
        )
        applicant, profile = _applicant(settings, usage, options)
        if applicant.member is not None and applicant.member not in local_members(settings):
            raise ConfigurationError(
                f"{applicant.member} is no client of this server", code=FaultCode.CSR_FAILED
            )
        values = dict(field_value(text) for text in _texts(options["fields"]))
        made = await signer.make_request(request_for(record.id, applicant, profile, values))
        return made.der

    _write_request(with_signer(home, work), form, out)


def _write_request(der: bytes, form: str, out: Path) -> None:
    out.write_bytes(der if form == "der" else _pem(der))
    click.echo(f"certificate request written to {out}")


def _show_fields(home: Path, usage: KeyUsage, options: dict[str, object]) -> None:
    from postroad.securityserver.certificates import fields_for
    from postroad.securityserver.settings import load_settings

    applicant, profile = _applicant(load_settings(home), usage, options)
    click.echo(f"profile {profile}")
    show(
        ("field", "value", "editable"),
        [
            (field.name, field.value or None, field.editable)
            for field in fields_for(applicant, profile)
        ],
    )


@csr.command("list")
@home_option
def csr_list(home: Path) -> None:
    """List the requests that wait for a certificate."""
    infos = with_signer(home, lambda signer, _settings: signer.tokens())
    show(
        ("id", "key", "usage", "member", "subject", "alternative name"),
        [
            (
                request.id,
                record.label,
                record.usage,
                request.member,
                ", ".join(f"{name}={value}" for name, value in request.subject),
                request.subject_alt_name,
            )
            for info in infos
            for record in info.token.keys
            for request in record.requests
        ],
    )


@csr.command("again")
@click.argument("request_id")
@click.option("--format", "form", type=click.Choice(["pem", "der"]), default="pem")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True)
@home_option
def csr_again(home: Path, request_id: str, form: str, out: Path) -> None:
    """Make a request once more, with the same subject."""

    async def work(signer: SignerClient, _settings: Settings) -> bytes:
        key_id, found = _find_request(await signer.tokens(), request_id)
        return (await signer.remake_request(key_id, found)).der

    _write_request(with_signer(home, work), form, out)


@csr.command("delete")
@click.argument("request_id")
@home_option
def csr_delete(home: Path, request_id: str) -> None:
    """Forget a request; a certificate for it can still be imported."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.delete_request(*_find_request(await signer.tokens(), request_id))

    with_signer(home, work)
    click.echo("the request is forgotten")


def _find_request(infos: Sequence[TokenInfo], name: str) -> tuple[str, str]:
    """The ids of the key and of the request whose id begins with `name`."""
    found = [
        (record.id, request.id)
        for info in infos
        for record in info.token.keys
        for request in record.requests
        if len(name) >= 8 and request.id.startswith(name.upper())
    ]
    if len(found) != 1:
        raise ConfigurationError(
            f"no certificate request {name!r}; see `postroad server csr list`",
            code=FaultCode.CSR_NOT_FOUND,
        )
    return found[0]


def _applicant(
    settings: Settings, usage: KeyUsage, options: dict[str, object]
) -> tuple[Applicant, str]:
    from postroad.identifiers import MemberId
    from postroad.securityserver.certificates import Applicant, profile_of
    from postroad.securityserver.globalconf_files import load_globalconf

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


def field_value(text: str) -> tuple[str, str]:
    """A field as the command line takes it: NAME=VALUE."""
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
