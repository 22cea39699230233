"""The description of the management services, as independent readers understand it."""

from __future__ import annotations

import io

import pytest
import zeep
from lxml import etree
from zeep.transports import Transport

from postroad.identifiers import MemberId, SecurityServerId, SubsystemId
from postroad.management.envelope import encode_message
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    ClientDeletion,
    ClientDisabling,
    ClientEnabling,
    ClientRegistration,
    ClientRenaming,
    MaintenanceEnd,
    MaintenanceStart,
    ManagementRequest,
    OwnerChange,
    ServiceCode,
    service_code_of,
)
from postroad.management.wsdl import encode_wsdl
from postroad.securityserver.descriptions.wsdl import derive_wsdl

LOCATION = "https://cs.example:4002/managementservice/manage/?a&b"
SERVER = SecurityServerId("DEV", "GOV", "1", "SS1")
OWNER, SHOP = MemberId("DEV", "GOV", "1"), SubsystemId("DEV", "GOV", "1", "shop")
XSD, SOAP = "{http://www.w3.org/2001/XMLSchema}", "{http://schemas.xmlsoap.org/soap/envelope/}"
REQUESTS: tuple[ManagementRequest, ...] = (
    AuthCertDeletion(SERVER, b"DER"),
    ClientRegistration(SERVER, SHOP),
    ClientRegistration(SERVER, SHOP, "Shop"),
    ClientDeletion(SERVER, SHOP),
    ClientDisabling(SERVER, SHOP),
    ClientEnabling(SERVER, SHOP),
    ClientRenaming(SERVER, SHOP, "Shop"),
    OwnerChange(SERVER, OWNER),
    AddressChange(SERVER, "a.example"),
    MaintenanceStart(SERVER, "Back at noon"),
    MaintenanceEnd(SERVER),
)


class Offline(Transport):
    """There is nothing to fetch: the description is whole."""

    def load(self, url: str) -> bytes:
        raise AssertionError(f"{url} is asked for")


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """The schema of the requests; that of the identifiers is handed to its import."""
    tree = etree.fromstring(encode_wsdl(LOCATION))
    identifiers, requests = tree.findall(f".//{XSD}schema")

    class Identifiers(etree.Resolver):
        def resolve(self, system_url: str, _public_id: str, context: object) -> object:
            assert system_url == "memory:identifiers"
            return self.resolve_string(etree.tostring(identifiers), context)

    requests.find(f"{XSD}import").set("schemaLocation", "memory:identifiers")
    parser = etree.XMLParser()
    parser.resolvers.add(Identifiers())
    return etree.XMLSchema(etree.parse(io.BytesIO(etree.tostring(requests)), parser))


def test_a_soap_library_finds_all_operations_but_the_direct_one() -> None:
    client = zeep.Client(io.BytesIO(encode_wsdl(LOCATION)), transport=Offline())
    (service,) = client.wsdl.services.values()
    (port,) = service.ports.values()
    assert port.binding_options["address"] == LOCATION
    found = set(port.binding.all())
    assert found == {code.value for code in ServiceCode} - {"authCertReg"}


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: service_code_of(each).value)
def test_what_we_send_is_what_is_described(
    schema: etree.XMLSchema, request_: ManagementRequest
) -> None:
    soap = encode_message(request_, sender=OWNER, provider=SHOP, query_id="q")
    envelope = etree.fromstring(soap)
    header, body = envelope.find(f"{SOAP}Header"), envelope.find(f"{SOAP}Body")
    assert header is not None
    assert body is not None
    for element in (*header, *body):
        schema.assertValid(element)


def test_nothing_else_is_described(schema: etree.XMLSchema) -> None:
    soap = encode_message(MaintenanceStart(SERVER, "M"), sender=OWNER, provider=SHOP, query_id="q")
    for old, new in (
        (b"message>", b"massage>"),
        (b"<id:serverCode>SS1</id:serverCode>", b""),
    ):
        bent = soap.replace(old, new)
        assert bent != soap
        body = etree.fromstring(bent).find(f"{SOAP}Body")
        assert body is not None
        assert not schema.validate(body[0])


def test_a_security_server_reads_the_services_out_of_it() -> None:
    derived = derive_wsdl(encode_wsdl(LOCATION))
    assert {service.code for service in derived.services} == {
        code.value for code in ServiceCode
    } - {"authCertReg"}
    assert {service.url for service in derived.services} == {LOCATION}
