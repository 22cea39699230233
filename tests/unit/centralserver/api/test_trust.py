"""Certification and time-stamping services, and the anchors of other instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from postroad.centralserver.registry.trusted_anchors import add_trusted_anchor
from postroad.globalconf.anchor import build_anchor, fingerprint
from support.central_server import NOW, lab

if TYPE_CHECKING:
    from support.management_api import ManagementApi

CA = {
    "certificate_profile_info": (
        "ee.ria.xroad.common.certificateprofile.impl.FiVRKCertificateProfileInfoProvider"
    ),
    "tls_auth": "false",
    "default_csr_format": "DER",
}


@pytest.fixture
def ca(api: ManagementApi) -> int:
    """A certification service with the lab's root."""
    files = {"certificate": ("ca.pem", lab().root.certificate.pem)}
    added = api.ask("POST", "/certification-services", data=CA, files=files, status=201)
    identifier: int = added["id"]
    return identifier


def test_a_certification_service(api: ManagementApi, ca: int) -> None:
    (listed,) = api.ask("GET", "/certification-services")
    assert listed["id"] == ca
    path = f"/certification-services/{ca}"
    shown = api.ask("GET", path)
    assert shown["certificate_profile_info"] == CA["certificate_profile_info"]
    assert (shown["tls_auth"], shown["default_csr_format"]) == (False, "DER")
    details = api.ask("GET", f"{path}/certificate")
    assert details["hash"] == lab().root.certificate.sha256.hex().upper()
    assert "KEY_CERT_SIGN" in details["key_usages"]
    assert details["subject_distinguished_name"] == shown["subject_distinguished_name"]
    changed = api.ask("PATCH", path, json={"tls_auth": "true"})
    assert changed["tls_auth"] is True
    assert changed["certificate_profile_info"] == CA["certificate_profile_info"]
    api.ask("DELETE", path, status=204)
    assert api.refusal("GET", path) == (404, "certification_service_not_found")


def test_the_acme_settings_come_and_go(api: ManagementApi, ca: int) -> None:
    path = f"/certification-services/{ca}"
    acme = {
        "acme_server_directory_url": "https://acme.example/directory",
        "acme_server_ip_address": "192.0.2.1, 192.0.2.2",
        "authentication_certificate_profile_id": "1",
        "signing_certificate_profile_id": "2",
    }
    assert acme.items() <= api.ask("PATCH", path, json=acme).items()
    assert acme.items() <= api.ask("PATCH", path, json={"tls_auth": True}).items()
    gone = api.ask("PATCH", path, json={"acme_server_directory_url": ""})
    assert not acme.keys() & gone.keys()
    wrong = {**acme, "acme_server_ip_address": "192.0.2.1, somewhere"}
    assert api.refusal("PATCH", path, json=wrong) == (400, "invalid_ip_address")


@pytest.mark.parametrize(
    ("form", "data", "code"),
    [
        (CA, b"no certificate", "invalid_certificate"),
        (CA, lab().tsa_certificate.pem, "invalid_certificate"),
        (
            {**CA, "certificate_profile_info": "org.example.Unknown"},
            lab().root.certificate.pem,
            "certificate_profile_info_class_not_found",
        ),
        ({**CA, "default_csr_format": "TXT"}, lab().root.certificate.pem, "validation_failure"),
    ],
)
def test_what_is_no_certification_service(
    api: ManagementApi, form: dict[str, str], data: bytes, code: str
) -> None:
    files = {"certificate": ("ca.pem", data)}
    refused = api.refusal("POST", "/certification-services", data=form, files=files)
    assert refused == (400, code)


def test_a_form_without_its_file_is_refused(api: ManagementApi) -> None:
    texts = {**{name: (None, value) for name, value in CA.items()}, "certificate": (None, "text")}
    refused = api.refusal("POST", "/certification-services", files=texts)
    assert refused == (400, "validation_failure")
    twice = [("certificate", ("a.pem", b"1")), ("certificate", ("b.pem", b"2"))]
    refused = api.refusal("POST", "/certification-services", files=twice)
    assert refused == (400, "validation_failure")


