from __future__ import annotations

import json

import pytest

from postroad.globalconf.client_list import ClientList, wants_json
from postroad.globalconf.shared_parameters import (
    Member,
    MemberClass,
    SharedParameters,
    Subsystem,
)

SHARED = SharedParameters(
    instance="AA",
    members=(
        Member(MemberClass("GOV", ""), "TS1OWNER", "TS1 Owner"),
        Member(
            MemberClass("ENT", ""),
            "CLIENT1",
            "Client <One> & Co",
            (Subsystem("sub", "Client One Sub"), Subsystem("old")),
        ),
    ),
)


def test_xml_is_written_as_the_reference_writes_it() -> None:
    assert ClientList.of(SHARED).encode_xml().decode() == (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        '<ns2:clientList xmlns:ns1="http://x-road.eu/xsd/identifiers" '
        'xmlns:ns2="http://x-road.eu/xsd/xroad.xsd">\n'
        "    <ns2:member>\n"
        '        <ns2:id ns1:objectType="MEMBER">\n'
        "            <ns1:xRoadInstance>AA</ns1:xRoadInstance>\n"
        "            <ns1:memberClass>GOV</ns1:memberClass>\n"
        "            <ns1:memberCode>TS1OWNER</ns1:memberCode>\n"
        "        </ns2:id>\n"
        "        <ns2:name>TS1 Owner</ns2:name>\n"
        "    </ns2:member>\n"
        "    <ns2:member>\n"
        '        <ns2:id ns1:objectType="MEMBER">\n'
        "            <ns1:xRoadInstance>AA</ns1:xRoadInstance>\n"
        "            <ns1:memberClass>ENT</ns1:memberClass>\n"
        "            <ns1:memberCode>CLIENT1</ns1:memberCode>\n"
        "        </ns2:id>\n"
        "        <ns2:name>Client &lt;One&gt; &amp; Co</ns2:name>\n"
        "    </ns2:member>\n"
        "    <ns2:member>\n"
        '        <ns2:id ns1:objectType="SUBSYSTEM">\n'
        "            <ns1:xRoadInstance>AA</ns1:xRoadInstance>\n"
        "            <ns1:memberClass>ENT</ns1:memberClass>\n"
        "            <ns1:memberCode>CLIENT1</ns1:memberCode>\n"
        "            <ns1:subsystemCode>sub</ns1:subsystemCode>\n"
        "        </ns2:id>\n"
        "        <ns2:name>Client &lt;One&gt; &amp; Co</ns2:name>\n"
        "        <ns2:subsystemName>Client One Sub</ns2:subsystemName>\n"
        "    </ns2:member>\n"
        "    <ns2:member>\n"
        '        <ns2:id ns1:objectType="SUBSYSTEM">\n'
        "            <ns1:xRoadInstance>AA</ns1:xRoadInstance>\n"
        "            <ns1:memberClass>ENT</ns1:memberClass>\n"
        "            <ns1:memberCode>CLIENT1</ns1:memberCode>\n"
        "            <ns1:subsystemCode>old</ns1:subsystemCode>\n"
        "        </ns2:id>\n"
        "        <ns2:name>Client &lt;One&gt; &amp; Co</ns2:name>\n"
        "    </ns2:member>\n"
        "</ns2:clientList>\n"
    )


def test_json_has_the_fields_in_the_order_of_the_reference() -> None:
    data = ClientList.of(SHARED).encode_json()
    assert [list(entry) for entry in json.loads(data)["member"]] == [
        ["id", "name"],
        ["id", "name"],
        ["id", "name", "subsystem_name"],
        ["id", "name"],
    ]
    assert (
        b'{"id":{"member_class":"ENT","member_code":"CLIENT1","subsystem_code":"sub",'
        b'"object_type":"SUBSYSTEM","xroad_instance":"AA"},"name":"Client <One> & Co",'
        b'"subsystem_name":"Client One Sub"}'
    ) in data


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (("application/json",), True),
        (("text/xml;q=1.0", "application/json;q=0.9 , text/*"), True),
        (("Application/JSON; charset=utf-8",), True),
        ((), False),
        (("x-this/that;q=1.0;param=value", "text/xml, */*"), False),
        (("application/json2, text/json",), False),
    ],
)
def test_json_is_answered_when_it_is_accepted_at_all(
    accept: tuple[str, ...], expected: bool
) -> None:
    assert wants_json(tuple(("accept", value) for value in accept)) is expected
