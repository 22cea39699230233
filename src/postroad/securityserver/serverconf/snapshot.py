"""What do the workers know of the server configuration, and how do they ask it quickly?

The database is exported as one frozen value after every committed change, written atomically to
`run/serverconf.snapshot`; a worker loads the whole file when it changes and builds a view whose
questions are dictionary look-ups. A right that is taken away is gone within the second in which a
worker looks (the reference caches rights for 60 s).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.files import write_atomic
from postroad.authorization.rights import AccessRight, Endpoint, Subject
from postroad.errors import ConfigurationError, FaultCode, PostroadError
from postroad.identifiers import (
    ClientId,
    GlobalGroupId,
    LocalGroupId,
    SecurityServerId,
    ServiceId,
    SubsystemId,
    parse_client_id,
    percent_decode_segment,
    percent_encode_segment,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT: Final = "postroad.serverconf.1"
MAX_SNAPSHOT_BYTES: Final = 512 * 1024 * 1024


class ServiceEntry(msgspec.Struct, frozen=True, array_like=True):
    """A service as a worker needs it."""

    service_code: str
    service_version: str | None
    type: str
    """`REST`, `OPENAPI3` or `WSDL`."""
    url: str
    timeout: int
    """Seconds; 0 waits for ever."""
    verify_tls: bool
    disabled: bool
    disabled_notice: str
    description_url: str

    @property
    def is_rest(self) -> bool:
        """Whether REST calls may reach it; otherwise SOAP calls may."""
        return self.type != "WSDL"


class EndpointEntry(msgspec.Struct, frozen=True, array_like=True):
    """A declared endpoint and who may call it; base endpoints stand for whole services."""

    service_code: str
    method: str
    path: str
    subjects: tuple[tuple[str, str], ...]
    """Subject kind and identifier, see `subject_of`."""


class ClientEntry(msgspec.Struct, frozen=True, array_like=True):
    """A client of this server with everything that belongs to it."""

    identifier: str
    status: str
    connection_type: str
    """`NOSSL`, `SSLNOAUTH` or `SSLAUTH`."""
    certificates: tuple[bytes, ...]
    services: tuple[ServiceEntry, ...]
    endpoints: tuple[EndpointEntry, ...]
    local_groups: tuple[tuple[str, tuple[str, ...]], ...]
    """Group code and the percent-escaped identifiers of its members."""


class ServerConfSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The whole server configuration at one revision."""

    format: str
    revision: int
    server: str
    clients: tuple[ClientEntry, ...]
    timestamping: tuple[tuple[str, str], ...]
    """Name and URL of the chosen time-stamping services, in the order of trying them."""
    submitted: tuple[tuple[str, str, str], ...] = ()
    """Open management requests: service code, client or "", value."""


def encode_snapshot(snapshot: ServerConfSnapshot) -> bytes:
    """The snapshot as MessagePack."""
    return msgspec.msgpack.encode(snapshot)


