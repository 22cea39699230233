"""How does the central server's registry become signed configuration, in every version?

Pure: the moment, the random boundaries and the signing functions are arguments. In two steps for
callers that can't sign inside a function call: :func:`prepare` computes everything that is to be
signed, :meth:`PreparedConfiguration.assemble` takes the signatures; :func:`generate` does both.
Either every version comes out or none does. Source: PR-GCONF 2.6-2.7; reference:
``GlobalConfGenerationServiceImpl``, ``SharedParametersLoader``, ``ConfigurationDistributor``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from postroad.crypto.algorithms import (
    DigestAlgorithm,
    SignatureAlgorithm,
    ecdsa_raw_to_der,
    verify_signature,
)
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, FaultCode, MalformedInput, TrustError
from postroad.globalconf import extensions, locations
from postroad.globalconf.directory import (
    DirectorySignature,
    PartReference,
    SignedDirectory,
    encode_content,
    encode_directory,
)
from postroad.globalconf.moments import encode_stamp
from postroad.globalconf.parts import (
    FILE_NAMES,
    PRIVATE_FILE,
    PRIVATE_PARAMETERS,
    SHARED_FILE,
    SHARED_PARAMETERS,
    PartMetadata,
)
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.shared_parameters import (
    NEWEST_VERSION,
    OLDEST_VERSION,
    ApprovedCa,
    ApprovedTsa,
    ConfigurationSource,
    GlobalGroup,
    GlobalSettings,
    Member,
    MemberClass,
    SecurityServer,
    SharedParameters,
)
from postroad.globalconf.stored import StoredPart, encode_layout
from postroad.identifiers import ClientId, MemberId

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from postroad.globalconf.anchor import Anchor

INTERNAL_DIRECTORY = locations.INTERNAL_DIRECTORY
EXTERNAL_DIRECTORY = locations.EXTERNAL_DIRECTORY

_FIRST_WITH_SHA256 = 3
_FIRST_WITH_MAINTENANCE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryServer:
    """A security server as the registry knows it; certificates are DER."""

    owner: MemberId
    code: str
    address: str | None = None
    auth_certificates: tuple[bytes, ...] = ()
    clients: tuple[ClientId, ...] = ()
    """Enabled registrations, without the owner."""
    maintenance: str | None = None
    """Message of the maintenance mode ("" without one), None when not in it."""


@dataclass(frozen=True, slots=True)
class OptionalPart:
    """An optional part that the administrator has uploaded (see ``extensions``)."""

    identifier: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySnapshot:
    """Everything of the registry that is distributed, at one moment."""

    instance: str
    management_service: ManagementService
    sources: tuple[ConfigurationSource, ...]
    """One per central server node, with the certificates of all its signing keys."""
    members: tuple[Member, ...] = ()
    security_servers: tuple[RegistryServer, ...] = ()
    global_groups: tuple[GlobalGroup, ...] = ()
    approved_cas: tuple[ApprovedCa, ...] = ()
    approved_tsas: tuple[ApprovedTsa, ...] = ()
    member_classes: tuple[MemberClass, ...] = ()
    trusted_anchors: tuple[Anchor, ...] = ()
    optional_parts: tuple[OptionalPart, ...] = ()
    ocsp_freshness_seconds: int = 3600
    timestamping_interval_seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """How configuration is distributed: oldest version, validity, digests."""

    oldest_version: int = OLDEST_VERSION
    validity: timedelta = timedelta(seconds=600)
    part_digest: DigestAlgorithm = DigestAlgorithm.SHA512
    certificate_digest: DigestAlgorithm = DigestAlgorithm.SHA512


@dataclass(frozen=True, slots=True)
class DirectorySigner:
    """The active signing key of one source: the certificate that anchors carry, and its use.

    ``sign`` returns the signature value over its argument; EC values may be DER or raw.
    """

    certificate: bytes
    algorithm: SignatureAlgorithm
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class GeneratedConfiguration:
    """The files to publish, by path under the public directory, and our own stored copy.

    ``parts`` (in directories of their own) go first, then ``directories``, which point at them.
    """

    stamp: str
    expires_at: datetime
    parts: Mapping[str, bytes]
    directories: Mapping[str, bytes]
    stored_copy: Mapping[str, bytes]
    """The newest version in the layout of ``stored``, for the central server's own use."""

    @property
    def files(self) -> dict[str, bytes]:
        """All files to publish, by path."""
        return {**self.parts, **self.directories}


