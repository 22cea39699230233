"""Metadata: what is masked loses its addresses and nothing else, and garbage costs a refusal."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.errors import MalformedInput
from postroad.identifiers import ServiceId, SubsystemId
from postroad.messages.openapi_masking import mask_openapi
from postroad.messages.soap import SoapEnvelope
from postroad.messages.soap_metadata import encode_method_list
from postroad.messages.soap_reading import read_soap
from postroad.messages.wsdl_masking import MASKED_ADDRESS, mask_wsdl
from postroad.securityserver.descriptions.openapi import derive_openapi
from postroad.securityserver.descriptions.wsdl import derive_wsdl
from postroad.wire.xml import parse
from postroad.wire.yaml_document import read_yaml
from support.soap_messages import FIELDS, body, envelope, header

VECTORS = Path(__file__).parents[1] / "data" / "reference" / "descriptions"
WSDLS = sorted(path.read_bytes() for path in VECTORS.glob("*.wsdl"))
APIS = sorted(path.read_bytes() for path in VECTORS.iterdir() if path.suffix != ".wsdl")
SOAP_NAMESPACE = b'xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"'
few = settings(max_examples=60, deadline=None)
texts = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20
)
codes = st.text(
    st.characters(
        codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"
    ),
    min_size=1,
    max_size=30,
).filter(lambda code: bool(code.strip()))
trees = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@few
@given(st.lists(trees, max_size=3), trees, st.sampled_from(["block", "flow"]))
def test_yaml_loses_the_hosts_of_its_servers_and_nothing_else(
    others: list[object], tree: object, style: str
) -> None:
    servers = [{"url": "http://10.1.2.3:8080/v1", "x": other} for other in others]
    document = {"openapi": "3.0.0", "servers": servers, "x": {"servers": servers}, "y": tree}
    text = yaml.dump(
        document,
        Dumper=_Plain,
        allow_unicode=True,
        default_flow_style=style == "flow",
        sort_keys=False,
    )
    expected = json.loads(json.dumps(read_yaml(text.encode())))
    for server in expected["servers"]:
        server["url"] = "/v1"
    assert read_yaml(mask_openapi(text.encode(), is_json=False)) == expected


class _Plain(yaml.SafeDumper):
    """Writes no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


@few
@given(st.sampled_from(WSDLS), st.integers(0, 4000), st.binary(max_size=4))
def test_a_wsdl_is_masked_or_refused_whatever_it_holds(
    sample: bytes, place: int, garbage: bytes
) -> None:
    document = sample[:place] + garbage + sample[place + len(garbage) :]
    try:
        masked = mask_wsdl(document)
    except MalformedInput:
        return
    addresses = re.findall(rb"<soap:address[^>]*location=\"([^\"]*)\"", masked)
    # Garbage in the name of the namespace makes these addresses something else.
    if SOAP_NAMESPACE in document:
        assert set(addresses) <= {MASKED_ADDRESS.encode()}
    assert mask_wsdl(masked) == masked


@few
@given(st.sampled_from(WSDLS + APIS), st.integers(0, 4000), st.binary(max_size=4))
def test_a_description_is_read_or_refused_whatever_it_holds(
    sample: bytes, place: int, garbage: bytes
) -> None:
    document = sample[:place] + garbage + sample[place + len(garbage) :]
    for read in (derive_wsdl, lambda data: derive_openapi(data, code="x", url="http://h/")):
        with suppress(MalformedInput):
            read(document)


@few
@given(st.lists(st.tuples(codes, st.none() | codes), max_size=5))
def test_every_service_in_a_list_can_be_read_again(names: list[tuple[str, str | None]]) -> None:
    fields = FIELDS.replace(">find<", ">listMethods<")
    question = read_soap(envelope(header(fields), body("<x:listMethods/>")))
    assert isinstance(question, SoapEnvelope)
    provider = SubsystemId("EE", "GOV", "1", "reg")
    services = [ServiceId(provider, code, version) for code, version in names]
    listed = parse(encode_method_list(question, services)).iterfind(".//{*}listMethodsResponse/*")
    found = [
        (each.findtext("{*}serviceCode"), each.findtext("{*}serviceVersion")) for each in listed
    ]
    assert found == names
