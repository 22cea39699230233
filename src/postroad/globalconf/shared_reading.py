"""How is each value of the shared parameters read from its element?

The elements have passed the schema of their version; what a schema can't say is checked here.
Source: PR-GCONF annex B-D.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.globalconf import elements
from postroad.globalconf.elements import malformed
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
    subsystem_of,
)
from postroad.identifiers import MemberId

if TYPE_CHECKING:
    from postroad.identifiers import ClientId
    from postroad.wire.xml import Element


def parse_source(element: Element) -> ConfigurationSource:
    """Read a configuration source (version 3)."""
    return ConfigurationSource(
        elements.text(element, "address"),
        tuple(elements.bytes_of(e) for e in element.iterfind("internalVerificationCert")),
        tuple(elements.bytes_of(e) for e in element.iterfind("externalVerificationCert")),
    )


def _parse_cost(element: Element) -> CostType | None:
    word = elements.optional_text(element, "costType")
    return None if word is None else CostType(word)


def _parse_authority(element: Element) -> CertificationAuthority:
    return CertificationAuthority(
        elements.bytes_of(elements.required(element, "cert")),
        tuple(
            OcspInfo(elements.text(e, "url"), elements.optional_bytes(e, "cert"), _parse_cost(e))
            for e in element.iterfind("ocsp")
        ),
    )


def parse_ca(element: Element) -> ApprovedCa:
    """Read a certification service; without the flag it isn't for authentication only."""
    flag = element.find("authenticationOnly")
    acme = element.find("acmeServer")
    csr_format = elements.optional_text(element, "defaultCsrFormat")
    return ApprovedCa(
        name=elements.text(element, "name"),
        authentication_only=flag is not None and elements.boolean(flag),
        top=_parse_authority(elements.required(element, "topCA")),
        intermediates=tuple(_parse_authority(e) for e in element.iterfind("intermediateCA")),
        certificate_profile=elements.text(element, "certificateProfileInfo"),
        default_csr_format=None if csr_format is None else CsrFormat(csr_format),
        acme_server=None if acme is None else _parse_acme(acme),
    )


def _parse_acme(element: Element) -> AcmeServer:
    return AcmeServer(
        elements.text(element, "directoryURL"),
        elements.optional_text(element, "ipAddress"),
        elements.optional_text(element, "authenticationCertificateProfileId"),
        elements.optional_text(element, "signingCertificateProfileId"),
    )


def parse_tsa(element: Element) -> ApprovedTsa:
    """Read a time-stamping service."""
    return ApprovedTsa(
        elements.text(element, "name"),
        elements.text(element, "url"),
        elements.bytes_of(elements.required(element, "cert")),
        _parse_cost(element),
    )


def _parse_member_class(element: Element) -> MemberClass:
    return MemberClass(elements.text(element, "code"), elements.text(element, "description"))


def parse_members(root: Element, instance: str) -> tuple[tuple[Member, ...], dict[str, ClientId]]:
    """Read the members, and which client each XML id stands for."""
    members: list[Member] = []
    references: dict[str, ClientId] = {}

    def refer(element: Element, client: ClientId) -> None:
        key = (element.get("id") or "").strip()
        if key in references:
            raise malformed(f"two members or subsystems have the id {key!r}")
        references[key] = client

    for element in root.iterfind("member"):
        member_class = _parse_member_class(elements.required(element, "memberClass"))
        member_id = MemberId(instance, member_class.code, elements.text(element, "memberCode"))
        refer(element, member_id)
        subsystems: list[Subsystem] = []
        for child in element.iterfind("subsystem"):
            code = elements.text(child, "subsystemCode")
            refer(child, subsystem_of(member_id, code))
            subsystems.append(Subsystem(code, elements.optional_text(child, "subsystemName")))
        name = elements.text(element, "name")
        members.append(Member(member_class, member_id.member_code, name, tuple(subsystems)))
    return tuple(members), references


def parse_server(element: Element, references: dict[str, ClientId]) -> SecurityServer:
    """Read a security server, its references resolved to identifiers."""

    def referred(child: Element) -> ClientId:
        key = elements.text_of(child).strip()
        try:
            return references[key]
        except KeyError:
            raise malformed(f"a security server refers to the unknown id {key[:80]!r}") from None

    owner = referred(elements.required(element, "owner"))
    if not isinstance(owner, MemberId):
        raise malformed(f"the owner of a security server is a subsystem: {owner}")
    maintenance = element.find("inMaintenanceMode")
    return SecurityServer(
        owner=owner,
        code=elements.text(element, "serverCode"),
        address=elements.optional_text(element, "address"),
        auth_certificate_hashes=tuple(
            elements.bytes_of(e) for e in element.iterfind("authCertHash")
        ),
        clients=tuple(referred(e) for e in element.iterfind("client")),
        maintenance=None
        if maintenance is None
        else elements.optional_text(maintenance, "message") or "",
    )


def parse_group(element: Element) -> GlobalGroup:
    """Read a global group with its members."""
    return GlobalGroup(
        elements.text(element, "groupCode"),
        elements.text(element, "description"),
        tuple(elements.client_of(e) for e in element.iterfind("groupMember")),
    )


def parse_settings(element: Element) -> GlobalSettings:
    """Read member classes and the freshness of OCSP responses."""
    return GlobalSettings(
        tuple(_parse_member_class(e) for e in element.iterfind("memberClass")),
        elements.seconds(element, "ocspFreshnessSeconds"),
    )
