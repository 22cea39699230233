"""Management requests over real TLS ports, from our own client and from rude ones."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from postroad.adapters.http_client import ClientTls, FetchedResponse, HttpClient
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import CertificateStatus
from postroad.adapters.tls import encode_pem, provider_client_context
from postroad.centralserver.management_ports import (
    Endpoint,
    ManagementPorts,
    open_management_ports,
)
from postroad.centralserver.management_service import OwnConfiguration
from postroad.centralserver.node import CentralServerNode
from postroad.centralserver.rate_limit import RateLimit
from postroad.centralserver.registry.requests import load_request
from postroad.crypto.algorithms import DigestAlgorithm, SignatureAlgorithm, sign_digest
from postroad.crypto.certificates import Certificate
from postroad.errors import ConfigurationError, PostroadError, RemoteFault, TrustError
from postroad.globalconf.view import GlobalConfiguration
from postroad.identifiers import SubsystemId
from postroad.management.envelope import MAX_BODY, parse_reply
from postroad.management.requests import (
    AuthCertDeletion,
    AuthCertRegistration,
    ClientDeletion,
    ClientRegistration,
    MaintenanceStart,
    ManagementRequest,
)
from postroad.messages.faults import parse_soap_fault
from postroad.ports import KeyCertificate
from postroad.securityserver.management_client import ManagementClient, choose_auth_certificate
from postroad.securityserver.ocsp_fetching import OcspClient
from postroad.securityserver.own_proxy import OwnProxy
from postroad.trustlab.authority import Identity, KeyKind
from support.central_server import CLIENT, OTHER, OTHER_SERVER, MovingClock, lab
from support.management import asker_of, found_node, with_settings
from support.tls import peer
from support.trust import Responders, SignerDouble

SHOP = SubsystemId("DEV", "GOV", "2", "shop")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralServerNode]:
    node = found_node(tmp_path_factory.mktemp("central"))
    yield with_settings(
        with_settings(node, "registration_service", requests_per_minute=1000),
        "management_service",
        requests_per_minute=1000,
    )
    node.close()


class Signer(SignerDouble, SignerClient):
    """A signer in memory that passes for its client."""

    pss_keys: frozenset[str] = frozenset()

    def __init__(self, identities: dict[str, tuple[str, Identity]]) -> None:
        self._identities = identities
        super().__init__(
            *(
                KeyCertificate(
                    key_id,
                    usage,
                    identity.certificate.der,
                    OTHER.encoded() if usage == "SIGNING" else None,
                    active=True,
                    status="registered" if usage == "SIGNING" else "saved",
                    token_active=True,
                )
                for key_id, (usage, identity) in identities.items()
            )
        )

    async def sign(self, key_id: str, digest_algorithm: DigestAlgorithm, digest: bytes) -> bytes:
        identity = self._identities[key_id][1]
        algorithm = SignatureAlgorithm.for_key(identity.certificate.public_key, digest_algorithm)
        if key_id in self.pss_keys:
            algorithm = SignatureAlgorithm.with_digest("RSA-PSS", digest_algorithm)
        return sign_digest(identity.private_key, algorithm, digest, ecdsa_raw=True)


@dataclass
class Bench:
    """Open ports, an HTTP client, and a server's management client."""

    node: CentralServerNode
    ports: ManagementPorts
    http: HttpClient
    ocsp: Path
    keys: KeyKind = KeyKind.EC_P256
    signer: Signer = field(init=False)

    def __post_init__(self) -> None:
        self.auth = lab().auth_certificate(OTHER_SERVER, keys=self.keys)
        owner = lab().sign_certificate(OTHER, keys=self.keys)
        self.signer = Signer({"A": ("AUTHENTICATION", self.auth), "S": ("SIGNING", owner)})

    @property
    def client(self) -> ManagementClient:
        numbers = iter(range(1000))
        clock = MovingClock()
        return ManagementClient(
            OTHER_SERVER,
            signer=self.signer,
            http=self.http,
            ocsp=OcspClient(self.ocsp, Responders(lab()), clock),
            clock=clock,
            new_id=lambda: f"id-{id(self)}-{next(numbers)}",
            new_boundary=lambda: "b" * 30,
            own_proxy=self._no_proxy,
        )

    @staticmethod
    def _no_proxy() -> OwnProxy:
        raise AssertionError("nothing here goes through the client proxy")

    def globalconf(self, pinned: bytes | None = b"") -> GlobalConfiguration:
        """The configuration as the server has it, its registration address on our port."""
        known = OwnConfiguration(self.node).load()
        service = known.management_service
        service = replace(
            service,
            registration_address=f"https://127.0.0.1:{self.ports.registration}/managementservice/",
            registration_certificate=service.registration_certificate if pinned == b"" else pinned,
        )
        private = replace(known.private, management_service=service)
        return GlobalConfiguration("DEV", [replace(known.own, private=private)])

    async def send(
        self,
        port: int | None,
        path: str,
        body: bytes = b"",
        content_type: str | None = "text/xml",
        *,
        method: str = "POST",
        headers: tuple[tuple[str, str], ...] = (),
        tls: ssl.SSLContext | None = None,
    ) -> FetchedResponse:
        kind = () if content_type is None else (("Content-Type", content_type),)
        return await self.http.fetch(
            method,
            f"https://127.0.0.1:{port}{path}",
            headers=(*kind, *headers),
            body=body,
            tls=ClientTls(tls or provider_client_context()),
        )


