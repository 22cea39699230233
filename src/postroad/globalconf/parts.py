"""How are configuration parts called and kept: identifiers, file names, metadata, directories?

Sources: PR-GCONF 2.4 (content identifiers); reference: ``ConfigurationPartMetadata``,
``ConfigurationConstants``, ``FileNameProviderImpl``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus

from postroad.globalconf import extensions
from postroad.globalconf.elements import malformed
from postroad.globalconf.moments import encode_moment, parse_moment
from postroad.globalconf.shared_parameters import OLDEST_VERSION, SUPPORTED_VERSIONS

if TYPE_CHECKING:
    from datetime import datetime

PRIVATE_PARAMETERS = "PRIVATE-PARAMETERS"
SHARED_PARAMETERS = "SHARED-PARAMETERS"
PRIVATE_FILE = "private-params.xml"
SHARED_FILE = "shared-params.xml"
INSTANCE_FILE = "instance-identifier"
METADATA_SUFFIX = ".metadata"

FILE_NAMES = {
    PRIVATE_PARAMETERS: PRIVATE_FILE,
    SHARED_PARAMETERS: SHARED_FILE,
    extensions.MONITORING: "monitoring-params.xml",
    extensions.FETCH_INTERVAL: "fetchinterval-params.xml",
    extensions.NEXT_UPDATE: "nextupdate-params.xml",
}
"""Name on disk of each part with a meaning; other parts keep the name they come with."""

MAX_METADATA_BYTES = 16 * 1024
_SAFE_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_MAX_DIRECTORY_NAME = 255
_METADATA_KEYS = (
    ("contentIdentifier", "content_identifier"),
    ("instanceIdentifier", "instance"),
    ("contentFileName", "file_name"),
    ("contentLocation", "location"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartMetadata:
    """What is kept beside each stored part: where it came from and until when it counts.

    ``expires_at`` None means that it never expires.
    """

    content_identifier: str | None = None
    instance: str | None = None
    expires_at: datetime | None = None
    file_name: str | None = None
    location: str | None = None
    version: int = OLDEST_VERSION

    @classmethod
    def parse(cls, data: bytes) -> PartMetadata:
        """Read a ``.metadata`` file; absent keys take their defaults, unknown ones are ignored.

        Raises ``MalformedInput`` for anything that isn't such a JSON object.
        """
        if len(data) > MAX_METADATA_BYTES:
            raise malformed(f"metadata of {len(data)} bytes is larger than any real one")
        try:
            read = json.loads(data)
        except (ValueError, RecursionError):
            raise malformed("metadata is not JSON") from None
        if not isinstance(read, dict):
            raise malformed("metadata is not a JSON object")
        words = {
            field: value for key, field in _METADATA_KEYS if isinstance(value := read.get(key), str)
        }
        expires = read.get("expirationDate")
        if expires is not None and not isinstance(expires, str):
            raise malformed("metadata has an expirationDate that is not a text")
        return cls(
            content_identifier=words.get("content_identifier"),
            instance=words.get("instance"),
            file_name=words.get("file_name"),
            location=words.get("location"),
            expires_at=None if expires is None else parse_moment(expires),
            version=parse_version(str(read.get("configurationVersion") or OLDEST_VERSION)),
        )

    def encode(self) -> bytes:
        """Write exactly the keys that other readers know, on one line, absent values left out."""
        expires = None if self.expires_at is None else encode_moment(self.expires_at)
        values = {
            "contentIdentifier": self.content_identifier,
            "instanceIdentifier": self.instance,
            "expirationDate": expires,
            "contentFileName": self.file_name,
            "contentLocation": self.location,
            "configurationVersion": str(self.version),
        }
        present = {key: value for key, value in values.items() if value is not None}
        return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def parse_version(text: str) -> int:
    """Read a configuration version; ``MalformedInput`` for one that we don't speak.

    >>> parse_version("6")
    6
    """
    for version in SUPPORTED_VERSIONS:
        if text.strip() == str(version):
            return version
    raise malformed(f"configuration version {text[:20]!r} is not one of {SUPPORTED_VERSIONS}")


def encode_directory_name(instance: str) -> str:
    """Name the directory of an instance: form-encoded, so that it's one harmless path segment.

    >>> encode_directory_name("EE test/1")
    'EE+test%2F1'

    Raises ``MalformedInput`` for a name that can't be a directory.
    """
    try:
        name = quote(instance, safe="* ").replace("~", "%7E").replace(" ", "+")
    except UnicodeEncodeError:
        raise malformed("an instance identifier holds broken characters") from None
    if name.startswith("."):
        # "." and ".." are directories of their own, and hidden ones are ours.
        name = "%2E" + name[1:]
    if not name or len(name) > _MAX_DIRECTORY_NAME:
        raise malformed(f"instance identifier {instance[:60]!r} can't name a directory")
    return name


def decode_directory_name(name: str) -> str:
    """Return the instance that a directory belongs to."""
    return unquote_plus(name)


def file_name_of(identifier: str, hint: str | None, location: str) -> str:
    """Choose the name a part is stored under: fixed, else the hint, else the end of its address.

    >>> file_name_of("FOO", None, "/V2/2025/foo.xml?x=1")
    'foo.xml'

    Raises ``MalformedInput`` for a name that leaves the directory or collides with a fixed one.
    """
    fixed = FILE_NAMES.get(identifier)
    if fixed is not None:
        return fixed
    path = location.partition("?")[0].partition("#")[0]
    name = hint or path.rpartition("/")[2]
    reserved = name in FILE_NAMES.values() or name.endswith(METADATA_SUFFIX)
    if reserved or name == INSTANCE_FILE or not _SAFE_FILE_NAME.fullmatch(name):
        raise malformed(f"part {identifier[:60]!r} can't be stored as {name[:80]!r}")
    return name
