from __future__ import annotations

from base64 import b64decode

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.evidence.digests import (
    SIGNATURES_PART,
    TIMESTAMP_CHAIN_PART,
    PartDigest,
    step_digest,
)
from postroad.evidence.hashchain import HashTree, build_hash_chains
from postroad.evidence.hashchain_parsing import (
    DataRef,
    HashValue,
    StepRef,
    parse_hash_chain,
    parse_hash_chain_result,
)
from support.signing import REFERENCE, message_parts

SHA256, SHA512 = DigestAlgorithm.SHA256, DigestAlgorithm.SHA512


def single(text: bytes, algorithm: DigestAlgorithm = SHA256) -> list[PartDigest]:
    return [PartDigest.of("/message.xml", text, algorithm)]


def top(result: bytes) -> bytes:
    return parse_hash_chain_result(result).value


def test_four_single_messages_lead_to_the_reference_value() -> None:
    built = build_hash_chains([single(t) for t in (b"one", b"two", b"three", b"four")], SHA256)
    assert top(built.result) == b64decode("D7oIIfhfp4ToT729xyx991PvstI5XvpW+d7oeWvXw8E=")


def test_one_message_of_four_parts_leads_to_the_reference_value() -> None:
    names = ["/message.xml", "/attachment1", "/attachment2", "/attachment3"]
    parts = [PartDigest(n, SHA256, bytes([v])) for v, n in enumerate(names, 0x0B)]
    built = build_hash_chains([parts], SHA256)
    assert top(built.result) == b64decode("v3CBVgjKmzZT5hnJ6vj6waqBazZe334tdEoNiL2oM5E=")


def test_writes_the_chain_of_the_reference_down_to_the_octet() -> None:
    built = build_hash_chains([single(t) for t in (b"one", b"two", b"three", b"four")], SHA256)
    theirs = (REFERENCE / "hashchain" / "hc-verifier1-hashchain.xml").read_bytes()
    # The two namespace declarations have no order; everything else must be the same.
    ours = built.chains[1].replace(
        b'xmlns="http://www.w3.org/2000/09/xmldsig#" xmlns:ns2="http://cyber.ee/hashchain"',
        b'xmlns:ns2="http://cyber.ee/hashchain" xmlns="http://www.w3.org/2000/09/xmldsig#"',
    )
    assert ours.strip() == theirs.strip()


def rfc6962(values: list[bytes]) -> bytes:
    """Compute the same tree from the top down, split at the largest power of two."""
    if len(values) == 1:
        return values[0]
    split = 1
    while split * 2 < len(values):
        split *= 2
    return step_digest(SHA256, [rfc6962(values[:split]), rfc6962(values[split:])])


@pytest.mark.parametrize("count", [*range(2, 34), 63, 64, 65, 100])
def test_tree_has_the_shape_of_rfc_6962(count: int) -> None:
    messages = [single(b"%d" % number) for number in range(count)]
    built = build_hash_chains(messages, SHA256)
    assert top(built.result) == rfc6962([message[0].value for message in messages])
    assert len(built.chains) == count


def test_node_that_moves_up_unchanged_gets_no_step() -> None:
    built = build_hash_chains([single(t) for t in (b"1", b"2", b"3", b"4", b"5")], SHA256)
    last = parse_hash_chain(built.chains[4])
    assert list(last.steps) == ["STEP0"]
    assert [type(child) for child in last.steps["STEP0"]] == [HashValue, DataRef]


def test_multipart_message_has_a_last_step_of_all_its_parts() -> None:
    parts = message_parts(b"m", [b"a1", b"a2"])
    built = build_hash_chains([single(b"x", SHA512), parts], SHA512)
    chain = parse_hash_chain(built.chains[1])
    assert [type(child) for child in chain.steps["STEP0"]] == [HashValue, StepRef]
    names = [child.uri for child in chain.steps["STEP1"] if isinstance(child, DataRef)]
    assert names == ["/message.xml", "/attachment1", "/attachment2"]


def test_states_the_digest_method_only_where_it_is_not_the_default() -> None:
    parts = [*single(b"m", SHA512), PartDigest.of("/attachment1", b"a", SHA512)]
    chain = build_hash_chains([parts], SHA256).chains[0]
    assert parse_hash_chain(chain).default_algorithm is SHA256
    children = parse_hash_chain(chain).steps["STEP0"]
    assert [child.algorithm for child in children] == [SHA512, SHA512]
    same = parse_hash_chain(build_hash_chains([parts], SHA512).chains[0]).steps["STEP0"]
    assert [child.algorithm for child in same] == [None, None]


def test_time_stamp_chains_name_their_own_file() -> None:
    records = [[PartDigest.of(SIGNATURES_PART, data, SHA512)] for data in (b"1", b"2")]
    built = build_hash_chains(records, SHA512, chain_file=TIMESTAMP_CHAIN_PART)
    assert parse_hash_chain_result(built.result).uri == "/ts-hashchain.xml#STEP0"


@pytest.mark.parametrize("messages", [[], [[]], [single(b"x"), []], [single(b"x")]])
def test_refuses_what_needs_no_chain(messages: list[list[PartDigest]]) -> None:
    with pytest.raises(ValueError):
        build_hash_chains(messages, SHA256)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 8, 33, 100])
def test_a_tree_gives_the_octets_of_chains_that_are_built_at_once(count: int) -> None:
    values = [SHA512.digest(bytes([number])) for number in range(count)]
    built = build_hash_chains(
        [[PartDigest(SIGNATURES_PART, SHA512, value)] for value in values],
        SHA512,
        chain_file=TIMESTAMP_CHAIN_PART,
    )
    tree = HashTree(values, SHA512)
    assert tree.result(TIMESTAMP_CHAIN_PART) == built.result
    chains = [tree.chain(index, SIGNATURES_PART) for index in range(count)]
    assert tuple(chains) == built.chains
    assert [tree.leaf(index) for index in range(count)] == values


@pytest.mark.parametrize("values", [[], [bytes(64)], [bytes(64), bytes(63)]])
def test_a_tree_needs_two_digests_of_its_algorithm(values: list[bytes]) -> None:
    with pytest.raises(ValueError, match="digest"):
        HashTree(values, SHA512)