def test_intermediate_authorities_and_responders(api: ManagementApi, ca: int) -> None:
    files = {"certificate": ("ca.der", lab().ca_certificate.der)}
    top = f"/certification-services/{ca}"
    added = api.ask("POST", f"{top}/intermediate-cas", files=files, status=201)
    path = f"/intermediate-cas/{added['id']}"
    assert api.ask("GET", path) == added
    assert api.ask("GET", f"{top}/intermediate-cas") == [added]
    form = {"url": "http://ocsp.example", "cost_type": "FREE"}
    signer = {"certificate": ("ocsp.pem", lab().ocsp_certificate.pem)}
    of_top = api.ask("POST", f"{top}/ocsp-responders", data=form, files=signer, status=201)
    assert of_top["has_certificate"] is True
    # Without a file the form is still a form of parts.
    parts = {name: (None, value) for name, value in form.items()}
    below = api.ask("POST", f"{path}/ocsp-responders", files=parts, status=201)
    assert (below["has_certificate"], below["cost_type"]) == (False, "FREE")
    assert api.ask("GET", f"{top}/ocsp-responders") == [of_top]
    assert api.ask("GET", f"{path}/ocsp-responders") == [below]
    responder = f"/ocsp-responders/{below['id']}"
    missing = api.refusal("GET", f"{responder}/certificate")
    assert missing == (404, "ocsp_responder_certificate_not_found")
    changed = api.ask("PATCH", responder, data={}, files={**signer, "cost_type": (None, "PAID")})
    assert changed == {**below, "has_certificate": True, "cost_type": "PAID"}
    shown = api.ask("GET", f"{responder}/certificate")
    assert shown["hash"] == lab().ocsp_certificate.sha256.hex().upper()
    api.ask("DELETE", f"{path}/ocsp-responders/{below['id']}", status=204)
    assert api.refusal("GET", responder) == (404, "ocsp_responder_not_found")
    api.ask("DELETE", f"/ocsp-responders/{of_top['id']}", status=204)
    api.ask("DELETE", path, status=204)
    assert api.refusal("GET", path) == (404, "intermediate_ca_not_found")


def test_a_timestamping_service(api: ManagementApi) -> None:
    form = {"url": "http://tsa.example", "cost_type": "FREE"}
    files = {"certificate": ("tsa.pem", lab().tsa_certificate.pem)}
    added = api.ask("POST", "/timestamping-services", data=form, files=files, status=201)
    assert added["timestamping_interval"] == 60
    path = f"/timestamping-services/{added['id']}"
    assert api.ask("GET", path) == added
    assert api.ask("GET", "/timestamping-services") == [added]
    changed = api.ask("PATCH", path, files={"url": (None, "http://other.example")})
    assert (changed["url"], changed["cost_type"]) == ("http://other.example", "FREE")
    renewed = {"certificate": ("new.der", lab().ocsp_certificate.der)}
    assert (
        api.ask("PATCH", path, files=renewed)["certificate"]["hash"]
        != (added["certificate"]["hash"])
    )
    wrong = api.refusal("PATCH", path, files={"url": (None, "ftp://x")})
    assert wrong == (400, "validation_failure")
    api.ask("DELETE", path, status=204)
    assert api.refusal("GET", path) == (404, "timestamping_authority_not_found")


def test_trusted_anchors(api: ManagementApi) -> None:
    source = ("abroad.example", [lab().tsa_certificate.der])
    data = build_anchor("ABROAD", [source], directory="externalconf", at=NOW).encode()
    files = {"anchor": ("anchor.xml", data)}
    preview = api.ask("POST", "/trusted-anchors/preview", files=files)
    assert preview["instance_identifier"] == "ABROAD"
    assert preview["hash"] == fingerprint(data)
    assert api.ask("GET", "/trusted-anchors") == []
    with api.node.changing("tester") as change:
        add_trusted_anchor(change, data)
    assert api.ask("GET", "/trusted-anchors") == [preview]
    path = f"/trusted-anchors/{preview['hash']}"
    assert api.ask("GET", f"{path}/download") == data
    api.ask("DELETE", path, status=204)
    assert api.refusal("DELETE", path) == (404, "trusted_anchor_not_found")


def test_an_anchor_that_leads_nowhere_is_not_trusted(api: ManagementApi) -> None:
    source = ("127.0.0.1:9", [lab().tsa_certificate.der])
    data = build_anchor("ABROAD", [source], directory="externalconf", at=NOW).encode()
    refused = api.refusal("POST", "/trusted-anchors", files={"anchor": ("a.xml", data)})
    assert refused == (400, "trusted_anchor_verification_failed")
    assert api.ask("GET", "/trusted-anchors") == []
    garbage = api.refusal("POST", "/trusted-anchors/preview", files={"anchor": ("a.xml", b"<x/>")})
    assert garbage == (400, "malformed_anchor")
