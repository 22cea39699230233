"""Initialisation, system, management requests and the provider of the management services."""

from __future__ import annotations

import base64
import io
import tarfile
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from postroad import __version__
from postroad.centralserver.models.system import NodeGeneration
from postroad.centralserver.registry.parameters import Parameter, store_parameter
from postroad.centralserver.registry.provider import find_management_certificate
from postroad.centralserver.roles import Role
from postroad.crypto.certificates import Certificate
from postroad.identifiers import SecurityServerId
from support.central_server import (
    NOW,
    PIN,
    MovingClock,
    approve_trust_services,
    auth_certificate,
    lab,
)

if TYPE_CHECKING:
    from support.management_api import ManagementApi

NEW_SERVER = SecurityServerId("DEV", "GOV", "2", "SS3")
INITIAL = {
    "instance_identifier": "DEV",
    "central_server_address": "cs.example",
    "software_token_pin": PIN,
}


def test_an_instance_is_initialised_once(empty: ManagementApi) -> None:
    status = empty.ask("GET", "/initialization/status", Role.REGISTRATION_OFFICER)
    assert status == {
        "instance_identifier": "",
        "central_server_address": "",
        "software_token_init_status": "NOT_INITIALIZED",
    }
    empty.ask("POST", "/initialization", Role.SYSTEM_ADMINISTRATOR, json=INITIAL)
    again = empty.refusal("POST", "/initialization", json=INITIAL)
    assert again == (409, "init_already_initialized")
    assert empty.login.is_active
    assert empty.ask("GET", "/tokens")[0]["configuration_signing_keys"] == []
    assert empty.audit_lines[-2]["data"]["instanceIdentifier"] == "DEV"


def test_the_system_tells_its_state(api: ManagementApi, clock: MovingClock) -> None:
    assert api.ask("GET", "/system/version", Role.MANAGEMENT_SERVICE) == {"info": __version__}
    status = api.ask("GET", "/system/status")
    assert status["high_availability_status"] == {
        "is_ha_configured": False,
        "node_name": "node_0",
    }
    path = "/system/high-availability-cluster/status"
    assert api.ask("GET", path)["nodes"][0]["status"] == "UNKNOWN"
    api.node.generate(api.login.token)
    assert api.ask("GET", path)["all_nodes_ok"] is True
    clock.pass_time(minutes=2)
    assert api.ask("GET", path)["nodes"][0]["status"] == "WARN"
    clock.pass_time(minutes=10)
    assert api.ask("GET", path)["nodes"][0]["status"] == "ERROR"


def test_the_other_nodes_tell_how_they_fare(api: ManagementApi, clock: MovingClock) -> None:
    api.node.generate(api.login.token)
    with api.node.changing("tester") as change:
        for name in ("b", "c"):
            store_parameter(
                change.session, Parameter.CENTRAL_SERVER_ADDRESS, f"{name}.example", name
            )
        change.session.add(
            NodeGeneration(
                node_name="b",
                generated_at=clock.now(),
                expires_at=clock.now(),
                stamp="1",
                log_sequence=1,
                content="",
                failing_since=clock.now(),
                error="the token is closed",
            )
        )
    told = api.ask("GET", "/system/high-availability-cluster/status")
    shown = [(node["node_name"], node["node_address"], node["status"]) for node in told["nodes"]]
    assert shown == [
        ("node_0", "cs.example", "OK"),
        ("b", "b.example", "WARN"),
        ("c", "c.example", "UNKNOWN"),
    ]
    assert told["all_nodes_ok"] is False
    assert "closed" not in str(told), "what went wrong there is for its own log"


def test_the_address_changes_with_the_anchors(api: ManagementApi) -> None:
    before = api.ask("GET", "/configuration-sources/INTERNAL/anchor")
    body = {"central_server_address": "new.example"}
    status = api.ask("PUT", "/system/server-address", json=body)
    assert status["initialization_status"]["central_server_address"] == "new.example"
    assert api.ask("GET", "/configuration-sources/INTERNAL/anchor") != before


def registration(origin: str = "SECURITY_SERVER") -> dict[str, Any]:
    return {
        "type": "AUTH_CERT_REGISTRATION_REQUEST",
        "origin": origin,
        "security_server_id": ":".join(NEW_SERVER.parts),
        "server_address": "ss3.example",
        "authentication_certificate": base64.b64encode(auth_certificate(NEW_SERVER)).decode(),
    }


