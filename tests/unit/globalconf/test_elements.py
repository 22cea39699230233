from __future__ import annotations

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.globalconf import elements
from postroad.globalconf.elements import XmlText
from postroad.identifiers import ClientId, MemberId, SubsystemId
from postroad.wire import xml

IDS = f'xmlns:id="{xml.IDENTIFIERS}"'


def element(text: str) -> xml.Element:
    return xml.parse(text.encode())


def client(kind: str, *codes: str) -> str:
    names = ("xRoadInstance", "memberClass", "memberCode", "subsystemCode")
    inner = "".join(
        f"<id:{name}>{code}</id:{name}>" for name, code in zip(names, codes, strict=False)
    )
    return f'<c {IDS} id:objectType="{kind}">{inner}</c>'


def test_text_leaves_comments_out_and_keeps_blanks() -> None:
    assert elements.text_of(element("<a> x<!-- no -->y </a>")) == " xy "


def test_a_required_child_that_is_absent_is_refused() -> None:
    with pytest.raises(MalformedInput) as caught:
        elements.text(element("<a/>"), "b")
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF
    assert elements.optional_text(element("<a/>"), "b") is None
    assert elements.optional_bytes(element("<a/>"), "b") is None


@pytest.mark.parametrize(("text", "data"), [("", b""), (" QU\n I= ", b"AB"), ("QUI=", b"AB")])
def test_reads_base64_with_white_space(text: str, data: bytes) -> None:
    assert elements.bytes_of(element(f"<a>{text}</a>")) == data


@pytest.mark.parametrize("text", ["Q", "QUI", "****", "QUÄ="])
def test_refuses_broken_base64(text: str) -> None:
    with pytest.raises(MalformedInput):
        elements.bytes_of(element(f"<a>{text}</a>"))


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("1", True), (" false ", False), ("0", False)]
)
def test_reads_booleans(text: str, value: bool) -> None:
    assert elements.boolean(element(f"<a>{text}</a>")) is value


def test_refuses_other_words_as_booleans() -> None:
    with pytest.raises(MalformedInput):
        elements.boolean(element("<a>TRUE</a>"))


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "", "9" * 30, "315360001"])
def test_refuses_numbers_of_seconds_that_make_no_sense(text: str) -> None:
    with pytest.raises(MalformedInput):
        elements.seconds(element(f"<a><b>{text}</b></a>"), "b")


def test_reads_seconds() -> None:
    assert elements.seconds(element("<a><b> +60 </b></a>"), "b") == 60


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (client("MEMBER", "EE", "GOV", "1"), MemberId("EE", "GOV", "1")),
        (client("SUBSYSTEM", "EE", "GOV", "1", "s"), SubsystemId("EE", "GOV", "1", "s")),
        (client("MEMBER", "EE", "GOV", "1", "s"), SubsystemId("EE", "GOV", "1", "s")),
    ],
)
def test_reads_client_identifiers(text: str, expected: ClientId) -> None:
    assert elements.client_of(element(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        client("SUBSYSTEM", "EE", "GOV", "1"),
        client("SERVICE", "EE", "GOV", "1"),
        client("MEMBER", "EE", "GOV"),
        client("MEMBER", "EE", "GOV", " "),
        client("SUBSYSTEM", "EE", "GOV", "1", ""),
        "<c/>",
    ],
)
def test_refuses_what_is_no_client_identifier(text: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        elements.client_of(element(text))
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


@pytest.mark.parametrize("data", [b"", b"x", b"<conf/>", b"<!DOCTYPE a><a/>", b"\xff\xfe"])
def test_refuses_documents_that_are_not_of_the_schema(data: bytes) -> None:
    with pytest.raises(MalformedInput) as caught:
        elements.parse_document(data, "nextupdate.xsd")
    assert caught.value.code is FaultCode.MALFORMED_GLOBAL_CONF


def test_writes_the_dialect_of_the_reference() -> None:
    out = XmlText()
    with out.root("conf"):
        out.leaf("a", "x & y")
        out.leaf("b", None)
        out.leaf("c", "")
        out.empty("d")
        out.data("e", b"AB")
        out.data("f", None)
        with out.element("g", 'id="id0"'):
            out.client("h", SubsystemId("EE", "GOV", "1", "s"))
    assert out.encode().decode() == (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        '<ns3:conf xmlns:ns2="http://x-road.eu/xsd/identifiers" '
        'xmlns:ns3="http://x-road.eu/xsd/xroad.xsd">\n'
        "    <a>x &amp; y</a>\n"
        "    <c></c>\n"
        "    <d/>\n"
        "    <e>QUI=</e>\n"
        '    <g id="id0">\n'
        '        <h ns2:objectType="SUBSYSTEM">\n'
        "            <ns2:xRoadInstance>EE</ns2:xRoadInstance>\n"
        "            <ns2:memberClass>GOV</ns2:memberClass>\n"
        "            <ns2:memberCode>1</ns2:memberCode>\n"
        "            <ns2:subsystemCode>s</ns2:subsystemCode>\n"
        "        </h>\n"
        "    </g>\n"
        "</ns3:conf>\n"
    )
