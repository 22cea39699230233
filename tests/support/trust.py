"""A server's view of a small ecosystem with a trust lab: configuration, responder, signer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256

from postroad.adapters.signer_protocol import CertificateRecord, CertificateStatus
from postroad.errors import UnavailablePeer
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.shared_parameters import (
    AcmeServer,
    ApprovedCa,
    CertificationAuthority,
    Member,
    MemberClass,
    OcspInfo,
    SecurityServer,
    SharedParameters,
    Subsystem,
)
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration
from postroad.identifiers import ClientId, MemberId, SecurityServerId, SubsystemId
from postroad.ports import FetchedResponse, KeyCertificate
from postroad.trustlab.authority import TrustLab

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
INSTANCE = "TEST"
SERVER = SecurityServerId(INSTANCE, "GOV", "1", "SS1")
OWNER = SERVER.owner
CLIENT = SubsystemId(INSTANCE, "GOV", "1", "app")
STRANGER = MemberId(INSTANCE, "GOV", "9")
ROOT_URL, CA_URL = "http://ocsp.example/root", "http://ocsp.example/ca"


@dataclass
class Ecosystem:
    """A lab, and the global configuration that approves it."""

    lab: TrustLab = field(default_factory=lambda: TrustLab.create(at=NOW))
    auth_certificates: tuple[bytes, ...] = ()
    clients: tuple[ClientId, ...] = (CLIENT,)
    authentication_only: bool = False
    owner: MemberId = OWNER
    maintenance: str | None = None
    provider: ClientId = CLIENT
    address: str = "ss1.example"
    acme_server: AcmeServer | None = None
    ocsp_urls: tuple[str, str] = (ROOT_URL, CA_URL)

    def globalconf(self) -> GlobalConfiguration:
        root, issuing = self.lab.ca_certificates
        government = MemberClass("GOV", "Government")
        shared = SharedParameters(
            instance=INSTANCE,
            approved_cas=(
                ApprovedCa(
                    name="Lab CA",
                    top=CertificationAuthority(root.der, (OcspInfo(self.ocsp_urls[0]),)),
                    intermediates=(
                        CertificationAuthority(issuing.der, (OcspInfo(self.ocsp_urls[1]),)),
                    ),
                    certificate_profile=self.lab.profile,
                    authentication_only=self.authentication_only,
                    acme_server=self.acme_server,
                ),
            ),
            members=(
                Member(government, "1", "Ministry", (Subsystem("app"),)),
                Member(government, "9", "Stranger"),
            ),
            security_servers=(
                SecurityServer(
                    owner=self.owner,
                    code="SS1",
                    address=self.address,
                    auth_certificate_hashes=tuple(
                        sha256(der).digest() for der in self.auth_certificates
                    ),
                    clients=self.clients,
                    maintenance=self.maintenance,
                ),
            ),
        )
        private = PrivateParameters(INSTANCE, ManagementService("https://central", self.provider))
        return GlobalConfiguration(
            INSTANCE,
            [
                InstanceConfiguration(
                    instance=INSTANCE,
                    index=InstanceIndex(shared),
                    shared_version=6,
                    private=private,
                )
            ],
        )


class Responders:
    """A fetcher behind which the lab's OCSP responders stand."""

    def __init__(self, lab: TrustLab, at: datetime = NOW) -> None:
        self.lab = lab
        self.at = at
        self.asked: list[str] = []
        self.broken: set[str] = set()
        self.replaced: dict[str, bytes] = {}

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 30.0,
        max_body: int = 16 * 1024 * 1024,
    ) -> FetchedResponse:
        del headers, timeout, max_body
        assert method == "POST"
        self.asked.append(url)
        if url in self.broken:
            raise UnavailablePeer("refused")
        answer = self.replaced.get(url) or self.lab.answer_ocsp(body, at=self.at)
        return FetchedResponse(200, (("Content-Type", "application/ocsp-response"),), answer)


class SignerDouble:
    """A signer's records without a signer: what was set is remembered."""

    def __init__(self, *keys: KeyCertificate) -> None:
        self.keys = list(keys)
        self.imported: list[tuple[bytes, str | None]] = []

    async def certificates(self) -> tuple[KeyCertificate, ...]:
        return tuple(self.keys)

    async def import_certificate(
        self, der: bytes, *, member: str | None, status: CertificateStatus | None = None
    ) -> CertificateRecord:
        self.imported.append((der, member))
        return CertificateRecord(
            der=der, status=status or CertificateStatus.REGISTERED, member=member
        )

    async def set_certificate(
        self,
        certificate_hash: str,
        *,
        active: bool | None = None,
        status: CertificateStatus | None = None,
    ) -> None:
        for at, key in enumerate(self.keys):
            if sha256(key.der).hexdigest().upper() == certificate_hash.upper():
                self.keys[at] = replace(
                    key,
                    active=key.active if active is None else active,
                    status=key.status if status is None else status.value,
                )


def key_certificate(
    der: bytes, *, usage: str = "SIGNING", active: bool = True, status: str = "registered"
) -> KeyCertificate:
    """A certificate of a signer that is logged in."""
    member = OWNER.encoded() if usage == "SIGNING" else None
    return KeyCertificate("K1", usage, der, member, active, status, token_active=True)
