from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.generation import (
    RegistryServer,
    private_parameters_of,
    shared_parameters_of,
)
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.shared_parameters import (
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    CostType,
    GlobalGroup,
    OcspInfo,
    SharedParameters,
)
from postroad.globalconf.stored import load
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import GlobalGroupId, MemberId, SecurityServerId, SubsystemId
from postroad.trustlab.authority import TrustLab
from support.globalconf import NOW, OTHER, OWNER, REGISTRY, SHOP, Instance, snapshot

SS1 = SecurityServerId("TEST", "GOV", "1", "SS1")
SS2 = SecurityServerId("TEST", "COM", "2", "SS2")
SS3 = SecurityServerId("TEST", "COM", "2", "SS3")
EXPIRY = NOW + timedelta(minutes=10)


@pytest.fixture(scope="module")
def lab() -> TrustLab:
    return TrustLab.create(at=NOW - timedelta(days=1))


@pytest.fixture(scope="module")
def other_lab() -> TrustLab:
    return TrustLab.create(at=NOW - timedelta(days=1))


def entry(shared: SharedParameters | None, **more: Any) -> InstanceConfiguration:
    return InstanceConfiguration(
        instance="TEST" if shared is None else shared.instance,
        index=None if shared is None else InstanceIndex(shared),
        shared_version=6,
        **{"shared_expires_at": EXPIRY, **more},
    )


def own(version: int = 6, **changes: Any) -> InstanceConfiguration:
    registry = replace(snapshot(), approved_cas=(), approved_tsas=(), **changes)
    return entry(
        shared_parameters_of(registry, version),
        private=private_parameters_of(registry),
        private_expires_at=EXPIRY,
    )


def configuration(*entries: InstanceConfiguration) -> GlobalConfiguration:
    return GlobalConfiguration("TEST", entries or (own(),))


# --- validity ----------------------------------------------------------------------------------


def test_is_valid_up_to_the_very_moment_of_expiry() -> None:
    state = configuration()
    state.ensure_valid(EXPIRY)
    with pytest.raises(ConfigurationError) as caught:
        state.ensure_valid(EXPIRY + timedelta(microseconds=1))
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


@pytest.mark.parametrize("part", ["shared_expires_at", "private_expires_at"])
def test_either_part_of_our_own_instance_ends_validity(part: str) -> None:
    changes: dict[str, Any] = {part: NOW - timedelta(seconds=1)}
    state = configuration(replace(own(), **changes))
    assert state.expires_at == NOW - timedelta(seconds=1)
    with pytest.raises(ConfigurationError) as caught:
        state.ensure_valid(NOW)
    assert caught.value.code is FaultCode.GLOBAL_CONF_OUTDATED


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [replace(own(), private=None)],
        [replace(own(), index=None)],
        [entry(SharedParameters(instance="FI"))],
    ],
)
def test_is_not_valid_without_both_parts_of_our_own_instance(
    entries: list[InstanceConfiguration],
) -> None:
    state = GlobalConfiguration("TEST", entries)
    with pytest.raises(ConfigurationError) as caught:
        state.ensure_valid(NOW)
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_an_expired_foreign_instance_becomes_invisible() -> None:
    foreign = entry(SharedParameters(instance="FI"), shared_expires_at=NOW)
    state = configuration(own(), foreign)
    assert state.visible_at(NOW) is state
    later = state.visible_at(NOW + timedelta(seconds=1))
    assert later.instances == ("TEST",)
    assert later.visible_at(NOW + timedelta(seconds=1)) is later


def test_our_own_instance_stays_visible_after_its_expiry() -> None:
    assert configuration().visible_at(EXPIRY + timedelta(days=1)).instances == ("TEST",)


def test_a_foreign_instance_that_never_expires_stays_visible() -> None:
    foreign = entry(SharedParameters(instance="FI"), shared_expires_at=None)
    assert configuration(own(), foreign).visible_at(NOW).instances == ("TEST", "FI")


# --- members and servers -----------------------------------------------------------------------


