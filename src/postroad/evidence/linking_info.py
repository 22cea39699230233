"""How are the archives of a message log linked, so that none can be changed or taken away unseen?

Every archive ends with a file that lists the containers in it, each with a digest over its bytes
and the digest before it; the first of them goes on from the last digest of the archive before.
The first line names that archive, its last digest and the algorithm; ``-`` stands for none.
Source: UG-SS 11.1.6; reference: LinkingInfoBuilder, and its archive verifier.

The names aren't in the digests, so whoever judges an archive compares them with the messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput

LINKING_INFO_ENTRY: Final = "linkinginfo"
NONE: Final = "-"
ALGORITHMS: Final = frozenset(
    {DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512}
)


@dataclass(frozen=True, slots=True)
class ArchiveEnd:
    """The last digest (lower-case hex) and the file name of an archive; both empty for none."""

    digest: str = ""
    file_name: str = ""


@dataclass(frozen=True, slots=True)
class LinkedFile:
    """A container of an archive: its name, and the digest that the chain has reached with it."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class LinkingInfo:
    """What the last file of an archive says."""

    previous: ArchiveEnd
    algorithm: DigestAlgorithm
    files: tuple[LinkedFile, ...]

    @property
    def last_digest(self) -> str:
        """The digest that the next archive goes on from."""
        return self.files[-1].digest if self.files else self.previous.digest

    def encode(self) -> bytes:
        """Write the file."""
        digest, name = self.previous.digest or NONE, self.previous.file_name or NONE
        lines = [
            f"{digest} {name} {self.algorithm.label}\n",
            *(f"{file.digest} {file.name}\n" for file in self.files),
        ]
        return "".join(lines).encode()

    @classmethod
    def parse(cls, data: bytes) -> LinkingInfo:
        """Read the file; raises ``MalformedInput`` (``mlog.invalid_archive``)."""
        try:
            # Not splitlines, which sees line ends where the reference sees none.
            first, *rest = data.decode("utf-8").removesuffix("\n").split("\n")
        except UnicodeDecodeError:
            raise _invalid("it isn't text") from None
        digest, separator, remainder = first.partition(" ")
        file_name, other_separator, label = remainder.rpartition(" ")
        if not separator or not other_separator or not digest or not file_name:
            raise _invalid("its first line must name a digest, a file and an algorithm")
        if (digest == NONE) != (file_name == NONE):
            raise _invalid("its first line must name both a digest and a file, or neither")
        try:
            algorithm = DigestAlgorithm.by_name(label)
        except MalformedInput as error:
            raise _invalid(error.message) from error
        if algorithm not in ALGORITHMS:
            raise _invalid(f"{algorithm.label} must not be used for links")
        previous = ArchiveEnd() if digest == NONE else ArchiveEnd(digest, file_name)
        return cls(previous, algorithm, tuple(_file(line) for line in rest))


def link(previous: str, content_digest: bytes, algorithm: DigestAlgorithm) -> str:
    """Return the digest that a chain reaches with one more file.

    >>> link("", bytes(32), DigestAlgorithm.SHA256)[:16]
    '60e05bd1b195af2f'
    """
    return algorithm.digest(f"{previous}{content_digest.hex()}".encode()).hex()


def _file(line: str) -> LinkedFile:
    digest, separator, name = line.partition(" ")
    if not separator or not digest or not name:
        raise _invalid("a line must name a digest and a file")
    return LinkedFile(name, digest)


def _invalid(why: str) -> MalformedInput:
    return MalformedInput(f"{LINKING_INFO_ENTRY}: {why}", code=FaultCode.MLOG_INVALID_ARCHIVE)
