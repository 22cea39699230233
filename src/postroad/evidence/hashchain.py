"""How are many digests joined into one that is signed or time-stamped, and each kept provable?

:func:`build_hash_chains` makes a Merkle tree over the inputs, the *hash chain result* (the top,
which is what gets signed) and, for every input, the *hash chain*: the path from the top down to
that input. Reading and checking them is in ``hashchain_verification``.

The tree pairs neighbours from the left; an odd last node moves up unchanged (the shape of
RFC 6962). A message of several parts is a step of its own, listing its parts; a message of one
part is its digest. Sources: PR-SIGDOC and BATCH-TS (hash chains); reference: HashChainBuilder.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from postroad.evidence.digests import HASH_CHAIN_PART, encode_digest_list
from postroad.wire.xml import XMLDSIG, escape_attribute

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.crypto.algorithms import DigestAlgorithm
    from postroad.evidence.digests import PartDigest

HASH_CHAIN_NAMESPACE: Final = "http://cyber.ee/hashchain"
FIRST_STEP: Final = "STEP0"

_DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_NAMESPACES: Final = f'xmlns="{XMLDSIG}" xmlns:ns2="{HASH_CHAIN_NAMESPACE}"'


@dataclass(frozen=True, slots=True)
class BuiltChains:
    """A hash chain result, and the hash chain of every message in the order they were given."""

    result: bytes
    chains: tuple[bytes, ...]


class _Node(NamedTuple):
    algorithm: DigestAlgorithm
    value: bytes


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
    top = levels[-1][0]
    return BuiltChains(
        result=_encode_result(chain_file, top),
        chains=tuple(
            _encode_chain(_steps(levels, index, parts, algorithm), algorithm)
            for index, parts in enumerate(messages)
        ),
    )


def _leaf(parts: Sequence[PartDigest], algorithm: DigestAlgorithm) -> _Node:
    if len(parts) == 1:
        return _Node(parts[0].algorithm, parts[0].value)
    return _join([_Node(part.algorithm, part.value) for part in parts], algorithm)


def _join(children: Sequence[_Node], algorithm: DigestAlgorithm) -> _Node:
    return _Node(algorithm, algorithm.digest(encode_digest_list(children)))


def _build_levels(leaves: list[_Node], algorithm: DigestAlgorithm) -> list[list[_Node]]:
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [_join(below[at : at + 2], algorithm) for at in range(0, len(below) - 1, 2)]
        if len(below) % 2:
            level.append(below[-1])
        levels.append(level)
    return levels


def _steps(
    levels: Sequence[Sequence[_Node]],
    index: int,
    parts: Sequence[PartDigest],
    algorithm: DigestAlgorithm,
) -> list[str]:
    """List the contents of one message's steps, from the top down."""
    pairs = []  # from the leaf up: the neighbour, and whether it stands to the left
    for level in levels[:-1]:
        neighbour = index ^ 1
        if neighbour < len(level):  # otherwise the node moved up unchanged: no step
            pairs.append((level[neighbour], neighbour < index))
        index //= 2
    pairs.reverse()
    data_refs = [_data_ref(part, algorithm) for part in parts]
    own = [f'        <ns2:StepRef URI="#STEP{number}"/>\n' for number in range(1, len(pairs) + 1)]
    if len(parts) == 1:
        own[-1] = data_refs[0]
    steps = [
        hash_value + ours if left else ours + hash_value
        for ours, (hash_value, left) in zip(
            own, ((_hash_value(node, algorithm), left) for node, left in pairs), strict=True
        )
    ]
    if len(parts) > 1:
        steps.append("".join(data_refs))
    return steps


def _encode_result(chain_file: str, top: _Node) -> bytes:
    return (
        f"{_DECLARATION}"
        f'<ns2:HashChainResult URI="{escape_attribute(chain_file)}#{FIRST_STEP}" {_NAMESPACES}>\n'
        f'    <DigestMethod Algorithm="{top.algorithm.uri}"/>\n'
        f"    <DigestValue>{_base64(top.value)}</DigestValue>\n"
        f"</ns2:HashChainResult>\n"
    ).encode()


def _encode_chain(steps: Sequence[str], algorithm: DigestAlgorithm) -> bytes:
    body = "".join(
        f'    <ns2:HashStep id="STEP{number}">\n{step}    </ns2:HashStep>\n'
        for number, step in enumerate(steps)
    )
    return (
        f"{_DECLARATION}<ns2:HashChain {_NAMESPACES}>\n"
        f'    <ns2:DefaultDigestMethod Algorithm="{algorithm.uri}"/>\n'
        f"{body}</ns2:HashChain>\n"
    ).encode()


def _data_ref(part: PartDigest, default: DigestAlgorithm) -> str:
    return (
        f'        <ns2:DataRef URI="{escape_attribute(part.name)}">\n'
        f"{_digest(part.algorithm, part.value, default)}"
        f"        </ns2:DataRef>\n"
    )


def _hash_value(node: _Node, default: DigestAlgorithm) -> str:
    return (
        f"        <ns2:HashValue>\n{_digest(node.algorithm, node.value, default)}"
        f"        </ns2:HashValue>\n"
    )


def _digest(algorithm: DigestAlgorithm, value: bytes, default: DigestAlgorithm) -> str:
    # The method is written only where it differs from the chain's default, as peers do.
    method = "" if algorithm is default else _method(algorithm)
    return f"{method}            <DigestValue>{_base64(value)}</DigestValue>\n"


def _method(algorithm: DigestAlgorithm) -> str:
    return f'            <DigestMethod Algorithm="{algorithm.uri}"/>\n'


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")
