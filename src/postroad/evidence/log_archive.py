"""What is in an archive of the message log, how is one written, and is one still as it was?

A ZIP file of containers with ``linkinginfo`` as its last entry (see ``linking_info``). Given the
same containers and the archive before, the same bytes are written. Reading is bounded in every
direction and never makes a file of an entry. Source: UG-SS 11.1.6; reference: LogArchiveWriter,
LogArchiveCache.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.evidence.asic import entry_info
from postroad.evidence.linking_info import (
    LINKING_INFO_ENTRY,
    ArchiveEnd,
    LinkedFile,
    LinkingInfo,
    link,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from typing import BinaryIO

MAX_NAME_BYTES: Final = 255
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED: Final = 0x1
_LOCAL_HEADER_BYTES: Final = 30
_NAME_OF_ARCHIVE: Final = re.compile(
    r"mlog-(?:(?P<group>.+)-)?(?P<first>[0-9]{14})-(?P<last>[0-9]{14})-(?P<digest>[0-9a-f]{16})"
    r"\.zip(?:\.gpg)?",
    re.DOTALL,
)
_NOT_IN_NAMES: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\\<>/:|*?]")
_MAX_GROUP: Final = 200
_SHOWN_DIGEST: Final = 16
_UNREADABLE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,  # an unknown compression method
    RuntimeError,  # an encrypted entry
    IndexError,
    ValueError,
    OverflowError,
    UnicodeError,
)


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much of an archive is read before it is refused."""

    max_entries: int = 500_000
    max_container_bytes: int = 512 * 1024 * 1024
    max_linking_info_bytes: int = 256 * 1024 * 1024
    max_ratio: int = 1100
    """Deflate can't do better than 1032 : 1; more is a trick."""


DEFAULT_LIMITS: Final = ArchiveLimits()


@dataclass(frozen=True, slots=True)
class ArchiveName:
    """What the name of an archive says of it."""

    group: str
    digest_start: str


def archive_file_name(
    group: str, first: datetime, last: datetime, digest: str, *, encrypted: bool = False
) -> str:
    """Return the name of an archive of records made between two moments.

    >>> from datetime import datetime
    >>> at = datetime(2023, 10, 23, 12, 12, 55, tzinfo=UTC)
    >>> archive_file_name("", at, at, "9011ab557706b5050584")
    'mlog-20231023121255-20231023121255-9011ab557706b505.zip'
    >>> archive_file_name("EE/GOV/1/a:b", at, at, "9011ab557706b5050584", encrypted=True)
    'mlog-EE_GOV_1_a_b-20231023121255-20231023121255-9011ab557706b505.zip.gpg'
    """
    times = "-".join(at.astimezone(UTC).strftime("%Y%m%d%H%M%S") for at in (first, last))
    suffix = "zip.gpg" if encrypted else "zip"
    rest = f"{times}-{digest[:_SHOWN_DIGEST]}.{suffix}"
    written = f"{_NOT_IN_NAMES.sub('_', group)}-"[:_MAX_GROUP] if group else ""
    while len(f"mlog-{written}{rest}".encode("utf-8", "replace")) > MAX_NAME_BYTES:
        written = written[:-2] + "-"
    return f"mlog-{written}{rest}"


def parse_archive_name(name: str) -> ArchiveName | None:
    """Read the name of an archive; None if the file was named by somebody else."""
    match = _NAME_OF_ARCHIVE.fullmatch(name)
    return None if match is None else ArchiveName(match["group"] or "", match["digest"])


class ArchiveBuilder:
    """Writes one archive into ``file``, container by container, in their order."""

    def __init__(
        self,
        file: BinaryIO,
        previous: ArchiveEnd,
        algorithm: DigestAlgorithm = DigestAlgorithm.SHA512,
    ) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._previous = previous
        self._algorithm = algorithm
        self._files: list[LinkedFile] = []
        self.size = 0
        """Bytes of all containers so far."""

    @property
    def last_digest(self) -> str:
        """The digest that the chain has reached."""
        return self._files[-1].digest if self._files else self._previous.digest

    def add(self, name: str, data: bytes, created_at: datetime) -> None:
        """Add a container."""
        digest = link(self.last_digest, self._algorithm.digest(data), self._algorithm)
        self._write(name, data, created_at)
        self._files.append(LinkedFile(name, digest))
        self.size += len(data)

    def finish(self, created_at: datetime) -> LinkingInfo:
        """Write what links the archive, and its end."""
        linking = LinkingInfo(self._previous, self._algorithm, tuple(self._files))
        self._write(LINKING_INFO_ENTRY, linking.encode(), created_at)
        self._zip.close()
        return linking

    def abandon(self) -> None:
        """Write nothing more, whatever state the file is in."""
        self._zip.fp = None

    def _write(self, name: str, data: bytes, created_at: datetime) -> None:
        info = entry_info(name, created_at)
        info.compress_type = zipfile.ZIP_STORED  # containers are packed already
        self._zip.writestr(info, data)


