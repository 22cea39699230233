"""The metadata that the demo asks for: who is there, which services, who may call, descriptions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from postroad.demo.consumer import Answer, call, request
from postroad.demo.descriptions import CERTIFY, FIND_PERSON, SOAP_VERSION
from postroad.demo.evidence import Exchange
from postroad.demo.layout import SERVICE_CODE
from postroad.demo.soap_consumer import SoapAnswer, call_soap
from postroad.demo.soap_tour import message_of
from postroad.demo.steps import Shown, expect, expect_status
from postroad.errors import ConfigurationError
from postroad.securityserver.descriptions.openapi import derive_openapi
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from postroad.wire.xml import XROAD, child_elements, parse, qualified, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.demo.layout import Party

_LISTS = ("listMethods", "allowedMethods")


def show_metadata(url: str, parties: Sequence[Party], exchanges: list[Exchange]) -> Iterator[Shown]:
    """Ask the Security Server at ``url``, and through it the provider's.

    What is asked of the provider's server is signed like any message: it is added to ``exchanges``.
    """
    yield _list_clients(url, parties)
    yield _list_rest(url, exchanges)
    yield _list_soap(url, exchanges)
    yield _get_descriptions(url, exchanges)


def _list_clients(url: str, parties: Sequence[Party]) -> Shown:
    answer = request(url, "GET", "/listClients", {"Accept": "application/json"})
    expect_status(answer, 200)
    told = {
        "/".join(
            str(each["id"][part])
            for part in ("xroad_instance", "member_class", "member_code", "subsystem_code")
            if each["id"].get(part)
        ): str(each["name"])
        for each in json.loads(answer.body)["member"]
    }
    missing = {party.subsystem.encoded() for party in parties} - told.keys()
    expect("clients that aren't listed", missing, set())
    return Shown("Who is there: listClients", tuple(f"{who}  {name}" for who, name in told.items()))


def _list_rest(url: str, exchanges: list[Exchange]) -> Shown:
    findings = []
    for code in _LISTS:
        answer = _ask_rest(url, code, exchanges)
        listed = {
            each["service_code"]: [
                f"{one['method']} {one['path']}" for one in each["endpoint_list"]
            ]
            for each in json.loads(answer.body)["service"]
        }
        expect(code, list(listed), [SERVICE_CODE])
        expect(f"GET /persons in {code}", "GET /persons" in listed[SERVICE_CODE], code != _LISTS[1])
        findings.append(f"{code}: {SERVICE_CODE} with {', '.join(listed[SERVICE_CODE])}")
    return Shown("Which REST services, and which of them for us", tuple(findings))


def _list_soap(url: str, exchanges: list[Exchange]) -> Shown:
    findings = []
    for code in _LISTS:
        answer = _ask_soap(url, code, exchanges)
        listed = [
            ".".join(text_of(part) for part in child_elements(service)[-2:])
            for service in parse(answer.document.xml).iterfind(
                f".//{qualified(XROAD, code + 'Response')}/{qualified(XROAD, 'service')}"
            )
        ]
        wanted = {f"{name}.{SOAP_VERSION}" for name in (FIND_PERSON, CERTIFY)}
        expect(code, set(listed), wanted)
        findings.append(f"{code}: {', '.join(listed)}")
    return Shown("Which SOAP services, and which of them for us", tuple(findings))


def _get_descriptions(url: str, exchanges: list[Exchange]) -> Shown:
    openapi = _ask_rest(url, f"getOpenAPI?serviceCode={SERVICE_CODE}", exchanges)
    derived = derive_openapi(openapi.body, code=SERVICE_CODE, url=url)
    expect("endpoints in the OpenAPI document", len(derived.endpoints), 4)
    wsdl = _ask_soap(
        url,
        "getWsdl",
        exchanges,
        f"<xroad:serviceCode>{FIND_PERSON}</xroad:serviceCode>"
        f"<xroad:serviceVersion>{SOAP_VERSION}</xroad:serviceVersion>",
    )
    expect("attachments of getWsdl", len(wsdl.attachments), 1)
    document = wsdl.attachments[0].data
    described = {each.code: each.url for each in derive_wsdl(document).services}
    expect("operations in the WSDL", set(described), {FIND_PERSON, CERTIFY})
    for text in (openapi.body, document):
        if b":8000" in text:
            raise ConfigurationError("a description tells where the service is inside")
    return Shown(
        "How they are described: getOpenAPI and getWsdl",
        (
            f"OpenAPI, {len(openapi.body)} bytes: {len(derived.endpoints)} endpoints",
            f"WSDL, {len(document)} bytes: {', '.join(described)} at {described[FIND_PERSON]}",
            "neither tells where the service is inside",
        ),
    )


def _ask_rest(url: str, target: str, exchanges: list[Exchange]) -> Answer:
    answer = call(url, "GET", "", service=target)
    expect_status(answer, 200)
    exchanges.append(Exchange(f"REST {target.partition('?')[0]}", answer.query_id))
    return answer


def _ask_soap(url: str, code: str, exchanges: list[Exchange], content: str = "") -> SoapAnswer:
    answer = call_soap(url, code, f"<xroad:{code}>{content}</xroad:{code}>")
    message_of(answer)
    exchanges.append(Exchange(f"SOAP {code}", answer.query_id))
    return answer