def test_knows_members_and_subsystems_by_their_exact_identifier() -> None:
    state = configuration()
    assert state.client_exists(OWNER)
    assert state.client_exists(SHOP)
    assert not state.client_exists(SubsystemId("TEST", "COM", "2", "SHOP"))
    assert not state.client_exists(MemberId("FI", "GOV", "1"))
    assert state.name_of(OTHER) == "Ülo & Co"
    assert state.name_of(SubsystemId("TEST", "GOV", "1", "b")) is None
    assert state.name_of(MemberId("FI", "GOV", "1")) is None


def test_finds_the_servers_of_a_client_with_their_maintenance_mode() -> None:
    state = configuration()
    assert [(s.server_id, s.address, s.maintenance) for s in state.servers_of(SHOP)] == [
        (SS1, "ss1.example", None),
        (SS2, "ss2.example", "back at noon"),
    ]
    assert state.servers_of(SubsystemId("TEST", "GOV", "1", "b")) == ()
    assert state.servers_of(MemberId("FI", "GOV", "1")) == ()


def test_the_owner_is_a_client_of_its_server() -> None:
    state = configuration()
    assert [server.server_id for server in state.servers_of(OTHER)] == [SS2]
    assert state.is_registered(OTHER, SS3)
    assert state.clients_of(SS1) == {OWNER, REGISTRY, SHOP}


def test_a_server_without_address_reaches_nobody() -> None:
    state = configuration()
    assert state.server_exists(SS3)
    assert state.address_of(SS3) is None
    assert SS3 not in [server.server_id for server in state.servers_of(OTHER)]


def test_answers_about_registrations_and_addresses() -> None:
    state = configuration()
    assert state.is_registered(SHOP, SS1)
    assert not state.is_registered(REGISTRY, SS2)
    unknown = SecurityServerId("FI", "GOV", "1", "SS1")
    assert not state.is_registered(SHOP, unknown)
    assert not state.server_exists(unknown)
    assert state.address_of(SS1) == "ss1.example"
    assert state.address_of(unknown) is None
    assert state.clients_of(unknown) == frozenset()


def test_group_membership_is_exact() -> None:
    state = configuration()
    shops = GlobalGroupId("TEST", "shops")
    assert state.is_in_global_group(SHOP, shops)
    assert not state.is_in_global_group(OTHER, shops)
    assert not state.is_in_global_group(SHOP, GlobalGroupId("TEST", "Shops"))
    assert not state.is_in_global_group(SHOP, GlobalGroupId("FI", "shops"))
    assert state.global_groups_of(SHOP) == {shops}


def test_groups_of_another_instance_may_hold_our_members() -> None:
    group = GlobalGroup("partners", "", (SHOP,))
    foreign = entry(SharedParameters(instance="FI", global_groups=(group,)))
    state = configuration(own(), foreign)
    assert state.is_in_global_group(SHOP, GlobalGroupId("FI", "partners"))
    assert len(state.global_groups_of(SHOP)) == 2


def test_a_group_without_usable_code_is_left_out_with_a_warning() -> None:
    group = GlobalGroup(" ", "", (SHOP,))
    foreign = entry(SharedParameters(instance="FI", global_groups=(group,)))
    state = configuration(own(), foreign)
    assert len(state.warnings) == 1
    assert len(state.global_groups_of(SHOP)) == 1


# --- authentication certificates ---------------------------------------------------------------


def servers_with(certificate: Certificate, instance: str = "TEST") -> tuple[RegistryServer, ...]:
    owner = MemberId(instance, "GOV", "1")
    registry = SubsystemId(instance, "GOV", "1", "registry")
    return (
        RegistryServer(
            owner=owner,
            code="SS1",
            address="ss1",
            auth_certificates=(certificate.der,),
            clients=(registry,),
        ),
    )


@pytest.mark.parametrize("version", [2, 3, 6])
def test_binds_authentication_certificates_by_either_hash(version: int, lab: TrustLab) -> None:
    certificate = lab.auth_certificate(SS1).certificate
    state = configuration(own(version, security_servers=servers_with(certificate)))
    assert state.server_by_auth_certificate(certificate) == SS1
    assert state.auth_certificate_serves(certificate, OWNER)
    assert state.auth_certificate_serves(certificate, REGISTRY)
    assert not state.auth_certificate_serves(certificate, SHOP)
    assert not state.auth_certificate_serves(certificate, MemberId("FI", "GOV", "1"))


