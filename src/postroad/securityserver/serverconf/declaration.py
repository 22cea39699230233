"""What does a declaration file say about clients, services, rights and groups?

One TOML file describes the wanted state; `postroad server apply` makes the server so, and does
nothing the second time. This module reads the file into a normal form and writes the current state
in the same form, so that two forms that say the same are equal; `difference` compares them.

    [[timestamping]]
    name = "TSA 1"
    url = "http://tsa.example.org"

    [[client]]
    id = "EE/GOV/70000562/registry"
    connection = "HTTPS"                          # HTTPS (default), HTTPS_NO_AUTH, HTTP
    certificates = ["is.pem"]                     # beside this file, or PEM text

    [[client.group]]
    code = "partners"
    members = ["EE/COM/1/app"]

    [[client.service]]
    code = "persons"
    url = "https://registry.internal/v1"
    allow = ["EE/COM/2/app", "global:EE/ministries", "local:partners"]

    [[client.service.endpoint]]
    method = "GET"
    path = "/persons/*"
    allow = ["EE/COM/3/app"]

    [[client.description]]                        # its services and endpoints are derived
    type = "WSDL"
    url = "https://registry.internal/service?wsdl"

    [[client.description.service]]
    code = "findPerson"
    allow = ["EE/COM/2/app"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from postroad.adapters.files import read_bounded
from postroad.authorization.rights import (
    BASE_ENDPOINT,
    Endpoint,
    Subject,
    parse_endpoint,
)
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, PostroadError
from postroad.identifiers import (
    ClientId,
    GlobalGroupId,
    LocalGroupId,
    SubsystemId,
    parse_client_id,
    percent_decode_segment,
    percent_encode_segment,
)
from postroad.securityserver.serverconf.declaration_file import (
    ClientSection,
    DeclarationFile,
    ServiceSection,
)
from postroad.securityserver.serverconf.described_services import expand_description
from postroad.securityserver.serverconf.models import ConnectionType, DescriptionType
from postroad.securityserver.serverconf.services import ServiceProperties, check_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from postroad.securityserver.descriptions.derived import Derived

    ReadDescription = Callable[[DescriptionType, str, str], Derived]
    """Fetches and reads the document at an address; the third is the service code of OpenAPI."""

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
CONNECTIONS: Final = {
    "HTTP": ConnectionType.NOSSL,
    "HTTPS_NO_AUTH": ConnectionType.SSLNOAUTH,
    "HTTPS": ConnectionType.SSLAUTH,
}

# --- the normal form ----------------------------------------------------------------------------


class DeclaredDescription(msgspec.Struct, frozen=True, order=True):
    """A service description: what kind of document, and whether its services are enabled."""

    type: DescriptionType
    enabled: bool
    notice: str


class DeclaredService(msgspec.Struct, frozen=True):
    """A service of a description."""

    description: str
    url: str
    timeout: int
    verify_tls: bool
    title: str

    @property
    def properties(self) -> ServiceProperties:
        """The same, as the service layer takes it."""
        return ServiceProperties(
            url=self.url, timeout=self.timeout, verify_tls=self.verify_tls, title=self.title
        )


class DeclaredGroup(msgspec.Struct, frozen=True):
    """A local group."""

    description: str
    members: frozenset[SubsystemId]


class DeclaredClient(msgspec.Struct, frozen=True):
    """A client in normal form; endpoints are keyed by service code and endpoint."""

    connection: ConnectionType
    certificates: Mapping[str, bytes]
    groups: Mapping[str, DeclaredGroup]
    descriptions: Mapping[str, DeclaredDescription]
    services: Mapping[tuple[str, str], DeclaredService]
    """By service code and version, `""` for none."""
    rights: Mapping[tuple[str, Endpoint], frozenset[Subject]]
    """Who may call; base endpoints, which every service code has, are among the keys."""
    generated: Mapping[str, frozenset[Endpoint]] = {}
    """By service code, the endpoints of its document; without the key it wasn't read."""


class Declaration(msgspec.Struct, frozen=True):
    """What is declared, or what is."""

    clients: Mapping[ClientId, DeclaredClient]
    timestamping: tuple[tuple[str, str], ...] | None


def load_declaration(path: Path, read_description: ReadDescription | None = None) -> Declaration:
    """Read a declaration file, the certificates that lie beside it, and descriptions it names.

    Raises `ConfigurationError` that names the place in the file and what is wrong there; also for
    a description if there is nothing to read it with.
    """
    data = read_bounded(path, MAX_FILE_BYTES)
    try:
        tree = tomllib.loads(data.decode("utf-8"))
        written = msgspec.convert(tree, DeclarationFile)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return normalise(written, path.parent, read_description)


def normalise(
    written: DeclarationFile, directory: Path, read_description: ReadDescription | None = None
) -> Declaration:
    """Check a declaration file's content and bring it into normal form."""
    clients: dict[ClientId, DeclaredClient] = {}
    for section in written.client:
        try:
            identifier = parse_client_id(section.id)
            if identifier in clients:
                raise ConfigurationError("is declared twice")
            clients[identifier] = _client(section, directory, read_description)
        except PostroadError as error:
            raise ConfigurationError(f"client {section.id}: {error.message}") from error
    timestamping = written.timestamping
    return Declaration(
        clients=clients,
        timestamping=None
        if timestamping is None
        else tuple((section.name, section.url) for section in timestamping),
    )


