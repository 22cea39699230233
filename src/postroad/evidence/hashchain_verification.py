"""Does this hash chain lead from the parts of one message to the digest that was signed?

Two things are supplied: the documents, and what we ourselves know of the parts (their digests, or
their octets). Sources: PR-SIGDOC (hash chains); reference: HashChainVerifier. What the reference
leaves out and we add: a step is used at most once, so no chain can send us in circles or blow up,
and a digest that was sent along must be the one we computed even where ours is used instead.

A known limit of the protocol, which no verifier can lift: the step that joins two messages has
the same form as the step that lists the parts of one message. Whether a part belongs to the
message is therefore a question that the message itself must answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput, TrustError
from postroad.evidence.digests import PartDigest, encode_digest_list
from postroad.evidence.exact_path import prove_exactly
from postroad.evidence.hashchain_parsing import (
    DataRef,
    HashValue,
    malformed,
    parse_hash_chain,
    parse_hash_chain_result,
)
from postroad.wire.xml import canonicalize, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from postroad.evidence.hashchain_parsing import HashChain, StepChild

MAX_DEPTH: Final = 64
_WEAK: Final = frozenset({DigestAlgorithm.SHA1, DigestAlgorithm.SHA224})

_CANONICAL_FORMS: Final = {  # URI: (exclusive, with comments)
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315": (False, False),
    "http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments": (False, True),
    "http://www.w3.org/2001/10/xml-exc-c14n#": (True, False),
    "http://www.w3.org/2001/10/xml-exc-c14n#WithComments": (True, True),
}


@dataclass(frozen=True, slots=True)
class ChainPolicy:
    """What a chain may do, depending on what it is used for."""

    accept_missing: bool = False
    """Take the digest of a part that isn't at hand as given; it is then listed as unverified."""
    allow_transforms: bool = True
    allow_legacy: bool = False
    """Accept SHA-1 and SHA-224, which old archives may hold."""


class ChainReference(msgspec.Struct, frozen=True):
    """A part that the chain refers to; ``verified`` tells whether we saw the part ourselves."""

    name: str
    algorithm: DigestAlgorithm
    value: bytes
    verified: bool


class VerifiedHashChain(msgspec.Struct, frozen=True):
    """The parts that a signed hash chain result covers."""

    algorithm: DigestAlgorithm
    references: tuple[ChainReference, ...]

    @property
    def unverified(self) -> tuple[ChainReference, ...]:
        """The parts whose digests were taken as given."""
        return tuple(reference for reference in self.references if not reference.verified)


def verify_hash_chain(
    result: bytes,
    chains: Mapping[str, bytes],
    inputs: Mapping[str, PartDigest | bytes],
    *,
    policy: ChainPolicy | None = None,
) -> VerifiedHashChain:
    """Verify that ``result`` is the top of a chain that uses every one of ``inputs``.

    ``chains`` holds the chain documents by name (``/sig-hashchain.xml``). An input is the octets
    of a part, or its :class:`PartDigest` where they are gone; names are as in the chain
    (``/message.xml``).

    Raises ``MalformedInput`` (``malformed_hash_chain``) for a broken document, and ``TrustError``:
    ``invalid_reference`` for a part or file that isn't known, ``invalid_hash_chain_ref`` for a
    part that differs from its digest in the chain, ``invalid_hash_chain`` if the top differs,
    ``hashchain_unused_inputs`` if a part isn't covered. Parts from several steps are malformed.
    """
    proved = prove_exactly(result, chains, inputs)
    if proved is not None:
        return VerifiedHashChain(
            proved[0].algorithm,
            tuple([ChainReference(p.name, p.algorithm, p.value, verified=True) for p in proved]),
        )
    return walk_hash_chain(result, chains, inputs, policy=policy)


def walk_hash_chain(
    result: bytes,
    chains: Mapping[str, bytes],
    inputs: Mapping[str, PartDigest | bytes],
    *,
    policy: ChainPolicy | None = None,
) -> VerifiedHashChain:
    """Do what :func:`verify_hash_chain` does, for documents of any form."""
    walk = _Walk(chains, inputs, policy or ChainPolicy())
    # (1) The documents keep to the structure.
    top = parse_hash_chain_result(result)
    algorithm = walk.checked(top.algorithm)
    # (2)-(4) The digests of the steps, from the parts up to the top, lead to the result.
    if algorithm.digest(walk.step(top.uri, None, 0)) != top.value:
        raise TrustError(
            "the hash chain does not lead to the hash chain result",
            code=FaultCode.INVALID_HASH_CHAIN,
        )
    # The parts of a message are hashed in one step: others belong to others of the same batch.
    if len(walk.leaves) > 1:
        raise malformed("the parts of one message must stand in one step")
    # Our digest replaced the one sent along: the two must be the same nevertheless.
    for name, ours, theirs in walk.replaced:
        if ours != theirs:
            raise _wrong_part(name)
    # (5) Every part that was received is covered.
    unused = sorted(set(inputs) - {reference.name for reference in walk.references})
    if unused:
        raise TrustError(
            f"the hash chain does not cover {', '.join(unused)}",
            code=FaultCode.HASHCHAIN_UNUSED_INPUTS,
        )
    return VerifiedHashChain(algorithm, tuple(walk.references))


