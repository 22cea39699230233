"""What is in a signed container, and how is one written?

A container is a ZIP file in the manner of ASiC-E (ETSI TS 102 918) with one message, its
signature, and whatever is needed to prove both later. Entries and their order are those of
PR-SIGDOC; reference: AsicContainer. Reading is bounded in every direction and refuses two entries
of one name, because two readers could then see two different messages in one container.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC
from io import BytesIO
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import FaultCode, MalformedInput
from postroad.wire.xml import XMLDSIG, escape_attribute

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MIME_TYPE: Final = "application/vnd.etsi.asic-e+zip"
ASIC_MANIFEST_NAMESPACE: Final = "http://uri.etsi.org/2918/v1.2.1#"
"""Without the leading 0 that the namespace of signatures has: that is how peers write it."""

MIMETYPE_ENTRY: Final = "mimetype"
MESSAGE_ENTRY: Final = "message.xml"
SIGNATURES_ENTRY: Final = "META-INF/signatures.xml"
HASH_CHAIN_RESULT_ENTRY: Final = "sig-hashchainresult.xml"
HASH_CHAIN_ENTRY: Final = "sig-hashchain.xml"
TIMESTAMP_CHAIN_RESULT_ENTRY: Final = "ts-hashchainresult.xml"
TIMESTAMP_CHAIN_ENTRY: Final = "ts-hashchain.xml"
MANIFEST_ENTRY: Final = "META-INF/manifest.xml"
ASIC_MANIFEST_ENTRY: Final = "META-INF/ASiCManifest.xml"
TIMESTAMP_ENTRY: Final = "META-INF/timestamp.tst"

_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Of the other methods, some may take memory without bound, and all fail in ways of their own."""
_SIGNATURES_NAME: Final = re.compile(r"meta-inf/.*signatures.*\.xml")
_ATTACHMENT_NAME: Final = re.compile(r"attachment[0-9a-z._-]{0,100}")
_KNOWN: Final = {
    entry.lower(): entry
    for entry in (
        MIMETYPE_ENTRY,
        MESSAGE_ENTRY,
        HASH_CHAIN_RESULT_ENTRY,
        HASH_CHAIN_ENTRY,
        TIMESTAMP_CHAIN_RESULT_ENTRY,
        TIMESTAMP_CHAIN_ENTRY,
        MANIFEST_ENTRY,
        ASIC_MANIFEST_ENTRY,
        TIMESTAMP_ENTRY,
    )
}
_MAX_FILE_NAME_ID: Final = 226
_BASE_32: Final = "0123456789abcdefghijklmnopqrstuv"
_FIRST_DOS_YEAR: Final = 1980
_LAST_DOS_YEAR: Final = 2107
_LAST_EXTENDED_TIME: Final = 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class ContainerLimits:
    """How much of a container is read before it is refused."""

    max_entries: int = 1000
    max_total_bytes: int = 1024 * 1024 * 1024
    max_ratio: int = 1100
    """Deflate can't do better than 1032 : 1; more is a trick."""


DEFAULT_LIMITS: Final = ContainerLimits()


