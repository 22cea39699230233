from __future__ import annotations

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.hashchain_parsing import (
    DataRef,
    HashValue,
    StepRef,
    parse_hash_chain,
    parse_hash_chain_result,
)
from support.signing import REFERENCE

HEAD = (
    '<ns2:HashChain xmlns="http://www.w3.org/2000/09/xmldsig#" '
    'xmlns:ns2="http://cyber.ee/hashchain">'
)
METHOD = '<ns2:DefaultDigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>'
OWN = '<DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"/>'
VALUE = "<DigestValue>AA==</DigestValue>"
TRANSFORM = '<Transform Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315"/>'
HASH_VALUE = f"<ns2:HashValue>{VALUE}</ns2:HashValue>"


def chain(steps: str, default: str = METHOD) -> bytes:
    return f"{HEAD}{default}{steps}</ns2:HashChain>".encode()


def step(content: str, identifier: str = "STEP0") -> str:
    return f'<ns2:HashStep id="{identifier}">{content}</ns2:HashStep>'


def result(content: str, attributes: str = 'URI="/c.xml#STEP0"') -> bytes:
    return (
        f'<ns2:HashChainResult {attributes} xmlns="http://www.w3.org/2000/09/xmldsig#" '
        f'xmlns:ns2="http://cyber.ee/hashchain">{content}</ns2:HashChainResult>'
    ).encode()


def test_reads_every_kind_of_child() -> None:
    parsed = parse_hash_chain(
        chain(
            step(
                f"<ns2:HashValue>{OWN}<Transforms>{TRANSFORM}</Transforms>{VALUE}</ns2:HashValue>"
                f'<ns2:StepRef URI="#S.1-x">{OWN}</ns2:StepRef>'
                f'<ns2:DataRef URI="/message.xml"><Transforms>{TRANSFORM}</Transforms>{VALUE}'
                "</ns2:DataRef>"
            )
            + step(HASH_VALUE, "S.1-x")
        )
    )
    sha512 = DigestAlgorithm.SHA512
    assert parsed.default_algorithm is DigestAlgorithm.SHA256
    assert parsed.steps["STEP0"] == (
        HashValue(sha512, b"\0"),
        StepRef(sha512, "#S.1-x"),
        DataRef(
            None,
            "/message.xml",
            ("http://www.w3.org/TR/2001/REC-xml-c14n-20010315",),
            b"\0",
        ),
    )
    assert parsed.steps["S.1-x"] == (HashValue(None, b"\0"),)


def test_default_method_is_optional() -> None:
    assert parse_hash_chain(chain("", "")).default_algorithm is None


BROKEN_CHAINS = {
    "not XML": b"<",
    "document type": b"<!DOCTYPE x><x/>",
    "another document": b"<x/>",
    "a result": result(VALUE),
    "no namespace": b"<HashChain/>",
    "attribute on the chain": chain("").replace(b"<ns2:HashChain ", b'<ns2:HashChain x="" '),
    "foreign child": chain("<x/>"),
    "default method after steps": chain(step("") + METHOD),
    "default method twice": chain(METHOD),
    "unknown method": chain("", METHOD.replace("sha256", "sha257")),
    "method without algorithm": chain("", "<ns2:DefaultDigestMethod/>"),
    "method with content": chain("", METHOD.replace("/>", "><x/></ns2:DefaultDigestMethod>")),
    "text in the chain": chain("text"),
    "text in a step": chain(step("text")),
    "step without id": chain("<ns2:HashStep/>"),
    "step with another attribute": chain('<ns2:HashStep id="STEP0" x=""/>'),
    "identifier that is no name": chain(step("", "1bad")),
    "identifier used twice": chain(step("") + step("")),
    "foreign child of a step": chain(step("<ns2:Bogus/>")),
    "hash value without value": chain(step("<ns2:HashValue/>")),
    "hash value with two values": chain(step(f"<ns2:HashValue>{VALUE}{VALUE}</ns2:HashValue>")),
    "hash value with attribute": chain(step(HASH_VALUE.replace("Value>", 'Value URI="#x">', 1))),
    "method behind the value": chain(step(f"<ns2:HashValue>{VALUE}{OWN}</ns2:HashValue>")),
    "not base64": chain(step("<ns2:HashValue><DigestValue>A?A=</DigestValue></ns2:HashValue>")),
    "element in the value": chain(
        step("<ns2:HashValue><DigestValue><x/></DigestValue></ns2:HashValue>")
    ),
    "comment in the value": chain(
        step("<ns2:HashValue><DigestValue>AA<!-- -->==</DigestValue></ns2:HashValue>")
    ),
    "step reference without URI": chain(step("<ns2:StepRef/>")),
    "step reference with value": chain(step(f'<ns2:StepRef URI="#x">{VALUE}</ns2:StepRef>')),
    "step reference with transforms": chain(
        step(f'<ns2:StepRef URI="#x"><Transforms>{TRANSFORM}</Transforms></ns2:StepRef>')
    ),
    "data reference without URI": chain(step(f"<ns2:DataRef>{VALUE}</ns2:DataRef>")),
    "data reference without value": chain(step('<ns2:DataRef URI="/m"/>')),
    "empty transforms": chain(step(f'<ns2:DataRef URI="/m"><Transforms/>{VALUE}</ns2:DataRef>')),
    "foreign transform": chain(
        step(f'<ns2:DataRef URI="/m"><Transforms><x/></Transforms>{VALUE}</ns2:DataRef>')
    ),
    "transform with content": chain(
        step(
            '<ns2:DataRef URI="/m"><Transforms><Transform Algorithm="x"><y/></Transform>'
            f"</Transforms>{VALUE}</ns2:DataRef>"
        )
    ),
    "too many elements": chain(step(HASH_VALUE * 11_000)),
    "too large": chain(step(" " * 3_000_000)),
    "the reference's own bad example": (
        REFERENCE / "hashchain" / "hc-verifier5-hashchain-invalid-schema.xml"
    ).read_bytes(),
}


@pytest.mark.parametrize("data", BROKEN_CHAINS.values(), ids=BROKEN_CHAINS.keys())
def test_refuses_a_chain_that_breaks_the_structure(data: bytes) -> None:
    with pytest.raises(MalformedInput) as refused:
        parse_hash_chain(data)
    assert refused.value.code is FaultCode.MALFORMED_HASH_CHAIN


def test_reads_a_result() -> None:
    parsed = parse_hash_chain_result(result(OWN + VALUE))
    assert parsed.uri == "/c.xml#STEP0"
    assert parsed.algorithm is DigestAlgorithm.SHA512
    assert parsed.value == b"\0"


BROKEN_RESULTS = {
    "a chain": chain(""),
    "no URI": result(OWN + VALUE, ""),
    "another attribute": result(OWN + VALUE, 'URI="#x" Id="y"'),
    "no value": result(OWN),
    "transforms": result(f"{OWN}<Transforms>{TRANSFORM}</Transforms>{VALUE}"),
    "something else": result(f"{OWN}{VALUE}<x/>"),
}


@pytest.mark.parametrize("data", BROKEN_RESULTS.values(), ids=BROKEN_RESULTS.keys())
def test_refuses_a_result_that_breaks_the_structure(data: bytes) -> None:
    with pytest.raises(MalformedInput) as refused:
        parse_hash_chain_result(data)
    assert refused.value.code is FaultCode.MALFORMED_HASH_CHAIN
