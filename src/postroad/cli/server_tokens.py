"""`postroad server token | key`: the signer's tokens and their key pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from postroad.adapters.signer_protocol import SOFTWARE_ID, KeyAlgorithm, KeyRecord, KeyUsage
from postroad.cli.server_audit import note
from postroad.cli.server_context import home_option, pin_option, read_pin, show, with_signer
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.possible_actions import (
    Action,
    certificate_actions,
    key_actions,
    require_action,
    token_actions,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.adapters.signer_client import SignerClient
    from postroad.adapters.signer_protocol import TokenInfo
    from postroad.securityserver.settings import Settings

USAGES = {"sign": KeyUsage.SIGNING, "auth": KeyUsage.AUTHENTICATION}

_token_option = click.option(
    "--token",
    "token_id",
    default=SOFTWARE_ID,
    show_default=True,
    metavar="ID",
    help="Id or friendly name of the token; 0 is the software token.",
)


@click.group()
def token() -> None:
    """Tokens, in software and hardware: their PINs and their state."""


@token.command("init")
@click.option("--pin-policy", is_flag=True, help="Refuse a PIN that the usual policy refuses.")
@pin_option
@home_option
def token_init(home: Path, pin_file: Path | None, pin_policy: bool) -> None:
    """Give the software token its PIN, and log it in."""
    pin = read_pin(pin_file, new=True, what="New PIN of the token")

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.initialise(pin, enforce_policy=pin_policy)
        await signer.login(pin)

    with_signer(home, work)
    click.echo("the token is initialised and logged in")


@token.command("login")
@_token_option
@pin_option
@home_option
def token_login(home: Path, pin_file: Path | None, token_id: str) -> None:
    """Log a token in, so that its keys can be used."""
    pin = read_pin(pin_file)

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.login(pin, token=find_token(await signer.tokens(), token_id).token.id)

    with_signer(home, work)
    click.echo("the token is logged in")


@token.command("logout")
@_token_option
@home_option
def token_logout(home: Path, token_id: str) -> None:
    """Make the signer forget a token's private keys, or its PIN, until the next login."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.logout(token=find_token(await signer.tokens(), token_id).token.id)

    with_signer(home, work)
    click.echo("the token is logged out")


@token.command("change-pin")
@click.option(
    "--new-pin-file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the new PIN in its first line.",
)
@click.option("--pin-policy", is_flag=True, help="Refuse a PIN that the usual policy refuses.")
@_token_option
@pin_option
@home_option
def token_change_pin(
    home: Path,
    pin_file: Path | None,
    new_pin_file: Path,
    pin_policy: bool,
    token_id: str,
) -> None:
    """Replace a token's PIN; it is logged out afterwards."""
    old, new = read_pin(pin_file), read_pin(new_pin_file)

    async def work(signer: SignerClient, _settings: Settings) -> None:
        found = find_token(await signer.tokens(), token_id).token.id
        await signer.change_pin(old, new, enforce_policy=pin_policy, token=found)

    with_signer(home, work)
    click.echo("the PIN is changed; log in with the new one")


@token.command("status")
@_token_option
@home_option
def token_status(home: Path, token_id: str) -> None:
    """Show whether a token is there, has a PIN, and is logged in."""
    infos = with_signer(home, lambda signer, _settings: signer.tokens())
    info = find_token(infos, token_id)
    click.echo(f"token {info.token.id} ({info.token.friendly_name}): {info.status}")
    if info.problem:
        click.echo(f"not available: {info.problem}")
    click.echo("logged in" if info.active else "logged out")
    click.echo(f"{len(info.token.keys)} keys, {len(info.available_keys)} available")
    click.echo(f"possible: {', '.join(sorted(token_actions(info)))}")


@token.command("list")
@home_option
def token_list(home: Path) -> None:
    """List the tokens, those that are away among them."""
    infos = with_signer(home, lambda signer, _settings: signer.tokens())
    show(
        ("id", "name", "type", "available", "logged in", "PIN", "keys", "problem"),
        [
            (
                info.token.id,
                info.token.friendly_name,
                info.kind,
                info.available,
                info.active,
                info.status,
                len(info.token.keys),
                info.problem or None,
            )
            for info in infos
        ],
    )


