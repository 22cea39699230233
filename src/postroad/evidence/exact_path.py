"""Does a hash chain prove the parts of a message, written octet by octet as everybody writes it?

Both our writer (``hashchain``) and the reference write the chain of a batch in one form: the steps
from the top down, each with the neighbour of the path, then the parts. So nothing needs to be
parsed: the neighbours are cut out, and the chain and its result are written again for the parts
that we have. Only if both are the same octets, they are a proof. Of every other document
:func:`prove_exactly` says nothing; ``hashchain_verification`` is the truth about all of them. The
tests hold the two against each other.
"""

from __future__ import annotations

from binascii import a2b_base64
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.evidence.digests import PartDigest, encode_digest_list, encode_digest_pair
from postroad.evidence.hashchain import STEP_END, encode_chain, encode_result, written_hash_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DIGEST: Final = DigestAlgorithm.SHA512
"""The only algorithm that peers use in batch signatures."""
MAX_STEPS: Final = 32
"""As many as a path through a tree of 2^32 messages has."""
MAX_PARTS: Final = 64
_POINTER: Final = " URI="
_VALUE: Final = "<DigestValue>"
_NEIGHBOUR: Final = "<ns2:HashValue>"
_TEXT_SIZE: Final = 88
"""Characters of a SHA-512 digest in base64."""


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
    path = None if parts is None else _neighbours(chain, len(parts))
    if parts is None or path is None:
        return None
    if len(parts) == 1 and not path:
        return None  # a chain without a step, which holds no part at all
    if encode_chain([(text, left) for text, _, left in path], parts, DIGEST) != chain:
        return None
    value = parts[0].value
    if len(parts) > 1:
        value = DIGEST.digest(encode_digest_list([(DIGEST, part.value) for part in parts]))
    for _, neighbour, left in reversed(path):
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


def _neighbours(chain: bytes, parts: int) -> list[tuple[str, bytes, bool]] | None:
    """Cut out what looks like the neighbours of the path: as written, as digests, whether left.

    Whether they are that shows when the chain is written again.
    """
    try:
        steps = chain.decode("ascii").split(STEP_END, MAX_STEPS)[:-1]
        if parts > 1:
            del steps[-1:]  # it holds the parts
        path = []
        for step in steps:
            at = step.find(_NEIGHBOUR)
            begin = step.find(_VALUE, at) + len(_VALUE)
            value = step[begin : begin + _TEXT_SIZE]
            digest = a2b_base64(value, strict_mode=True)
            path.append((written_hash_value(value), digest, step.find(_POINTER) > at))
    except ValueError:  # characters beyond ASCII, or what isn't base64
        return None
    return path
