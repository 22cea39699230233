"""The bodies of management requests: the protocol's names and order out, tolerance in."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId
from postroad.management.requests import (
    AddressChange,
    AuthCertDeletion,
    AuthCertRegistration,
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
    Signer,
    encode_body,
    encode_identifier,
    member_concerned,
    parse_body,
    response_name,
    service_code_of,
    signer_of,
)
from postroad.wire.xml import parse

SERVER = SecurityServerId("EE", "GOV", "1", "SS1")
CLIENT = SubsystemId("EE", "COM", "2", "<shop>")
MEMBER = MemberId("EE", "COM", "2")
REQUESTS: tuple[ManagementRequest, ...] = (
    AuthCertRegistration(SERVER, b"DER", "ss1.example"),
    AuthCertRegistration(SERVER, b"", dry_run=True),
    AuthCertDeletion(SERVER, b"DER"),
    ClientRegistration(SERVER, CLIENT, "Shop & Co"),
    ClientRegistration(SERVER, MEMBER),
    ClientDeletion(SERVER, CLIENT),
    ClientDisabling(SERVER, CLIENT),
    ClientEnabling(SERVER, CLIENT),
    ClientRenaming(SERVER, CLIENT, "Pood"),
    OwnerChange(SERVER, MEMBER),
    AddressChange(SERVER, "192.0.2.1"),
    MaintenanceStart(SERVER, "back at noon"),
    MaintenanceStart(SERVER),
    MaintenanceEnd(SERVER),
)


def read(text: str, code: ServiceCode) -> ManagementRequest:
    return parse_body(parse(text.encode()), code)


def fault(text: str, code: ServiceCode = ServiceCode.CLIENT_DELETION) -> FaultCode:
    with pytest.raises(MalformedInput) as refused:
        read(text, code)
    return refused.value.code


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda each: type(each).__name__)
def test_what_is_written_is_read_back(request_: ManagementRequest) -> None:
    assert read(encode_body(request_), service_code_of(request_)) == request_


def test_every_request_has_a_service_code_and_an_example() -> None:
    assert {type(each) for each in REQUESTS} == set(get_args(ManagementRequest))
    assert {service_code_of(each) for each in REQUESTS} == set(ServiceCode)


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        (REQUESTS[0], ["server", "address", "authCert", "dryRun"]),
        (REQUESTS[2], ["server", "authCert"]),
        (REQUESTS[3], ["server", "client", "subsystemName"]),
        (REQUESTS[8], ["server", "client", "subsystemName"]),
        (REQUESTS[10], ["server", "address"]),
        (REQUESTS[11], ["server", "message"]),
    ],
)
def test_elements_stand_in_the_order_of_the_schema(
    request_: ManagementRequest, names: list[str]
) -> None:
    text = encode_body(request_)
    root = parse(text.encode())
    assert [child.tag for child in root] == [
        f"{{http://x-road.eu/xsd/xroad.xsd}}{n}" for n in names
    ]


def test_a_client_is_written_as_the_protocol_has_it() -> None:
    assert encode_identifier("client", CLIENT) == (
        '<xroad:client id:objectType="SUBSYSTEM"><id:xRoadInstance>EE</id:xRoadInstance>'
        "<id:memberClass>COM</id:memberClass><id:memberCode>2</id:memberCode>"
        "<id:subsystemCode>&lt;shop&gt;</id:subsystemCode></xroad:client>"
    )


def test_a_service_of_a_member_has_no_subsystem() -> None:
    written = encode_identifier("service", ServiceId(MEMBER, "ownerChange"))
    assert "subsystemCode" not in written
    assert "<id:serviceCode>ownerChange</id:serviceCode></xroad:service>" in written


def test_unknown_elements_and_any_order_are_accepted() -> None:
    text = encode_body(REQUESTS[5])
    server = re.search("<xroad:server .*</xroad:server>", text)
    assert server is not None
    moved = text.replace(server[0], "<new/>").replace(
        "</xroad:clientDeletion>", f"{server[0]}</xroad:clientDeletion>"
    )
    assert read(moved, ServiceCode.CLIENT_DELETION) == REQUESTS[5]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("<xroad:server ", "<xroad:other ", FaultCode.INVALID_XML),
        ("xroad:clientDeletion", "xroad:clientReg", FaultCode.INVALID_REQUEST),
        ("http://x-road.eu/xsd/xroad.xsd", "urn:other", FaultCode.INVALID_REQUEST),
        ('id:objectType="SERVER"', 'id:objectType="SERVICE"', FaultCode.INVALID_REQUEST),
        ('id:objectType="SERVER"', "", FaultCode.INVALID_REQUEST),
        ("<id:memberCode>1</id:memberCode>", "", FaultCode.INVALID_CLIENT_IDENTIFIER),
        ("<id:serverCode>SS1<", "<id:serverCode> <", FaultCode.INVALID_CLIENT_IDENTIFIER),
        (
            "<id:serverCode>SS1<",
            f"<id:serverCode>{'x' * 256}<",
            FaultCode.INVALID_CLIENT_IDENTIFIER,
        ),
        (
            "<id:serverCode>",
            "<id:serverCode>a</id:serverCode><id:serverCode>",
            FaultCode.INVALID_CLIENT_IDENTIFIER,
        ),
        ("<id:serverCode>SS1<", "<id:serverCode><b/><", FaultCode.INVALID_CLIENT_IDENTIFIER),
    ],
)
def test_refuses_a_body_that_is_not_the_request(old: str, new: str, expected: FaultCode) -> None:
    text = encode_body(REQUESTS[5])
    assert old in text
    assert fault(text.replace(old, new)) is expected


def test_refuses_a_missing_and_a_repeated_element() -> None:
    text = encode_body(AddressChange(SERVER, "a"))
    address = "<xroad:address>a</xroad:address>"
    for changed in (text.replace(address, ""), text.replace(address, address * 2)):
        assert fault(changed, ServiceCode.ADDRESS_CHANGE) is FaultCode.INVALID_REQUEST


def test_refuses_a_certificate_that_is_not_base64() -> None:
    text = encode_body(AuthCertDeletion(SERVER, b"DER")).replace("REVS", "RE*S")
    assert fault(text, ServiceCode.AUTH_CERT_DELETION) is FaultCode.INVALID_REQUEST


def test_refuses_an_endless_text() -> None:
    text = encode_body(MaintenanceStart(SERVER, "x" * 1025))
    assert fault(text, ServiceCode.MAINTENANCE_START) is FaultCode.INVALID_REQUEST


def test_service_codes_are_read_in_any_case() -> None:
    assert ServiceCode.parse("AUTHCERTREG") is ServiceCode.AUTH_CERT_REGISTRATION
    with pytest.raises(MalformedInput, match="Unknown service code 'x'") as refused:
        ServiceCode.parse("x")
    assert refused.value.code is FaultCode.INVALID_REQUEST


def test_a_response_is_called_after_its_request() -> None:
    assert response_name(ServiceCode.OWNER_CHANGE) == "ownerChangeResponse"


def test_deletions_are_not_signed_and_everything_else_is() -> None:
    unsigned = {code for code in ServiceCode if signer_of(code) is Signer.NOBODY}
    assert unsigned == {ServiceCode.AUTH_CERT_DELETION, ServiceCode.CLIENT_DELETION}


def test_the_client_signs_what_concerns_it_and_the_owner_the_rest() -> None:
    concerned = {type(each): member_concerned(each) for each in REQUESTS}
    assert concerned[ClientRegistration] == concerned[OwnerChange] == MEMBER
    assert concerned[ClientEnabling] == concerned[ClientRenaming] == MEMBER
    assert concerned[AddressChange] == concerned[MaintenanceEnd] == SERVER.owner
