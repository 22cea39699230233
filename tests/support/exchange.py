"""Two security servers in one process, over real sockets: flows and attacks run through them."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from postroad.adapters.http_client import ClientTls, FetchedResponse, HttpClient
from postroad.adapters.http_server import HttpServer, Listener, Request, Responder
from postroad.adapters.tls import encode_pem, peer_client_context, peer_server_context
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_digest
from postroad.fault_table import Dialect
from postroad.globalconf.indexes import InstanceIndex
from postroad.globalconf.private_parameters import ManagementService, PrivateParameters
from postroad.globalconf.shared_parameters import (
    ApprovedCa,
    CertificationAuthority,
    ConfigurationSource,
    Member,
    MemberClass,
    OcspInfo,
    SecurityServer,
    SharedParameters,
    Subsystem,
)
from postroad.globalconf.view import GlobalConfiguration, InstanceConfiguration, ProviderServer
from postroad.identifiers import ClientId, MemberId, SecurityServerId, ServiceId, SubsystemId
from postroad.ports import KeyCertificate, LentKey
from postroad.securityserver.builtin_services import BuiltinServices
from postroad.securityserver.client_proxy import ClientProxy, serve_consumer
from postroad.securityserver.exchange_report import ExchangeReport
from postroad.securityserver.outgoing import OutgoingExchange
from postroad.securityserver.peer_certificates import PeerVerdicts
from postroad.securityserver.provider_judgement import ProviderJudge
from postroad.securityserver.routing import choose_servers
from postroad.securityserver.server_proxy import ServerProxy, serve_peer
from postroad.securityserver.serverconf.snapshot import (
    FORMAT,
    ClientEntry,
    ClientView,
    EndpointEntry,
    ServerConfSnapshot,
    ServerConfView,
    ServiceEntry,
    subject_text,
)
from postroad.securityserver.settings import Settings, parse_settings
from postroad.securityserver.signing import BatchingSigner
from postroad.securityserver.snapshots import OcspDirectory, OwnCertificates, Snapshot
from postroad.trustlab.authority import Identity, TrustLab

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from postroad.authorization.rights import Subject
    from postroad.crypto.certificates import Certificate
    from postroad.errors import PostroadError
    from postroad.securityserver.messagelog.records import MessageRecord

HeaderList = tuple[tuple[str, str], ...]

INSTANCE = "TEST"
CONSUMER = MemberId(INSTANCE, "COM", "1")
PROVIDER = MemberId(INSTANCE, "GOV", "2")
CLIENT = SubsystemId(INSTANCE, "COM", "1", "app")
REGISTER = SubsystemId(INSTANCE, "GOV", "2", "reg")
SERVICE = ServiceId(REGISTER, "persons")
TARGET = "/r1/TEST/GOV/2/reg/persons"
NOW = datetime.now(UTC).replace(microsecond=0)  # noqa: TID251 - TLS handshakes know no other time


@dataclass
class MovableClock:
    """A clock that tests turn."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass
class MemorySigner:
    """The signer port over keys in memory; ``gate`` holds signatures back."""

    keys: dict[str, Identity]
    listed: list[KeyCertificate]
    authentication: Identity
    signed: int = 0
    gate: asyncio.Event | None = None
    failure: PostroadError | None = None

    async def sign(self, key_id: str, digest_algorithm: DigestAlgorithm, digest: bytes) -> bytes:
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        self.signed += 1
        identity = self.keys[key_id]
        algorithm = SignatureAlgorithm.for_key(identity.certificate.public_key, digest_algorithm)
        return sign_digest(identity.private_key, algorithm, digest, ecdsa_raw=True)

    async def certificates(self) -> Sequence[KeyCertificate]:
        return self.listed

    async def lend_authentication_key(self) -> LentKey:
        return LentKey(pem_of(self.authentication), self.authentication.certificate.der)


@dataclass
class MemoryLog:
    """The message log port over a list."""

    records: list[MessageRecord] = field(default_factory=list)
    failure: PostroadError | None = None

    async def append(self, record: MessageRecord) -> int:
        if self.failure is not None:
            raise self.failure
        self.records.append(record)
        return len(self.records)


def pem_of(identity: Identity) -> bytes:
    return identity.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@dataclass
