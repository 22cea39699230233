"""`postroad server cert order`: certificates from services that issue by ACME."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from postroad.adapters.signer_protocol import SOFTWARE_ID, KeyUsage
from postroad.cli.server_context import home_option, local_members, with_signer
from postroad.cli.server_requests import field_value
from postroad.cli.server_tokens import USAGES, find_token
from postroad.errors import ConfigurationError, FaultCode

if TYPE_CHECKING:
    from pathlib import Path

    from postroad.adapters.signer_client import SignerClient
    from postroad.globalconf.view import GlobalConfiguration
    from postroad.securityserver.acme.order_book import OrderRecord
    from postroad.securityserver.settings import Settings


@click.command("order")
@click.option("--ca", required=True, help="Name of the certification service.")
@click.option("--usage", type=click.Choice(list(USAGES)), required=True)
@click.option("--member", help="INSTANCE/CLASS/CODE to sign for; the owner if absent.")
@click.option("--dns", help="Host name to prove; the server's address if absent.")
@click.option("--field", "fields", multiple=True, metavar="NAME=VALUE", help="Editable field.")
@click.option("--token", default=SOFTWARE_ID, show_default=True, help="Where the key is made.")
@home_option
def order(home: Path, token: str, **options: object) -> None:
    """Make a key, order a certificate for it by ACME, and import that.

    The certification service must reach the challenge port (acme_challenge_port) by the host name.
    An order that was cut off is continued by the same command, and by the server itself.
    """

    async def work(signer: SignerClient, settings: Settings) -> str:
        from postroad.adapters.http_client import HttpClient
        from postroad.adapters.system_clock import SystemClock
        from postroad.securityserver.acme.order_book import OrderBook
        from postroad.securityserver.acme.ordering import Ordering
        from postroad.securityserver.globalconf_files import load_globalconf

        clock, http, book = SystemClock(), HttpClient(), OrderBook(settings.acme_path)
        globalconf = load_globalconf(settings)
        globalconf.ensure_valid(clock.now())
        ordering = Ordering(settings=settings, signer=signer, fetcher=http, book=book, clock=clock)
        try:
            with book.locked() as is_ours:
                if not is_ours:
                    raise ConfigurationError(
                        "the server is at work on an order: try again in a minute",
                        code=FaultCode.ACME_FAILED,
                    )
                chosen = find_token(await signer.tokens(), token).token.id
                record = _wanted(settings, globalconf, chosen, options)
                record = _continued(book.unfinished(), record) or record
                book.store(record)
                members = local_members(settings)
                imported = await ordering.fulfil(
                    record, globalconf=globalconf, local_members=members
                )
                book.close(record)
                return imported.hash
        finally:
            http.close()

    click.echo(with_signer(home, work))


def _wanted(
    settings: Settings, globalconf: GlobalConfiguration, token: str, options: dict[str, object]
) -> OrderRecord:
    from postroad.adapters.system_clock import SystemClock
    from postroad.identifiers import MemberId
    from postroad.securityserver.acme.new_orders import first_order
    from postroad.securityserver.acme.offers import offer_named
    from postroad.securityserver.acme.order_book import new_order_id
    from postroad.securityserver.certificates import Applicant, profile_of

    usage = USAGES[str(options["usage"])]
    signing = usage is KeyUsage.SIGNING
    ca_name = offer_named(globalconf, str(options["ca"])).ca_name
    owner = settings.server_id.owner
    member = MemberId.parse(str(options["member"])) if options["member"] else owner
    if signing and member not in local_members(settings):
        raise ConfigurationError(f"{member} is no client of this server", code=FaultCode.CSR_FAILED)
    applicant = Applicant(
        server=settings.server_id,
        member=member if signing else None,
        name=globalconf.name_of(member if signing else owner) or "",
        dns_name=str(options["dns"] or globalconf.address_of(settings.server_id) or ""),
    )
    fields = options["fields"]
    section = settings.tokens
    return first_order(
        applicant,
        ca_name,
        profile_of(globalconf, ca_name, usage),
        dict(field_value(str(text)) for text in fields) if isinstance(fields, tuple) else {},
        order_id=new_order_id(),
        token=token,
        algorithm=(
            section.signing_key_algorithm if signing else section.authentication_key_algorithm
        ),
        at=SystemClock().now(),
    )


def _continued(unfinished: list[OrderRecord], wanted: OrderRecord) -> OrderRecord | None:
    """The order for the same that was begun and not finished, if there is one."""
    for record in unfinished:
        same = (record.ca_name, record.usage, record.member, record.subject, record.name)
        if not record.replaces and same == (
            wanted.ca_name,
            wanted.usage,
            wanted.member,
            wanted.subject,
            wanted.name,
        ):
            return record
    return None