def run(
    node: CentralServerNode,
    tmp_path: Path,
    work: Callable[[Bench], Awaitable[None]],
    keys: KeyKind = KeyKind.EC_P256,
) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            ports = await stack.enter_async_context(open_management_ports(node))
            http = HttpClient()
            stack.callback(http.close)
            await work(Bench(node, ports, http, tmp_path, keys))

    asyncio.run(main())


@pytest.mark.parametrize("keys", [KeyKind.EC_P256, KeyKind.RSA_2048])
def test_a_server_registers_and_is_waiting(
    node: CentralServerNode, tmp_path: Path, keys: KeyKind
) -> None:
    async def work(bench: Bench) -> None:
        certificate = choose_auth_certificate(await bench.signer.certificates())
        conf = bench.globalconf()
        submitted = await bench.client.register_auth_certificate(certificate, "a.example", conf)
        assert submitted.request_id is not None
        with node.reading() as session:
            row = load_request(session, submitted.request_id)
            assert (row.status, row.address) == ("WAITING", "a.example")
            assert row.auth_certificate == certificate.der
        statuses = {entry.key_id: entry.status for entry in await bench.signer.certificates()}
        assert statuses["A"] == CertificateStatus.REGISTRATION_IN_PROGRESS.value
        again = await bench.client.register_auth_certificate(certificate, "a.example", conf)
        assert again.request_id is None

    run(node, tmp_path, work, keys)


def test_a_server_whose_owners_token_signs_with_pss_registers_too(
    node: CentralServerNode, tmp_path: Path
) -> None:
    async def work(bench: Bench) -> None:
        bench.signer.pss_keys = frozenset({"S"})
        bench.signer.keys = [replace(key, rsa_pss=key.key_id == "S") for key in bench.signer.keys]
        certificate = choose_auth_certificate(await bench.signer.certificates())
        submitted = await bench.client.register_auth_certificate(
            certificate, "a.example", bench.globalconf()
        )
        assert submitted.request_id is not None

    run(node, tmp_path, work, KeyKind.RSA_2048)


