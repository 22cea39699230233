"""How is each value of the shared parameters written, in each version?

What a version doesn't know is left out. Source: PR-GCONF annex B-D; the order and the numbering
of ids are those of the reference's central server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.errors import ConfigurationError, FaultCode
from postroad.globalconf.shared_values import subsystem_of
from postroad.identifiers import MemberId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.globalconf.elements import XmlText
    from postroad.globalconf.shared_values import (
        AcmeServer,
        ApprovedCa,
        ApprovedTsa,
        CertificationAuthority,
        ConfigurationSource,
        CostType,
        GlobalGroup,
        GlobalSettings,
        Member,
        MemberClass,
        SecurityServer,
    )
    from postroad.identifiers import ClientId

_FIRST_WITH_ACME = 3
_FIRST_WITH_ACME_PROFILES = 4
_FIRST_WITH_NAMES_AND_MAINTENANCE = 5
_FIRST_WITH_COSTS_AND_CSR_FORMAT = 6


class Numbering:
    """The XML ids of members and subsystems: one counter, depth first, from ``id0``."""

    def __init__(self, instance: str, members: Sequence[Member]) -> None:
        self._ids: dict[ClientId, str] = {}
        for member in members:
            member_id = MemberId(instance, member.member_class.code, member.code)
            self._number(member_id)
            for subsystem in member.subsystems:
                self._number(subsystem_of(member_id, subsystem.code))

    def _number(self, client: ClientId) -> None:
        if client in self._ids:
            raise ConfigurationError(
                f"{client} is listed twice", code=FaultCode.MALFORMED_GLOBAL_CONF
            )
        self._ids[client] = f"id{len(self._ids)}"

    def of(self, client: ClientId) -> str:
        """The id of a client; ``ConfigurationError`` when it isn't among the members."""
        try:
            return self._ids[client]
        except KeyError:
            raise ConfigurationError(
                f"a security server refers to {client}, which is not registered",
                code=FaultCode.MALFORMED_GLOBAL_CONF,
            ) from None


def write_source(out: XmlText, source: ConfigurationSource) -> None:
    """Write a configuration source (version 3)."""
    with out.element("source"):
        out.leaf("address", source.address)
        for certificate in source.internal_verification_certificates:
            out.data("internalVerificationCert", certificate)
        for certificate in source.external_verification_certificates:
            out.data("externalVerificationCert", certificate)


def _write_cost(out: XmlText, cost_type: CostType | None, version: int) -> None:
    if version >= _FIRST_WITH_COSTS_AND_CSR_FORMAT:
        out.leaf("costType", cost_type)


def write_ca(out: XmlText, ca: ApprovedCa, version: int) -> None:
    """Write a certification service."""
    with out.element("approvedCA"):
        out.leaf("name", ca.name)
        out.leaf("authenticationOnly", "true" if ca.authentication_only else "false")
        _write_authority(out, "topCA", ca.top, version)
        for intermediate in ca.intermediates:
            _write_authority(out, "intermediateCA", intermediate, version)
        out.leaf("certificateProfileInfo", ca.certificate_profile)
        if version >= _FIRST_WITH_COSTS_AND_CSR_FORMAT:
            out.leaf("defaultCsrFormat", ca.default_csr_format)
        if ca.acme_server is not None and version >= _FIRST_WITH_ACME:
            _write_acme(out, ca.acme_server, version)


def _write_acme(out: XmlText, acme: AcmeServer, version: int) -> None:
    with out.element("acmeServer"):
        out.leaf("directoryURL", acme.directory_url)
        out.leaf("ipAddress", acme.ip_address)
        if version >= _FIRST_WITH_ACME_PROFILES:
            out.leaf("authenticationCertificateProfileId", acme.authentication_profile_id)
            out.leaf("signingCertificateProfileId", acme.signing_profile_id)


def _write_authority(
    out: XmlText, name: str, authority: CertificationAuthority, version: int
) -> None:
    with out.element(name):
        out.data("cert", authority.certificate)
        for ocsp in authority.ocsp:
            with out.element("ocsp"):
                out.leaf("url", ocsp.url)
                out.data("cert", ocsp.certificate)
                _write_cost(out, ocsp.cost_type, version)


def _write_member_class(out: XmlText, member_class: MemberClass) -> None:
    with out.element("memberClass"):
        out.leaf("code", member_class.code)
        out.leaf("description", member_class.description)


def write_member(
    out: XmlText, instance: str, member: Member, references: Numbering, version: int
) -> None:
    """Write a member with its subsystems; names of subsystems from version 5."""
    member_id = MemberId(instance, member.member_class.code, member.code)
    with out.element("member", f'id="{references.of(member_id)}"'):
        _write_member_class(out, member.member_class)
        out.leaf("memberCode", member.code)
        out.leaf("name", member.name)
        for subsystem in member.subsystems:
            number = references.of(subsystem_of(member_id, subsystem.code))
            with out.element("subsystem", f'id="{number}"'):
                out.leaf("subsystemCode", subsystem.code)
                if version >= _FIRST_WITH_NAMES_AND_MAINTENANCE:
                    out.leaf("subsystemName", subsystem.name)


def write_server(out: XmlText, server: SecurityServer, references: Numbering, version: int) -> None:
    """Write a security server; the maintenance mode from version 5."""
    with out.element("securityServer"):
        out.leaf("owner", references.of(server.owner))
        out.leaf("serverCode", server.code)
        out.leaf("address", server.address)
        for value in server.auth_certificate_hashes:
            out.data("authCertHash", value)
        for client in server.clients:
            out.leaf("client", references.of(client))
        if server.maintenance is not None and version >= _FIRST_WITH_NAMES_AND_MAINTENANCE:
            if server.maintenance:
                with out.element("inMaintenanceMode"):
                    out.leaf("message", server.maintenance)
            else:
                out.empty("inMaintenanceMode")


def write_tsa(out: XmlText, tsa: ApprovedTsa, version: int) -> None:
    """Write a time-stamping service."""
    with out.element("approvedTSA"):
        out.leaf("name", tsa.name)
        out.leaf("url", tsa.url)
        out.data("cert", tsa.certificate)
        _write_cost(out, tsa.cost_type, version)


def write_group(out: XmlText, group: GlobalGroup) -> None:
    """Write a global group with its members."""
    with out.element("globalGroup"):
        out.leaf("groupCode", group.code)
        out.leaf("description", group.description)
        for client in group.members:
            out.client("groupMember", client)


def write_settings(out: XmlText, settings: GlobalSettings) -> None:
    """Write member classes and the freshness of OCSP responses."""
    with out.element("globalSettings"):
        for member_class in settings.member_classes:
            _write_member_class(out, member_class)
        out.leaf("ocspFreshnessSeconds", str(settings.ocsp_freshness_seconds))