@dataclass(frozen=True, slots=True)
class PendingDirectory:
    """A directory that waits for its signature over ``signed``."""

    path: str
    signed: bytes
    is_internal: bool
    boundaries: tuple[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class PreparedConfiguration:
    """All parts, and the directories that wait for their signatures."""

    stamp: str
    expires_at: datetime
    parts: Mapping[str, bytes]
    pending: tuple[PendingDirectory, ...]
    stored_copy: Mapping[str, bytes]
    certificate_digest: DigestAlgorithm

    def assemble(
        self,
        signatures: Sequence[bytes],
        *,
        internal: tuple[bytes, SignatureAlgorithm],
        external: tuple[bytes, SignatureAlgorithm],
    ) -> GeneratedConfiguration:
        """Add the signatures, in the order of ``pending``, and verify each.

        ``internal`` and ``external`` are (certificate, algorithm) of the keys. Raises
        ``ConfigurationError`` (``cannot_sign``) when a value doesn't verify: what no client
        could use isn't published.
        """
        directories: dict[str, bytes] = {}
        for pending, value in zip(self.pending, signatures, strict=True):
            certificate, algorithm = internal if pending.is_internal else external
            outer, inner = pending.boundaries
            signature = DirectorySignature(
                algorithm,
                self.certificate_digest,
                self.certificate_digest.digest(certificate),
                _checked_signature(certificate, algorithm, value, pending.signed),
            )
            directories[pending.path] = encode_directory(
                pending.signed, signature, inner_boundary=inner, outer_boundary=outer
            )
        return GeneratedConfiguration(
            self.stamp, self.expires_at, self.parts, directories, self.stored_copy
        )


def generate(
    snapshot: RegistrySnapshot,
    *,
    at: datetime,
    internal: DirectorySigner,
    external: DirectorySigner,
    boundary: Callable[[], str],
    settings: GenerationSettings | None = None,
) -> GeneratedConfiguration:
    """Turn the registry into signed configuration of every version.

    ``boundary`` returns another random text of letters and digits at each call. Raises
    ``ConfigurationError`` when any value can't be written in any version, or signing fails.
    """
    prepared = prepare(snapshot, at=at, boundary=boundary, settings=settings)
    signatures = [
        (internal if pending.is_internal else external).sign(pending.signed)
        for pending in prepared.pending
    ]
    return prepared.assemble(
        signatures,
        internal=(internal.certificate, internal.algorithm),
        external=(external.certificate, external.algorithm),
    )


def prepare(
    snapshot: RegistrySnapshot,
    *,
    at: datetime,
    boundary: Callable[[], str],
    settings: GenerationSettings | None = None,
) -> PreparedConfiguration:
    """Write the parts of every version and the directories to be signed."""
    settings = settings or GenerationSettings()
    _check_settings(settings)
    stamp = encode_stamp(at)
    expires_at = (at + settings.validity).replace(microsecond=0)
    parts: dict[str, bytes] = {}
    pending: list[PendingDirectory] = []
    newest: list[tuple[PartReference, bytes]] = []
    for version in range(settings.oldest_version, NEWEST_VERSION + 1):
        entries = _parts_of(snapshot, version, f"/V{version}/{stamp}", settings.part_digest)
        parts |= {reference.location.lstrip("/"): content for reference, content in entries}
        for is_internal in (True, False):
            references = tuple(
                reference
                for reference, _content in entries
                if is_internal or reference.identifier == SHARED_PARAMETERS
            )
            boundaries = (boundary(), boundary())
            pending.append(
                PendingDirectory(
                    f"V{version}/{INTERNAL_DIRECTORY if is_internal else EXTERNAL_DIRECTORY}",
                    encode_content(
                        SignedDirectory(expires_at, version, references), boundary=boundaries[1]
                    ),
                    is_internal,
                    boundaries,
                )
            )
        newest = entries
    copy = _stored_copy(snapshot.instance, newest, expires_at)
    return PreparedConfiguration(
        stamp, expires_at, parts, tuple(pending), copy, settings.certificate_digest
    )


def _check_settings(settings: GenerationSettings) -> None:
    if not OLDEST_VERSION <= settings.oldest_version <= NEWEST_VERSION:
        raise ConfigurationError(
            f"the oldest configuration version must be {OLDEST_VERSION} to {NEWEST_VERSION}, "
            f"not {settings.oldest_version}"
        )
    if settings.validity < timedelta(seconds=1):
        raise ConfigurationError("the validity of configuration must be at least a second")


def _parts_of(
    snapshot: RegistrySnapshot, version: int, folder: str, digest: DigestAlgorithm
) -> list[tuple[PartReference, bytes]]:
    contents = [
        (PRIVATE_PARAMETERS, PRIVATE_FILE, private_parameters_of(snapshot).encode(version)),
        (
            SHARED_PARAMETERS,
            SHARED_FILE,
            shared_parameters_of(snapshot, version).encode(version),
        ),
    ]
    for part in snapshot.optional_parts:
        try:
            extensions.check_extension(part.identifier, part.content)
        except MalformedInput as error:
            raise ConfigurationError(
                f"optional part {part.identifier} can't be distributed: {error}",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            ) from error
        contents.append((part.identifier, FILE_NAMES[part.identifier], part.content))
    if len({identifier for identifier, _name, _content in contents}) != len(contents):
        raise ConfigurationError(
            "an optional part is given twice", code=FaultCode.MALFORMED_GLOBAL_CONF
        )
    return [
        (
            PartReference(
                identifier=identifier,
                instance=snapshot.instance,
                location=f"{folder}/{file_name}",
                digest_algorithm=digest,
                digest=digest.digest(content),
            ),
            content,
        )
        for identifier, file_name, content in contents
    ]


def private_parameters_of(snapshot: RegistrySnapshot) -> PrivateParameters:
    """The private parameters that a snapshot says; the same in every version."""
    return PrivateParameters(
        instance=snapshot.instance,
        management_service=snapshot.management_service,
        trusted_anchors=snapshot.trusted_anchors,
        timestamping_interval_seconds=snapshot.timestamping_interval_seconds,
    )


def shared_parameters_of(snapshot: RegistrySnapshot, version: int) -> SharedParameters:
    """The shared parameters that a snapshot says in one version."""
    if version >= _FIRST_WITH_SHA256 and not snapshot.sources:
        raise ConfigurationError(
            "no configuration source: the central server has no address or no signing keys",
            code=FaultCode.MALFORMED_GLOBAL_CONF,
        )
    return SharedParameters(
        instance=snapshot.instance,
        sources=snapshot.sources,
        approved_cas=snapshot.approved_cas,
        approved_tsas=snapshot.approved_tsas,
        members=snapshot.members,
        security_servers=tuple(_server_of(server, version) for server in snapshot.security_servers),
        global_groups=snapshot.global_groups,
        global_settings=GlobalSettings(snapshot.member_classes, snapshot.ocsp_freshness_seconds),
    )


def _server_of(server: RegistryServer, version: int) -> SecurityServer:
    algorithm = DigestAlgorithm.SHA256 if version >= _FIRST_WITH_SHA256 else DigestAlgorithm.SHA1
    written = SecurityServer(
        owner=server.owner,
        code=server.code,
        address=server.address,
        auth_certificate_hashes=tuple(
            algorithm.digest(certificate) for certificate in server.auth_certificates
        ),
        clients=tuple(client for client in server.clients if client != server.owner),
        maintenance=server.maintenance,
    )
    if version >= _FIRST_WITH_MAINTENANCE or server.maintenance is None:
        return written
    # Older peers can't be told of the maintenance; without its subsystems they find no address.
    members = tuple(client for client in written.clients if isinstance(client, MemberId))
    return replace(written, clients=members, maintenance=None)


def _checked_signature(
    certificate: bytes, algorithm: SignatureAlgorithm, value: bytes, signed: bytes
) -> bytes:
    try:
        key = Certificate.from_pem_or_der(certificate).public_key
        candidates = [value]
        if algorithm.family == "EC" and len(value) % 2 == 0 and value:
            candidates.append(ecdsa_raw_to_der(value))
        for candidate in candidates:
            try:
                verify_signature(key, algorithm, candidate, signed, ecdsa_raw=False)
            except TrustError:
                continue
            return candidate
    except MalformedInput as error:
        raise ConfigurationError(
            f"the certificate of a signing key can't be read: {error}", code=FaultCode.CANNOT_SIGN
        ) from error
    raise ConfigurationError(
        "a signature doesn't verify with the certificate of its key", code=FaultCode.CANNOT_SIGN
    )


def _stored_copy(
    instance: str, entries: Sequence[tuple[PartReference, bytes]], expires_at: datetime
) -> dict[str, bytes]:
    stored = {}
    for reference, content in entries:
        version = reference.location.split("/")[1].removeprefix("V")
        metadata = PartMetadata(
            content_identifier=reference.identifier,
            instance=instance,
            expires_at=expires_at,
            location=reference.location,
            version=int(version),
        )
        stored[FILE_NAMES[reference.identifier]] = StoredPart(content, metadata)
    return encode_layout(instance, [(instance, stored)])
