"""`postroad server service-description`: WSDL, OpenAPI and REST descriptions of services."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from postroad.adapters.system_clock import SystemClock
from postroad.cli.description_reading import fetch_description
from postroad.cli.server_context import home_option, opened_conf, show
from postroad.errors import ConfigurationError, FaultCode
from postroad.securityserver.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.orm import Session

    from postroad.securityserver.descriptions.derived import Derived
    from postroad.securityserver.serverconf.models import DescriptionType, ServiceDescription
    from postroad.securityserver.settings import Settings

_KINDS = {"wsdl": "WSDL", "openapi3": "OPENAPI3", "rest": "REST"}


@click.group("service-description")
def command() -> None:
    """Where the services of a client are described.

    CLIENT is INSTANCE/CLASS/CODE[/SUBSYSTEM], URL the address of the description.
    """


@command.command("list")
@home_option
def list_descriptions(home: Path) -> None:
    """List the descriptions with their services."""
    from postroad.securityserver.serverconf.clients import list_clients

    settings = load_settings(home)
    with opened_conf(settings) as conf, conf.read() as session:
        rows: list[tuple[object, ...]] = [
            (
                client.identifier.encoded(),
                description.url,
                description.type,
                not description.disabled,
                f"{description.refreshed_at:%Y-%m-%d %H:%M}",
                len(description.services),
                description.disabled_notice if description.disabled else "",
            )
            for client in list_clients(session)
            for description in client.descriptions
        ]
    show(("client", "url", "type", "enabled", "refreshed", "services", "notice"), rows)


@command.command("add")
@click.argument("client")
@click.argument("url")
@click.option("--type", "kind", type=click.Choice(list(_KINDS)), required=True)
@click.option("--code", help="Service code; REST and OpenAPI only.")
@click.option("--service-url", help="Where the service is, if its OpenAPI document doesn't say.")
@click.option("--ignore-warnings", is_flag=True, help="Add it although something is odd.")
@home_option
def add(
    client: str,
    url: str,
    kind: str,
    code: str | None,
    service_url: str | None,
    ignore_warnings: bool,
    home: Path,
) -> None:
    """Read a description and add its services: disabled, and without any access right."""
    from postroad.identifiers import parse_client_id
    from postroad.securityserver.descriptions import refreshing
    from postroad.securityserver.serverconf.models import DescriptionType

    identifier = parse_client_id(client)
    described = DescriptionType(_KINDS[kind])
    if (code is None) != (described is DescriptionType.WSDL):
        raise click.UsageError("--code is for REST and OpenAPI, and needed there")
    if service_url is not None and described is not DescriptionType.OPENAPI3:
        raise click.UsageError("--service-url is for OpenAPI")
    settings = load_settings(home)
    derived = _derived(settings, described, url, code or "", service_url)
    _stop_at(derived.warnings, ignored=ignore_warnings)
    with opened_conf(settings) as conf, conf.change() as session:
        refreshing.add_derived(session, identifier, described, url, derived, at=SystemClock().now())
    for service in derived.services:
        click.echo(f"+ service {service.full_code} at {service.url}")
    for endpoint in derived.endpoints:
        click.echo(f"+ endpoint {endpoint.method} {endpoint.path}")
    click.echo("disabled; give access rights, then: postroad server service-description enable")


@command.command("refresh")
@click.argument("client")
@click.argument("url")
@click.option("--new-url", help="Read it from there, now and later.")
@click.option("--ignore-warnings", is_flag=True, help="Make the changes that are shown.")
@home_option
def refresh(
    client: str,
    url: str,
    new_url: str | None,
    ignore_warnings: bool,
    home: Path,
) -> None:
    """Read a description again and show what changes; exit code 1 if nothing was changed.

    Addresses, timeouts and TLS rules of services stay as they are. Rights on what is gone end, and
    each of them is shown.
    """
    from postroad.securityserver.descriptions import refreshing
    from postroad.securityserver.serverconf import services
    from postroad.securityserver.serverconf.models import DescriptionType

    settings = load_settings(home)
    with opened_conf(settings) as conf:
        with conf.read() as session:
            row = _find(session, client, url)
            kind = DescriptionType(row.type)
            code = row.services[0].service_code if row.services else ""
        source = new_url or url
        derived = None
        if kind is not DescriptionType.REST:
            derived = _derived(settings, kind, source, code, None)
        now = SystemClock().now()
        with conf.change() as session:
            row = _find(session, client, url)
            if derived is None:
                services.set_source(session, row, source, at=now)
            else:
                plan = refreshing.plan_refresh(row, derived)
                if plan.needs_consent:
                    click.echo(str(plan))
                    _stop_unless(consent=ignore_warnings)
                refreshing.refresh(session, row, derived, at=now, url=source)
    click.echo("refreshed")


@command.command("enable")
@click.argument("client")
@click.argument("url")
@home_option
def enable(client: str, url: str, home: Path) -> None:
    """Let callers reach the services of a description."""
    from postroad.securityserver.serverconf import services

    with _changed(home, client, url) as (session, row):
        services.set_enabled(session, row, enabled=True)
    click.echo("enabled")


@command.command("disable")
@click.argument("client")
@click.argument("url")
@click.option("--notice", default="Out of order", show_default=True, help="What callers are told.")
@home_option
def disable(client: str, url: str, notice: str, home: Path) -> None:
    """Keep callers from the services of a description."""
    from postroad.securityserver.serverconf import services

    with _changed(home, client, url) as (session, row):
        services.set_enabled(session, row, enabled=False, notice=notice)
    click.echo("disabled")


@command.command("delete")
@click.argument("client")
@click.argument("url")
@home_option
def delete(client: str, url: str, home: Path) -> None:
    """Delete a description with its services and the rights on them, which are shown."""
    from postroad.securityserver.descriptions.refreshing import describe_rights
    from postroad.securityserver.serverconf import services

    with _changed(home, client, url) as (session, row):
        owner = row.client
        before = set(describe_rights(owner.endpoints))
        services.delete_description(session, row)
        for right in sorted(before - set(describe_rights(owner.endpoints))):
            click.echo(f"- right: {right}")
    click.echo("deleted")


def _derived(
    settings: Settings, kind: DescriptionType, url: str, code: str, service_url: str | None
) -> Derived:
    """What follows from the description at an address; plain REST is its own description."""
    from postroad.securityserver.descriptions.derived import (
        Derived,
        DerivedService,
        check_identifier,
    )
    from postroad.securityserver.serverconf.models import DescriptionType

    if kind is DescriptionType.REST:
        service = DerivedService(code=check_identifier("the service code", code), url=url)
        return Derived(services=(service,))
    derived = fetch_description(settings, kind, url, code)
    if service_url is None:
        return derived
    moved = tuple(replace(each, url=service_url) for each in derived.services)
    return replace(derived, services=moved)


def _stop_at(warnings: tuple[str, ...], *, ignored: bool) -> None:
    for warning in warnings:
        click.echo(f"warning: {warning}")
    if warnings:
        _stop_unless(consent=ignored)


def _stop_unless(*, consent: bool) -> None:
    if not consent:
        click.echo("nothing was changed; --ignore-warnings does it all the same", err=True)
        sys.exit(1)


def _find(session: Session, client: str, url: str) -> ServiceDescription:
    from postroad.identifiers import parse_client_id
    from postroad.securityserver.serverconf import clients, services

    row = services.find_description(clients.get_client(session, parse_client_id(client)), url)
    if row is None:
        raise ConfigurationError(
            f"{client} has no service description at {url}", code=FaultCode.NOT_FOUND
        )
    return row


@contextmanager
def _changed(home: Path, client: str, url: str) -> Iterator[tuple[Session, ServiceDescription]]:
    settings = load_settings(home)
    with opened_conf(settings) as conf, conf.change() as session:
        yield session, _find(session, client, url)
