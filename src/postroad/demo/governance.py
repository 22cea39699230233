"""What does the demo's Central Server know, and how is it told?

An instance with two member classes, its members, the lab's CA and time-stamping service: what its
administrator enters. Servers and clients are registered by requests of their own; only the provider
of the management services, without which nobody could ask, is registered here.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from postroad.adapters.files import write_atomic
from postroad.centralserver.node import NewInstance, initialize_node, open_node
from postroad.centralserver.registry import members, trust_services
from postroad.centralserver.registry.optional_parts import upload_optional_part
from postroad.centralserver.registry.provider import set_management_provider
from postroad.centralserver.registry.provider_registration import register_management_provider
from postroad.centralserver.registry.sources import SourceType, load_anchor
from postroad.centralserver.registry.trust_services import CaSettings
from postroad.demo.layout import MEMBER_CLASSES, Layout
from postroad.globalconf.extensions import MONITORING, Monitoring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postroad.centralserver.node import CentralServerNode
    from postroad.centralserver.registry.change import Change
    from postroad.trustlab.home import LabHome

ACTOR = "demo"
GENERATION_INTERVAL = 5
"""Seconds; an ecosystem normally takes 60."""
REQUESTS_PER_MINUTE = 600
"""All management requests come from one address."""


@contextmanager
def opened(layout: Layout) -> Iterator[CentralServerNode]:
    """The demo's Central Server, opened for a change."""
    node = open_node(layout.central_home)
    try:
        yield node
    finally:
        node.close()


def write_settings(layout: Layout, *, database: str = "") -> None:
    """Write ``central.toml``; ``database`` is the registry's address, "" for SQLite."""
    host, _, port = layout.central_address.partition(":")
    text = f"""\
[database]
url = "{database}"

[configuration]
generation_interval = {GENERATION_INTERVAL}

[distribution]
host = "{host}"
http_port = {port}
https = false

[registration_service]
host = "{host}"

[management_service]
host = "{host}"
client_certificate_file = "{layout.management_client_certificate}"
requests_per_minute = {REQUESTS_PER_MINUTE}

[management_api]
host = "{host}"

[management_requests]
auto_approve_auth_cert_registrations = true
auto_approve_client_registrations = true
auto_approve_owner_changes = true

[token]
pin_file = "{layout.pin_file}"
"""
    layout.central_home.mkdir(parents=True, exist_ok=True)
    write_atomic(layout.central_home / "central.toml", text.encode())


def found_instance(layout: Layout, lab: LabHome, *, pin: str) -> None:
    """Make the instance: its keys, members and approved trust services."""
    cast = layout.cast
    with opened(layout) as node:
        initialize_node(
            node,
            NewInstance(instance=cast.instance, address=layout.central_address, pin=pin),
            ACTOR,
        )
        with node.changing(ACTOR) as change:
            for code, description in MEMBER_CLASSES:
                members.add_member_class(change, code, description)
            for party in cast.servers:
                members.add_member(change, party.owner, party.name)
            provider = cast.governor.subsystem
            members.add_subsystem(change, provider, "Management services")
            set_management_provider(change, provider)
            _approve_trust_services(change, layout, lab)
            if cast.monitor is not None:
                upload_optional_part(change, MONITORING, Monitoring(cast.monitor).encode())
    publish(layout, pin)


def register_provider(layout: Layout) -> None:
    """Give the management services their server, as `postroad central register-provider` does."""
    with opened(layout) as node, node.changing(ACTOR) as change:
        register_management_provider(change, layout.cast.governor.server_id)


def publish(layout: Layout, pin: str) -> None:
    """Publish what the registry holds now, instead of at the next interval."""
    with opened(layout) as node:
        node.generate(node.unlock(pin))


def _approve_trust_services(change: Change, layout: Layout, lab: LabHome) -> None:
    """Approve the lab's root with its issuing CA, their OCSP responders, and the TSA."""

    def certificate(name: str) -> bytes:
        return lab.certificate_path(name).read_bytes()

    profile = CaSettings(certificate_profile_info=lab.load().profile)
    approved = trust_services.add_approved_ca(change, certificate("root-ca"), profile)
    issuing = trust_services.add_intermediate_ca(change, approved.id, certificate("ca"))
    for issuer, responder in (
        (trust_services.top_certificate(approved), "root-ocsp"),
        (issuing, "ocsp"),
    ):
        trust_services.add_ocsp_responder(
            change, issuer, f"{layout.lab_url}/ocsp", certificate=certificate(responder)
        )
    trust_services.add_tsa(change, certificate("tsa"), f"{layout.lab_url}/tsa")


def anchor(layout: Layout) -> bytes:
    """The internal configuration anchor, as handed to the operators of Security Servers."""
    with opened(layout) as node, node.reading() as session:
        return load_anchor(session, SourceType.INTERNAL)
