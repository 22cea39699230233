"""The fast readers against the parser, over thousands of documents that somebody tampered with.

For every document a fast reader either declines, or says what the parser says and hands out the
octets that a real canonicaliser makes; so a verdict can't depend on which of the two was asked.
"""

from __future__ import annotations

import random
import re
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.errors import PostroadError
from postroad.evidence.exact_form import read_exact_signature
from postroad.evidence.exact_path import prove_exactly
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.hashchain_verification import walk_hash_chain
from postroad.evidence.verification import SignatureDocument, verify_signature_at
from postroad.evidence.xades import prepare_signature
from postroad.evidence.xades_parsing import CanonicalForm, SignatureFacts, parse_signature
from support.signing import CLIENT, NOW, REFERENCE, SHA512, Bench, message_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postroad.evidence.digests import PartDigest

BENCH = Bench.create()
PARTS = message_parts(b"message")
GOOD = BENCH.sign(PARTS).signature
REFERENCE_LAYOUT = (REFERENCE / "signatures/common-test/sign-0.xml").read_bytes()


def with_intermediates() -> bytes:
    prepared = prepare_signature(
        reference_uri="/message.xml",
        reference_digest=PARTS[0].value,
        certificate=BENCH.identity.certificate,
        algorithm=BENCH.identity.algorithm,
        signing_time=NOW,
    )
    return prepared.assemble(b"value", [b"one", b"two"], BENCH.lab.ca_certificates)


SEEDS = {"ours": GOOD, "intermediates": with_intermediates(), "reference": REFERENCE_LAYOUT}
BATCH = [message_parts(b"one", [b"body"]), message_parts(b"two"), message_parts(b"three")]
CHAINS = build_hash_chains(BATCH, SHA512)
SNIPPETS = [
    *(bytes([octet]) for octet in b" \t\n\r<>&\"'/=#;:A0+.-"),
    *(
        b"\x00",
        b"\x7f",
        b"\x85",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xc0\xbc",
    ),
    *(b"\r\n", b"&#13;", b"&#xD;", b"&#10;", b"&amp;", b"&lt;", b"&#65;", b"&x;", b"=="),
    *(b"<!-- x -->", b"<?x y?>", b"<![CDATA[x]]>", b"<x/>", b"<x></x>", b"<ds:x></ds:x>"),
    *(b' Id="signature"', b' id="x"', b' xmlns="y"', b' xmlns:ds="y"', b' xml:space="preserve"'),
    *(b"/>", b"></ds:DigestMethod>", b"</ds:SignedInfo>", b"<ds:SignedInfo>", b"]]>"),
    *(b"/message.xml", b"#signed-properties", b"#STEP1", b"STEP0", b"ns2:", b"ds:", b"xades:"),
]
TAGS = re.compile(rb"<[^<>]*>")


def outcome(signature: SignatureFacts) -> object:
    """The verdict on a signature, however it was read."""
    try:
        verified = verify_signature_at(
            signature,
            SignatureDocument(b""),
            signer=CLIENT,
            parts={part.name: part for part in PARTS},
            globalconf=BENCH.globalconf,
            at=NOW,
        )
    except PostroadError as error:
        return error.fault_code, error.message
    return verified


def signatures_agree(document: bytes) -> bool:
    """Whether the fast reader took the document; then both must see the same in it."""
    exact = read_exact_signature(document)
    if exact is None:
        return False
    parsed = parse_signature(document)
    for field in fields(SignatureFacts):
        assert getattr(exact, field.name) == getattr(parsed, field.name), (field.name, document)
    identifier = exact.properties_identifier
    assert identifier == parsed.properties_identifier
    assert exact.signed_info_octets() == parsed.signed_info_octets(), document
    form = CanonicalForm()
    assert exact.element_octets(identifier, form) == parsed.element_octets(identifier, form)
    assert outcome(exact) == outcome(parsed), document
    return True


def proofs_agree(result: bytes, chain: bytes, parts: list[PartDigest]) -> bool:
    """Whether the fast way found a proof; then the slow one must find the same."""
    inputs = {part.name: part for part in parts}
    proved = prove_exactly(result, {"/sig-hashchain.xml": chain}, inputs)
    if proved is None:
        return False
    walked = walk_hash_chain(result, {"/sig-hashchain.xml": chain}, inputs)
    assert not walked.unverified
    assert [(r.name, r.algorithm, r.value) for r in walked.references] == [
        (part.name, part.algorithm, part.value) for part in proved
    ], (result, chain)
    return True


DOCUMENTS: list[tuple[str, bytes, Callable[[bytes], bool]]] = [
    (name, document, signatures_agree) for name, document in SEEDS.items()
]
PROOFS: list[tuple[str, bytes, Callable[[bytes], bool]]] = [
    *(
        (f"chain {number}", chain, partial(proofs_agree, CHAINS.result, parts=BATCH[number]))
        for number, chain in enumerate(CHAINS.chains)
    ),
    ("result", CHAINS.result, lambda result: proofs_agree(result, CHAINS.chains[1], BATCH[1])),
]
every_document = pytest.mark.parametrize(
    ("seed", "agree"),
    [entry[1:] for entry in DOCUMENTS + PROOFS],
    ids=[entry[0] for entry in DOCUMENTS + PROOFS],
)