def test_an_unregistered_certificate_serves_nobody(lab: TrustLab) -> None:
    certificate = lab.auth_certificate(SS1).certificate
    state = configuration()
    assert state.server_by_auth_certificate(certificate) is None
    assert not state.auth_certificate_serves(certificate, OWNER)


def test_instances_of_different_versions_are_looked_up_by_their_own_hash(lab: TrustLab) -> None:
    certificate = lab.auth_certificate(SS1).certificate
    registry = replace(
        snapshot("FI"),
        approved_cas=(),
        approved_tsas=(),
        security_servers=servers_with(certificate, "FI"),
    )
    state = configuration(own(6), entry(shared_parameters_of(registry, 2)))
    client = SubsystemId("FI", "GOV", "1", "registry")
    assert state.auth_certificate_serves(certificate, client)
    assert state.server_by_auth_certificate(certificate) == SecurityServerId(
        "FI", "GOV", "1", "SS1"
    )


def test_another_instance_cannot_claim_our_clients_for_its_certificate(lab: TrustLab) -> None:
    certificate = lab.auth_certificate(SS1).certificate
    registry = replace(
        snapshot("FI"),
        approved_cas=(),
        approved_tsas=(),
        security_servers=servers_with(certificate, "FI"),
    )
    state = configuration(own(), entry(shared_parameters_of(registry, 6)))
    assert not state.auth_certificate_serves(certificate, REGISTRY)


def test_our_own_instance_wins_when_two_list_one_certificate(lab: TrustLab) -> None:
    certificate = lab.auth_certificate(SS1).certificate
    foreign = replace(
        snapshot("AA"),
        approved_cas=(),
        approved_tsas=(),
        security_servers=servers_with(certificate, "AA"),
    )
    state = configuration(
        entry(shared_parameters_of(foreign, 6)),
        own(security_servers=servers_with(certificate)),
    )
    assert state.server_by_auth_certificate(certificate) == SS1
    found = state.server_by_auth_certificate(certificate, "AA")
    assert found is not None
    assert found.instance == "AA"
    assert state.server_by_auth_certificate(certificate, "BB") is None


# --- trust services ----------------------------------------------------------------------------


def approved(lab: TrustLab, name: str = "CA", **changes: Any) -> ApprovedCa:
    values: dict[str, Any] = {
        "name": name,
        "top": CertificationAuthority(lab.root.certificate.pem, (OcspInfo("http://root "),)),
        "intermediates": (
            CertificationAuthority(
                lab.ca_certificate.der,
                (OcspInfo("http://ocsp", lab.ocsp_certificate.pem, CostType.FREE),),
            ),
        ),
        "certificate_profile": " FiVRKCertificateProfileInfoProvider ",
    }
    return ApprovedCa(**{**values, **changes})


def test_finds_approved_issuers_by_name_in_one_instance_only(lab: TrustLab) -> None:
    state = configuration(
        own(), entry(SharedParameters(instance="FI", approved_cas=(approved(lab),)))
    )
    certificate = lab.sign_certificate(REGISTRY).certificate
    (issuer,) = state.issuers_of(certificate, "FI")
    assert issuer.certificate == lab.ca_certificate
    assert issuer.profile == "FiVRKCertificateProfileInfoProvider"
    assert not issuer.is_top
    assert issuer.responders[0].certificate == lab.ocsp_certificate
    assert state.issuers_of(certificate, "TEST") == ()
    assert state.issuers_of(certificate, "unknown") == ()
    assert state.issuers_anywhere(certificate) == (issuer,)