class DirectConnector:
    """Connects to the first server that answers."""

    http: HttpClient
    tls: Callable[[], ClientTls]
    port: Callable[[ProviderServer], int]

    async def open(
        self,
        servers: Sequence[ProviderServer],
        judge: Callable[[str, tuple[bytes, ...]], Awaitable[None]],
        headers: HeaderList,
    ) -> OutgoingExchange:
        server = servers[0]

        async def verify(_leaf: bytes, chain: tuple[bytes, ...]) -> None:
            await judge(server.address, chain)

        return await self.http.open(
            "POST",
            f"https://{server.address}:{self.port(server)}/",
            headers=headers,
            content_length=None,
            tls=self.tls(),
            verify_peer=verify,
            response_timeout=20,
        )


@dataclass
class PlainServices:
    """Calls services over plain HTTP."""

    http: HttpClient

    async def open(
        self,
        method: str,
        url: str,
        headers: HeaderList,
        *,
        content_length: int,
        service: ServiceEntry,
        provider: ClientView,
    ) -> OutgoingExchange:
        return await self.http.open(
            method,
            url,
            headers=headers,
            content_length=content_length,
            response_timeout=service.timeout or 20,
        )


ServiceHandler = Callable[[Request, Responder], Awaitable[None]]


class Server:
    """One security server: both proxies, its OCSP port, its keys, its log."""

    def __init__(self, world: World, owner: MemberId, code: str, client: SubsystemId) -> None:
        self.world = world
        self.lab = world.lab_of(owner.instance)
        self.id = SecurityServerId(owner.instance, owner.member_class, owner.member_code, code)
        self.owner = owner
        self.client = client
        self.sign = self.lab.sign_certificate(owner)
        self.auth = self.lab.auth_certificate(self.id)
        self.home = world.tmp / code
        for name in ("spool", "ocsp"):
            (self.home / name).mkdir(parents=True)
        self.settings: Settings = parse_settings(
            f'[server]\nidentifier = "{self.id.encoded()}"\n', home=self.home
        )
        self.log = MemoryLog()
        self.signer = MemorySigner({"sign-key": self.sign}, [self.listed_key()], self.auth)
        self.ocsp = OcspDirectory(self.home / "ocsp")
        self.own = OwnCertificates()
        self.reports: list[ExchangeReport] = []
        self.clients: dict[ClientId, ClientEntry] = {}
        self.peer_port = 0
        self.ocsp_port = 0
        self.http = HttpClient()
        self.verdicts = PeerVerdicts()
        self.unexpected: list[Exception] = []
        self.builtin = BuiltinServices()
        self.put_client(client)
        self.refresh_ocsp()

    def listed_key(self, **changes: object) -> KeyCertificate:
        values: dict[str, object] = {
            "key_id": "sign-key",
            "usage": "SIGNING",
            "der": self.sign.certificate.der,
            "member": self.owner.encoded(),
            "active": True,
            "status": "registered",
            "token_active": True,
        } | changes
        return KeyCertificate(**values)  # the values are those above

    def refresh_ocsp(self, at: datetime | None = None) -> None:
        for identity in (self.sign, self.auth):
            der = self.lab.ocsp(identity.certificate, at=at or self.world.clock.at)
            self.ocsp.responses = {**self.ocsp.responses, identity.certificate.sha1: der}

    def put_client(
        self,
        client: ClientId,
        *,
        status: str = "registered",
        connection_type: str = "NOSSL",
        certificates: tuple[bytes, ...] = (),
        services: tuple[ServiceEntry, ...] = (),
        endpoints: tuple[EndpointEntry, ...] = (),
    ) -> None:
        self.clients[client] = ClientEntry(
            client.encoded(), status, connection_type, certificates, services, endpoints, ()
        )

    def snapshot(self) -> Snapshot:
        view = ServerConfView(
            ServerConfSnapshot(FORMAT, 1, self.id.encoded(), tuple(self.clients.values()), ())
        )
        return Snapshot(
            globalconf=self.world.view_of(self),
            serverconf=view,
            keys=tuple(self.signer.listed),
            ocsp=self.ocsp.responses,
        )

    # --- the two sides ---------------------------------------------------------------------------

    def batching(self) -> BatchingSigner:
        return BatchingSigner(
            self.signer,
            lambda member: self.own.signing_key(self.snapshot(), member, self.world.clock.now()),
            self.world.clock,
        )

    def client_proxy(self) -> ClientProxy:
        judge = ProviderJudge(
            self.http,
            self.ocsp,
            self.verdicts,
            self.world.clock,
            ocsp_port=lambda _host: self.world.provider.ocsp_port,
        )
        context = peer_client_context(pem_of(self.auth), encode_pem(self.auth.certificate.der))
        tls = ClientTls(context)
        return ClientProxy(
            settings=self.settings,
            clock=self.world.clock,
            snapshot=self.snapshot,
            signer=self.batching(),
            log=self.log,
            connector=DirectConnector(
                self.http, lambda: tls, lambda _server: self.world.provider.peer_port
            ),
            judge_provider=judge.judge,
            own_ocsp=lambda snapshot: self.own.authentication_ocsp(
                snapshot, self.auth.certificate, self.world.clock.now()
            ),
            choose_servers=lambda snapshot, service, target: choose_servers(
                snapshot.globalconf, service.client, target
            ),
            new_id=self.world.new_id,
            dialect=Dialect.SNAKE,
            internal_certificate=lambda: None,
        )

    def server_proxy(self) -> ServerProxy:
        return ServerProxy(
            settings=self.settings,
            clock=self.world.clock,
            snapshot=self.snapshot,
            signer=self.batching(),
            log=self.log,
            services=PlainServices(self.http),
            verdicts=self.verdicts,
            new_id=self.world.new_id,
            dialect=Dialect.SNAKE,
            builtin=self.builtin,
        )

    async def listen_for_consumers(self, stack: AsyncExitStack) -> int:
        proxy = self.client_proxy()

        async def handle(request: Request, responder: Responder) -> None:
            report = ExchangeReport(side="client")
            self.reports.append(report)
            await serve_consumer(proxy, request, responder, report)

        return (await self.serve(handle, stack)).port

    async def listen_for_peers(self, stack: AsyncExitStack) -> None:
        proxy = self.server_proxy()

        async def handle(request: Request, responder: Responder) -> None:
            report = ExchangeReport(side="server")
            self.reports.append(report)
            await serve_peer(proxy, request, responder, report)

        context = peer_server_context(
            pem_of(self.auth),
            encode_pem(self.auth.certificate.der),
            [certificate.der for certificate in self.world.accepted_authorities()],
        )
        server = HttpServer(handle, on_failure=lambda _r, error: self.unexpected.append(error))
        stack.push_async_callback(server.drain, 0.1)
        self.peer_port = (await server.listen("127.0.0.1", 0, tls=context)).port
        self.ocsp_port = (await self.serve(self.answer_ocsp, stack)).port

    async def answer_ocsp(self, request: Request, responder: Responder) -> None:
        der = self.ocsp.responses[self.auth.certificate.sha1]
        body = b"--b\r\ncontent-type: application/ocsp-response\r\n\r\n" + der + b"\r\n--b--\r\n"
        content_type = 'multipart/related; type="application/ocsp-response"; boundary=b'
        await responder.respond(200, [("Content-Type", content_type)], body)

    async def serve(self, handler: ServiceHandler, stack: AsyncExitStack) -> Listener:
        server = HttpServer(handler, on_failure=lambda _r, error: self.unexpected.append(error))
        stack.push_async_callback(server.drain, 0.1)
        return await server.listen("127.0.0.1", 0)


