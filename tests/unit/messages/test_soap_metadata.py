from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.identifiers import MemberId, ServiceId, SubsystemId
from postroad.messages.soap import SoapEnvelope, check_correlation
from postroad.messages.soap_metadata import (
    asked_service,
    encode_method_list,
    encode_wsdl_response,
)
from postroad.messages.soap_reading import read_soap
from postroad.messages.soap_writing import with_request_hash
from postroad.wire.xml import IDENTIFIERS, XROAD, parse
from support.soap_messages import FIELDS, body, envelope, header

VECTORS = Path(__file__).parents[2] / "data" / "reference" / "messages" / "metaservice"
PROVIDER = SubsystemId("EE", "GOV", "1", "reg")
SERVICES = [ServiceId(PROVIDER, "find", "v1"), ServiceId(MemberId("EE", "GOV", "1"), "a<b&c")]


def read(xml: bytes) -> SoapEnvelope:
    document = read_soap(xml)
    assert isinstance(document, SoapEnvelope)
    return document


def request(code: str, content: str) -> SoapEnvelope:
    fields = FIELDS.replace(">find<", f">{code}<")
    return read(envelope(header(fields), body(content)))


def listed(xml: bytes, name: str) -> list[list[tuple[str, str | None]]]:
    (section,) = parse(xml).iterfind("{*}Body")
    (response,) = section
    assert response.tag == f"{{{XROAD}}}{name}"
    assert section.text is None
    found = []
    for service in response:
        assert service.tag == f"{{{XROAD}}}service"
        assert service.attrib == {f"{{{IDENTIFIERS}}}objectType": "SERVICE"}
        assert {part.tag.partition("}")[0] for part in service} == {f"{{{IDENTIFIERS}"}
        found.append([(part.tag.rpartition("}")[2], part.text) for part in service])
    return found


def answered(question: SoapEnvelope, xml: bytes) -> SoapEnvelope:
    """The response as the consumer's server sees it: it answers this question."""
    answer = read(with_request_hash(read(xml), question.digest))
    check_correlation(question, answer)
    return answer


@pytest.mark.parametrize("code", ["listMethods", "allowedMethods"])
def test_the_list_takes_the_place_of_the_body(code: str) -> None:
    question = request(code, f"<!-- c --> <x:{code}><y/></x:{code}> ")
    xml = encode_method_list(question, SERVICES)
    assert listed(xml, f"{code}Response") == [
        [
            ("xRoadInstance", "EE"),
            ("memberClass", "GOV"),
            ("memberCode", "1"),
            ("subsystemCode", "reg"),
            ("serviceCode", "find"),
            ("serviceVersion", "v1"),
        ],
        [
            ("xRoadInstance", "EE"),
            ("memberClass", "GOV"),
            ("memberCode", "1"),
            ("serviceCode", "a<b&c"),
        ],
    ]
    assert xml.startswith(question.xml.partition(b"<!--")[0])
    assert answered(question, xml).is_response


def test_a_provider_without_services_has_an_empty_list() -> None:
    assert (
        listed(
            encode_method_list(request("listMethods", "<a:listMethods xmlns:a='u'/>"), ()),
            "listMethodsResponse",
        )
        == []
    )


@pytest.mark.parametrize("folder", ["metaservice", "proxy"])
@pytest.mark.parametrize("name", ["listMethods.query", "allowedMethods.query"])
def test_the_references_questions_are_answered(name: str, folder: str) -> None:
    question = read((VECTORS.parent / folder / name).read_bytes())
    xml = encode_method_list(question, SERVICES)
    assert len(listed(xml, name.replace(".query", "Response"))) == 2
    assert answered(question, xml).header.client.member == MemberId("EE", "BUSINESS", "consumer")


def test_the_references_question_for_a_wsdl_is_answered() -> None:
    question = read((VECTORS / "getWsdl.query").read_bytes())
    assert asked_service(question) == ("getRandom", None)
    xml = encode_wsdl_response(question)
    assert xml == question.xml.replace(b"xroad:getWsdl>", b"xroad:getWsdlResponse>")
    assert answered(question, xml).body_name == "getWsdlResponse"


@pytest.mark.parametrize(
    ("start", "end", "prefix"),
    [
        ("<x:getWsdl>", "</x:getWsdl>", "x:"),
        ("<getWsdl xmlns='urn:u' a='/>'\n>", "</getWsdl\t>", ""),
        ("<p:getWsdlPlease xmlns:p='u'><!-- </p:getWsdl> -->", "</p:getWsdlPlease>", "p:"),
    ],
)
def test_the_question_for_a_wsdl_is_renamed_and_nothing_else(
    start: str, end: str, prefix: str
) -> None:
    inner = "<x:serviceCode>find</x:serviceCode><x:serviceVersion>v1</x:serviceVersion>"
    question = request("getWsdl", start + inner + end)
    assert asked_service(question) == ("find", "v1")
    name = f"{prefix}getWsdl"
    old = f"{name}Please" if "Please" in start else name
    expected = (
        start.replace(f"<{old}", f"<{name}Response", 1)
        + inner
        + end.replace(old, f"{name}Response")
    )
    assert expected.encode() in encode_wsdl_response(question)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<x:serviceCode/>",
        "<x:serviceCode> \n</x:serviceCode>",
        "<serviceCode>find</serviceCode>",
        "<x:other><x:serviceCode>find</x:serviceCode></x:other>",
        "<x:serviceCode>a</x:serviceCode><x:serviceCode>b</x:serviceCode>",
        f"<x:serviceCode>{'a' * 1025}</x:serviceCode>",
    ],
)
def test_refuses_a_question_without_one_service_code(content: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        asked_service(request("getWsdl", f"<x:getWsdl>{content}</x:getWsdl>"))
    assert caught.value.code is FaultCode.INVALID_REQUEST


def test_an_empty_version_is_none() -> None:
    content = "<x:serviceCode>find</x:serviceCode><x:serviceVersion/>"
    assert asked_service(request("getWsdl", f"<x:getWsdl>{content}</x:getWsdl>")) == ("find", None)


@pytest.mark.parametrize("codec", ["utf-16", "iso-8859-1"])
def test_other_encodings_are_kept(codec: str) -> None:
    text = envelope(header(FIELDS.replace(">find<", ">listMethods<")), body("<listMethods/>"))
    question = read(f'<?xml version="1.0" encoding="{codec}"?>{text.decode()}'.encode(codec))
    services = [ServiceId(PROVIDER, "отыскать")]
    xml = encode_method_list(question, services)
    assert listed(xml, "listMethodsResponse")[0][-1] == ("serviceCode", "отыскать")
    assert answered(question, xml).codec == question.codec
