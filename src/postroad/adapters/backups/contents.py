"""What does a backup consist of, and what may the one that is read consist of?

A plain tar of regular files with a label, the database as JSON and files by their path in the home
directory. It is read by its own rules and never unpacked by another program: no links, devices,
directories or second spellings of a path, nothing outside the home directory, all of it bounded.
The label names what the backup is of, as the reference's volume label does.
"""

from __future__ import annotations

import io
import re
import tarfile
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.errors import MalformedInput

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 512 * 1024 * 1024
MAX_FILES: Final = 20_000
MAX_FILE_BYTES: Final = 256 * 1024 * 1024
_LABEL: Final = "label"
_DATABASE: Final = "database.json"
_FILES: Final = "files/"
_FORMAT: Final = "postroad-backup 1"
_MAX_LABEL: Final = 4096
_MAX_PATH: Final = 512
_MAX_DEPTH: Final = 8
_SEGMENT: Final = re.compile(r"[^\x00-\x1f\x7f/\\]{1,255}")


@dataclass(frozen=True, slots=True)
class BackupContents:
    """A server as it was: whose it is, its database, and its files by path."""

    label: str
    """``central/INSTANCE/NODE`` or ``security/INSTANCE/CLASS/CODE/SERVER``."""
    database: bytes
    files: Mapping[str, bytes]


def encode_contents(contents: BackupContents) -> bytes:
    """Write a backup; what :func:`parse_contents` wouldn't read is refused."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as tar:
        label = f"{_FORMAT}\n{contents.label}\n".encode()
        for name, data in (
            (_LABEL, label),
            (_DATABASE, contents.database),
            *((_FILES + path, contents.files[path]) for path in sorted(contents.files)),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.mode = 0o600
            tar.addfile(info, io.BytesIO(data))
    data = output.getvalue()
    parse_contents(data)
    return data


def parse_contents(data: bytes) -> BackupContents:
    """Read a backup; ``MalformedInput`` for anything that :func:`encode_contents` doesn't write."""
    if len(data) > MAX_BYTES:
        raise MalformedInput(f"a backup is larger than {MAX_BYTES} bytes")
    found: dict[str, bytes] = {}
    spellings: set[str] = set()
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                _check_member(member, len(found))
                spelling = unicodedata.normalize("NFKC", member.name).casefold()
                if spelling in spellings:
                    raise MalformedInput(f"a backup holds {member.name!r} twice")
                spellings.add(spelling)
                file = tar.extractfile(member)
                content = b"" if file is None else file.read(member.size)
                if len(content) != member.size:
                    raise MalformedInput("a backup ends in the middle of a file")
                found[member.name] = content
    except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
        raise MalformedInput(f"not a backup: {error}") from error
    label = _parse_label(found.pop(_LABEL, b""))
    database = found.pop(_DATABASE, None)
    if database is None:
        raise MalformedInput("a backup has no database in it")
    files = {name.removeprefix(_FILES): content for name, content in found.items()}
    return BackupContents(label, database, _without_overlaps(files))


def _check_member(member: tarfile.TarInfo, count: int) -> None:
    if count >= MAX_FILES:
        raise MalformedInput(f"a backup holds more than {MAX_FILES} files")
    # Not isreg(), which takes sparse files for regular ones.
    if member.type != tarfile.REGTYPE or member.issparse() or member.linkname:
        raise MalformedInput(f"a backup holds {member.name!r}, which is no regular file")
    if not 0 <= member.size <= MAX_FILE_BYTES:
        raise MalformedInput(f"a backup holds {member.name!r} of {member.size} bytes")
    if member.name in {_LABEL, _DATABASE}:
        return
    if not member.name.startswith(_FILES):
        raise MalformedInput(f"a backup holds {member.name!r}, which belongs nowhere")
    check_path(member.name.removeprefix(_FILES))


def check_path(path: str) -> None:
    """Refuse a path that could name anything else than a file below the home directory."""
    segments = path.split("/")
    if (
        len(path) > _MAX_PATH
        or len(segments) > _MAX_DEPTH
        or unicodedata.normalize("NFC", path) != path
        or any(not _SEGMENT.fullmatch(each) or each.startswith(".") for each in segments)
    ):
        raise MalformedInput(f"{path[:_MAX_PATH]!r} can't be the path of a file in a backup")


def _parse_label(data: bytes) -> str:
    try:
        form, label, rest = data[:_MAX_LABEL].decode("utf-8").split("\n")
    except ValueError as error:
        raise MalformedInput("a backup has no label") from error
    if form != _FORMAT or rest or not label:
        raise MalformedInput(f"a backup's label is not of {_FORMAT!r}")
    return label


def _without_overlaps(files: dict[str, bytes]) -> dict[str, bytes]:
    """Refuse a file that would have to be a directory, too."""
    spelled = {path.casefold() for path in files}
    for path in files:
        parts = path.casefold().split("/")
        for depth in range(1, len(parts)):
            if "/".join(parts[:depth]) in spelled:
                raise MalformedInput(f"a backup holds {path!r} below a file")
    return files