class ArchiveReader:
    """An archive whose entries are safe to read, one at a time.

    Raises ``MalformedInput`` (``mlog.invalid_archive``): from the constructor if it is no archive,
    from ``read`` if an entry is damaged.
    """

    def __init__(self, file: BinaryIO, *, limits: ArchiveLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        try:
            self._zip = zipfile.ZipFile(file)
            self._entries = self._zip.infolist()
        except _UNREADABLE as error:
            raise _invalid(f"it is not a readable ZIP file: {error}") from error
        self._check_entries()
        data = self._named(LINKING_INFO_ENTRY, limits.max_linking_info_bytes)
        self.linking = LinkingInfo.parse(data)

    @property
    def names(self) -> list[str]:
        """The names of the containers, in their order."""
        return [info.filename for info in self._entries if info.filename != LINKING_INFO_ENTRY]

    def read(self, name: str) -> bytes:
        """Return a container's bytes."""
        return self._named(name, self._limits.max_container_bytes)

    def _named(self, name: str, limit: int) -> bytes:
        try:
            info = self._zip.getinfo(name)
        except KeyError:
            raise _invalid(f"it has no entry {name!r}") from None
        if info.file_size > limit:
            raise _invalid(f"its entry {name!r} unpacks to {info.file_size} bytes")
        try:
            return self._zip.read(info)  # not a byte more than the size it claims
        except _UNREADABLE as error:
            raise _invalid(f"its entry {name!r} is damaged: {error}") from error

    def _check_entries(self) -> None:
        if len(self._entries) > self._limits.max_entries:
            raise _invalid(f"it has more than {self._limits.max_entries} entries")
        seen: set[str] = set()
        end = 0
        for info in sorted(self._entries, key=lambda info: info.header_offset):
            name = info.filename
            if name in seen:
                raise _invalid(f"two entries are named {name[:100]!r}")
            seen.add(name)
            if name in {".", ".."} or _NOT_IN_NAMES.search(name) or info.is_dir() or not name:
                raise _invalid(f"an entry is named {name[:100]!r}, which is no plain file name")
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
                raise _invalid(f"its entry {name!r} is neither stored nor deflated")
            if info.file_size > info.compress_size * self._limits.max_ratio + 1024:
                raise _invalid(f"its entry {name!r} unpacks to {info.file_size} bytes")
            if info.header_offset < end:
                raise _invalid("its entries overlap")
            end = info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size


def check_links(archive: ArchiveReader) -> Iterator[tuple[str, bytes | None, str]]:
    """Go through an archive: container by container its name, its bytes and what is wrong with it.

    The bytes are None if they can't be read, the third is empty if nothing is wrong. What is said
    of a container that is missing, or that no link covers, comes with its name, too.
    """
    names, linked = archive.names, archive.linking.files
    listed = {file.name for file in linked}
    if len(listed) != len(linked):
        yield LINKING_INFO_ENTRY, None, "it lists a container twice"
    if not linked:
        yield LINKING_INFO_ENTRY, None, "it lists no container"
    present = set(names)
    if listed == present and [file.name for file in linked] != names:
        yield LINKING_INFO_ENTRY, None, "the containers are not in the order that it lists"
    algorithm, previous = archive.linking.algorithm, archive.linking.previous.digest
    for file in linked:
        if file.name not in present:
            yield file.name, None, "it is missing from the archive"
        else:
            try:
                data = archive.read(file.name)
            except MalformedInput as error:
                yield file.name, None, error.message
            else:
                reached = link(previous, algorithm.digest(data), algorithm)
                wrong = "" if reached == file.digest else "its digest is not the linked one"
                yield file.name, data, wrong
        previous = file.digest
    for name in names:
        if name not in listed:
            yield name, None, "no link covers it"


def _invalid(why: str) -> MalformedInput:
    return MalformedInput(f"archive: {why}", code=FaultCode.MLOG_INVALID_ARCHIVE)
