from __future__ import annotations

import base64
import hashlib

import pytest

from postroad.errors import TrustError
from postroad.messages.soap import SoapEnvelope, check_correlation
from postroad.messages.soap_reading import read_soap
from postroad.messages.soap_writing import with_request_hash
from support.soap_messages import FIELDS, body, envelope, header

EXTRA = (
    "<x:userId>u</x:userId><x:issue>n</x:issue>"
    "<r:representedParty><r:partyCode>3</r:partyCode></r:representedParty>"
)


def read(xml: bytes) -> SoapEnvelope:
    document = read_soap(xml)
    assert isinstance(document, SoapEnvelope)
    return document


REQUEST = read(envelope(header(FIELDS + EXTRA), body()))


def answer(fields: str = FIELDS + EXTRA, digest: bytes = REQUEST.digest) -> SoapEnvelope:
    response = read(envelope(header(fields), body("<findResponse/>")))
    return read(with_request_hash(response, digest))


def code_of(response: SoapEnvelope) -> str:
    with pytest.raises(TrustError) as caught:
        check_correlation(REQUEST, response)
    return caught.value.fault_code


def test_the_request_hash_is_that_of_all_bytes() -> None:
    xml = b"\xef\xbb\xbf" + envelope()
    assert read(xml).digest == hashlib.sha512(xml).digest()


def test_accepts_the_answer_to_this_request() -> None:
    check_correlation(REQUEST, answer())


def test_the_order_of_fields_and_other_fields_do_not_matter() -> None:
    server = (
        '<x:securityServer i:objectType="SERVER"><i:xRoadInstance>EE</i:xRoadInstance>'
        "<i:memberClass>GOV</i:memberClass><i:memberCode>1</i:memberCode>"
        "<i:serverCode>s</i:serverCode></x:securityServer>"
    )
    check_correlation(REQUEST, answer(EXTRA + server + FIELDS.replace("4.0", "4.1")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<i:memberCode>2<", "<i:memberCode>3<"),
        (">v1<", ">v2<"),
        ("q-1", "q-2"),
        ("q-1", "q-1 "),
        (">u<", ">v<"),
        ("<x:userId>u</x:userId>", ""),
        ("<x:issue>n</x:issue>", "<x:issue/>"),
        ("<x:issue>n</x:issue>", ""),
        ("<r:partyCode>3</r:partyCode>", ""),
    ],
)
def test_refuses_a_header_field_that_differs(old: str, new: str) -> None:
    assert old in FIELDS + EXTRA
    response = answer((FIELDS + EXTRA).replace(old, new))
    assert code_of(response) == "service_failed.inconsistent_response"


def test_an_empty_field_is_not_an_absent_one() -> None:
    request = read(envelope(header(FIELDS + "<x:issue/>"), body()))
    with pytest.raises(TrustError):
        check_correlation(request, answer(FIELDS, request.digest))


def test_refuses_the_hash_of_another_request() -> None:
    assert code_of(answer(digest=bytes(64))) == "inconsistent_response"


@pytest.mark.parametrize("value", ["", "?", "AA=", base64.b64encode(REQUEST.digest[:63]).decode()])
def test_refuses_a_hash_that_is_none(value: str) -> None:
    fields = f"{FIELDS}{EXTRA}<x:requestHash>{value}</x:requestHash>"
    response = read(envelope(header(fields), body("<findResponse/>")))
    assert code_of(response) == "inconsistent_response"


def test_refuses_a_response_without_a_hash() -> None:
    response = read(envelope(header(FIELDS + EXTRA), body("<findResponse/>")))
    assert code_of(response) == "inconsistent_response"


def test_a_hash_may_be_wrapped_and_name_any_algorithm() -> None:
    value = base64.encodebytes(REQUEST.digest).decode()
    fields = f'{FIELDS}{EXTRA}<x:requestHash algorithmId="urn:x">\n{value}</x:requestHash>'
    check_correlation(REQUEST, read(envelope(header(fields), body("<findResponse/>"))))
