from __future__ import annotations

from pathlib import Path

import pytest

from postroad.errors import FaultCode, MalformedInput
from postroad.securityserver.descriptions.wsdl import derive_wsdl

VECTORS = Path(__file__).parents[3] / "data" / "reference" / "descriptions"
OLD = "http://iks2-testhost:8080/testservice-0.1/xroad"
LAB = "http://xroad-lxd-web.lxd:8088"

HEAD = (
    "<w:definitions xmlns:w='http://schemas.xmlsoap.org/wsdl/' "
    "xmlns:s='http://schemas.xmlsoap.org/wsdl/soap/' "
    "xmlns:s12='http://schemas.xmlsoap.org/wsdl/soap12/' "
    "xmlns:t='urn:t' xmlns:o='urn:other' xmlns:v='urn:v' targetNamespace='urn:t'>"
)
HTTP = "http://schemas.xmlsoap.org/soap/http"
BINDING = f"<s:binding transport='{HTTP}'/>"


def wsdl(*sections: str) -> bytes:
    return f"{HEAD}{''.join(sections)}</w:definitions>".encode()


def binding(*operations: str, kind: str = BINDING, name: str = "b") -> str:
    return f"<w:binding name='{name}' type='t:p'>{kind}{''.join(operations)}</w:binding>"


def operation(name: str, extension: str = "") -> str:
    return f"<w:operation name='{name}'>{extension}</w:operation>"


def port(where: str = "http://h/1", *, name: str = "t:b", kind: str = "s", before: str = "") -> str:
    address = f"{before}<{kind}:address location='{where}'/>"
    return f"<w:service name='x'><w:port name='y' binding='{name}'>{address}</w:port></w:service>"


def services(document: bytes) -> list[tuple[str, str | None, str]]:
    return [(each.code, each.version, each.url) for each in derive_wsdl(document).services]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "valid.wsdl",
            [
                ("xroadGetRandom", "v1", OLD),
                ("xroadSmallAttachment", "v1", OLD),
                ("xroadBigAttachment", "v1", OLD),
            ],
        ),
        ("valid-getrandom.wsdl", [("xroadGetRandom", "v1", OLD)]),
        ("valid-smallattachment.wsdl", [("xroadSmallAttachment", "v1", OLD)]),
        (
            "valid-additional-services.wsdl",
            [
                ("getRandom", "v1", "https://172.28.128.2:8084/mocktestServiceBinding"),
                ("helloService", "v1", "https://172.28.128.2:8084/mocktestServiceBinding"),
            ],
        ),
        # Only the external validator of the reference has anything against it.
        (
            "error.wsdl",
            [(code, "v1", f"{LAB}/xrd-mock") for code in ("mock", "mockSwaRef", "mockMtom")],
        ),
        (
            "testservice.wsdl",
            [
                ("xroadGetRandom", "v1", f"{LAB}/xroadGetRandom"),
                ("bodyMassIndex", "v1", f"{LAB}/bodyMassIndex"),
            ],
        ),
        # Refused when it is added: the address is no HTTP.
        (
            "invalid-serviceurl.wsdl",
            [("xroadGetRandom", "v1", OLD.replace("http", "sftp"))],
        ),
    ],
)
def test_derives_what_the_reference_derives(
    name: str, expected: list[tuple[str, str | None, str]]
) -> None:
    assert services((VECTORS / name).read_bytes()) == expected


@pytest.mark.parametrize(
    "name",
    [
        "invalid.wsdl",
        "invalid-servicecode-all.wsdl",
        "invalid-servicecode-colon.wsdl",
        "invalid-serviceversion-percent.wsdl",
        "xxe.wsdl",
        "petstore.json",
    ],
)
def test_refuses_what_the_reference_refuses(name: str) -> None:
    with pytest.raises(MalformedInput) as caught:
        derive_wsdl((VECTORS / name).read_bytes())
    assert caught.value.code is FaultCode.INVALID_REQUEST


def test_no_wsdl_sample_is_left_out() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in VECTORS.glob("*.wsdl") if f'"{path.name}"' not in source] == []


def test_the_title_is_that_of_the_operation_of_the_port_type() -> None:
    titles = [each.title for each in derive_wsdl((VECTORS / "valid.wsdl").read_bytes()).services]
    assert titles[0] == "Suvaline sisend document/literal stiilis"
    port_type = (
        "<w:portType name='p'><w:operation name='a'><w:documentation>"
        "<v:x>no</v:x><v:title> A <b/>no</v:title><v:title>no</v:title>"
        "</w:documentation></w:operation></w:portType>"
    )
    (service,) = derive_wsdl(wsdl(binding(operation("a")), port(), port_type)).services
    assert service.title == "A"


@pytest.mark.parametrize(
    ("extension", "version"),
    [
        ("", None),
        ("<v:version/>", None),
        ("<v:version> \n </v:version>", None),
        ("<v:version> v2 </v:version>", "v2"),
        ("<s:operation/><o:version>v3</o:version><v:version>v4</v:version>", "v3"),
        ("<v:x><v:version>v5</v:version></v:x>", None),
        ("<w:version>v6</w:version>", None),
    ],
)
def test_the_version_is_the_first_extension_of_that_name(
    extension: str, version: str | None
) -> None:
    assert services(wsdl(binding(operation("a", extension)), port())) == [
        ("a", version, "http://h/1")
    ]


@pytest.mark.parametrize(
    "kind",
    [
        "",
        "<s:binding/>",
        "<s:binding transport='urn:smtp'/>",
        f"<s:binding transport='urn:smtp'/><s12:binding transport='{HTTP}'/>",
        f"<o:binding transport='{HTTP}'/>",
    ],
)
def test_only_soap_over_http_counts(kind: str) -> None:
    assert services(wsdl(binding(operation("a"), kind=kind), port())) == []


def test_soap_1_2_counts_too() -> None:
    kind = f"<o:x/><s12:binding transport='{HTTP}'/>"
    document = wsdl(binding(operation("a"), kind=kind), port(kind="s12", before="<o:address/>"))
    assert services(document) == [("a", None, "http://h/1")]


def test_a_binding_of_another_document_is_not_looked_for() -> None:
    imported = "<w:import namespace='urn:other' location='http://127.0.0.1:1/other.wsdl'/>"
    assert services(wsdl(imported, binding(operation("a")), port(name="o:b"))) == []


def test_of_two_ports_with_one_operation_the_later_counts() -> None:
    document = wsdl(binding(operation("a")), port("http://h/1"), port("http://h/2"))
    assert services(document) == [("a", None, "http://h/2")]


@pytest.mark.parametrize(
    "sections",
    [
        (binding(operation("a"), operation("a")), port()),
        (binding(operation("")), port()),
        (binding(operation("a" * 256)), port()),
        (binding(operation("a\u200bb")), port()),
        (binding(operation("a", "<v:version>v/1</v:version>")), port()),
    ],
)
def test_refuses_operations_that_make_no_service(sections: tuple[str, ...]) -> None:
    with pytest.raises(MalformedInput):
        derive_wsdl(wsdl(*sections))


def test_refuses_another_document() -> None:
    with pytest.raises(MalformedInput, match="no WSDL"):
        derive_wsdl(b"<definitions/>")
