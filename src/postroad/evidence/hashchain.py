"""How are many digests joined into one that is signed or time-stamped, and each kept provable?

:func:`build_hash_chains` makes a Merkle tree over the inputs, the *hash chain result* (the top,
which is what gets signed) and, for every input, the *hash chain*: the path from the top down to
that input. Reading and checking them is in ``hashchain_verification``.

The tree pairs neighbours from the left; an odd last node moves up unchanged (the shape of
RFC 6962). A message of several parts is a step of its own, listing its parts; a message of one
part is its digest. Sources: PR-SIGDOC and BATCH-TS (hash chains); reference: HashChainBuilder.
"""

from __future__ import annotations

from binascii import b2a_base64
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from postroad.evidence.digests import (
    HASH_CHAIN_PART,
    PartDigest,
    encode_digest_list,
    encode_digest_pair,
)
from postroad.wire.xml import XMLDSIG, escape_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.algorithms import DigestAlgorithm

_T = TypeVar("_T")

HASH_CHAIN_NAMESPACE: Final = "http://cyber.ee/hashchain"
FIRST_STEP: Final = "STEP0"

CHAIN_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
NEIGHBOUR: Final = "        <ns2:HashValue>\n"
VALUE: Final = "            <DigestValue>"
NEIGHBOUR_END: Final = "</DigestValue>\n        </ns2:HashValue>\n"
STEP_END: Final = "    </ns2:HashStep>\n"
CHAIN_END: Final = "</ns2:HashChain>\n"
CHAIN_NAMESPACES: Final = f'xmlns="{XMLDSIG}" xmlns:ns2="{HASH_CHAIN_NAMESPACE}"'


@dataclass(frozen=True, slots=True)
class BuiltChains:
    """A hash chain result, and the hash chain of every message in the order they were given."""

    result: bytes
    chains: tuple[bytes, ...]


class _Node(NamedTuple):
    algorithm: DigestAlgorithm
    value: bytes


class HashTree:
    """The tree over single digests by one algorithm, which gives any of its hash chains on demand.

    The octets are those of :func:`build_hash_chains` for messages of one part each. Whoever keeps
    the digests in their order can have every chain again, so nobody needs to keep the chains.
    """

    def __init__(self, values: Sequence[bytes], algorithm: DigestAlgorithm) -> None:
        """Join two digests or more; fewer are a mistake of the caller (``ValueError``)."""
        if len(values) < 2:
            raise ValueError("a hash chain joins two digests at least")
        self._algorithm = algorithm
        self._levels = _join_all(values, algorithm)

    def result(self, chain_file: str) -> bytes:
        """Encode the hash chain result, which names the file that the chains will be in."""
        return encode_result(chain_file, self._algorithm, self._levels[-1][0])

    def __len__(self) -> int:
        """Return how many digests are joined."""
        return len(self._levels[0])

    def leaf(self, index: int) -> bytes:
        """Return a digest of those that were joined; the first has index 0."""
        return self._levels[0][index]

    def chain(self, index: int, name: str) -> bytes:
        """Encode the hash chain of one digest, which is that of the part called ``name``."""
        algorithm = self._algorithm
        part = PartDigest(name, algorithm, self.leaf(index))
        path = [
            (_hash_value(algorithm, value, algorithm), left)
            for value, left in _path(self._levels[:-1], index)
        ]
        return encode_chain(path, [part], algorithm)


def build_hash_chains(
    messages: Sequence[Sequence[PartDigest]],
    algorithm: DigestAlgorithm,
    *,
    chain_file: str = HASH_CHAIN_PART,
) -> BuiltChains:
    """Join messages, each given as the digests of its parts, under one digest by ``algorithm``.

    Signatures name the parts ``/message.xml``, ``/attachment1``…; time-stamps give one part per
    record, ``/META-INF/signatures.xml``, and ``chain_file="/ts-hashchain.xml"``. A single message
    of a single part needs no chain, so it is refused with ``ValueError``, and so is a message
    without parts: both are mistakes of the caller.
    """
    if not messages or not all(messages):
        raise ValueError("a hash chain needs messages, and every message a part")
    if len(messages) == 1 and len(messages[0]) == 1:
        raise ValueError("one message of one part is signed itself, without a hash chain")
    levels = _build_levels([_leaf(parts, algorithm) for parts in messages], algorithm)
    # Each digest but the top stands in the chains of many messages: it is written once.
    texts = [[_hash_value(*node, algorithm) for node in level] for level in levels[:-1]]
    return BuiltChains(
        result=encode_result(chain_file, *levels[-1][0]),
        chains=tuple(
            encode_chain(_path(texts, index), parts, algorithm)
            for index, parts in enumerate(messages)
        ),
    )


def _leaf(parts: Sequence[PartDigest], algorithm: DigestAlgorithm) -> _Node:
    if len(parts) == 1:
        return _Node(parts[0].algorithm, parts[0].value)
    return _join([_Node(part.algorithm, part.value) for part in parts], algorithm)


def _join(children: Sequence[_Node], algorithm: DigestAlgorithm) -> _Node:
    return _Node(algorithm, algorithm.digest(encode_digest_list(children)))


