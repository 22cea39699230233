"""How does configuration on disk become a :class:`GlobalConfiguration`, and the reverse?

The layout is the reference's, so that its tools can read ours and ours theirs::

    instance-identifier
    <instance>/shared-params.xml        <instance>/shared-params.xml.metadata
    <instance>/private-params.xml …     (our own instance only)

What is broken is left out with a warning, and an earlier good state of it is kept; one bad
instance never takes the others with it. Source: reference ``VersionedConfigurationDirectory``.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from postroad.errors import ConfigurationError, FaultCode, MalformedInput
from postroad.globalconf import extensions
from postroad.globalconf.elements import malformed
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.parts import (
    FILE_NAMES,
    INSTANCE_FILE,
    METADATA_SUFFIX,
    PRIVATE_FILE,
    SHARED_FILE,
    PartMetadata,
    decode_directory_name,
    encode_directory_name,
)
from postroad.globalconf.private_parameters import PrivateParameters
from postroad.globalconf.shared_parameters import SharedParameters
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from postroad.globalconf.extensions import FetchInterval, Monitoring, NextUpdate

MAX_INSTANCES = 1000
MAX_INSTANCE_FILE_BYTES = 4096

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One part as it is kept: the bytes as downloaded, and where they came from."""

    content: bytes
    metadata: PartMetadata


@dataclass(frozen=True, slots=True)
class _Loaded(Generic[_T]):
    value: _T
    metadata: PartMetadata
    fingerprint: bytes


class ConfigurationLoader:
    """Loads stored configuration again and again, parsing only what has changed."""

    def __init__(self) -> None:
        self._shared: dict[str, _Loaded[InstanceIndex]] = {}
        self._private: dict[str, _Loaded[PrivateParameters]] = {}
        self._monitoring: dict[str, _Loaded[Monitoring]] = {}
        self._fetch_interval: dict[str, _Loaded[FetchInterval]] = {}
        self._next_update: dict[str, _Loaded[NextUpdate]] = {}

    def load(self, files: Mapping[str, bytes]) -> GlobalConfiguration:
        """Build the configuration from the files of the directory, by path relative to it.

        Raises ``ConfigurationError`` (``malformed_global_conf``) when the instance identifier or
        every instance directory is missing.
        """
        own_instance = read_instance_identifier(files)
        directories = _directories_of(files)
        if not directories:
            raise ConfigurationError(
                "the global configuration holds no instance; it was never downloaded",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            )
        warnings: list[str] = []
        instances = [
            self._load_instance(name, directory, warnings, own=name == own_instance)
            for name, directory in sorted(directories.items())
        ]
        return GlobalConfiguration(own_instance, instances, warnings=warnings)

    def _load_instance(
        self, name: str, files: Mapping[str, bytes], warnings: list[str], *, own: bool
    ) -> InstanceConfiguration:
        reading = _Reading(name, files, warnings)
        shared = reading.part(SHARED_FILE, _parse_shared(name), self._shared)
        private = None
        if own:
            private = reading.part(PRIVATE_FILE, _parse_private(name), self._private)
        monitoring = reading.extension(
            extensions.MONITORING, extensions.Monitoring.parse, self._monitoring, own=own
        )
        fetch_interval = reading.extension(
            extensions.FETCH_INTERVAL,
            extensions.FetchInterval.parse,
            self._fetch_interval,
            own=own,
        )
        next_update = reading.extension(
            extensions.NEXT_UPDATE, extensions.NextUpdate.parse, self._next_update, own=own
        )
        return InstanceConfiguration(
            instance=name,
            index=None if shared is None else shared.value,
            shared_version=2 if shared is None else shared.metadata.version,
            shared_expires_at=None if shared is None else shared.metadata.expires_at,
            private=None if private is None else private.value,
            private_expires_at=None if private is None else private.metadata.expires_at,
            monitoring=extensions.Monitoring() if monitoring is None else monitoring.value,
            fetch_interval=extensions.FetchInterval()
            if fetch_interval is None
            else fetch_interval.value,
            next_update=extensions.NextUpdate() if next_update is None else next_update.value,
        )


