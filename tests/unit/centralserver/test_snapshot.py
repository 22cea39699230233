"""What of the registry is distributed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from postroad.adapters.database import transaction
from postroad.centralserver.models.system import SystemParameter, TrustedAnchor
from postroad.centralserver.registry import groups, optional_parts, servers, sources, trust_services
from postroad.centralserver.registry.parameters import Parameter, set_parameter
from postroad.centralserver.registry.refusals import RegistryRefusal
from postroad.centralserver.registry.sources import NewKey, SourceType
from postroad.centralserver.registry.system import change_address, initialize
from postroad.centralserver.snapshot import load_registry_snapshot
from postroad.errors import ConfigurationError
from postroad.globalconf.anchor import build_anchor
from postroad.globalconf.extensions import NextUpdate
from postroad.globalconf.generation import OptionalPart
from postroad.globalconf.shared_parameters import AcmeServer, CostType, CsrFormat
from support.central_server import (
    CLIENT,
    MANAGEMENT,
    NOW,
    OTHER,
    OTHER_SERVER,
    OWNER,
    SERVER,
    approve_trust_services,
    auth_certificate,
    lab,
)

if TYPE_CHECKING:
    from postroad.globalconf.generation import RegistrySnapshot
    from support.central_server import Registry


def taken(registry: Registry) -> RegistrySnapshot:
    with registry.reading() as session:
        return load_registry_snapshot(session)


def test_members_come_with_class_name_and_subsystems(filled: Registry) -> None:
    snapshot = taken(filled)
    assert snapshot.instance == "DEV"
    assert [(m.member_class.code, m.code, m.name) for m in snapshot.members] == [
        ("GOV", "1", "Member 1"),
        ("GOV", "2", "Member 2"),
    ]
    assert [s.code for m in snapshot.members for s in m.subsystems] == ["MANAGEMENT", "client"]
    assert [c.description for c in snapshot.member_classes] == ["Government"]


def test_servers_come_with_certificates_and_enabled_clients(filled: Registry) -> None:
    with filled.changing() as change:
        servers.register_client(change, OTHER_SERVER, OWNER)
        servers.register_client(change, OTHER_SERVER, MANAGEMENT)
        servers.set_client_enabled(change, OTHER_SERVER, CLIENT, enabled=False)
    first, second = taken(filled).security_servers
    assert (first.owner, first.code, first.address) == (OWNER, "SS1", "ss1.example")
    assert first.auth_certificates == (auth_certificate(SERVER),)
    assert first.clients == (MANAGEMENT,)
    assert second.owner == OTHER
    assert second.clients == (OWNER, MANAGEMENT)


def test_maintenance_is_told_with_and_without_a_message(filled: Registry) -> None:
    assert [server.maintenance for server in taken(filled).security_servers] == [None, None]
    with filled.changing() as change:
        servers.start_maintenance(change, OTHER_SERVER)
    assert taken(filled).security_servers[1].maintenance == ""
    with filled.changing() as change:
        servers.end_maintenance(change, OTHER_SERVER)
        servers.start_maintenance(change, OTHER_SERVER, "soon")
    assert taken(filled).security_servers[1].maintenance == "soon"


def test_groups_come_with_their_members(filled: Registry) -> None:
    with filled.changing() as change:
        groups.add_group(change, "group", "A group")
        groups.add_group_members(change, "group", [CLIENT])
    owners, group = taken(filled).global_groups
    assert (owners.code, owners.members) == ("security-server-owners", (OWNER, OTHER))
    assert (group.code, group.description, group.members) == ("group", "A group", (CLIENT,))


def test_trust_services_come_as_uploaded(filled: Registry) -> None:
    with filled.changing() as change:
        approve_trust_services(change)
    snapshot = taken(filled)
    (ca,) = snapshot.approved_cas
    (tsa,) = snapshot.approved_tsas
    assert (ca.name, ca.top.certificate) == ("Postroad Lab Root CA", lab().root.certificate.pem)
    assert ca.certificate_profile.endswith(".FiVRKCertificateProfileInfoProvider")
    (issuing,) = ca.intermediates
    assert issuing.certificate == lab().ca_certificate.der
    assert issuing.ocsp[0].certificate == lab().ocsp_certificate.der
    assert issuing.ocsp[0].cost_type is CostType.UNDEFINED
    assert (ca.acme_server, ca.default_csr_format) == (None, None)
    assert (tsa.name, tsa.url) == ("Postroad Lab TSA", "http://tsa.example/")


def test_acme_settings_and_request_format_come_along(filled: Registry) -> None:
    acme = trust_services.AcmeSettings(
        directory_url="https://acme.example/",
        ip_address="192.0.2.1",
        authentication_profile_id="a",
        signing_profile_id="s",
    )
    settings = trust_services.CaSettings(
        certificate_profile_info="Basic", default_csr_format=CsrFormat.PEM, acme=acme
    )
    with filled.changing() as change:
        trust_services.add_approved_ca(change, lab().ca_certificate.der, settings)
    (ca,) = taken(filled).approved_cas
    assert ca.acme_server == AcmeServer("https://acme.example/", "192.0.2.1", "a", "s")
    assert ca.default_csr_format is CsrFormat.PEM


def test_the_management_service_is_at_the_nodes_host(filled: Registry) -> None:
    service = taken(filled).management_service
    assert service.registration_address == "https://cs.example:4001/managementservice/"
    assert service.provider == MANAGEMENT
    assert service.registration_certificate == lab().tsa_certificate.der
    with filled.changing() as change:
        change_address(change, "127.0.0.1:8080")
    service = taken(filled).management_service
    assert service.registration_address == "https://127.0.0.1:4001/managementservice/"


def test_sources_list_the_keys_of_nodes_that_have_both_kinds(filled: Registry) -> None:
    with filled.changing() as change:
        initialize(change, "DEV", "node1.example", "node_1")
        for name, source, node in (
            ("A", SourceType.INTERNAL, ""),
            ("B", SourceType.INTERNAL, ""),
            ("C", SourceType.EXTERNAL, ""),
            ("D", SourceType.INTERNAL, "node_1"),
        ):
            new = NewKey(name, "EC", name.encode())
            sources.add_signing_key(change, source, new, node)
    (source,) = taken(filled).sources
    assert source.address == "cs.example"
    assert source.internal_verification_certificates == (b"A", b"B")
    assert source.external_verification_certificates == (b"C",)


def test_intervals_optional_parts_and_trusted_anchors_come_along(filled: Registry) -> None:
    part = NextUpdate(verify=False).encode()
    anchor = build_anchor("EE", [("cs.ee", [b"x"])], directory="externalconf", at=NOW)
    with filled.changing() as change:
        set_parameter(change, Parameter.OCSP_FRESHNESS, "100")
        set_parameter(change, Parameter.TIMESTAMPING_INTERVAL, "200")
        optional_parts.upload_optional_part(change, "NEXTUPDATE", part)
        change.session.add(
            TrustedAnchor(instance_identifier="EE", anchor=anchor.encode(), fingerprint="x")
        )
    snapshot = taken(filled)
    assert snapshot.ocsp_freshness_seconds == 100
    assert snapshot.timestamping_interval_seconds == 200
    assert snapshot.optional_parts == (OptionalPart("NEXTUPDATE", part),)
    assert snapshot.trusted_anchors == (anchor,)


def test_there_is_no_configuration_without_a_provider(registry: Registry) -> None:
    with pytest.raises(ConfigurationError, match="postroad central provider"):
        taken(registry)


def test_there_is_no_configuration_without_a_management_certificate(filled: Registry) -> None:
    with transaction(filled.engine) as session:
        session.execute(text("DELETE FROM management_certificates"))
    with pytest.raises(ConfigurationError, match="TLS certificate"):
        taken(filled)


def test_there_is_no_configuration_without_a_registration_address(filled: Registry) -> None:
    with transaction(filled.engine) as session:
        row = session.query(SystemParameter).filter_by(key="authCertRegUrl").one()
        row.value = " "
    with pytest.raises(ConfigurationError, match="authCertRegUrl"):
        taken(filled)


def test_there_is_no_configuration_for_a_node_without_address(filled: Registry) -> None:
    with filled.reading() as session, pytest.raises(RegistryRefusal, match="no address"):
        load_registry_snapshot(session, "node_9")