def _join_pair(left: _Node, right: _Node, algorithm: DigestAlgorithm) -> _Node:
    if left.algorithm is right.algorithm:
        octets = encode_digest_pair(left.algorithm, left.value, right.value)
        return _Node(algorithm, algorithm.digest(octets))
    return _join((left, right), algorithm)


def _build_levels(leaves: list[_Node], algorithm: DigestAlgorithm) -> list[list[_Node]]:
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [
            _join_pair(below[at], below[at + 1], algorithm) for at in range(0, len(below) - 1, 2)
        ]
        if len(below) % 2:
            level.append(below[-1])
        levels.append(level)
    return levels


def _join_all(values: Sequence[bytes], algorithm: DigestAlgorithm) -> list[Sequence[bytes]]:
    """Do what ``_build_levels`` does for nodes that all have one algorithm, with less ado."""
    if any(len(value) != algorithm.size for value in values):
        raise ValueError(f"a digest that isn't one of {algorithm.label}")
    levels = [values]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [
            algorithm.digest(encode_digest_pair(algorithm, one, other))
            for one, other in zip(below[::2], below[1::2], strict=False)
        ]
        if len(below) % 2:
            level.append(below[-1])
        levels.append(level)
    return levels


def _path(levels: Sequence[Sequence[_T]], index: int) -> list[tuple[_T, bool]]:
    """List a leaf's neighbours from the top down, and whether each stands to the left."""
    path = []
    for level in levels:
        neighbour = index ^ 1
        if neighbour < len(level):  # otherwise the node moved up unchanged: no step
            path.append((level[neighbour], neighbour < index))
        index //= 2
    path.reverse()
    return path


def encode_result(chain_file: str, algorithm: DigestAlgorithm, value: bytes) -> bytes:
    """Write a hash chain result: the file that the chain is in, and the digest it leads to."""
    head = _result_head(chain_file, algorithm)
    return f"{head}{_base64(value)}</DigestValue>\n</ns2:HashChainResult>\n".encode()


@lru_cache(maxsize=16)
def _result_head(chain_file: str, algorithm: DigestAlgorithm) -> str:
    return (
        f"{CHAIN_DECLARATION}"
        f'<ns2:HashChainResult URI="{escape_attribute(chain_file)}#{FIRST_STEP}" '
        f"{CHAIN_NAMESPACES}>\n"
        f'    <DigestMethod Algorithm="{algorithm.uri}"/>\n'
        f"    <DigestValue>"
    )


def encode_chain(
    path: Sequence[tuple[str, bool]], parts: Sequence[PartDigest], algorithm: DigestAlgorithm
) -> bytes:
    """Write the chain of one message: its path from the top down, and its parts at the end.

    ``path`` holds the written digest of each neighbour, and whether it stands to the left. Several
    parts are a step of their own; a single part stands beside the last neighbour.
    """
    refs = data_refs(parts, algorithm)
    last = len(path) - 1 if len(parts) == 1 else len(path)
    pieces = [chain_head(algorithm)]
    for number, (neighbour, left) in enumerate(path):
        ours = refs if number == last else step_ref(number + 1)
        pieces += (step_head(number), *((neighbour, ours) if left else (ours, neighbour)), STEP_END)
    if last == len(path):
        pieces += (step_head(last), refs, STEP_END)
    pieces.append(CHAIN_END)
    return "".join(pieces).encode()


@cache
def chain_head(algorithm: DigestAlgorithm) -> str:
    """Return how a chain begins whose digests are by ``algorithm``."""
    return (
        f"{CHAIN_DECLARATION}<ns2:HashChain {CHAIN_NAMESPACES}>\n"
        f'    <ns2:DefaultDigestMethod Algorithm="{algorithm.uri}"/>\n'
    )


@lru_cache(maxsize=64)
def step_head(number: int) -> str:
    """Return how a step begins; the first has number 0."""
    return f'    <ns2:HashStep id="STEP{number}">\n'


@lru_cache(maxsize=64)
def step_ref(number: int) -> str:
    """Return how one step points to another."""
    return f'        <ns2:StepRef URI="#STEP{number}"/>\n'


def data_refs(parts: Sequence[PartDigest], default: DigestAlgorithm) -> str:
    """Write parts with their digests as children of a step."""
    return "".join(
        [
            f"{_data_ref_head(part.name, part.algorithm, default)}{_base64(part.value)}"
            "</DigestValue>\n        </ns2:DataRef>\n"
            for part in parts
        ]
    )


@lru_cache(maxsize=256)
def _data_ref_head(name: str, algorithm: DigestAlgorithm, default: DigestAlgorithm) -> str:
    # The method is written only where it differs from the chain's default, as peers do.
    method = "" if algorithm is default else _method(algorithm)
    return f'        <ns2:DataRef URI="{escape_attribute(name)}">\n{method}{VALUE}'


def _hash_value(algorithm: DigestAlgorithm, value: bytes, default: DigestAlgorithm) -> str:
    """Write a neighbour's digest as a child of a step."""
    method = "" if algorithm is default else _method(algorithm)
    return f"{NEIGHBOUR}{method}{VALUE}{_base64(value)}{NEIGHBOUR_END}"


def _method(algorithm: DigestAlgorithm) -> str:
    return f'            <DigestMethod Algorithm="{algorithm.uri}"/>\n'


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode("ascii")