class _Reading:
    """Reads the parts of one instance directory."""

    def __init__(self, instance: str, files: Mapping[str, bytes], warnings: list[str]) -> None:
        self._instance = instance
        self._files = files
        self._warnings = warnings

    def part(
        self,
        file_name: str,
        parse: Callable[[bytes, int], _T],
        known: dict[str, _Loaded[_T]],
    ) -> _Loaded[_T] | None:
        """Read one part; the earlier good one when it's broken, None when it isn't there."""
        content = self._files.get(file_name)
        if content is None:
            known.pop(self._instance, None)
            return None
        before = known.get(self._instance)
        try:
            metadata = self._metadata(file_name)
            fingerprint = hashlib.sha256(content).digest()
            unchanged = (
                before is not None
                and before.fingerprint == fingerprint
                and before.metadata.version == metadata.version
            )
            value = before.value if before and unchanged else parse(content, metadata.version)
        except MalformedInput as error:
            kept = "left out" if before is None else "its earlier state is kept"
            self._warnings.append(f"{self._instance}/{file_name} is broken, {kept}: {error}")
            return before
        loaded = _Loaded(value, metadata, fingerprint)
        known[self._instance] = loaded
        return loaded

    def extension(
        self,
        identifier: str,
        parse: Callable[[bytes], _T],
        known: dict[str, _Loaded[_T]],
        *,
        own: bool,
    ) -> _Loaded[_T] | None:
        """Read an optional part of our own instance; other instances' are none of our business."""
        if not own:
            return None
        return self.part(FILE_NAMES[identifier], lambda data, _version: parse(data), known)

    def _metadata(self, file_name: str) -> PartMetadata:
        data = self._files.get(file_name + METADATA_SUFFIX)
        return PartMetadata() if data is None else PartMetadata.parse(data)


def _parse_shared(instance: str) -> Callable[[bytes, int], InstanceIndex]:
    def parse(data: bytes, version: int) -> InstanceIndex:
        shared = SharedParameters.parse(data, version)
        _check_instance(shared.instance, instance)
        return InstanceIndex(shared)

    return parse


def _parse_private(instance: str) -> Callable[[bytes, int], PrivateParameters]:
    def parse(data: bytes, version: int) -> PrivateParameters:
        private = PrivateParameters.parse(data, version)
        _check_instance(private.instance, instance)
        return private

    return parse


def _check_instance(found: str, wanted: str) -> None:
    if found != wanted:
        raise malformed(f"the file is about instance {found[:60]!r}")


def load(files: Mapping[str, bytes]) -> GlobalConfiguration:
    """Build the configuration from stored files, by path; see :class:`ConfigurationLoader`."""
    return ConfigurationLoader().load(files)


def read_instance_identifier(files: Mapping[str, bytes]) -> str:
    """Our own instance's name; ``ConfigurationError`` when it isn't stored."""
    data = files.get(INSTANCE_FILE, b"")
    try:
        name = data[: MAX_INSTANCE_FILE_BYTES + 1].decode("utf-8").strip()
    except UnicodeDecodeError:
        name = ""
    if not name or len(data) > MAX_INSTANCE_FILE_BYTES:
        raise ConfigurationError(
            f"the global configuration has no usable {INSTANCE_FILE} file",
            code=FaultCode.MALFORMED_GLOBAL_CONF,
        )
    return name


def _directories_of(files: Mapping[str, bytes]) -> dict[str, dict[str, bytes]]:
    directories: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    for path, content in files.items():
        directory, separator, name = path.partition("/")
        # Hidden directories are a writer's unfinished work.
        if separator and "/" not in name and not directory.startswith("."):
            directories[decode_directory_name(directory)][name] = content
    if len(directories) > MAX_INSTANCES:
        raise ConfigurationError(
            f"the global configuration holds {len(directories)} instances; "
            f"at most {MAX_INSTANCES} are read",
            code=FaultCode.MALFORMED_GLOBAL_CONF,
        )
    return dict(directories)


def load_parts(files: Mapping[str, bytes]) -> dict[str, dict[str, StoredPart]]:
    """The stored parts as bytes, by instance and file name; parts with broken metadata left out."""
    found: dict[str, dict[str, StoredPart]] = {}
    for instance, entries in _directories_of(files).items():
        parts = found.setdefault(instance, {})
        for name, content in entries.items():
            if name.endswith(METADATA_SUFFIX):
                continue
            data = entries.get(name + METADATA_SUFFIX)
            try:
                metadata = PartMetadata() if data is None else PartMetadata.parse(data)
            except MalformedInput:
                continue
            parts[name] = StoredPart(content, metadata)
    return found


def encode_instance(parts: Mapping[str, StoredPart]) -> dict[str, bytes]:
    """The files of one instance directory: each part by its file name, and its metadata."""
    files: dict[str, bytes] = {}
    for file_name, part in parts.items():
        files[file_name] = part.content
        files[file_name + METADATA_SUFFIX] = part.metadata.encode()
    return files


def encode_layout(
    own_instance: str, instances: Iterable[tuple[str, Mapping[str, StoredPart]]]
) -> dict[str, bytes]:
    """All files of a stored configuration, by path relative to its directory."""
    files = {INSTANCE_FILE: own_instance.encode("utf-8")}
    for name, parts in instances:
        directory = encode_directory_name(name)
        for file_name, content in encode_instance(parts).items():
            files[f"{directory}/{file_name}"] = content
    return files
