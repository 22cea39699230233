from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.messages.soap_http import check_soap_action, package_type


@pytest.mark.parametrize(
    "value", ["", '""', '"http://example.org/test"', '"urn:foo"', '"#part"', '"a%20b"', '"ä"']
)
def test_accepts_a_soap_action_and_keeps_it(value: str) -> None:
    assert check_soap_action(value) == value


def test_there_may_be_no_soap_action() -> None:
    assert check_soap_action(None) == ""


@pytest.mark.parametrize(
    "value",
    ["http://quotes/missing", '"http://extra/quote""', '"spaces "', '"', '"a', "a", '"%zz"', "' '"],
)
def test_refuses_any_other_soap_action(value: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        check_soap_action(value)
    assert caught.value.code is FaultCode.INVALID_SOAP_ACTION


@pytest.mark.parametrize(
    "value", ["TEXT/XML", "application/xop+xml; a=b", "Multipart/Related; boundary=b"]
)
def test_accepts_the_types_of_soap(value: str) -> None:
    assert package_type(value).base == value.partition(";")[0].lower()


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, FaultCode.INVALID_REQUEST),
        ("", FaultCode.INVALID_REQUEST),
        ("blah", FaultCode.INVALID_CONTENT_TYPE),
        ("application/soap+xml", FaultCode.INVALID_CONTENT_TYPE),
        ("multipart/mixed; boundary=b", FaultCode.INVALID_CONTENT_TYPE),
    ],
)
def test_refuses_other_types(value: str | None, code: FaultCode) -> None:
    with pytest.raises(MalformedInput) as caught:
        package_type(value)
    assert caught.value.code is code
