"""Two instances, each with authorities of its own, and a server of each in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.shared_parameters import (
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    ConfigurationSource,
    GlobalGroup,
    Member,
    MemberClass,
    OcspInfo,
    SecurityServer,
    SharedParameters,
    Subsystem,
)
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import MemberId, SubsystemId
from postroad.trustlab.authority import TrustLab
from support.exchange import CLIENT, CONSUMER, INSTANCE, NOW, Server, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from postroad.crypto.certificates import Certificate

PARTNER = "PARTNER"
PARTNER_MEMBER = MemberId(PARTNER, "GOV", "2")
PARTNER_REGISTER = SubsystemId(PARTNER, "GOV", "2", "reg")
PARTNER_TARGET = "/r1/PARTNER/GOV/2/reg/persons"
PARTNER_LAB = TrustLab.create(at=NOW, name="Partner")


class FederatedWorld(World):
    """The consumer lives in our instance, the provider in the partner's.

    ``known`` says which instances each server knows; ``shared`` is what each registry says.
    """

    provider_member = PARTNER_MEMBER
    register = PARTNER_REGISTER

    def __init__(self, tmp: Path) -> None:
        self.shared: dict[str, SharedParameters] = {}
        self.known: dict[str, tuple[str, ...]] = {
            INSTANCE: (INSTANCE, PARTNER),
            PARTNER: (PARTNER, INSTANCE),
        }
        self.views: dict[str, GlobalConfiguration] = {}
        super().__init__(tmp)

    def lab_of(self, instance: str) -> TrustLab:
        return PARTNER_LAB if instance == PARTNER else self.lab

    def view_of(self, server: Server) -> GlobalConfiguration:
        return self.views[server.id.instance]

    def accepted_authorities(self) -> Sequence[Certificate]:
        return (*self.lab.ca_certificates, *PARTNER_LAB.ca_certificates)

    def configure(self, **_unused: object) -> None:
        """Publish what both registries say, each to those who know it."""
        for server, member, client in (
            (self.consumer, CONSUMER, CLIENT),
            (self.provider, PARTNER_MEMBER, PARTNER_REGISTER),
        ):
            self.shared.setdefault(member.instance, self._registry(server, member, client))
        for own, known in self.known.items():
            private = PrivateParameters(
                own, ManagementService("https://central", SubsystemId(own, "GOV", "0", "MGMT"))
            )
            self.views[own] = GlobalConfiguration(
                own,
                [
                    InstanceConfiguration(
                        instance=name,
                        index=InstanceIndex(self.shared[name]),
                        shared_version=6,
                        private=private if name == own else None,
                    )
                    for name in known
                ],
            )
        self.globalconf = self.views[INSTANCE]

    def publish(self, changes: Mapping[str, SharedParameters]) -> None:
        """Let registries say something else."""
        self.shared |= changes
        self.configure()

    def _registry(self, server: Server, member: MemberId, client: SubsystemId) -> SharedParameters:
        lab = self.lab_of(member.instance)
        responder = OcspInfo("http://ocsp", lab.ocsp_certificate.der)
        return SharedParameters(
            instance=member.instance,
            sources=(ConfigurationSource("central"),),
            approved_cas=(
                ApprovedCa(
                    name=member.instance,
                    top=CertificationAuthority(lab.root.certificate.der),
                    certificate_profile=lab.profile,
                    intermediates=(CertificationAuthority(lab.ca_certificate.der, (responder,)),),
                ),
            ),
            approved_tsas=(ApprovedTsa("tsa", "http://tsa", lab.tsa_certificate.der),),
            members=(
                Member(
                    MemberClass(member.member_class, ""),
                    member.member_code,
                    "Member",
                    (Subsystem(client.subsystem_code),),
                ),
            ),
            security_servers=(
                SecurityServer(
                    owner=member,
                    code=server.id.server_code,
                    address="127.0.0.1",
                    auth_certificate_hashes=(server.auth.certificate.sha256,),
                    clients=(client,),
                ),
            ),
            global_groups=(GlobalGroup("callers", "", (CLIENT,)),),
        )
