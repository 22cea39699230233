from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import MemberId, SecurityServerId, ServiceId, SubsystemId
from postroad.messages.soap import (
    RepresentedParty,
    RequestHash,
    SecurityToken,
    SoapEnvelope,
    SoapHeader,
)
from postroad.messages.soap_headers import MAX_FIELDS, MAX_TEXT
from postroad.messages.soap_reading import read_soap
from support.soap_messages import (
    CLIENT,
    FIELDS,
    QUERY_ID,
    SERVICE,
    VERSION,
    body,
    envelope,
    header,
)


def read(fields: str) -> SoapHeader:
    document = read_soap(envelope(header(fields), body()))
    assert isinstance(document, SoapEnvelope)
    return document.header


def refused(fields: str) -> FaultCode:
    with pytest.raises(MalformedInput) as caught:
        read(fields)
    return caught.value.code


def test_reads_every_field() -> None:
    server = CLIENT.replace("client", "securityServer").replace("SUBSYSTEM", "SERVER")
    extra = (
        server.replace("subsystemCode", "serverCode")
        + "<x:userId>EE1</x:userId><x:issue/>"
        + "<r:representedParty><r:partyClass>COM</r:partyClass><r:partyCode>3</r:partyCode>"
        + "</r:representedParty>"
        + '<x:requestHash algorithmId="urn:a">AA==</x:requestHash>'
        + '<t:securityToken tokenType="urn:jwt">a.b.c</t:securityToken>'
    )
    assert read(FIELDS + extra) == SoapHeader(
        client=SubsystemId("EE", "COM", "2", "app"),
        service=ServiceId(SubsystemId("EE", "GOV", "1", "reg"), "find", "v1"),
        query_id="q-1",
        protocol_version="4.0",
        target_server=SecurityServerId("EE", "COM", "2", "app"),
        user_id="EE1",
        issue="",
        represented_party=RepresentedParty("COM", "3"),
        request_hash=RequestHash("urn:a", "AA=="),
        security_tokens=(SecurityToken("urn:jwt", "a.b.c"),),
    )


def test_what_is_not_there_is_none() -> None:
    found = read(FIELDS)
    assert found.target_server is None
    assert (found.user_id, found.issue, found.represented_party) == (None, None, None)
    assert (found.request_hash, found.security_tokens) == (None, ())


def test_a_member_may_be_the_client_and_the_provider() -> None:
    subsystem = "<i:subsystemCode>{}</i:subsystemCode>"
    client = CLIENT.replace(subsystem.format("app"), "").replace("SUBSYSTEM", "MEMBER")
    service = SERVICE.replace(subsystem.format("reg"), "")
    found = read(client + service + QUERY_ID + VERSION)
    assert found.client == MemberId("EE", "COM", "2")
    assert found.service.client == MemberId("EE", "GOV", "1")


def test_the_kind_of_client_follows_from_its_parts() -> None:
    found = read(FIELDS.replace("SUBSYSTEM", "MEMBER"))
    assert found.client == SubsystemId("EE", "COM", "2", "app")


def test_texts_are_never_trimmed() -> None:
    found = read(FIELDS.replace("q-1", "\n q-1 ").replace("app", " app"))
    assert found.query_id == "\n q-1 "
    assert found.client == SubsystemId("EE", "COM", "2", " app")


def test_comments_and_sections_do_not_cut_a_text() -> None:
    assert read(FIELDS.replace("q-1", "q<!-- x -->-<![CDATA[1&]]>&amp;")).query_id == "q-1&&"


def test_only_text_directly_in_a_field_counts() -> None:
    assert read(FIELDS.replace("q-1", "q<i:memberCode>no</i:memberCode>-1")).query_id == "q-1"
    assert read(FIELDS.replace("app", "a<i:x>no<i:y/></i:x>pp")).client == SubsystemId(
        "EE", "COM", "2", "app"
    )