@dataclass(frozen=True, slots=True)
class Attachment:
    """A body or attachment as it was archived; ``name`` is ``attachment1`` and so on."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AsicContainer:
    """The content of a container: read, complete, and not yet verified.

    ``timestamp`` is the token of a batch time-stamp; a single one is inside ``signatures``.
    ``ignored`` names entries that no reader of the protocol looks at.
    """

    message: bytes
    signatures: bytes
    hash_chain_result: bytes | None = None
    hash_chain: bytes | None = None
    timestamp_chain_result: bytes | None = None
    timestamp_chain: bytes | None = None
    timestamp: bytes | None = None
    attachments: tuple[Attachment, ...] = ()
    ignored: tuple[str, ...] = ()


def parse_container(data: bytes, *, limits: ContainerLimits = DEFAULT_LIMITS) -> AsicContainer:
    """Parse a container.

    Raises ``MalformedInput`` with the ``asic_…`` code of what is missing; a file that is no ZIP at
    all has no MIME type (``asic_mime_type_not_found``); an unsafe one is ``invalid_message``.
    """
    entries, ignored = _read_entries(data, limits)
    mime_type = entries.get(MIMETYPE_ENTRY)
    if mime_type is None:
        raise _missing("MIME type", FaultCode.ASIC_MIME_TYPE_NOT_FOUND)
    if mime_type.strip() != MIME_TYPE.encode():
        raise MalformedInput(
            f"container: the MIME type is not {MIME_TYPE}", code=FaultCode.ASIC_INVALID_MIME_TYPE
        )
    container = AsicContainer(
        message=_required(entries, MESSAGE_ENTRY, FaultCode.ASIC_MESSAGE_NOT_FOUND),
        signatures=_required(entries, SIGNATURES_ENTRY, FaultCode.ASIC_SIGNATURE_NOT_FOUND),
        hash_chain_result=entries.get(HASH_CHAIN_RESULT_ENTRY),
        hash_chain=entries.get(HASH_CHAIN_ENTRY),
        timestamp_chain_result=entries.get(TIMESTAMP_CHAIN_RESULT_ENTRY),
        timestamp_chain=entries.get(TIMESTAMP_CHAIN_ENTRY),
        timestamp=entries.get(TIMESTAMP_ENTRY),
        attachments=tuple(
            Attachment(name, content)
            for name, content in entries.items()
            if _ATTACHMENT_NAME.fullmatch(name)
        ),
        ignored=tuple(ignored),
    )
    _check_complete(container, entries)
    return container


def encode_container(container: AsicContainer, created_at: datetime) -> bytes:
    """Write a container; ``created_at`` (of the log record) becomes the time of every entry."""
    attachments = [(attachment.name, attachment.data) for attachment in container.attachments]
    if any(not _ATTACHMENT_NAME.fullmatch(name) for name, _data in attachments):
        raise ValueError("attachments are named attachment1, attachment2…")
    files = [
        (MESSAGE_ENTRY, container.message),
        (SIGNATURES_ENTRY, container.signatures),
        (HASH_CHAIN_RESULT_ENTRY, container.hash_chain_result),
        (HASH_CHAIN_ENTRY, container.hash_chain),
        (TIMESTAMP_CHAIN_RESULT_ENTRY, container.timestamp_chain_result),
        (TIMESTAMP_CHAIN_ENTRY, container.timestamp_chain),
    ]
    present = [(name, data) for name, data in files if data is not None]
    listed = [name for name, _data in (*present, *attachments) if not name.startswith("META-INF/")]
    entries = [(MIMETYPE_ENTRY, MIME_TYPE.encode()), *present]
    entries.append((MANIFEST_ENTRY, _manifest(listed)))
    if container.timestamp is not None and container.timestamp_chain_result is not None:
        entries.append((ASIC_MANIFEST_ENTRY, _asic_manifest(container.timestamp_chain_result)))
    if container.timestamp is not None:
        entries.append((TIMESTAMP_ENTRY, container.timestamp))
    entries += attachments
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(entry_info(name, created_at), data)
        archive.comment = f"mimetype={MIME_TYPE}".encode()
    return out.getvalue()


def container_file_name(query_id: str, *, is_response: bool, record_id: int) -> str:
    """Return the name of a container file (reference: AsicContainerNameGenerator).

    >>> container_file_name("a b/1", is_response=False, record_id=33)
    'a+b%2F1-request-11.asice'
    """
    # Java's URLEncoder keeps the asterisk and escapes the tilde; Python does the opposite.
    escaped = quote_plus(query_id, safe="*").replace("~", "%7E")[:_MAX_FILE_NAME_ID]
    kind = "response" if is_response else "request"
    return f"{escaped}-{kind}-{_in_base_32(record_id)}.asice"


def _in_base_32(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 32)
        digits = _BASE_32[digit] + digits
    return digits or "0"


def _read_entries(data: bytes, limits: ContainerLimits) -> tuple[dict[str, bytes], list[str]]:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
            _check_sizes(files, len(data), limits)
            return _select_entries(archive, files)
    except (
        zipfile.BadZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,  # an unknown compression method
        RuntimeError,  # an encrypted entry
        IndexError,  # an entry without a name
        ValueError,
        OverflowError,
        UnicodeError,
    ) as error:
        raise MalformedInput(
            f"container: not a readable ZIP file: {error}", code=FaultCode.ASIC_MIME_TYPE_NOT_FOUND
        ) from error


def _check_sizes(files: list[zipfile.ZipInfo], size: int, limits: ContainerLimits) -> None:
    if len(files) > limits.max_entries:
        raise _unsafe(f"more than {limits.max_entries} entries")
    if any(info.compress_type not in _METHODS for info in files):
        raise zipfile.BadZipFile("an entry is neither stored nor deflated")
    packed = sum(info.compress_size for info in files)
    total = sum(info.file_size for info in files)
    if packed > size:
        raise _unsafe("its entries overlap")
    if total > limits.max_total_bytes or total > packed * limits.max_ratio + size:
        raise _unsafe(f"it unpacks to {total} bytes")


def _select_entries(
    archive: zipfile.ZipFile, files: list[zipfile.ZipInfo]
) -> tuple[dict[str, bytes], list[str]]:
    """Return the content of known entries under their proper names, and the other names."""
    entries: dict[str, bytes] = {}
    seen: set[str] = set()
    ignored = []
    for info in files:
        folded = info.filename.lower()
        name = _known_name(folded)
        if folded in seen or name in entries:
            raise _unsafe(f"two entries are named {info.filename[:100]!r}")
        seen.add(folded)
        if name is None:
            ignored.append(info.filename)
        else:
            entries[name] = archive.read(info)
    return entries, ignored


def _known_name(folded: str) -> str | None:
    if _SIGNATURES_NAME.fullmatch(folded):
        return SIGNATURES_ENTRY
    if _ATTACHMENT_NAME.fullmatch(folded):
        return folded
    return _KNOWN.get(folded)


def _check_complete(container: AsicContainer, entries: Mapping[str, bytes]) -> None:
    pairs = (
        (container.hash_chain_result, container.hash_chain),
        (container.timestamp_chain_result, container.timestamp_chain),
    )
    for result, chain in pairs:
        if chain is not None and result is None:
            raise _missing("hash chain result", FaultCode.ASIC_HASH_CHAIN_RESULT_NOT_FOUND)
        if result is not None and chain is None:
            raise _missing("hash chain", FaultCode.ASIC_HASH_CHAIN_NOT_FOUND)
    if container.timestamp == b"" or (
        container.timestamp_chain is not None and container.timestamp is None
    ):
        raise _missing("time-stamp", FaultCode.ASIC_TIMESTAMP_NOT_FOUND)
    for name in (MANIFEST_ENTRY, ASIC_MANIFEST_ENTRY):
        if name in entries and not entries[name].strip():
            raise _missing("manifest", FaultCode.ASIC_MANIFEST_NOT_FOUND)


def _required(entries: Mapping[str, bytes], name: str, code: FaultCode) -> bytes:
    if name not in entries:
        raise _missing(name, code)
    return entries[name]


def _missing(what: str, code: FaultCode) -> MalformedInput:
    return MalformedInput(f"container: it has no {what}", code=code)


def _unsafe(why: str) -> MalformedInput:
    return MalformedInput(f"container: {why}", code=FaultCode.INVALID_MESSAGE)


def entry_info(name: str, moment: datetime) -> zipfile.ZipInfo:
    """Describe a ZIP entry of a container or an archive, with its time to the second."""
    utc = moment.astimezone(UTC)
    # The old ZIP time has no zone and spans 1980 to 2107; the extra field holds the exact second.
    year = min(max(utc.year, _FIRST_DOS_YEAR), _LAST_DOS_YEAR)
    info = zipfile.ZipInfo(name, (year, utc.month, utc.day, utc.hour, utc.minute, utc.second))
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    seconds = int(utc.timestamp())
    if 0 <= seconds <= _LAST_EXTENDED_TIME:
        info.extra = struct.pack("<HHBl", 0x5455, 5, 1, seconds)
    return info


def _manifest(names: list[str]) -> bytes:
    entries = "".join(
        f'    <manifest:file-entry manifest:media-type="{media_type}" '
        f'manifest:full-path="{escape_attribute(path)}"/>\n'
        for path, media_type in [("/", MIME_TYPE), *((name, _media_type(name)) for name in names)]
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0" '
        f'manifest:version="1.2">\n{entries}</manifest:manifest>\n'
    ).encode()


def _media_type(name: str) -> str:
    return "text/xml" if name.endswith(".xml") else "application/octet-stream"


def _asic_manifest(timestamp_chain_result: bytes) -> bytes:
    algorithm = DigestAlgorithm.SHA512
    digest = b64encode(algorithm.digest(timestamp_chain_result)).decode("ascii")
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<asic:ASiCManifest xmlns:asic="{ASIC_MANIFEST_NAMESPACE}" xmlns:ds="{XMLDSIG}">\n'
        f'<asic:SigReference URI="{TIMESTAMP_ENTRY}" MimeType="vnd.etsi.timestamp-token"/>\n'
        f'<asic:DataObjectReference URI="{TIMESTAMP_CHAIN_RESULT_ENTRY}" MimeType="text/xml">\n'
        f'<ds:DigestMethod Algorithm="{algorithm.uri}" />\n'
        f"<ds:DigestValue>{digest}</ds:DigestValue>\n"
        "</asic:DataObjectReference>\n</asic:ASiCManifest>\n"
    ).encode()
