from __future__ import annotations

import pytest

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import PostroadError
from postroad.evidence.digests import SIGNATURES_PART, TIMESTAMP_CHAIN_PART, PartDigest
from postroad.evidence.exact_chain import (
    MAX_EXACT_BYTES,
    read_exact_hash_chain,
    read_exact_hash_chain_result,
    read_hash_chain,
    read_hash_chain_result,
)
from postroad.evidence.hashchain import build_hash_chains
from postroad.evidence.hashchain_parsing import parse_hash_chain, parse_hash_chain_result
from support.signing import REFERENCE, SHA512, message_parts

MESSAGES = [message_parts(b"%d" % number, [b"x"] * (number % 3)) for number in range(17)]
CHAINS = build_hash_chains(MESSAGES, SHA512)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 17])
@pytest.mark.parametrize("digest", [DigestAlgorithm.SHA256, SHA512], ids=lambda d: d.label)
def test_what_we_write_is_exact(count: int, digest: DigestAlgorithm) -> None:
    built = build_hash_chains([message_parts(b"m", [b"b"]), *MESSAGES[: count - 1]], digest)
    result = read_exact_hash_chain_result(built.result)
    assert result is not None
    assert result == parse_hash_chain_result(built.result)
    for chain in built.chains:
        exact, parsed = read_exact_hash_chain(chain), parse_hash_chain(chain)
        assert exact == parsed
        assert list(exact.steps) == list(parsed.steps)  # type: ignore[union-attr]


def test_chains_of_time_stamps_are_exact() -> None:
    parts = [[PartDigest.of(SIGNATURES_PART, b"%d" % n, SHA512)] for n in range(3)]
    built = build_hash_chains(parts, SHA512, chain_file=TIMESTAMP_CHAIN_PART)
    assert read_exact_hash_chain_result(built.result) == parse_hash_chain_result(built.result)
    assert read_exact_hash_chain(built.chains[1]) == parse_hash_chain(built.chains[1])


def test_chains_of_the_reference_are_exact() -> None:
    folder = REFERENCE / "signatures/globalconf-impl"
    result = (folder / "hash-chain-result.xml").read_bytes()
    assert read_exact_hash_chain_result(result) == parse_hash_chain_result(result)
    for name in ("hash-chain-1.xml", "hash-chain-2.xml"):
        chain = (folder / name).read_bytes()
        assert read_exact_hash_chain(chain) == parse_hash_chain(chain)


NOT_EXACT = {
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


@pytest.mark.parametrize(("old", "new"), NOT_EXACT.values(), ids=NOT_EXACT.keys())
def test_leaves_everything_else_to_the_parser(old: bytes, new: bytes) -> None:
    chain = CHAINS.chains[1]
    assert old in chain
    assert read_exact_hash_chain(chain.replace(old, new, 1)) is None
    if old in CHAINS.result:
        assert read_exact_hash_chain_result(CHAINS.result.replace(old, new, 1)) is None


def test_what_is_not_exact_is_parsed() -> None:
    chain, result = CHAINS.chains[3].replace(b"    ", b""), CHAINS.result.replace(b"    ", b"")
    assert read_exact_hash_chain(chain) is None
    assert read_hash_chain(chain) == read_hash_chain(CHAINS.chains[3])
    assert read_exact_hash_chain_result(result) is None
    assert read_hash_chain_result(result) == read_hash_chain_result(CHAINS.result)
    for read in (read_hash_chain, read_hash_chain_result):
        with pytest.raises(PostroadError, match="hash chain"):
            read(b"<x/>")


def test_large_chains_are_left_to_the_parser() -> None:
    parts = [PartDigest.of(f"/attachment{number}", b"", SHA512) for number in range(400)]
    chain = build_hash_chains([parts], SHA512).chains[0]
    assert len(chain) > MAX_EXACT_BYTES
    assert read_exact_hash_chain(chain) is None
    assert read_hash_chain(chain) == parse_hash_chain(chain)
