"""Which trust services are approved, and how their certificates are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry import trust_services
from postroad.centralserver.registry.refusals import Problem, RegistryRefusal
from postroad.centralserver.registry.trust_services import AcmeSettings, CaSettings, CostType
from postroad.globalconf.shared_parameters import CsrFormat
from support.central_server import OWNER, lab

if TYPE_CHECKING:
    from collections.abc import Callable

    from postroad.centralserver.registry.change import Change
    from support.central_server import Registry

BASIC = CaSettings(certificate_profile_info="Basic")


def problem_of(registry: Registry, operation: Callable[[Change], object]) -> Problem:
    with pytest.raises(RegistryRefusal) as refused, registry.changing() as change:
        operation(change)
    return refused.value.problem


def test_a_ca_is_named_after_its_certificate_and_kept_as_uploaded(registry: Registry) -> None:
    root = lab().root.certificate
    uploaded = root.pem + lab().ca_certificate.pem
    with registry.changing() as change:
        ca = trust_services.add_approved_ca(change, uploaded, BASIC)
        top = trust_services.top_certificate(ca)
        assert ca.name == "Postroad Lab Root CA"
        assert top.certificate == uploaded
        assert (top.valid_from, top.valid_to) == (root.not_before, root.not_after)
        assert trust_services.find_ca_by_certificate(change.session, root.der) is ca
        assert (
            trust_services.find_ca_by_certificate(change.session, lab().ca_certificate.der) is None
        )


@pytest.mark.parametrize("data", [b"", b"nothing", lab().sign_certificate(OWNER).certificate.der])
def test_only_a_ca_certificate_makes_a_ca(registry: Registry, data: bytes) -> None:
    problem = problem_of(registry, lambda c: trust_services.add_approved_ca(c, data, BASIC))
    assert problem is Problem.INVALID_CERTIFICATE


def test_settings_are_kept_and_changed(registry: Registry) -> None:
    settings = CaSettings(
        certificate_profile_info="FiVRKCertificateProfileInfoProvider",
        authentication_only=True,
        default_csr_format=CsrFormat.DER,
        acme=AcmeSettings(directory_url="https://acme.example/directory", ip_address="192.0.2.1"),
    )
    with registry.changing() as change:
        ca = trust_services.add_approved_ca(change, lab().ca_certificate.der, settings)
        assert ca.certificate_profile_info.endswith(".FiVRKCertificateProfileInfoProvider")
        assert (ca.authentication_only, ca.default_csr_format) == (True, "DER")
        assert ca.acme_directory_url == "https://acme.example/directory"
        assert not trust_services.edit_approved_ca(change, ca.id, settings)
        assert trust_services.edit_approved_ca(change, ca.id, BASIC)
        assert (ca.authentication_only, ca.default_csr_format) == (False, None)
        assert ca.acme_directory_url is None


@pytest.mark.parametrize("profile", ["", "Nothing", "java.lang.String", "fivrk"])
def test_an_unknown_profile_is_refused(profile: str) -> None:
    with pytest.raises(RegistryRefusal, match="FiVRK") as refused:
        trust_services.parse_profile(profile)
    assert refused.value.problem is Problem.UNKNOWN_PROFILE


@pytest.mark.parametrize(
    "name",
    [
        "Ejbca",
        "EjbcaCertificateProfileInfoProvider",
        "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider",
    ],
)
def test_a_profile_may_be_given_in_short(name: str) -> None:
    assert trust_services.parse_profile(name) == (
        "ee.ria.xroad.common.certificateprofile.impl.EjbcaCertificateProfileInfoProvider"
    )


def test_intermediate_cas_and_responders_come_and_go(registry: Registry) -> None:
    with registry.changing() as change:
        ca = trust_services.add_approved_ca(change, lab().root.certificate.der, BASIC)
        issuing = trust_services.add_intermediate_ca(change, ca.id, lab().ca_certificate.pem)
        top = trust_services.top_certificate(ca)
        assert trust_services.find_intermediate_ca(ca, lab().ca_certificate.der) is issuing
        assert trust_services.find_intermediate_ca(ca, lab().root.certificate.der) is None
        first = trust_services.add_ocsp_responder(change, top, "http://a.example")
        second = trust_services.add_ocsp_responder(
            change,
            issuing,
            "http://b.example",
            certificate=lab().ocsp_certificate.der,
            cost_type=CostType.PAID,
        )
        edited = {"url": "http://c.example", "certificate": None, "cost_type": CostType.FREE}
        assert trust_services.edit_ocsp_responder(change, second.id, **edited)
        assert not trust_services.edit_ocsp_responder(change, second.id, **edited)
        trust_services.delete_ocsp_responder(change, first.id)
        assert top.ocsp_responders == []
    with registry.changing() as change:
        trust_services.delete_intermediate_ca(change, issuing.id)
        ca = trust_services.load_approved_ca(change.session, ca.id)
        assert trust_services.intermediate_certificates(ca) == []
        trust_services.delete_approved_ca(change, ca.id)
        assert list(trust_services.list_approved_cas(change.session)) == []


def test_what_is_missing_is_named(registry: Registry) -> None:
    with registry.changing() as change:
        ca = trust_services.add_approved_ca(change, lab().root.certificate.der, BASIC)
        top_id = trust_services.top_certificate(ca).id
    service = trust_services
    missing = {
        Problem.CERTIFICATION_SERVICE_NOT_FOUND: lambda c: service.delete_approved_ca(c, 404),
        Problem.INTERMEDIATE_CA_NOT_FOUND: lambda c: service.delete_intermediate_ca(c, top_id),
        Problem.OCSP_RESPONDER_NOT_FOUND: lambda c: service.delete_ocsp_responder(c, 404),
        Problem.TIMESTAMPING_SERVICE_NOT_FOUND: lambda c: service.delete_tsa(c, 404),
    }
    for problem, operation in missing.items():
        assert problem_of(registry, operation) is problem


def test_a_tsa_is_kept_per_certificate_and_address(registry: Registry) -> None:
    certificate = lab().tsa_certificate
    with registry.changing() as change:
        tsa = trust_services.add_tsa(change, certificate.pem, "http://tsa.example")
        assert tsa.name == "Postroad Lab TSA"
        assert tsa.certificate == certificate.pem
        session = change.session
        assert trust_services.find_tsa(session, certificate.der, "http://tsa.example") is tsa
        assert trust_services.find_tsa(session, certificate.der, "http://x.example") is None
        changed = {"url": "http://x.example", "cost_type": CostType.PAID}
        assert trust_services.edit_tsa(change, tsa.id, **changed)
        assert not trust_services.edit_tsa(change, tsa.id, **changed)
        trust_services.delete_tsa(change, tsa.id)
        assert list(trust_services.list_tsas(session)) == []


def test_bad_addresses_and_certificates_are_refused(registry: Registry) -> None:
    tsa = lab().tsa_certificate.der
    assert problem_of(registry, lambda c: trust_services.add_tsa(c, tsa, "ftp://x")) is (
        Problem.INVALID_VALUE
    )
    assert problem_of(registry, lambda c: trust_services.add_tsa(c, b"x", "http://x")) is (
        Problem.INVALID_CERTIFICATE
    )

    def responder(change: Change) -> None:
        ca = trust_services.add_approved_ca(change, lab().root.certificate.der, BASIC)
        top = trust_services.top_certificate(ca)
        trust_services.add_ocsp_responder(change, top, "http://x", certificate=b"x")

    assert problem_of(registry, responder) is Problem.INVALID_CERTIFICATE