def test_offers_all_issuers_that_bear_one_name(lab: TrustLab, other_lab: TrustLab) -> None:
    cas = (approved(lab), approved(other_lab, "renewed", authentication_only=True))
    state = configuration(entry(SharedParameters(instance="TEST", approved_cas=cas)))
    certificate = lab.sign_certificate(REGISTRY).certificate
    issuers = state.issuers_of(certificate, "TEST")
    assert [issuer.certificate for issuer in issuers] == [
        lab.ca_certificate,
        other_lab.ca_certificate,
    ]
    assert [issuer.authentication_only for issuer in issuers] == [False, True]


def test_lists_certificates_of_all_instances_once(lab: TrustLab) -> None:
    shared = SharedParameters(
        instance="FI",
        approved_cas=(approved(lab),),
        approved_tsas=(ApprovedTsa("TSA", "http://tsa", lab.tsa_certificate.pem),),
    )
    state = configuration(own(), entry(shared), entry(replace(shared, instance="EE")))
    assert set(state.ca_certificates()) == {lab.root.certificate, lab.ca_certificate}
    assert len(state.ca_certificates()) == 2
    assert state.ocsp_responder_certificates() == (lab.ocsp_certificate,)
    assert state.tsa_certificates() == (lab.tsa_certificate,)
    assert [tsa.name for tsa in state.approved_tsas("FI")] == ["TSA"]
    assert state.approved_tsas("TEST") == ()
    assert state.approved_tsas("unknown") == ()
    assert len(state.approved_certificates("FI")) == 2
    assert state.approved_certificates("unknown") == ()


def test_collects_the_responders_of_a_ca_from_all_instances(lab: TrustLab) -> None:
    ours = approved(lab)
    theirs = approved(
        lab,
        top=CertificationAuthority(
            lab.root.certificate.der, (OcspInfo("http://theirs"), OcspInfo("http://root"))
        ),
    )
    state = configuration(
        entry(SharedParameters(instance="TEST", approved_cas=(ours,))),
        entry(SharedParameters(instance="FI", approved_cas=(theirs,))),
    )
    urls = [responder.url for responder in state.responders_of(lab.root.certificate)]
    assert urls == ["http://root", "http://theirs"]
    urls = [responder.url for responder in state.responders_of(lab.root.certificate, "FI")]
    assert urls == ["http://theirs", "http://root"]
    assert state.responders_of(lab.root.certificate, "unknown") == ()
    assert len(state.approved_entries(lab.root.certificate)) == 2
    assert state.responders_of(lab.tsa_certificate) == ()


def test_certificates_that_cannot_be_read_are_left_out_with_a_warning(lab: TrustLab) -> None:
    good = approved(lab)
    bad = replace(
        good,
        top=CertificationAuthority(b"garbage", ()),
        intermediates=(
            CertificationAuthority(lab.ca_certificate.der, (OcspInfo("http://ocsp", b"garbage"),)),
        ),
    )
    shared = SharedParameters(
        instance="TEST",
        approved_cas=(bad,),
        approved_tsas=(ApprovedTsa("TSA", "http://tsa", b"garbage"),),
    )
    state = configuration(entry(shared))
    assert state.ca_certificates() == (lab.ca_certificate,)
    assert state.responders_of(lab.ca_certificate)[0].certificate is None
    assert state.tsa_certificates() == ()
    assert len(state.warnings) == 3


# --- settings ----------------------------------------------------------------------------------


def test_settings_come_from_our_own_instance() -> None:
    foreign = entry(SharedParameters(instance="FI"))
    state = configuration(own(), foreign)
    assert state.ocsp_policy.freshness == timedelta(seconds=1800)
    assert state.timestamping_interval == timedelta(seconds=120)
    assert state.management_service.provider == REGISTRY
    assert state.version == 6
    assert state.own_instance == "TEST"
    assert state.shared("FI") is not None


def test_without_shared_parameters_the_default_freshness_holds() -> None:
    state = configuration(replace(own(), index=None))
    assert state.ocsp_policy.freshness == timedelta(seconds=3600)


def test_a_generated_configuration_answers_as_the_registry_says() -> None:
    state = load(Instance().generated().stored_copy)
    assert state.name_of(OWNER) == "Ministry of Tests"
    assert [server.server_id for server in state.servers_of(REGISTRY)] == [SS1]