@pytest.mark.parametrize(
    "extra",
    [
        "<x:unknown>1</x:unknown><x:unknown/>",
        '<p:client xmlns:p="urn:other"/>',
        '<id xmlns="">other</id>',
        "text",
        "<x:userId/>",
    ],
)
def test_passes_over_what_it_does_not_know(extra: str) -> None:
    assert read(FIELDS + extra).query_id == "q-1"


def test_passes_over_unknown_parts_of_an_identifier() -> None:
    part = "<i:subsystemCode>"
    assert read(FIELDS.replace(part, f"<i:other/><i:other/><x:id>no</x:id>{part}")) == read(FIELDS)


@pytest.mark.parametrize(
    "field",
    [
        CLIENT,
        SERVICE,
        QUERY_ID,
        VERSION,
        "<x:userId/>" * 2,
        "<x:issue/>" * 2,
        "<r:representedParty/>" * 2,
        "<x:requestHash/>" * 2,
    ],
)
def test_refuses_a_field_that_stands_twice(field: str) -> None:
    assert refused(FIELDS + field) is FaultCode.DUPLICATE_HEADER_FIELD


@pytest.mark.parametrize("part", ["xRoadInstance", "memberCode", "serviceVersion"])
def test_refuses_a_part_that_stands_twice(part: str) -> None:
    fields = FIELDS.replace("</x:service>", f"<i:{part}>1</i:{part}></x:service>")
    assert refused(fields) is FaultCode.DUPLICATE_HEADER_FIELD


def test_several_tokens_may_be_carried() -> None:
    assert len(read(FIELDS + "<t:securityToken/>" * 2).security_tokens) == 2


@pytest.mark.parametrize("field", [CLIENT, SERVICE, QUERY_ID, VERSION])
def test_refuses_a_header_that_lacks_a_field(field: str) -> None:
    assert refused(FIELDS.replace(field, "")) is FaultCode.MISSING_HEADER_FIELD


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SUBSYSTEM", "SERVICE"),
        ("SUBSYSTEM", "NOTHING"),
        ("SUBSYSTEM", "subsystem"),
        (' i:objectType="SUBSYSTEM"', ""),
        (' i:objectType="SUBSYSTEM"', ' objectType="SUBSYSTEM"'),
        ('objectType="SERVICE"', 'objectType="MEMBER"'),
    ],
)
def test_refuses_a_wrong_object_type(old: str, new: str) -> None:
    assert refused(FIELDS.replace(old, new)) is FaultCode.INVALID_XML


@pytest.mark.parametrize(
    "part",
    [
        "<i:memberCode>2</i:memberCode>",
        "<i:memberClass>GOV</i:memberClass>",
        "<i:serviceCode>find</i:serviceCode>",
    ],
)
def test_refuses_an_identifier_without_a_part(part: str) -> None:
    assert refused(FIELDS.replace(part, "")) is FaultCode.INTERNAL_ERROR
    assert refused(FIELDS.replace(part, part.partition(">")[0] + "/>")) is FaultCode.INTERNAL_ERROR


@pytest.mark.parametrize("version", ["", "3.1", "40", " 4.0"])
def test_refuses_another_protocol_version(version: str) -> None:
    assert refused(FIELDS.replace("4.0", version)) is FaultCode.INVALID_PROTOCOL_VERSION


def test_any_minor_version_will_do() -> None:
    assert read(FIELDS.replace("4.0", "4.x")).protocol_version == "4.x"


def test_bounds_fields_and_texts() -> None:
    assert refused(FIELDS + "<x:u/>" * MAX_FIELDS) is FaultCode.INVALID_SOAP
    assert refused(FIELDS + f"<x:userId>{'x' * MAX_TEXT}</x:userId>") is FaultCode.INVALID_SOAP
    assert refused(FIELDS.replace("q-1", "x" * 256)) is FaultCode.INTERNAL_ERROR
    assert read(FIELDS.replace("q-1", "x" * 255)).query_id == "x" * 255
