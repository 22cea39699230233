from __future__ import annotations

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import MalformedInput
from postroad.evidence.digests import (
    HASH_CHAIN_PART,
    SIGNATURES_PART,
    TIMESTAMP_CHAIN_PART,
    PartDigest,
)
from postroad.evidence.exact_path import MAX_PARTS, prove_exactly
from postroad.evidence.hashchain import build_hash_chains, encode_chain, encode_result
from postroad.evidence.hashchain_parsing import DataRef, parse_hash_chain
from postroad.evidence.hashchain_verification import verify_hash_chain, walk_hash_chain
from support.signing import REFERENCE, SHA512, message_parts

MESSAGES = [message_parts(b"%d" % number, [b"x"] * (number % 3)) for number in range(17)]
CHAINS = build_hash_chains(MESSAGES, SHA512)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17])
def test_what_we_write_is_proved(count: int) -> None:
    batch = [message_parts(b"m", [b"b"]), *MESSAGES[: count - 1]]
    built = build_hash_chains(batch, SHA512)
    for parts, chain in zip(batch, built.chains, strict=True):
        inputs = {part.name: part for part in parts}
        chains = {HASH_CHAIN_PART: chain}
        assert prove_exactly(built.result, chains, inputs) == parts
        walked = walk_hash_chain(built.result, chains, inputs)
        assert verify_hash_chain(built.result, chains, inputs) == walked


def test_chains_of_the_reference_are_laid_out_like_ours() -> None:
    folder = REFERENCE / "signatures/globalconf-impl"
    result = (folder / "hash-chain-result.xml").read_bytes()
    chain = (folder / "hash-chain-1.xml").read_bytes()
    named = [c for step in parse_hash_chain(chain).steps.values() for c in step]
    inputs = {c.uri: PartDigest(c.uri, SHA512, c.value) for c in named if isinstance(c, DataRef)}
    assert prove_exactly(result, {HASH_CHAIN_PART: chain}, inputs) == [*inputs.values()]


def test_chains_of_time_stamps_are_proved() -> None:
    parts = [[PartDigest.of(SIGNATURES_PART, b"%d" % n, SHA512)] for n in range(3)]
    built = build_hash_chains(parts, SHA512, chain_file=TIMESTAMP_CHAIN_PART)
    chains = {TIMESTAMP_CHAIN_PART: built.chains[1]}
    assert prove_exactly(built.result, chains, {SIGNATURES_PART: b"1"}) == parts[1]
    assert prove_exactly(built.result, chains, {SIGNATURES_PART: b"2"}) is None


CHANGES = {
    "other indentation": (b"    <ns2:HashStep", b"\t<ns2:HashStep"),
    "another prefix": (b"ns2:", b"hc:"),
    "white space at the end": (b"</ns2:HashChain>\n", b"</ns2:HashChain>\n\n"),
    "a comment": (b"</ns2:HashChain>", b"<!-- --></ns2:HashChain>"),
    "an attribute more": (b'<ns2:HashStep id="STEP0"', b'<ns2:HashStep id="STEP0" x="y"'),
    "another step name": (b'"STEP0"', b'"FIRST"'),
    "a step twice": (b'id="STEP1"', b'id="STEP0"'),
    "no default digest": (b"<ns2:DefaultDigestMethod", b"<ns2:DigestMethod"),
    "an unknown digest": (b"xmlenc#sha512", b"xmlenc#sha513"),
    "white space in a value": (b"<DigestValue>", b"<DigestValue> "),
    "broken base64": (b"==</DigestValue>", b"=</DigestValue>"),
    "transforms": (b"<DigestValue>", b"<Transforms/><DigestValue>"),
    "a reference in a name": (b'"/message.xml"', b'"&#47;message.xml"'),
    "a step elsewhere": (b'"#STEP1"', b'"/other.xml#STEP1"'),
    "a value without a digest": (b"<DigestValue>", b"<DigestMethod/><DigestValue>"),
}


@pytest.mark.parametrize(("old", "new"), CHANGES.values(), ids=CHANGES.keys())
def test_everything_else_is_left_to_the_walk(old: bytes, new: bytes) -> None:
    inputs = {part.name: part for part in MESSAGES[1]}
    chain = CHAINS.chains[1]
    assert old in chain
    changed = chain.replace(old, new, 1)
    assert prove_exactly(CHAINS.result, {HASH_CHAIN_PART: changed}, inputs) is None
    if old in CHAINS.result:
        assert (
            prove_exactly(CHAINS.result.replace(old, new, 1), {HASH_CHAIN_PART: chain}, inputs)
            is None
        )


def test_a_chain_in_another_layout_is_a_proof_all_the_same() -> None:
    inputs = {part.name: part for part in MESSAGES[3]}
    chain, result = CHAINS.chains[3].replace(b"    ", b""), CHAINS.result.replace(b"    ", b"")
    assert prove_exactly(result, {HASH_CHAIN_PART: chain}, inputs) is None
    assert not verify_hash_chain(result, {HASH_CHAIN_PART: chain}, inputs).unverified


def test_a_chain_without_steps_proves_nothing() -> None:
    (part,) = message_parts(b"m")
    chains = {HASH_CHAIN_PART: encode_chain([], [part], SHA512)}
    result = encode_result(HASH_CHAIN_PART, SHA512, part.value)
    with pytest.raises(MalformedInput, match="no step"):
        verify_hash_chain(result, chains, {part.name: part})


def test_parts_by_another_digest_are_left_to_the_walk() -> None:
    other = PartDigest.of("/message.xml", b"three", DigestAlgorithm.SHA256)
    built = build_hash_chains([[other], MESSAGES[0]], SHA512)
    chains = {HASH_CHAIN_PART: built.chains[0]}
    assert prove_exactly(built.result, chains, {"/message.xml": other}) is None
    verify_hash_chain(built.result, chains, {"/message.xml": other})


def test_many_parts_none_and_several_files_are_left_to_the_walk() -> None:
    parts = message_parts(b"m", [b""] * MAX_PARTS)
    built = build_hash_chains([parts], SHA512)
    inputs = {part.name: part for part in parts}
    chains = {HASH_CHAIN_PART: built.chains[0]}
    assert prove_exactly(built.result, chains, inputs) is None
    assert prove_exactly(built.result, chains, {}) is None
    verify_hash_chain(built.result, chains, inputs)
    few = {part.name: part for part in MESSAGES[1]}
    chains = {HASH_CHAIN_PART: CHAINS.chains[1]}
    assert prove_exactly(CHAINS.result, {**chains, "/other.xml": b""}, few) is None
    assert prove_exactly(CHAINS.result, {}, few) is None
