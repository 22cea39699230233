"""What does a configuration proxy publish of what it has downloaded, and until when does it count?

Parts are passed on byte for byte; only the shared parameters of the proxied instance name the
proxy as their source, so that clients don't go past it (``source_replacement``). Source: reference
``OutputBuilder``. Unlike there, nothing counts longer than its source said: the reference gives
everything a fresh expiry, also what it could not renew (G-09).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from postroad.crypto.algorithms import DigestAlgorithm
from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.directory import PartReference, SignedDirectory
from postroad.globalconf.parts import SHARED_PARAMETERS, encode_directory_name
from postroad.globalconf.shared_parameters import ConfigurationSource
from postroad.globalconf.source_replacement import replace_sources

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from postroad.globalconf.stored import StoredPart

_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_MAX_SEGMENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishingProxy:
    """A configuration proxy as its clients see it."""

    name: str
    """The proxy instance: the first part of its addresses."""
    address: str
    """Host name, with a port where it isn't the usual one."""
    certificates: tuple[bytes, ...]
    """Of all its signing keys (DER), the active one first."""
    validity: timedelta = timedelta(seconds=600)
    digest: DigestAlgorithm = DigestAlgorithm.SHA512

    @property
    def source(self) -> ConfigurationSource:
        """How shared parameters name it. Clients of 7.4 want keys of both kinds."""
        return ConfigurationSource(self.address, self.certificates, self.certificates)


@dataclass(frozen=True, slots=True)
class Republished:
    """What one version publishes: the directory to sign, and the files it lists.

    ``files`` by path below the generation's own folder; ``left_out`` names instances whose
    configuration is about to expire.
    """

    directory: SignedDirectory
    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()


def republish(
    stored: Mapping[str, Mapping[str, StoredPart]],
    proxy: PublishingProxy,
    *,
    instance: str,
    version: int,
    folder: str,
    at: datetime,
) -> Republished:
    """Turn downloaded parts of the proxied ``instance`` and others into what is published.

    ``folder`` names the generation. Raises ``ConfigurationError`` (``global_conf_outdated``) when
    the instance's own configuration has expired or isn't there in that version.
    """
    own = _expiry(stored.get(instance, {}), proxy, version, at)
    if own is None or own < at:
        raise ConfigurationError(
            f"there is no valid configuration of {instance} in version {version}",
            code=FaultCode.GLOBAL_CONF_OUTDATED,
        )
    # A federated instance that is about to expire must not shorten the whole directory's life.
    needed = at + (own - at) / 2
    expiries = {name: _expiry(parts, proxy, version, at) for name, parts in stored.items()}
    passed = {name: expiry for name, expiry in expiries.items() if expiry and expiry >= needed}
    references: list[PartReference] = []
    files: dict[str, bytes] = {}
    for name in sorted(passed, key=lambda each: (each != instance, each)):
        for file_name, part in sorted(stored[name].items()):
            content = part.content
            identifier = part.metadata.content_identifier or ""
            if name == instance and identifier == SHARED_PARAMETERS:
                content = replace_sources(content, version, [proxy.source])
            path = f"{encode_directory_name(name)}/{_path_of(part, file_name)}"
            if path in files:
                path = f"{encode_directory_name(name)}/V{version}/{file_name}"
            files[path] = content
            references.append(
                PartReference(
                    identifier=identifier,
                    instance=name,
                    location=f"/{proxy.name}/{folder}/{quote(path, safe='/*')}",
                    digest_algorithm=proxy.digest,
                    digest=proxy.digest.digest(content),
                    file_name=part.metadata.file_name,
                )
            )
    expires_at = min(passed.values()).replace(microsecond=0)
    directory = SignedDirectory(expires_at, version, tuple(references))
    return Republished(directory, files, tuple(sorted(stored.keys() - passed.keys())))


def _expiry(
    parts: Mapping[str, StoredPart], proxy: PublishingProxy, version: int, at: datetime
) -> datetime | None:
    """Until when we let an instance's parts count; None without parts of that version alone."""
    if not parts or any(part.metadata.version != version for part in parts.values()):
        return None
    moments = [part.metadata.expires_at for part in parts.values()]
    return min([at + proxy.validity, *(moment for moment in moments if moment is not None)])


def _path_of(part: StoredPart, file_name: str) -> str:
    """The source's own path of a part, if it is one that may be a path here; else its file name.

    Clients find in it when the source generated the part.
    """
    segments = urlsplit(part.metadata.location or "").path.strip("/").split("/")
    if len(segments) > _MAX_SEGMENTS or not all(_SEGMENT.fullmatch(each) for each in segments):
        return file_name
    return "/".join(segments)