class World:
    """A whole little ecosystem: a consumer's server, a provider's server and its service."""

    provider_member = PROVIDER
    register = REGISTER

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        self.clock = MovableClock()
        self.lab = TrustLab.create(at=NOW)
        self.addresses = {"SS1": "127.0.0.1", "SS2": "127.0.0.1"}
        self.ids = (f"id-{number}" for number in itertools.count(1))
        self.globalconf: GlobalConfiguration
        self.consumer = Server(self, CONSUMER, "SS1", CLIENT)
        self.provider = Server(self, self.provider_member, "SS2", self.register)
        self.port = 0
        self.called: list[tuple[str, str, HeaderList, bytes]] = []
        self.service: ServiceHandler = self.answer_hello
        self.stack = AsyncExitStack()
        self.client = HttpClient()
        self.configure()

    def new_id(self) -> str:
        return next(self.ids)

    def lab_of(self, _instance: str) -> TrustLab:
        return self.lab

    def view_of(self, _server: Server) -> GlobalConfiguration:
        return self.globalconf

    def accepted_authorities(self) -> Sequence[Certificate]:
        return self.lab.ca_certificates

    def configure(
        self,
        *,
        consumer_clients: tuple[ClientId, ...] = (CLIENT,),
        provider_auth: Certificate | None = None,
        renewed: Mapping[str, Certificate] = MappingProxyType({}),
    ) -> None:
        """Publish a global configuration; `renewed` lists a second certificate of a server."""
        gov, com = MemberClass("GOV", ""), MemberClass("COM", "")
        shared = SharedParameters(
            instance=INSTANCE,
            sources=(ConfigurationSource("central"),),
            approved_cas=(
                ApprovedCa(
                    name="lab",
                    top=CertificationAuthority(self.lab.root.certificate.der),
                    certificate_profile=self.lab.profile,
                    intermediates=(
                        CertificationAuthority(
                            self.lab.ca_certificate.der,
                            (OcspInfo("http://ocsp", self.lab.ocsp_certificate.der),),
                        ),
                    ),
                ),
            ),
            members=(
                Member(com, "1", "Consumer", (Subsystem("app"), Subsystem("other"))),
                Member(gov, "2", "Provider", (Subsystem("reg"),)),
            ),
            security_servers=(
                SecurityServer(
                    owner=CONSUMER,
                    code="SS1",
                    address=self.addresses["SS1"],
                    auth_certificate_hashes=(
                        self.consumer.auth.certificate.sha256,
                        *(renewed[code].sha256 for code in ("SS1",) if code in renewed),
                    ),
                    clients=consumer_clients,
                ),
                SecurityServer(
                    owner=PROVIDER,
                    code="SS2",
                    address=self.addresses["SS2"],
                    auth_certificate_hashes=(
                        (provider_auth or self.provider.auth.certificate).sha256,
                        *(renewed[code].sha256 for code in ("SS2",) if code in renewed),
                    ),
                    clients=(REGISTER,),
                ),
            ),
        )
        private = PrivateParameters(INSTANCE, ManagementService("https://central", REGISTER))
        self.globalconf = GlobalConfiguration(
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

    def offer(
        self,
        *,
        endpoint: tuple[str, str] = ("*", "**"),
        subject: Subject = CLIENT,
        **changes: object,
    ) -> None:
        """Offer the service ``persons`` at the provider, with a right for the subject."""
        values = {
            "service_code": "persons",
            "service_version": None,
            "type": "REST",
            "url": self.service_url,
            "timeout": 10,
            "verify_tls": False,
            "disabled": False,
            "disabled_notice": "",
            "description_url": self.service_url,
        } | changes
        entry = ServiceEntry(**values)  # the values are those above
        rights = EndpointEntry("persons", *endpoint, (subject_text(subject),))
        self.provider.put_client(self.register, services=(entry,), endpoints=(rights,))

    async def answer_hello(self, request: Request, responder: Responder) -> None:
        body = await request.body.read_all(1 << 30)
        self.called.append((request.method, request.target, request.headers, body))
        await responder.respond(200, [("Content-Type", "text/plain"), ("X-Own", "1")], b"hello")

    async def __aenter__(self) -> Self:
        async def handle(request: Request, responder: Responder) -> None:
            await self.service(request, responder)

        service = await self.provider.serve(handle, self.stack)
        self.service_url = f"http://127.0.0.1:{service.port}/api"
        self.offer()
        await self.provider.listen_for_peers(self.stack)
        self.port = await self.consumer.listen_for_consumers(self.stack)
        return self

    async def __aexit__(self, *_: object) -> None:
        for http in (self.client, self.consumer.http, self.provider.http):
            http.close()
        await self.stack.aclose()

    async def call(
        self,
        method: str = "GET",
        target: str = TARGET,
        headers: HeaderList = (),
        body: bytes = b"",
        client: ClientId = CLIENT,
    ) -> FetchedResponse:
        """Call as the consumer's information system."""
        return await self.client.fetch(
            method,
            f"http://127.0.0.1:{self.port}{target}",
            headers=(("X-Road-Client", client.encoded()), *headers),
            body=body,
            timeout=20,
            max_body=1 << 30,
        )