def test_a_registration_waits_and_is_approved(api: ManagementApi) -> None:
    with api.node.changing("tester") as change:
        approve_trust_services(change)
    program, person = Role.MANAGEMENT_SERVICE, Role.REGISTRATION_OFFICER
    asked = api.ask("POST", "/management-requests", program, json=registration(), status=202)
    assert (asked["status"], asked["type"]) == ("WAITING", "AUTH_CERT_REGISTRATION_REQUEST")
    again = api.refusal("POST", "/management-requests", program, json=registration())
    assert again == (409, "management_request_exists")
    path = f"/management-requests/{asked['id']}"
    shown = api.ask("GET", path, person)
    assert shown["security_server_owner"] == "Member 2"
    assert shown["certificate_details"]["hash"] == (
        Certificate.from_der(auth_certificate(NEW_SERVER)).sha256.hex().upper()
    )
    assert api.ask("POST", f"{path}/approval", person)["status"] == "APPROVED"
    assert api.ask("GET", "/security-servers/DEV:GOV:2:SS3")["server_address"] == "ss3.example"
    twice = api.refusal("POST", f"{path}/approval", person)
    assert twice == (400, "management_request_invalid_state_for_approval")


def test_both_sides_approve_together(api: ManagementApi) -> None:
    with api.node.changing("tester") as change:
        approve_trust_services(change)
    person = Role.REGISTRATION_OFFICER
    api.ask("POST", "/management-requests", person, json=registration("CENTER"), status=202)
    answer = api.ask(
        "POST", "/management-requests", Role.MANAGEMENT_SERVICE, json=registration(), status=201
    )
    assert answer["status"] == "APPROVED"


def test_a_request_is_declined_or_revoked(api: ManagementApi) -> None:
    client = {
        "type": "CLIENT_REGISTRATION_REQUEST",
        "security_server_id": "DEV:GOV:1:SS1",
        "client_id": "DEV:GOV:2:client",
    }
    for origin, role, event in (
        ("CENTER", Role.REGISTRATION_OFFICER, "Revoke management request"),
        ("SECURITY_SERVER", Role.MANAGEMENT_SERVICE, "Decline management request"),
    ):
        body = {**client, "origin": origin}
        asked = api.ask("POST", "/management-requests", role, json=body, status=202)
        api.ask("DELETE", f"/management-requests/{asked['id']}", Role.REGISTRATION_OFFICER)
        assert api.audit_lines[-1]["event"] == event
    page = api.ask("GET", "/management-requests?status=REVOKED&status=DECLINED&sort=id")
    assert len(page["items"]) == 1  # the last value of a parameter counts
    missing = api.refusal("DELETE", "/management-requests/4711")
    assert missing == (404, "management_request_not_found")


def test_immediate_requests_have_no_status(api: ManagementApi) -> None:
    program = Role.MANAGEMENT_SERVICE

    def ask(kind: str, **fields: str) -> dict[str, Any]:
        body = {
            "type": kind,
            "origin": "SECURITY_SERVER",
            "security_server_id": "DEV:GOV:2:SS2",
            **fields,
        }
        answer: dict[str, Any] = api.ask(
            "POST", "/management-requests", program, json=body, status=202
        )
        assert "status" not in answer
        return answer

    client = "DEV:GOV:2:client"
    ask("CLIENT_DISABLE_REQUEST", client_id=client)
    ask("CLIENT_ENABLE_REQUEST", client_id=client)
    renamed = ask("CLIENT_RENAME_REQUEST", client_id=client, subsystem_name="New name")
    assert renamed["subsystem_name"] == "New name"
    assert ask("ADDRESS_CHANGE_REQUEST", server_address="x.example")["server_address"]
    assert ask("MAINTENANCE_MODE_ENABLE_REQUEST", message="soon")["message"] == "soon"
    assert api.ask("GET", "/security-servers/DEV:GOV:2:SS2")["in_maintenance_mode"] is True
    ask("MAINTENANCE_MODE_DISABLE_REQUEST")
    ask("CLIENT_DELETION_REQUEST", client_id=client)
    certificate = base64.b64encode(
        auth_certificate(SecurityServerId.parse("DEV/GOV/2/SS2"))
    ).decode()
    deleted = ask("AUTH_CERT_DELETION_REQUEST", authentication_certificate=certificate)
    decided = api.refusal("POST", f"/management-requests/{deleted['id']}/approval")
    assert decided == (403, "access_denied")
    page = api.ask("GET", "/management-requests?types=CLIENT_ENABLE_REQUEST,CLIENT_DISABLE_REQUEST")
    assert [item["type"] for item in page["items"]] == [
        "CLIENT_DISABLE_REQUEST",
        "CLIENT_ENABLE_REQUEST",
    ]
    assert page["items"][0]["client_id"]["encoded_id"] == client
    query = "query=ss2&server_id=DEV:GOV:2:SS2&origin=SECURITY_SERVER&sort=created_at"
    assert api.ask("GET", f"/management-requests?{query}")["paging_metadata"]["total_items"] == 8


