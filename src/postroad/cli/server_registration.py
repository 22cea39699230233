"""`postroad server register`: how a server becomes known to its Central Server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.cli.server_context import home_option, with_signer

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.adapters.signer_client import SignerClient
    from postroad.securityserver.management_client import SubmittedRequest
    from postroad.securityserver.settings import Settings


@click.command("register")
@click.argument("address")
@click.option("--cert", "fingerprint", help="SHA-256 of the certificate, if there are several.")
@click.option("--test", is_flag=True, help="Only find out whether the Central Server answers.")
@home_option
def register(home: Path, address: str, fingerprint: str | None, test: bool) -> None:
    """Ask the Central Server to register the authentication certificate.

    ADDRESS is the host name or IP address under which other servers reach this one. The answer
    shows in the global configuration, after the Central Server's operator has approved.
    """

    async def work(signer: SignerClient, settings: Settings) -> SubmittedRequest | None:
        return await _register(signer, settings, address, fingerprint, test=test)

    submitted = with_signer(home, work)
    if submitted is None:
        click.echo("the Central Server answers registrations")
    elif submitted.request_id is None:
        click.echo("the same request was submitted before and waits for approval")
    else:
        click.echo(f"submitted as management request {submitted.request_id}")


async def _register(
    signer: SignerClient, settings: Settings, address: str, fingerprint: str | None, *, test: bool
) -> SubmittedRequest | None:
    from postroad.securityserver.globalconf_files import load_globalconf
    from postroad.securityserver.management_client import (
        choose_auth_certificate,
        opened_management_client,
    )

    globalconf = load_globalconf(settings)
    with opened_management_client(settings, signer) as client:
        if test:
            await client.probe_registration_service(globalconf)
            return None
        certificate = choose_auth_certificate(await signer.certificates(), fingerprint)
        return await client.register_auth_certificate(certificate, address, globalconf)