def parse_subject(text: str) -> Subject:
    """Read the holder of a right: a subsystem, `global:INSTANCE/CODE` or `local:CODE`.

    >>> parse_subject("local:partners")
    LocalGroupId(group_code='partners')

    Raises `MalformedInput` for anything else, a member among them.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "local":
        return LocalGroupId(percent_decode_segment(rest))
    if colon and kind == "global":
        instance, _, code = rest.partition("/")
        return GlobalGroupId(percent_decode_segment(instance), percent_decode_segment(code))
    return SubsystemId.parse(text)


def write_subject(subject: Subject) -> str:
    """The inverse of `parse_subject`."""
    match subject:
        case LocalGroupId():
            return "local:" + percent_encode_segment(subject.group_code)
        case GlobalGroupId():
            parts = (subject.instance, subject.group_code)
            return "global:" + "/".join(percent_encode_segment(part) for part in parts)
        case SubsystemId():
            return subject.encoded()


def _client(
    section: ClientSection, directory: Path, read_description: ReadDescription | None
) -> DeclaredClient:
    connection = CONNECTIONS.get(section.connection)
    if connection is None:
        raise ConfigurationError(
            f"connection {section.connection!r} is not one of {', '.join(CONNECTIONS)}"
        )
    certificates = [_certificate(text, directory) for text in section.certificates]
    groups: dict[str, DeclaredGroup] = {}
    for group in section.group:
        if group.code in groups:
            raise ConfigurationError(f"the group {group.code!r} is declared twice")
        LocalGroupId(group.code)
        members = frozenset(SubsystemId.parse(member) for member in group.members)
        groups[group.code] = DeclaredGroup(group.description, members)
    descriptions: dict[str, DeclaredDescription] = {}
    services: dict[tuple[str, str], DeclaredService] = {}
    rights: dict[tuple[str, Endpoint], frozenset[Subject]] = {}
    written = list(section.service)
    generated: dict[str, frozenset[Endpoint]] = {}
    for description in section.description:
        try:
            check_url(description.url)
            derived = _read(read_description, description.type, description.url, description.code)
            written += expand_description(description, derived)
        except PostroadError as error:
            raise ConfigurationError(f"description {description.url}: {error.message}") from error
        if description.code is not None:
            generated[description.code] = frozenset(derived.endpoints)
    for service in written:
        try:
            _add_service(service, descriptions, services, rights)
        except PostroadError as error:
            raise ConfigurationError(f"service {service.code}: {error.message}") from error
    _check_local_groups(rights, groups)
    return DeclaredClient(
        connection=connection,
        certificates={entry.sha256.hex().upper(): entry.der for entry in certificates},
        groups=groups,
        descriptions=descriptions,
        services=services,
        rights=rights,
        generated=generated,
    )


def _read(
    read_description: ReadDescription | None, kind: DescriptionType, url: str, code: str | None
) -> Derived:
    if kind is DescriptionType.REST or (code is None) != (kind is DescriptionType.WSDL):
        raise ConfigurationError("it must be WSDL, or OPENAPI3 with the code of its service")
    if read_description is None:
        raise ConfigurationError("it can't be read here: use `postroad server apply`")
    return read_description(kind, url, code or "")


def _add_service(
    section: ServiceSection,
    descriptions: dict[str, DeclaredDescription],
    services: dict[tuple[str, str], DeclaredService],
    rights: dict[tuple[str, Endpoint], frozenset[Subject]],
) -> None:
    is_soap = section.type is DescriptionType.WSDL
    address = section.description or section.url
    check_url(address)
    # The notice of an enabled description is never told to anybody: it is no difference.
    description = DeclaredDescription(
        section.type, section.enabled, "" if section.enabled else section.notice
    )
    if descriptions.setdefault(address, description) != description:
        raise ConfigurationError(f"type, enabled and notice differ for the description {address}")
    if is_soap != (section.version is not None) and not is_soap:
        raise ConfigurationError("only SOAP services (type WSDL) have versions")
    key = (section.code, section.version or "")
    if key in services:
        raise ConfigurationError("is declared twice")
    properties = ServiceProperties(
        url=section.url,
        timeout=section.timeout,
        verify_tls=section.verify_tls,
        title=section.title,
    )
    services[key] = DeclaredService(
        description=address,
        url=section.url,
        timeout=section.timeout,
        verify_tls=properties.verifies,
        title=section.title,
    )
    if is_soap and section.endpoint:
        raise ConfigurationError("SOAP services have no endpoints")
    base = (section.code, BASE_ENDPOINT)
    rights[base] = rights.get(base, frozenset()) | _subjects(section.allow)
    for endpoint in section.endpoint:
        place = (section.code, parse_endpoint(endpoint.method, endpoint.path))
        if place in rights:
            raise ConfigurationError(
                f"the endpoint {endpoint.method} {endpoint.path} is declared twice"
            )
        rights[place] = _subjects(endpoint.allow)


def _subjects(written: tuple[str, ...]) -> frozenset[Subject]:
    return frozenset(parse_subject(text) for text in written)


def _check_local_groups(
    rights: Mapping[tuple[str, Endpoint], frozenset[Subject]], groups: Mapping[str, DeclaredGroup]
) -> None:
    for subjects in rights.values():
        for subject in subjects:
            if isinstance(subject, LocalGroupId) and subject.group_code not in groups:
                raise ConfigurationError(f"the local group {subject.group_code!r} is not declared")


def _certificate(text: str, directory: Path) -> Certificate:
    if text.lstrip().startswith("-----BEGIN"):
        return Certificate.from_pem_or_der(text.encode("utf-8"))
    try:
        with (directory / text).open("rb") as file:
            data = file.read(100_001)
    except OSError as error:
        raise ConfigurationError(f"{text} can't be read: {error.strerror}") from error
    return Certificate.from_pem_or_der(data)
