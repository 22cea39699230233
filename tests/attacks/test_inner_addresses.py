"""Whoever declares a service can't make this server call where its secrets are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from postroad.adapters.http_client import HttpClient
from postroad.errors import ConfigurationError, FaultCode, PostroadError, RefusedRequest
from postroad.identifiers import SubsystemId
from postroad.securityserver.serverconf.snapshot import ClientEntry, ClientView, ServiceEntry
from postroad.securityserver.service_caller import InformationSystems
from postroad.securityserver.service_networks import ServiceNetworks
from postroad.securityserver.settings import parse_settings

OPEN = ServiceNetworks()


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fe80::1",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
    ],
)
def test_link_local_and_senseless_addresses_are_refused_by_default(address: str) -> None:
    with pytest.raises(RefusedRequest):
        OPEN.guard(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "192.0.2.1", "fd00::1"])
def test_services_in_inner_networks_are_what_the_server_is_for(address: str) -> None:
    OPEN.guard(address)


@pytest.mark.parametrize(
    ("allowed", "denied", "address", "fits"),
    [
        (["10.0.0.0/8"], [], "10.1.1.1", True),
        (["10.0.0.0/8"], [], "192.0.2.1", False),
        (["10.0.0.0/8"], [], "::ffff:10.1.1.1", True),
        (["10.0.0.0/8"], ["10.9.0.0/16"], "10.9.0.1", False),
        ([], ["127.0.0.0/8"], "::ffff:127.0.0.1", False),
        (["169.254.1.0/24"], [], "169.254.1.7", True),
        (["169.254.1.0/24"], [], "169.254.169.254", False),
    ],
)
def test_networks_are_allowed_and_denied_by_name(
    allowed: list[str], denied: list[str], address: str, fits: bool
) -> None:
    networks = ServiceNetworks.parse(allowed, denied)
    if fits:
        networks.guard(address)
        return
    with pytest.raises(RefusedRequest) as refused:
        networks.guard(address)
    assert refused.value.code is FaultCode.SERVICE_FAILED


def test_a_network_that_is_none_is_told_when_the_settings_are_read() -> None:
    text = '[server]\nidentifier = "A/B/C/D"\n[services]\ndenied_networks = ["10.0.0.1/8"]\n'
    with pytest.raises(ConfigurationError, match=r"'10\.0\.0\.1/8' is no network"):
        parse_settings(text, home=Path("/x"))


def test_a_service_is_called_through_the_guard() -> None:
    service = ServiceEntry("s", None, "REST", "http://127.0.0.1:9/", 5, False, False, "", "")
    provider = ClientView(ClientEntry("A/B/C/D", "registered", "NOSSL", (), (service,), (), ()))
    assert isinstance(provider.identifier, SubsystemId)

    async def call(networks: ServiceNetworks) -> PostroadError:
        client = HttpClient()
        caller = InformationSystems(client, lambda: None, networks.guard)  # no TLS here
        try:
            await caller.open(
                "GET", service.url, (), content_length=0, service=service, provider=provider
            )
        except PostroadError as error:
            return error
        finally:
            client.close()
        raise AssertionError

    refused = asyncio.run(call(ServiceNetworks.parse([], ["127.0.0.0/8"])))
    assert "may not be called" in refused.message
    assert "can't be reached" in asyncio.run(call(OPEN)).message
