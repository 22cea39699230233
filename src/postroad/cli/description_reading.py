"""How do commands get to know what a service description says?"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import click

from postroad.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from postroad.securityserver.descriptions.derived import Derived
    from postroad.securityserver.serverconf.models import DescriptionType
    from postroad.securityserver.settings import Settings


def fetch_description(settings: Settings, kind: DescriptionType, url: str, code: str) -> Derived:
    """What follows from the document at an address; errors as in `fetch_derived`."""
    from postroad.securityserver.descriptions.fetching import fetch_derived
    from postroad.securityserver.descriptions.wsdl_validation import validate_wsdl
    from postroad.securityserver.internal_tls import ensure_internal_identity

    identity = ensure_internal_identity(
        settings.home_path, SystemClock().now(), (settings.client_proxy.host,)
    )
    validate = partial(
        validate_wsdl,
        settings.services.wsdl_validator_command,
        seconds=settings.services.wsdl_validator_timeout,
    )
    return asyncio.run(fetch_derived(kind, url, code=code, identity=identity, validate=validate))


def read_description(settings: Settings, kind: DescriptionType, url: str, code: str) -> Derived:
    """The same, and tell people what is odd about the document."""
    derived = fetch_description(settings, kind, url, code)
    for warning in derived.warnings:
        click.echo(f"warning: {url}: {warning}", err=True)
    return derived