def test_a_connection_test_finds_the_service(node: CentralServerNode, tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        await bench.client.probe_registration_service(bench.globalconf())

    run(node, tmp_path, work)


def test_nothing_is_sent_to_a_service_that_is_not_the_pinned_one(
    node: CentralServerNode, tmp_path: Path
) -> None:
    async def work(bench: Bench) -> None:
        certificate = Certificate.from_der(bench.auth.certificate.der)
        for pinned, family in ((lab().ca_certificate.der, TrustError), (None, ConfigurationError)):
            with pytest.raises(family) as refused:
                await bench.client.register_auth_certificate(
                    certificate, "a.example", bench.globalconf(pinned)
                )
            assert refused.value.fault_code == "ssl_authentication_failed"
        assert {entry.status for entry in await bench.signer.certificates()} == {
            "registered",
            "saved",
        }

    run(node, tmp_path, work)


def test_a_refusal_comes_back_as_the_central_servers_words(
    node: CentralServerNode, tmp_path: Path
) -> None:
    async def work(bench: Bench) -> None:
        taken = asker_of(OTHER_SERVER)
        bench.signer = Signer(
            {"A": ("AUTHENTICATION", taken.auth), "S": ("SIGNING", lab().sign_certificate(OTHER))}
        )
        letter = taken.registration()
        path = "/managementservice"
        await bench.send(bench.ports.registration, path, letter.sent[1], letter.sent[0])
        with pytest.raises(PostroadError):
            await bench.client.register_auth_certificate(
                taken.auth.certificate, "not an address", bench.globalconf()
            )
        lab().revoke(Certificate.from_der(bench.signer.keys[1].der).serial)
        with pytest.raises(PostroadError) as refused:
            await bench.client.register_auth_certificate(
                taken.auth.certificate, "a.example", bench.globalconf()
            )
        assert refused.value.fault_code == "cert_validation"

    run(node, tmp_path, work)


def test_an_unknown_certificate_and_a_missing_signing_key_are_our_own_fault(
    node: CentralServerNode, tmp_path: Path
) -> None:
    async def work(bench: Bench) -> None:
        stranger = lab().auth_certificate(OTHER_SERVER).certificate
        with pytest.raises(ConfigurationError):
            await bench.client.register_auth_certificate(stranger, "a.example", bench.globalconf())
        bench.signer.keys = [bench.signer.keys[0]]
        with pytest.raises(ConfigurationError):
            await bench.client.register_auth_certificate(
                bench.auth.certificate, "a.example", bench.globalconf()
            )

    run(node, tmp_path, work)


@pytest.mark.parametrize(
    "request_",
    [
        ClientRegistration(OTHER_SERVER, SHOP),
        MaintenanceStart(OTHER_SERVER, "soon"),
        ClientDeletion(OTHER_SERVER, CLIENT),
    ],
    ids=lambda each: type(each).__name__,
)
def test_the_other_requests_are_signed_and_taken_in(
    node: CentralServerNode, tmp_path: Path, request_: ManagementRequest
) -> None:
    async def work(bench: Bench) -> None:
        message = await bench.client.sign(request_, bench.globalconf())
        path = "/managementservice/manage/"
        response = await bench.send(
            bench.ports.management, path, message.body, message.content_type
        )
        assert response.status == 200
        assert response.header("cache-control") == "no-store"
        assert parse_reply(response.body, message.soap) > 0

    run(node, tmp_path, work)


def test_a_registration_is_not_for_the_exchange(node: CentralServerNode, tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        with pytest.raises(ConfigurationError):
            await bench.client.sign(AuthCertRegistration(OTHER_SERVER, b""), bench.globalconf())
        deletion = await bench.client.sign(AuthCertDeletion(OTHER_SERVER, b""), bench.globalconf())
        assert deletion.content_type.startswith("text/xml")

    run(node, tmp_path, work)


def test_rude_requests_are_turned_away(node: CentralServerNode, tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        registration, management = bench.ports.registration, bench.ports.management
        multipart = "multipart/related; boundary=b"
        for port, path, method, expected in (
            (registration, "/managementservice/", "GET", 405),
            (registration, "/", "POST", 404),
            (registration, "/managementservice/manage/", "POST", 404),
            (registration, "/managementservice/?x", "POST", 404),
            (management, "/managementservice/", "POST", 404),
        ):
            response = await bench.send(port, path, b"", multipart, method=method)
            assert (response.status, response.body) == (expected, b"")
        path = "/managementservice/"
        plain = await bench.send(registration, path, b"<a/>", "text/xml")
        assert plain.status == 415
        assert parse_soap_fault(plain.body).code == "invalid_content_type"
        for kind, extra in (
            (None, ()),
            (multipart, (("content-type", "text/xml"),)),
            (multipart, (("Content-Encoding", "gzip"),)),
            ("application/json", ()),
        ):
            response = await bench.send(registration, path, b"", kind, headers=extra)
            assert response.status == 415
        large = await bench.send(registration, path, b"x" * (MAX_BODY + 1), multipart)
        assert large.status == 413
        assert parse_soap_fault(large.body).code == "invalid_request"
        exact = await bench.send(registration, path, b"\n" * MAX_BODY, multipart)
        assert exact.status == 500

    run(node, tmp_path, work)


def test_one_source_is_heard_ten_times_a_minute(node: CentralServerNode, tmp_path: Path) -> None:
    limited = with_settings(node, "registration_service", requests_per_minute=10)

    async def work(bench: Bench) -> None:
        statuses = [
            (await bench.send(bench.ports.registration, "/managementservice")).status
            for _ in range(12)
        ]
        assert statuses == [415] * 10 + [429] * 2
        other = await bench.send(bench.ports.management, "/managementservice/manage/")
        assert other.status == 500

    run(limited, tmp_path, work)


def test_a_refusal_for_too_many_requests_is_told_to_the_operator(
    node: CentralServerNode, tmp_path: Path
) -> None:
    limited = with_settings(node, "registration_service", requests_per_minute=1)

    async def work(bench: Bench) -> None:
        await bench.client.probe_registration_service(bench.globalconf())
        with pytest.raises(PostroadError, match="429") as refused:
            await bench.client.probe_registration_service(bench.globalconf())
        assert not isinstance(refused.value, RemoteFault)

    run(limited, tmp_path, work)


@pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=lambda each: each.name
)
def test_both_modern_tls_versions_are_spoken(
    node: CentralServerNode, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    async def work(bench: Bench) -> None:
        context = provider_client_context()
        context.minimum_version = context.maximum_version = version
        response = await bench.send(bench.ports.registration, "/managementservice", tls=context)
        assert response.status == 415

    run(node, tmp_path, work)


def test_weak_suites_are_not_spoken(node: CentralServerNode, tmp_path: Path) -> None:
    async def work(bench: Bench) -> None:
        context = provider_client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-RSA-AES256-SHA384:AES256-GCM-SHA384")
        with pytest.raises(PostroadError):
            await bench.send(bench.ports.registration, "/managementservice", tls=context)

    run(node, tmp_path, work)


def test_a_pinned_management_port_lets_only_that_server_in(
    node: CentralServerNode, tmp_path: Path
) -> None:
    known, other = peer(name="Known"), peer(name="Other")
    path = tmp_path / "internal.pem"
    path.write_bytes(encode_pem(known.der))
    pinned = with_settings(node, "management_service", client_certificate_file=str(path))

    async def work(bench: Bench) -> None:
        contexts = [provider_client_context(each.key, each.chain) for each in (known, other)]
        target = "/managementservice/manage/"
        good = await bench.send(bench.ports.management, target, tls=contexts[0])
        assert good.status == 500
        for context in (contexts[1], provider_client_context()):
            with pytest.raises(PostroadError):
                await bench.send(bench.ports.management, target, tls=context)

    run(pinned, tmp_path, work)


def test_ports_can_be_left_closed(node: CentralServerNode, tmp_path: Path) -> None:
    closed = with_settings(node, "management_service", enabled=False)
    closed = with_settings(closed, "registration_service", enabled=False)

    async def work(bench: Bench) -> None:
        assert bench.ports == ManagementPorts(None, None)

    run(closed, tmp_path, work)


def test_unusable_settings_are_told(node: CentralServerNode, tmp_path: Path) -> None:
    async def nothing(_bench: Bench) -> None:
        raise AssertionError

    bad_address = with_settings(node, "registration_service", host="192.0.2.1")
    bad_file = with_settings(
        node, "management_service", client_certificate_file=str(tmp_path / "missing.pem")
    )
    for settings in (bad_address, bad_file):
        with pytest.raises(ConfigurationError):
            run(settings, tmp_path, nothing)


def test_an_endpoint_needs_the_exact_certificate_not_one_it_vouches_for() -> None:
    endpoint = Endpoint(
        lambda *_: pytest.fail("asked"),
        paths=frozenset({"/"}),
        types=frozenset(),
        limit=RateLimit(1),
        clients=frozenset({b"known"}),
    )

    class Peer:
        certificate = b"issued by it"
        address = "192.0.2.1"

    class Request:
        peer = Peer()
        target = "/"
        method = "POST"

    assert endpoint._refusal(Request()) == 403


def test_the_certificate_to_register_must_be_clear() -> None:
    first, second = (lab().auth_certificate(OTHER_SERVER) for _ in range(2))
    signer = Signer({"A": ("AUTHENTICATION", first), "B": ("AUTHENTICATION", second)})
    with pytest.raises(ConfigurationError):
        choose_auth_certificate(signer.keys)
    wanted = first.certificate.sha256.hex().upper()[:16]
    assert choose_auth_certificate(signer.keys, wanted) == first.certificate
    signer.keys[0] = replace(signer.keys[0], status="registered")
    assert choose_auth_certificate(signer.keys) == second.certificate
    with pytest.raises(ConfigurationError):
        choose_auth_certificate([])
