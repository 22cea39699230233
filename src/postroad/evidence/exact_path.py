"""Does a hash chain prove the parts of a message, written octet by octet as everybody writes it?

Both our writer (``hashchain``) and the reference write the chain of a batch in one form: the steps
from the top down, each with the neighbour of the path, then the parts. So nothing needs to be
parsed: between octets that are known beforehand, those of our own parts among them, stand the
neighbours. Only if nothing else does, and they lead to the result, the chain is a proof. Of every
other document :func:`prove_exactly` says nothing; ``hashchain_verification`` is the truth about all
of them. The tests hold the two against each other.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.evidence.digests import PartDigest, encode_digest_list, encode_digest_pair
from postroad.evidence.hashchain import (
    CHAIN_END,
    NEIGHBOUR,
    NEIGHBOUR_END,
    STEP_END,
    VALUE,
    chain_head,
    data_refs,
    encode_result,
    step_head,
    step_ref,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIGEST: Final = DigestAlgorithm.SHA512
"""The only algorithm that peers use in batch signatures."""
MAX_STEPS: Final = 32
"""As many as a path through a tree of 2^32 messages has."""
MAX_PARTS: Final = 64
_TEXT_SIZE: Final = 88
"""Characters of a SHA-512 digest in base64."""
_HEAD: Final = chain_head(DIGEST).encode()
_TAIL: Final = f"{STEP_END}{CHAIN_END}".encode()
_BETWEEN: Final = STEP_END.encode()
_BEFORE_VALUE: Final = f"{NEIGHBOUR}{VALUE}".encode()
_AFTER_VALUE: Final = NEIGHBOUR_END.encode()
_STEP_HEADS: Final = tuple(step_head(number).encode() for number in range(MAX_STEPS))
_STEP_REFS: Final = tuple(step_ref(number + 1).encode() for number in range(MAX_STEPS))
"""How each step points to the next one."""
_LEFT_HEADS: Final = tuple(head + _BEFORE_VALUE for head in _STEP_HEADS)
"""How each step begins whose neighbour stands to the left."""


def prove_exactly(
    result: bytes, chains: Mapping[str, bytes], inputs: Mapping[str, PartDigest | bytes]
) -> Sequence[PartDigest] | None:
    """Return the parts that the only one of ``chains`` proves, all of ``inputs``, or None.

    None is no verdict: the documents may be a proof in another form, or none.
    """
    if len(chains) != 1:
        return None
    ((chain_file, chain),) = chains.items()
    parts = _sha512_parts(inputs)
    path = None if parts is None else _neighbours(chain, parts)
    if parts is None or path is None:
        return None
    value = parts[0].value
    if len(parts) == 2:
        value = DIGEST.digest(encode_digest_pair(DIGEST, value, parts[1].value))
    elif len(parts) > 2:
        value = DIGEST.digest(encode_digest_list([(DIGEST, part.value) for part in parts]))
    for neighbour, left in reversed(path):
        pair = (neighbour, value) if left else (value, neighbour)
        value = DIGEST.digest(encode_digest_pair(DIGEST, *pair))
    return parts if encode_result(chain_file, DIGEST, value) == result else None


def _sha512_parts(inputs: Mapping[str, PartDigest | bytes]) -> list[PartDigest] | None:
    if not 0 < len(inputs) <= MAX_PARTS:
        return None
    parts = []
    for name, known in inputs.items():
        part = known if isinstance(known, PartDigest) else PartDigest.of(name, known, DIGEST)
        if part.algorithm is not DIGEST or part.name != name:
            return None
        parts.append(part)
    return parts


def _neighbours(chain: bytes, parts: Sequence[PartDigest]) -> list[tuple[bytes, bool]] | None:
    """Cut out the neighbours of the path from the top down, and whether each stands to the left.

    None unless the chain is, octet by octet, the one of these parts with these neighbours.
    """
    if not chain.startswith(_HEAD) or not chain.endswith(_TAIL):
        return None
    steps = chain[len(_HEAD) : -len(_TAIL)].split(_BETWEEN, MAX_STEPS - 1)
    refs = data_refs(parts, DIGEST).encode()
    last = len(steps) - 1
    if len(parts) > 1:  # they have the last step for themselves
        if steps.pop() != _STEP_HEADS[last] + refs:
            return None
        last = MAX_STEPS
    path = []
    try:
        for number, step in enumerate(steps):
            ours = refs if number == last else _STEP_REFS[number]
            head, after = _LEFT_HEADS[number], _AFTER_VALUE + ours
            left = step.startswith(head)
            if not left:
                head, after = _STEP_HEADS[number] + ours + _BEFORE_VALUE, _AFTER_VALUE
            value = step[len(head) : len(head) + _TEXT_SIZE]
            if step != head + value + after:
                return None
            path.append((a2b_base64(value, strict_mode=True), left))
    except ValueError:  # what isn't base64
        return None
    return path
