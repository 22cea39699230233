"""Which octets does one step of a hash chain hash?

A step hashes the DER form of the digests below it, each with its algorithm, so that nobody can
move a digest to another algorithm or glue two digests together. Source: PR-SIGDOC (hash chains);
reference: DigestList. The encoding is written by hand because it is on the path of every message
and has one shape::

    DigestList   ::= SEQUENCE OF SingleDigest
    SingleDigest ::= SEQUENCE { digestValue OCTET STRING, digestMethod UTF8String,
                                transforms SEQUENCE {} }
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.crypto.algorithms import DigestAlgorithm

if TYPE_CHECKING:
    from collections.abc import Iterable


MESSAGE_PART: Final = "/message.xml"
ATTACHMENT_PREFIX: Final = "/attachment"
SIGNATURES_PART: Final = "/META-INF/signatures.xml"
HASH_CHAIN_RESULT_PART: Final = "/sig-hashchainresult.xml"
HASH_CHAIN_PART: Final = "/sig-hashchain.xml"
TIMESTAMP_CHAIN_RESULT_PART: Final = "/ts-hashchainresult.xml"
TIMESTAMP_CHAIN_PART: Final = "/ts-hashchain.xml"

_SEQUENCE: Final = 0x30
_OCTET_STRING: Final = 0x04
_UTF8_STRING: Final = 0x0C
_NO_TRANSFORMS: Final = b"\x30\x00"


class PartDigest(msgspec.Struct, frozen=True):
    """The digest of one part of a message, such as ``/message.xml`` or ``/attachment1``.

    ``data`` holds the octets themselves where the caller still has them; then a verifier can
    apply another digest algorithm than the one used on the way in.
    """

    name: str
    algorithm: DigestAlgorithm
    value: bytes
    data: bytes | None = None

    @classmethod
    def of(cls, name: str, data: bytes, algorithm: DigestAlgorithm) -> PartDigest:
        """Build the digest of ``data`` and keep the octets with it."""
        return cls(name, algorithm, algorithm.digest(data), data)

    def __repr__(self) -> str:
        return f"PartDigest({self.name!r}, {self.algorithm.label}, {self.value.hex()[:16]}…)"

    def under(self, algorithm: DigestAlgorithm) -> bytes | None:
        """Return this part's digest by ``algorithm``, or None where it can't be known."""
        if algorithm is self.algorithm:
            return self.value
        return None if self.data is None else algorithm.digest(self.data)


def attachment_part(number: int) -> str:
    """Return the name of attachment ``number``, counted from 1.

    >>> attachment_part(1)
    '/attachment1'
    """
    return f"{ATTACHMENT_PREFIX}{number}"


def encode_digest_list(digests: Iterable[tuple[DigestAlgorithm, bytes]]) -> bytes:
    """Encode digests with their algorithms as the DER ``DigestList`` that a step hashes."""
    return _tlv(_SEQUENCE, b"".join([_single_digest(*digest) for digest in digests]))


def encode_digest_pair(algorithm: DigestAlgorithm, left: bytes, right: bytes) -> bytes:
    """Encode two digests by one algorithm, as :func:`encode_digest_list` does."""
    head, middle, tail = _around_pair(algorithm, len(left), len(right))
    return b"".join((head, left, middle, right, tail))


def step_digest(algorithm: DigestAlgorithm, values: Iterable[bytes]) -> bytes:
    """Return the digest of one step whose children all use ``algorithm``."""
    return algorithm.digest(encode_digest_list((algorithm, value) for value in values))


def _single_digest(algorithm: DigestAlgorithm, value: bytes) -> bytes:
    before, after = _around(algorithm, len(value))
    return before + value + after


@lru_cache(maxsize=64)
def _around(algorithm: DigestAlgorithm, size: int) -> tuple[bytes, bytes]:
    """The octets before and after a digest value of ``size`` bytes in its SingleDigest."""
    after = _tlv(_UTF8_STRING, algorithm.uri.encode()) + _NO_TRANSFORMS
    whole = _tlv(_SEQUENCE, _tlv(_OCTET_STRING, bytes(size)) + after)
    return whole[: len(whole) - len(after) - size], after


@lru_cache(maxsize=64)
def _around_pair(algorithm: DigestAlgorithm, left: int, right: int) -> tuple[bytes, bytes, bytes]:
    """The octets before, between and after two digest values of these sizes."""
    one, other = _single_digest(algorithm, bytes(left)), _single_digest(algorithm, bytes(right))
    before, after = _around(algorithm, left)
    last = _around(algorithm, right)[1]
    head = _tlv(_SEQUENCE, one + other)[: -len(one + other)] + before
    return head, after + other[: len(other) - len(last) - right], last


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content