def test_an_unknown_kind_of_request_is_refused(api: ManagementApi) -> None:
    body = {**registration(), "type": "SELF_DESTRUCTION_REQUEST"}
    assert api.refusal("POST", "/management-requests", json=body) == (400, "validation_failure")


def test_the_provider_is_named_and_registered(api: ManagementApi) -> None:
    path = "/management-services-configuration"
    body = {"service_provider_id": "DEV:GOV:2:client"}
    named = api.ask("PATCH", path, json=body)
    assert named["service_provider_id"] == "SUBSYSTEM:DEV:GOV:2:client"
    assert named["service_provider_name"] == "Member 2"
    assert named["security_server_id"] == "SERVER:DEV:GOV:2:SS2"
    assert named["wsdl_address"] == "http://cs.example/managementservices.wsdl"
    server = {"security_server_id": "DEV:GOV:2:SS2"}
    refused = api.refusal("POST", f"{path}/register-provider", json=server)
    assert refused == (400, "subsystem_already_registered_to_security_server")
    api.ask("DELETE", "/subsystems/DEV:GOV:2:client/servers/DEV:GOV:2:SS2", status=204)
    assert api.ask("GET", path)["security_server_id"] == ""
    registered = api.ask("POST", f"{path}/register-provider", json=server)
    assert registered["security_server_id"] == "SERVER:DEV:GOV:2:SS2"
    member = api.refusal("PATCH", path, json={"service_provider_id": "DEV:GOV:2"})
    assert member == (400, "invalid_service_provider_id")


def test_the_management_certificate_is_renewed(api: ManagementApi) -> None:
    path = "/management-services-configuration"
    before = api.ask("GET", f"{path}/certificate")["hash"]
    api.ask("POST", f"{path}/certificate", status=201)
    own = api.ask("GET", f"{path}/certificate")
    assert own["hash"] != before
    archive = api.ask("GET", f"{path}/download-certificate")
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        names = opened.getnames()
        held = opened.extractfile("cert.cer")
        assert held is not None
        assert Certificate.from_der(held.read()).sha256.hex().upper() == own["hash"]
    assert sorted(names) == ["cert.cer", "cert.pem"]
    csr = api.ask("POST", f"{path}/generate-csr", json={"name": "CN=cs.example, C=FI"})
    issued = _issued(x509.load_der_x509_csr(csr))
    files = {"certificate": ("new.pem", issued)}
    shown = api.ask("POST", f"{path}/upload-certificate", files=files)
    assert shown["subject_distinguished_name"] == "CN=cs.example, C=FI"
    with api.node.reading() as session:
        assert find_management_certificate(session) == Certificate.from_pem_or_der(issued).der
    again = api.refusal("POST", f"{path}/upload-certificate", files=files)
    assert again == (400, "certificate_already_exists")
    foreign = {"certificate": ("x.pem", lab().tsa_certificate.pem)}
    refused = api.refusal("POST", f"{path}/upload-certificate", files=foreign)
    assert refused == (400, "key_not_found")
    garbage = {"certificate": ("x.pem", b"x")}
    refused = api.refusal("POST", f"{path}/upload-certificate", files=garbage)
    assert refused == (400, "invalid_certificate")
    unnamed = api.refusal("POST", f"{path}/generate-csr", json={"name": "no name"})
    assert unnamed == (400, "invalid_distinguished_name")


def _issued(csr: x509.CertificateSigningRequest) -> bytes:
    issuer = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder(
        issuer_name=x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Some CA")]),
        subject_name=csr.subject,
        public_key=csr.public_key(),
        serial_number=4711,
        not_valid_before=NOW,
        not_valid_after=NOW + timedelta(days=1),
    )
    return builder.sign(issuer, hashes.SHA256()).public_bytes(Encoding.PEM)
