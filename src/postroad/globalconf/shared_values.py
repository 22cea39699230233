"""What are shared parameters made of?

The values of versions 2 to 6 in one set of types; what a version doesn't know is None or empty.
Source: PR-GCONF annex B-D; reference: ``SharedParameters``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from postroad.identifiers import ClientId, MemberId, SecurityServerId, SubsystemId


class CostType(StrEnum):
    """What a trust service costs (version 6)."""

    FREE = "FREE"
    PAID = "PAID"
    UNDEFINED = "UNDEFINED"


class CsrFormat(StrEnum):
    """How a certification service wants requests to be encoded (version 6)."""

    PEM = "PEM"
    DER = "DER"


@dataclass(frozen=True, slots=True)
class ConfigurationSource:
    """One node that distributes the configuration (version 3): address and signing certificates.

    The certificates are DER, never normalised: they are looked up by the hash of these bytes.
    """

    address: str
    internal_verification_certificates: tuple[bytes, ...] = ()
    external_verification_certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class OcspInfo:
    """Where the state of certificates is asked, and which certificate signs the answers."""

    url: str
    certificate: bytes | None = None
    cost_type: CostType | None = None


@dataclass(frozen=True, slots=True)
class CertificationAuthority:
    """A CA certificate with its OCSP responders.

    ``certificate`` holds what the administrator uploaded: DER, or PEM text of one or more
    certificates of which the first counts.
    """

    certificate: bytes
    ocsp: tuple[OcspInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class AcmeServer:
    """Automatic issuing at a certification service (version 3, profile ids version 4)."""

    directory_url: str
    ip_address: str | None = None
    authentication_profile_id: str | None = None
    signing_profile_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedCa:
    """An approved certification service: a top CA, its intermediates, the certificate profile."""

    name: str
    top: CertificationAuthority
    certificate_profile: str
    authentication_only: bool = False
    intermediates: tuple[CertificationAuthority, ...] = ()
    default_csr_format: CsrFormat | None = None
    acme_server: AcmeServer | None = None


@dataclass(frozen=True, slots=True)
class ApprovedTsa:
    """An approved time-stamping service; the certificate as for ``CertificationAuthority``."""

    name: str
    url: str
    certificate: bytes
    cost_type: CostType | None = None


@dataclass(frozen=True, slots=True)
class MemberClass:
    """A class that members belong to."""

    code: str
    description: str


@dataclass(frozen=True, slots=True)
class Subsystem:
    """A subsystem of a member; ``name`` exists from version 5."""

    code: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A member with its subsystems, registered at a server or not."""

    member_class: MemberClass
    code: str
    name: str
    subsystems: tuple[Subsystem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityServer:
    """A security server: owner, address, authentication certificates and registered clients."""

    owner: MemberId
    code: str
    address: str | None = None
    auth_certificate_hashes: tuple[bytes, ...] = ()
    """SHA-1 (20 bytes, version 2) or SHA-256 (32 bytes) of the DER certificates."""
    clients: tuple[ClientId, ...] = ()
    """Enabled registrations; the owner isn't repeated."""
    maintenance: str | None = None
    """Message of the maintenance mode ("" when there is none), None when not in it (version 5)."""

    @property
    def server_id(self) -> SecurityServerId:
        """The server's identifier: owner and code."""
        owner = self.owner
        return SecurityServerId(owner.instance, owner.member_class, owner.member_code, self.code)


@dataclass(frozen=True, slots=True)
class GlobalGroup:
    """An access right group kept by the central server."""

    code: str
    description: str
    members: tuple[ClientId, ...] = ()


@dataclass(frozen=True, slots=True)
class GlobalSettings:
    """Member classes of the instance and the longest age of an OCSP response in seconds."""

    member_classes: tuple[MemberClass, ...] = ()
    ocsp_freshness_seconds: int = 3600


def subsystem_of(member: MemberId, code: str) -> SubsystemId:
    """The identifier of a member's subsystem."""
    return SubsystemId(member.instance, member.member_class, member.member_code, code)