@token.command("rename")
@click.argument("name")
@_token_option
@home_option
def token_rename(home: Path, name: str, token_id: str) -> None:
    """Give a token a friendly name."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        found = find_token(await signer.tokens(), token_id)
        await signer.rename(name, token=found.token.id)

    with_signer(home, work)
    click.echo(f"the token is called {name}")


@token.command("forget")
@click.argument("token_id")
@click.confirmation_option(prompt="Forget the token with its certificates?")
@home_option
def token_forget(home: Path, token_id: str) -> None:
    """Drop what is known of a hardware token that is away for good; its keys stay on it."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        found = find_token(await signer.tokens(), token_id)
        require_action(
            token_actions(found),
            Action.TOKEN_DELETE,
            "only a hardware token that is logged out and away can be forgotten",
        )
        await signer.forget_token(found.token.id)

    with_signer(home, work)
    click.echo("the token is forgotten")


@click.group()
def key() -> None:
    """Key pairs of the tokens."""


@key.command("generate")
@click.option("--label", required=True)
@click.option("--usage", type=click.Choice(list(USAGES)), help="Fixed by the first CSR if absent.")
@click.option(
    "--algorithm",
    type=click.Choice([algorithm.value for algorithm in KeyAlgorithm]),
    help="By default what [tokens] in server.toml says for the usage: RSA-2048.",
)
@_token_option
@home_option
def key_generate(
    home: Path, label: str, usage: str | None, algorithm: str | None, token_id: str
) -> None:
    """Generate a key pair and print its id."""

    async def work(signer: SignerClient, settings: Settings) -> KeyRecord:
        section = settings.tokens
        default = (
            section.authentication_key_algorithm
            if usage == "auth"
            else section.signing_key_algorithm
        )
        return await signer.generate_key(
            label,
            algorithm=KeyAlgorithm(algorithm) if algorithm else default,
            usage=USAGES[usage] if usage else None,
            token=find_token(await signer.tokens(), token_id).token.id,
        )

    made = with_signer(home, work).id
    note(keyId=made)
    click.echo(made)


@key.command("list")
@home_option
def key_list(home: Path) -> None:
    """List the keys of all tokens."""
    infos = with_signer(home, lambda signer, _settings: signer.tokens())
    show(
        (
            "id",
            "label",
            "name",
            "token",
            "algorithm",
            "usage",
            "available",
            "certificates",
            "requests",
        ),
        [
            (
                record.id,
                record.label,
                record.friendly_name,
                info.token.friendly_name,
                record.algorithm,
                record.usage,
                record.id in info.available_keys,
                len(record.certificates),
                len(record.requests),
            )
            for info in infos
            for record in info.token.keys
        ],
    )


@key.command("rename")
@click.argument("key_id")
@click.argument("name")
@home_option
def key_rename(home: Path, key_id: str, name: str) -> None:
    """Give a key a friendly name."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        await signer.rename(name, key_id=find_key(await signer.tokens(), key_id)[1].id)

    with_signer(home, work)
    click.echo(f"the key is called {name}")


@key.command("delete")
@click.argument("key_id")
@click.option("--force", is_flag=True, help="Even with a certificate that the registry knows.")
@click.confirmation_option(prompt="Delete the key with its certificates for ever?")
@home_option
def key_delete(home: Path, key_id: str, force: bool) -> None:
    """Delete a key with its requests and certificates, on the token too."""

    async def work(signer: SignerClient, _settings: Settings) -> None:
        info, record = find_key(await signer.tokens(), key_id)
        require_action(
            key_actions(info, record),
            Action.DELETE,
            "the key's token must be logged in and not read-only",
        )
        for certificate in record.certificates:
            if not force:
                require_action(
                    certificate_actions(record, certificate),
                    Action.DELETE,
                    f"the registry knows the key's certificate {certificate.hash[:16]}: "
                    "unregister it first, or give --force",
                )
        await signer.delete_key(record.id)

    with_signer(home, work)
    click.echo("the key is deleted")


def find_token(infos: Sequence[TokenInfo], name: str) -> TokenInfo:
    """The token of that id or friendly name; `token_not_found` that lists what there is."""
    found = [info for info in infos if info.token.id == name]
    found = found or [info for info in infos if info.token.friendly_name == name]
    if len(found) != 1:
        names = ", ".join(info.token.id for info in infos)
        raise ConfigurationError(
            f"no token {name!r}; there are {names}", code=FaultCode.TOKEN_NOT_FOUND
        )
    return found[0]


def find_key(infos: Sequence[TokenInfo], name: str) -> tuple[TokenInfo, KeyRecord]:
    """The key of that id, label or friendly name, and its token; `key_not_found` otherwise."""
    found = [
        (info, record)
        for info in infos
        for record in info.token.keys
        if record.id == name.upper() or name in {record.label, record.friendly_name}
    ]
    if len(found) != 1:
        raise ConfigurationError(
            "no such key" if not found else f"several keys are called {name!r}: give the id",
            code=FaultCode.KEY_NOT_FOUND,
        )
    return found[0]