def changes(document: bytes) -> Iterator[bytes]:
    """Every change of one place: an octet of it replaced by markup, dropped, or doubled."""
    for at, octet in enumerate(document):
        before, after = document[:at], document[at + 1 :]
        for new in (b"<", b"&", b'"', b" ", b"\n", b"\r", b">", bytes([octet ^ 0x20])):
            yield before + new + after
        yield before + after
        yield before + document[at : at + 1] * 2 + after


@pytest.mark.parametrize(
    ("seed", "agree"), [entry[1:] for entry in DOCUMENTS], ids=[entry[0] for entry in DOCUMENTS]
)
def test_every_change_of_one_octet(seed: bytes, agree: Callable[[bytes], bool]) -> None:
    assert agree(seed)
    taken = [agree(changed) for changed in changes(seed)]
    assert 0 < sum(taken) < len(taken) / 2


@pytest.mark.parametrize(
    ("seed", "agree"), [entry[1:] for entry in PROOFS], ids=[entry[0] for entry in PROOFS]
)
def test_no_change_of_one_octet_is_a_proof(seed: bytes, agree: Callable[[bytes], bool]) -> None:
    assert agree(seed)
    assert not any(agree(changed) for changed in changes(seed) if changed != seed)


def tampered(seed: bytes, chance: random.Random) -> bytes:
    """Change a document in one to three places, as an attacker or a careless writer might."""
    data = seed
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        data = chance.choice([in_octets, in_octets, in_tags])(data, chance)
    return data


def in_octets(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + chance.choice([1, 1, 2, 5, 40]))
    snippet = chance.choice(SNIPPETS)
    new = chance.choice(
        [
            bytes([chance.randrange(256)]),
            snippet,
            snippet + data[at:end],
            data[at:end] + snippet,
            b"",
            data[at:end] * 2,
        ]
    )
    return data[:at] + new + data[end:]


def in_tags(data: bytes, chance: random.Random) -> bytes:
    tags = list(TAGS.finditer(data))
    if not tags:
        return data
    one, other = chance.choice(tags), chance.choice(tags)
    low, high = sorted((one.start(), other.end()))
    reordered = re.sub(rb'( \S+="[^"]*")( \S+="[^"]*")', rb"\2\1", one[0])
    start, new, end = chance.choice(
        [
            (one.end(), chance.choice(SNIPPETS), one.end()),  # where structure is decided
            (one.start(), other[0], one.end()),  # one tag in the place of another
            (one.start(), reordered, one.end()),
            (one.start(), one[0].replace(b'"', b"'"), one.end()),
            (high, data[low:high], high),  # elements twice
            (low, b"", high),  # or never
        ]
    )
    return data[:start] + new + data[end:]


@every_document
@pytest.mark.parametrize("number", range(4))
def test_documents_that_were_tampered_with(
    seed: bytes, agree: Callable[[bytes], bool], number: int
) -> None:
    chance = random.Random(number)
    taken = sum(agree(tampered(seed, chance)) for _ in range(700))
    assert taken < 700  # most of it isn't exact any more


@every_document
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_values_of_documents_may_be_anything(
    seed: bytes, agree: Callable[[bytes], bool], data: st.DataObject
) -> None:
    """A value between two tags, or in an attribute, becomes another one of any kind."""
    places = [*re.finditer(rb">([^<>]+)<", seed), *re.finditer(rb'="([^"]*)"', seed)]
    place = data.draw(st.sampled_from(places))
    characters = st.one_of(
        st.binary(max_size=12),
        st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.text("AQgw+/=0 \n", max_size=16).map(str.encode),
        st.sampled_from(
            [b"2026-03-01T12:00:00.250Z", b"-1", b"007", b"AAAA", b"AA==", b"AB==", b"A===", b"=="]
        ),
        st.sampled_from([found[1] for found in places]),
    )
    value = data.draw(st.lists(characters | st.sampled_from(SNIPPETS), max_size=3).map(b"".join))
    agree(seed[: place.start(1)] + value + seed[place.end(1) :])


def test_changed_values_are_taken_and_refused_alike() -> None:
    """Not all of the above declines: values of the right kind are read, and judged the same."""
    chance = random.Random(1)
    places = [*re.finditer(rb"[A-Za-z0-9+/]{20,}", GOOD)]
    taken = 0
    for _ in range(150):
        place = chance.choice(places)
        at = chance.randrange(place.start(), place.end())
        taken += signatures_agree(GOOD[:at] + chance.choice([b"A", b"z", b"7"]) + GOOD[at + 1 :])
    assert taken > 25