def parse_snapshot(data: bytes) -> ServerConfSnapshot:
    """Read an exported snapshot; `ConfigurationError` (`malformed_server_conf`) if it is none."""
    try:
        snapshot = msgspec.msgpack.decode(data, type=ServerConfSnapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _malformed(f"the server configuration's snapshot is damaged: {error}") from error
    if snapshot.format != FORMAT:
        raise _malformed(f"the server configuration's snapshot has the format {snapshot.format!r}")
    return snapshot


def store_snapshot(path: Path, snapshot: ServerConfSnapshot) -> None:
    """Replace the exported snapshot, atomically; `ConfigurationError` if it can't be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, encode_snapshot(snapshot), mode=0o600)
    except OSError as error:
        raise _malformed(
            f"the server configuration's snapshot can't be written: {error.strerror}"
        ) from error


def load_snapshot(path: Path) -> ServerConfSnapshot:
    """Load the exported snapshot; `ConfigurationError` if there is none or it is damaged."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SNAPSHOT_BYTES + 1)
    except OSError as error:
        raise _malformed(
            f"the server configuration's snapshot can't be read: {error.strerror}"
        ) from error
    if len(data) > MAX_SNAPSHOT_BYTES:
        raise _malformed("the server configuration's snapshot is too large")
    return parse_snapshot(data)


def subject_of(kind: str, text: str) -> Subject:
    """The holder of a right, from its stored kind and text."""
    match kind:
        case "SUBSYSTEM":
            return SubsystemId.parse(text)
        case "GLOBALGROUP":
            instance, _, code = text.partition("/")
            return GlobalGroupId(percent_decode_segment(instance), percent_decode_segment(code))
        case "LOCALGROUP":
            return LocalGroupId(percent_decode_segment(text))
        case _:
            raise _malformed(f"an access right has a subject of the kind {kind!r}")


def subject_text(subject: Subject) -> tuple[str, str]:
    """The kind and text that a subject is stored as.

    >>> subject_text(GlobalGroupId("EE", "all members"))
    ('GLOBALGROUP', 'EE/all%20members')
    """
    match subject:
        case SubsystemId():
            return "SUBSYSTEM", subject.encoded()
        case GlobalGroupId():
            parts = (subject.instance, subject.group_code)
            return "GLOBALGROUP", "/".join(percent_encode_segment(part) for part in parts)
        case LocalGroupId():
            return "LOCALGROUP", percent_encode_segment(subject.group_code)


class ClientView:
    """One client, ready for questions."""

    __slots__ = (
        "_local_groups",
        "_rights",
        "_services",
        "certificates",
        "connection_type",
        "endpoints",
        "identifier",
        "status",
    )

    def __init__(self, entry: ClientEntry) -> None:
        self.identifier: ClientId = parse_client_id(entry.identifier)
        self.status = entry.status
        self.connection_type = entry.connection_type
        self.certificates = frozenset(entry.certificates)
        """DER of the information systems' certificates."""
        self._services = {
            (service.service_code, service.service_version): service for service in entry.services
        }
        self.endpoints: Mapping[str, tuple[Endpoint, ...]] = _endpoints_by_code(entry)
        """The declared endpoints of each service code, the base endpoint left out."""
        self._rights = _rights_by_code(entry)
        self._local_groups = {
            LocalGroupId(code): frozenset(parse_client_id(member) for member in members)
            for code, members in entry.local_groups
        }

    @property
    def is_registered(self) -> bool:
        """Whether the client may send and receive messages."""
        return self.status == "registered"

    @property
    def services(self) -> tuple[ServiceEntry, ...]:
        """All services of the client."""
        return tuple(self._services.values())

    def service(self, code: str, version: str | None = None) -> ServiceEntry | None:
        """The service of that code and version; None if there is none."""
        return self._services.get((code, version))

    def rights(self, service_code: str) -> tuple[AccessRight, ...]:
        """The rights this client gave on a service code and its endpoints."""
        return self._rights.get(service_code, ())

    def is_in_local_group(self, client: ClientId, group: LocalGroupId) -> bool:
        """Whether `client` is in this client's local group of that code."""
        return client in self._local_groups.get(group, ())


class ServerConfView:
    """The server configuration, ready for questions; immutable."""

    __slots__ = ("_clients", "revision", "server_id", "submitted", "timestamping")

    def __init__(self, snapshot: ServerConfSnapshot) -> None:
        self.revision = snapshot.revision
        self.server_id = SecurityServerId.parse(snapshot.server)
        self.timestamping = snapshot.timestamping
        """Name and URL of the chosen time-stamping services, in the order of trying them."""
        self.submitted = snapshot.submitted
        """Open management requests: service code, client or "", value."""
        try:
            views = [ClientView(entry) for entry in snapshot.clients]
        except PostroadError as error:
            raise _malformed(f"the server configuration's snapshot: {error.message}") from error
        self._clients = {view.identifier: view for view in views}

    @property
    def clients(self) -> tuple[ClientView, ...]:
        """All clients of this server."""
        return tuple(self._clients.values())

    def client(self, client: ClientId) -> ClientView | None:
        """The client of that identifier; None if it is not served here."""
        return self._clients.get(client)

    def service(self, service: ServiceId) -> ServiceEntry | None:
        """The service of that identifier; None if it is not offered here."""
        provider = self._clients.get(service.client)
        if provider is None:
            return None
        return provider.service(service.service_code, service.service_version)

    def rights(self, service: ServiceId) -> tuple[AccessRight, ...]:
        """The rights on a service; its version plays no role."""
        provider = self._clients.get(service.client)
        return () if provider is None else provider.rights(service.service_code)

    def is_in_local_group(self, provider: ClientId, client: ClientId, group: LocalGroupId) -> bool:
        """Whether `client` is in the local group that `provider` keeps."""
        view = self._clients.get(provider)
        return view is not None and view.is_in_local_group(client, group)


class SnapshotFile:
    """The exported snapshot as a worker watches it: one `stat` per look, a load per change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self.view: ServerConfView | None = None
        """The newest view; None until the first successful `refresh`."""

    def refresh(self) -> bool:
        """Load the snapshot if it changed; whether it did. The old view stays if loading fails.

        Raises `ConfigurationError` (`malformed_server_conf`) when it can't be loaded.
        """
        try:
            status = self._path.stat()
        except OSError as error:
            raise _malformed(
                f"the server configuration's snapshot can't be read: {error.strerror}"
            ) from error
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return False
        self.view = ServerConfView(load_snapshot(self._path))
        self._seen = seen
        return True


def _endpoints_by_code(entry: ClientEntry) -> dict[str, tuple[Endpoint, ...]]:
    found: dict[str, list[Endpoint]] = {}
    for declared in entry.endpoints:
        endpoint = Endpoint(declared.method, declared.path)
        if not endpoint.is_base:
            found.setdefault(declared.service_code, []).append(endpoint)
    return {code: tuple(endpoints) for code, endpoints in found.items()}


def _rights_by_code(entry: ClientEntry) -> dict[str, tuple[AccessRight, ...]]:
    found: dict[str, list[AccessRight]] = {}
    for declared in entry.endpoints:
        endpoint = Endpoint(declared.method, declared.path)
        rights = found.setdefault(declared.service_code, [])
        for kind, text in declared.subjects:
            rights.append(AccessRight(subject_of(kind, text), declared.service_code, endpoint))
    return {code: tuple(rights) for code, rights in found.items()}


def _malformed(message: str) -> ConfigurationError:
    return ConfigurationError(message, code=FaultCode.MALFORMED_SERVER_CONF)
