"""What does an instance tell everybody: its members, servers, trust services and groups?

One value type for the versions 2 to 6; what a version can't express is left out when it is
written and empty when it is read. Source: PR-GCONF annex B-D; reference: ``SharedParameters``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from postroad.errors import MalformedInput
from postroad.globalconf import elements
from postroad.globalconf.elements import XmlText, malformed
from postroad.globalconf.shared_reading import (
    parse_ca,
    parse_group,
    parse_members,
    parse_server,
    parse_settings,
    parse_source,
    parse_tsa,
)
from postroad.globalconf.shared_values import (
    AcmeServer,
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    ConfigurationSource,
    CostType,
    CsrFormat,
    GlobalGroup,
    GlobalSettings,
    Member,
    MemberClass,
    OcspInfo,
    SecurityServer,
    Subsystem,
)
from postroad.globalconf.shared_writing import (
    Numbering,
    write_ca,
    write_group,
    write_member,
    write_server,
    write_settings,
    write_source,
    write_tsa,
)

__all__ = [
    "NEWEST_VERSION",
    "OLDEST_VERSION",
    "SUPPORTED_VERSIONS",
    "AcmeServer",
    "ApprovedCa",
    "ApprovedTsa",
    "CertificationAuthority",
    "ConfigurationSource",
    "CostType",
    "CsrFormat",
    "GlobalGroup",
    "GlobalSettings",
    "Member",
    "MemberClass",
    "OcspInfo",
    "SecurityServer",
    "SharedParameters",
    "Subsystem",
]

OLDEST_VERSION = 2
NEWEST_VERSION = 6
SUPPORTED_VERSIONS = tuple(range(OLDEST_VERSION, NEWEST_VERSION + 1))

FIRST_WITH_SOURCES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedParameters:
    """The shared parameters of one instance (PR-GCONF, part ``SHARED-PARAMETERS``)."""

    instance: str
    sources: tuple[ConfigurationSource, ...] = ()
    approved_cas: tuple[ApprovedCa, ...] = ()
    approved_tsas: tuple[ApprovedTsa, ...] = ()
    members: tuple[Member, ...] = ()
    security_servers: tuple[SecurityServer, ...] = ()
    global_groups: tuple[GlobalGroup, ...] = ()
    global_settings: GlobalSettings = field(default_factory=GlobalSettings)

    @classmethod
    def parse(cls, data: bytes, version: int) -> SharedParameters:
        """Read a part of the given configuration version; central services are skipped.

        Raises ``MalformedInput`` when the part breaks the schema of its version, or a server
        refers to a member that isn't there.
        """
        root = elements.parse_document(data, _schema(version))
        instance = elements.text(root, "instanceIdentifier")
        try:
            members, references = parse_members(root, instance)
            servers = [parse_server(e, references) for e in root.iterfind("securityServer")]
            for server in servers:
                _ = server.server_id  # its code must make an identifier
        except MalformedInput as error:
            raise malformed(str(error)) from error
        return cls(
            instance=instance,
            sources=tuple(parse_source(e) for e in root.iterfind("source")),
            approved_cas=tuple(parse_ca(e) for e in root.iterfind("approvedCA")),
            approved_tsas=tuple(parse_tsa(e) for e in root.iterfind("approvedTSA")),
            members=members,
            security_servers=tuple(servers),
            global_groups=tuple(parse_group(e) for e in root.iterfind("globalGroup")),
            global_settings=parse_settings(elements.required(root, "globalSettings")),
        )

    def encode(self, version: int) -> bytes:
        """Write the part in the given version, leaving out what that version doesn't know.

        Raises ``ConfigurationError`` when a server refers to an unknown member, or the result
        would break the schema.
        """
        references = Numbering(self.instance, self.members)
        out = XmlText()
        with out.root("conf"):
            out.leaf("instanceIdentifier", self.instance)
            for source in self.sources if version >= FIRST_WITH_SOURCES else ():
                write_source(out, source)
            for ca in self.approved_cas:
                write_ca(out, ca, version)
            for tsa in self.approved_tsas:
                write_tsa(out, tsa, version)
            for member in self.members:
                write_member(out, self.instance, member, references, version)
            for server in self.security_servers:
                write_server(out, server, references, version)
            for group in self.global_groups:
                write_group(out, group)
            write_settings(out, self.global_settings)
        return out.encode_readable(
            SharedParameters.parse, version=version, what="shared parameters"
        )


def _schema(version: int) -> str:
    if version not in SUPPORTED_VERSIONS:
        raise malformed(f"configuration version {version} is not one of {SUPPORTED_VERSIONS}")
    return f"shared-parameters-v{version}.xsd"