@dataclass(slots=True)
class _Walk:
    """One walk down the steps; remembers where it was and which parts it met."""

    chains: Mapping[str, bytes]
    inputs: Mapping[str, PartDigest | bytes]
    policy: ChainPolicy
    parsed: dict[str, HashChain] = field(default_factory=dict)
    visited: set[tuple[str, str]] = field(default_factory=set)
    leaves: set[tuple[str, str]] = field(default_factory=set)
    """Steps that refer to parts."""
    references: list[ChainReference] = field(default_factory=list)
    replaced: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    def step(self, uri: str, current_file: str | None, depth: int) -> bytes:
        """Return the octets that the step at ``uri`` hashes."""
        file_name, has_fragment, identifier = uri.partition("#")
        file_name = file_name or current_file or ""
        if not has_fragment or not identifier or not file_name:
            raise malformed(f"{uri[:100]!r} does not name a step")
        chain = self._chain(file_name)
        children = chain.steps.get(identifier)
        if children is None:
            raise malformed(f"there is no step {identifier[:100]!r} in {file_name!r}")
        if (file_name, identifier) in self.visited:
            raise malformed(f"step {identifier!r} is used more than once")
        if depth > MAX_DEPTH:
            raise malformed(f"more than {MAX_DEPTH} steps below each other")
        if not children:
            raise malformed(f"step {identifier!r} is empty")
        self.visited.add((file_name, identifier))
        if any(isinstance(child, DataRef) for child in children):
            self.leaves.add((file_name, identifier))
        return encode_digest_list(self._child(child, chain, file_name, depth) for child in children)

    def checked(self, algorithm: DigestAlgorithm | None) -> DigestAlgorithm:
        """Return the algorithm if there is one and it is accepted."""
        if algorithm is None:
            raise malformed("a digest has no digest method and there is no default")
        if algorithm in _WEAK and not self.policy.allow_legacy:
            raise TrustError(
                f"digest algorithm {algorithm.label} is not accepted any more",
                code=FaultCode.INVALID_HASH_CHAIN,
            )
        return algorithm

    def _chain(self, file_name: str) -> HashChain:
        if file_name not in self.parsed:
            if file_name not in self.chains:
                raise _unknown(file_name)
            self.parsed[file_name] = parse_hash_chain(self.chains[file_name])
        return self.parsed[file_name]

    def _child(
        self, child: StepChild, chain: HashChain, file_name: str, depth: int
    ) -> tuple[DigestAlgorithm, bytes]:
        algorithm = self.checked(child.algorithm or chain.default_algorithm)
        if isinstance(child, HashValue):
            return algorithm, child.value
        if isinstance(child, DataRef):
            return algorithm, self._part(child, algorithm)
        return algorithm, algorithm.digest(self.step(child.uri, file_name, depth + 1))

    def _part(self, reference: DataRef, algorithm: DigestAlgorithm) -> bytes:
        """Return the digest of a part: ours where we know it, never just the one sent along."""
        known = self.inputs.get(reference.uri)
        if known is None:
            if not self.policy.accept_missing:
                raise _unknown(reference.uri)
            value = reference.value
        elif (
            isinstance(known, PartDigest)
            and known.algorithm is algorithm
            and not reference.transforms
        ):
            value = known.value
            self.replaced.append((reference.uri, value, reference.value))
        else:
            data = known.data if isinstance(known, PartDigest) else known
            if data is None:
                raise _unknown(reference.uri)
            value = algorithm.digest(self._transformed(data, reference.transforms))
            if value != reference.value:
                raise _wrong_part(reference.uri)
        self.references.append(
            ChainReference(reference.uri, algorithm, value, verified=known is not None)
        )
        return value

    def _transformed(self, data: bytes, transforms: tuple[str, ...]) -> bytes:
        if not transforms:
            return data
        if not self.policy.allow_transforms:
            raise malformed("transforms are not allowed here: the octets must be signed as sent")
        form = _CANONICAL_FORMS.get(transforms[0])
        if form is None or len(transforms) > 1:
            raise malformed(f"transforms [{', '.join(transforms)[:200]}] are not supported")
        exclusive, with_comments = form
        try:
            return canonicalize(parse(data), exclusive=exclusive, with_comments=with_comments)
        except MalformedInput as error:
            raise TrustError(error.message, code=FaultCode.INVALID_HASH_CHAIN_REF) from error


def _unknown(name: str) -> TrustError:
    return TrustError(
        f"the hash chain refers to {name[:100]!r}, which is not at hand",
        code=FaultCode.INVALID_REFERENCE,
    )


def _wrong_part(name: str) -> TrustError:
    return TrustError(
        f"{name} differs from its digest in the hash chain",
        code=FaultCode.INVALID_HASH_CHAIN_REF,
    )
