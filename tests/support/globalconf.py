"""An instance in memory for tests: a registry, signing keys, and a place that serves its files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from postroad.crypto.algorithms import DigestAlgorithm, PrivateKey, SignatureAlgorithm, sign_data
from postroad.errors import UnavailablePeer
from postroad.globalconf.anchor import Anchor, build_anchor
from postroad.globalconf.generation import (
    DirectorySigner,
    GenerationSettings,
    RegistryServer,
    RegistrySnapshot,
    generate,
)
from postroad.globalconf.private_parameters import ManagementService
from postroad.globalconf.shared_parameters import (
    AcmeServer,
    ApprovedCa,
    ApprovedTsa,
    CertificationAuthority,
    ConfigurationSource,
    CostType,
    CsrFormat,
    GlobalGroup,
    Member,
    MemberClass,
    OcspInfo,
    Subsystem,
)
from postroad.identifiers import MemberId, SubsystemId
from postroad.ports import FetchedResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from postroad.globalconf.generation import GeneratedConfiguration

REFERENCE = Path(__file__).parent.parent / "data" / "reference"
NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
SIGNED = REFERENCE / "globalconf" / "signed"
HANDMADE = REFERENCE / "globalconf" / "handmade"
STORED = REFERENCE / "globalconf" / "stored"
ANCHORS = REFERENCE / "anchors"


def files_below(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@dataclass(frozen=True)
class SigningKey:
    """A configuration signing key with its certificate, a mere container of the public half."""

    private: PrivateKey
    certificate: bytes

    @property
    def algorithm(self) -> SignatureAlgorithm:
        return SignatureAlgorithm.for_key(self.private.public_key(), DigestAlgorithm.SHA512)

    def signer(self, *, ecdsa_raw: bool = False) -> DirectorySigner:
        def sign(data: bytes) -> bytes:
            return sign_data(self.private, self.algorithm, data, ecdsa_raw=ecdsa_raw)

        return DirectorySigner(self.certificate, self.algorithm, sign)


@cache
def signing_key(name: str, kind: str = "EC") -> SigningKey:
    """Make a key once; the certificate has expired long ago, which must not matter."""
    private: PrivateKey
    if kind == "EC":
        private = ec.generate_private_key(ec.SECP256R1())
    else:
        private = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .serial_number(1)
        .public_key(private.public_key())
        .not_valid_before(datetime(1970, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(1970, 1, 25, tzinfo=UTC))
        .sign(private, hashes.SHA256())
    )
    return SigningKey(private, certificate.public_bytes(Encoding.DER))


OWNER = MemberId("TEST", "GOV", "1")
OTHER = MemberId("TEST", "COM", "2")
REGISTRY = SubsystemId("TEST", "GOV", "1", "registry")
SHOP = SubsystemId("TEST", "COM", "2", "shop")


def snapshot(instance: str = "TEST", address: str = "cs.example") -> RegistrySnapshot:
    """A registry that uses every construct of the configuration."""
    owner = MemberId(instance, "GOV", "1")
    other = MemberId(instance, "COM", "2")
    registry = SubsystemId(instance, "GOV", "1", "registry")
    shop = SubsystemId(instance, "COM", "2", "shop")
    gov, com = MemberClass("GOV", "Government"), MemberClass("COM", "Companies & <others>")
    return RegistrySnapshot(
        instance=instance,
        management_service=ManagementService(
            f"https://{address}:4001/managementservice/", registry, b"DER of the TLS certificate"
        ),
        sources=(
            ConfigurationSource(
                address,
                (signing_key(f"{instance}-internal").certificate,),
                (signing_key(f"{instance}-external").certificate,),
            ),
        ),
        members=(
            Member(
                gov, "1", "Ministry of Tests", (Subsystem("registry", "Registry"), Subsystem("b"))
            ),
            Member(com, "2", "Ülo & Co", (Subsystem("shop", "Shop"),)),
        ),
        security_servers=(
            RegistryServer(
                owner=owner,
                code="SS1",
                address="ss1.example",
                auth_certificates=(b"DER of an authentication certificate",),
                clients=(registry, shop),
            ),
            RegistryServer(
                owner=other,
                code="SS2",
                address="ss2.example",
                auth_certificates=(b"another DER",),
                clients=(owner, shop),
                maintenance="back at noon",
            ),
            RegistryServer(owner=other, code="SS3", maintenance=""),
        ),
        global_groups=(
            GlobalGroup("security-server-owners", "Owners", (owner, other)),
            GlobalGroup("shops", "Shops", (shop,)),
        ),
        approved_cas=(
            ApprovedCa(
                name="Test CA",
                top=CertificationAuthority(
                    b"-----BEGIN CERTIFICATE-----",
                    (
                        OcspInfo("http://ocsp", b"DER", CostType.FREE),
                        OcspInfo("http://paid", None, CostType.PAID),
                    ),
                ),
                intermediates=(CertificationAuthority(b"intermediate"),),
                certificate_profile="FiVRKCertificateProfileInfoProvider",
                authentication_only=True,
                default_csr_format=CsrFormat.DER,
                acme_server=AcmeServer("http://acme", "192.0.2.1,192.0.2.2", "auth", "sign"),
            ),
        ),
        approved_tsas=(ApprovedTsa("TSA", "http://tsa", b"TSA DER", CostType.UNDEFINED),),
        member_classes=(gov, com),
        ocsp_freshness_seconds=1800,
        timestamping_interval_seconds=120,
    )


def boundaries() -> Callable[[], str]:
    """Boundaries that look random and never repeat."""
    count = iter(range(1_000_000))
    return lambda: f"boundary{next(count):012d}"


@dataclass
class Instance:
    """A whole instance whose configuration is served from memory.

    Change ``registry``, ``at`` or the keys, call ``publish``, and poll again.
    """

    name: str = "TEST"
    address: str = "cs.example"
    at: datetime = NOW
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    files: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.registry = snapshot(self.name, self.address)
        self.internal = signing_key(f"{self.name}-internal")
        self.external = signing_key(f"{self.name}-external")

    def generated(self) -> GeneratedConfiguration:
        return generate(
            self.registry,
            at=self.at,
            internal=self.internal.signer(),
            external=self.external.signer(),
            boundary=boundaries(),
            settings=self.settings,
        )

    def publish(self, at: datetime | None = None) -> None:
        """Generate and serve; earlier parts stay, as they do for ten minutes on a real server."""
        self.at = at or self.at
        self.files |= self.generated().files

    def later(self, **delta: float) -> datetime:
        self.publish(self.at + timedelta(**delta))
        return self.at

    def anchor(self, *, external: bool = False) -> Anchor:
        key = self.external if external else self.internal
        return build_anchor(
            self.name,
            [(self.address, [key.certificate])],
            directory="externalconf" if external else "internalconf",
            at=NOW,
        )

    def answer(self, path: str, version: int) -> bytes | None:
        """What the web server has at a path: the directory of a version, or a file."""
        if path in {"/internalconf", "/externalconf"}:
            path = f"/V{version}{path}"
        return self.files.get(path.lstrip("/"))


class Network:
    """A fetcher that serves instances from memory and writes down what was asked."""

    def __init__(self, *instances: Instance) -> None:
        self.instances: dict[str, Instance] = {entry.address: entry for entry in instances}
        self.asked: list[str] = []
        self.broken: set[str] = {"https"}
        """Schemes, hosts and whole addresses that can't be reached."""
        self.replaced: dict[str, FetchedResponse] = {}
        """Answers that stand in for the true one, by address."""

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
        assert method == "GET"
        self.asked.append(url)
        parts = urlsplit(url)
        if {parts.scheme, parts.hostname, url} & self.broken:
            raise UnavailablePeer(f"{parts.hostname} refuses the connection")
        if url in self.replaced:
            return self.replaced[url]
        version = int(parse_qs(parts.query).get("version", ["2"])[0])
        instance = self.instances.get(parts.hostname or "")
        found = None if instance is None else instance.answer(parts.path, version)
        if found is None:
            return FetchedResponse(404, (), b"")
        return FetchedResponse(200, (), found)


def without_trust_services(registry: RegistrySnapshot) -> RegistrySnapshot:
    return replace(registry, approved_cas=(), approved_tsas=())
