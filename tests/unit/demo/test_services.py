"""The demo's services: described as others read descriptions, and answering as messages must be."""

from __future__ import annotations

import hashlib

import pytest

from postroad.demo.descriptions import (
    CERTIFY,
    FIND_PERSON,
    REGISTER,
    SOAP_VERSION,
    encode_openapi,
    encode_wsdl,
)
from postroad.demo.provider import PERSONS
from postroad.demo.soap_package import Attachment, Package, read_package, write_package
from postroad.demo.soap_provider import answer_package, included
from postroad.demo.soap_tour import find_person
from postroad.errors import MalformedInput
from postroad.messages.soap import SoapEnvelope, SoapFault
from postroad.messages.soap_reading import read_soap
from postroad.securityserver.descriptions.openapi_validation import violations
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from support.soap_messages import body, envelope, header

URL = "http://service.example"
DOCUMENT = Attachment("document", "application/pdf", b"\x00\r\n--binary\r\n\xff" * 100)


def test_the_openapi_document_keeps_its_specification() -> None:
    assert violations(encode_openapi(URL)) == ()


def test_both_operations_stand_in_the_wsdl_with_version_and_address() -> None:
    found = {(each.code, each.version, each.url) for each in derive_wsdl(encode_wsdl(URL)).services}
    assert found == {(code, SOAP_VERSION, f"{URL}/soap") for code in (FIND_PERSON, CERTIFY)}


@pytest.mark.parametrize("is_mtom", [False, True])
def test_packages_keep_every_octet_of_their_attachments(is_mtom: bool) -> None:
    package = Package(envelope(), (DOCUMENT, DOCUMENT), is_mtom)
    assert read_package(*write_package(package)) == package


def test_what_is_not_a_package_is_refused() -> None:
    with pytest.raises(MalformedInput):
        read_package("multipart/related; boundary=b", b"no package")


def answer(content: str, *attachments: Attachment, is_mtom: bool = False) -> Package:
    return answer_package(Package(envelope(header(), body(content)), attachments, is_mtom), PERSONS)


def test_an_answer_repeats_the_header_of_its_question() -> None:
    read = read_soap(answer(find_person("3")).soap)
    assert isinstance(read, SoapEnvelope)
    assert read.body_name == "findPersonResponse"
    asked = read_soap(envelope())
    assert isinstance(asked, SoapEnvelope)
    assert read.header == asked.header
    assert "Guðrún" in read.xml.decode()


@pytest.mark.parametrize("is_mtom", [False, True])
def test_a_document_comes_back_with_a_certificate_in_the_form_it_came_in(is_mtom: bool) -> None:
    content = included(DOCUMENT.name) if is_mtom else ""
    asked = f'<r:{CERTIFY} xmlns:r="{REGISTER}">{content}</r:{CERTIFY}>'
    answered = answer(asked, DOCUMENT, is_mtom=is_mtom)
    digest = hashlib.sha512(DOCUMENT.data).hexdigest()
    assert (answered.attachments[0], answered.is_mtom) == (DOCUMENT, is_mtom)
    assert digest.encode() in answered.attachments[1].data
    assert digest.encode() in answered.soap
    assert (b"Include" in answered.soap) is is_mtom


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (find_person("9"), "nobody has the number 9"),
        (f'<r:{CERTIFY} xmlns:r="{REGISTER}"/>', "attach the document"),
        ("<other/>", "no operation other"),
        ("", "the body is empty"),
    ],
)
def test_what_can_not_be_answered_is_a_fault(content: str, told: str) -> None:
    read = read_soap(answer(content).soap)
    assert isinstance(read, SoapFault)
    assert told in read.fault.string
