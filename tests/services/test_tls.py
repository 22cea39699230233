"""TLS of every side over real sockets, with openssl as the other party where it can judge."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from postroad.adapters import tls_accepting
from postroad.adapters.http_client import ClientTls, HttpClient
from postroad.adapters.http_limits import ServerLimits
from postroad.adapters.http_server import HttpServer, Listener, Peer, Request, Responder
from postroad.adapters.tls import (
    encode_pem,
    information_system_context,
    load_certificate_chain,
    peer_client_context,
    peer_server_context,
    provider_client_context,
)
from postroad.adapters.tls_accepting import TlsAcceptor
from postroad.adapters.tls_peers import ResumingContext
from postroad.errors import (
    ConfigurationError,
    FaultCode,
    PostroadError,
    TrustError,
)
from postroad.trustlab.authority import KeyKind
from support.sockets import calling, run
from support.tls import SERVER, TlsIdentity, as_tls, lab, peer

EC, RSA = KeyKind.EC_P256, KeyKind.RSA_2048


class Port:
    """A TLS port that tells who called."""

    def __init__(self, context: ssl.SSLContext, limits: ServerLimits | None = None) -> None:
        self._context = context
        self.peers: list[Peer] = []
        self.server = HttpServer(self._answer, limits)
        self.listener: Listener

    async def _answer(self, request: Request, responder: Responder) -> None:
        self.peers.append(request.peer)
        body = await request.body.read_all(1 << 24)
        await responder.respond(200, [], body or b"hello")

    async def open(self) -> None:
        self.listener = await self.server.listen("127.0.0.1", 0, tls=self._context)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.listener.port}/"


@asynccontextmanager
async def listening(
    context: ssl.SSLContext, limits: ServerLimits | None = None
) -> AsyncIterator[Port]:
    port = Port(context, limits)
    await port.open()
    try:
        yield port
    finally:
        await port.server.drain(0.2)


def peer_port(keys: KeyKind = EC) -> ssl.SSLContext:
    own = peer(keys)
    return peer_server_context(own.key, own.chain, [c.der for c in lab().ca_certificates])


def peer_tls(identity: TlsIdentity) -> ClientTls:
    return ClientTls(peer_client_context(identity.key, identity.chain))


def plain_client(identity: TlsIdentity | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity is not None:
        load_certificate_chain(context, identity.key, identity.chain)
    return context


async def get(context: ssl.SSLContext, port: Port) -> bytes:
    """Ask with any context; b"" if the server refused, in the handshake or right after it."""
    async with calling() as client:
        try:
            return (await client.fetch("GET", port.url, tls=ClientTls(context), timeout=3)).body
        except PostroadError:
            return b""


@pytest.mark.parametrize("server_keys", [EC, RSA])
@pytest.mark.parametrize("client_keys", [EC, RSA])
def test_servers_see_each_others_certificate_and_chain(
    server_keys: KeyKind, client_keys: KeyKind
) -> None:
    async def scenario() -> None:
        shown: list[tuple[bytes, tuple[bytes, ...]]] = []

        async def verify(leaf: bytes, chain: tuple[bytes, ...]) -> None:
            shown.append((leaf, chain))

        async with listening(peer_port(server_keys)) as port, calling() as client:
            tls = peer_tls(peer(client_keys))
            found = await client.fetch(
                "POST", port.url, body=b"x" * 100_000, tls=tls, verify_peer=verify
            )
            assert len(found.body) == 100_000
            caller = port.peers[0]
            assert caller.tls
            assert caller.certificate == peer(client_keys).der
            issuer = lab().issuing.certificate.der
            assert caller.chain == (peer(client_keys).der, issuer)
            assert shown == [(peer(server_keys).der, (peer(server_keys).der, issuer))]

    run(scenario())


def test_refused_server_gets_no_byte_of_http() -> None:
    async def refuse(leaf: bytes, chain: tuple[bytes, ...]) -> None:
        raise TrustError("not registered", code=FaultCode.SSL_AUTHENTICATION_FAILED)

    async def scenario() -> None:
        async with listening(peer_port()) as port, calling() as client:
            for _ in range(2):
                with pytest.raises(TrustError):
                    await client.fetch(
                        "POST", port.url, tls=peer_tls(peer()), verify_peer=refuse, body=b"secret"
                    )
            await asyncio.sleep(0.02)
            assert port.peers == []
            assert client.connections == 0

    run(scenario())


def test_server_is_judged_again_on_a_kept_connection() -> None:
    async def scenario() -> None:
        calls = 0

        async def verify(leaf: bytes, chain: tuple[bytes, ...]) -> None:
            nonlocal calls
            calls += 1

        async with listening(peer_port()) as port, calling() as client:
            tls = peer_tls(peer())
            for _ in range(3):
                await client.fetch("GET", port.url, tls=tls, verify_peer=verify)
            assert (calls, port.server.connections) == (3, 1)

    run(scenario())


def test_tls_session_is_resumed_and_the_chain_is_still_known() -> None:
    async def scenario() -> None:
        async with listening(peer_port()) as port, calling() as client:
            tls = peer_tls(peer())
            for _ in range(2):
                async with await client.open("GET", port.url, tls=tls) as exchange:
                    await exchange.finish()
                    await exchange.response()
                    reused = exchange._connection.transport.get_extra_info(
                        "ssl_object"
                    ).session_reused
                    exchange._connection.abort()
            assert reused
            assert port.peers[0] == _moved(port.peers[1], port.peers[0].port)
            assert len(port.peers[1].chain) == 2
            assert len(exchange.chain) == 2

    def _moved(peer: Peer, port: int) -> Peer:
        return Peer(
            peer.address, port, tls=peer.tls, certificate=peer.certificate, chain=peer.chain
        )

    run(scenario())


def test_connections_that_resume_a_session_leave_no_memory_behind() -> None:
    def resident() -> int:
        gc.collect()
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()

    async def scenario() -> None:
        limits = ServerLimits(max_requests_per_connection=1)
        async with listening(peer_port(), limits) as port, calling() as client:
            tls = peer_tls(peer())
            before = 0
            for number in range(800):
                if number == 200:
                    before = resident()
                await client.fetch("GET", port.url, tls=tls)
            # a session that Python had been asked for, and had kept, took 7 kB each time
            assert resident() - before < 2_000_000

    run(scenario(), seconds=60)


class Handshake:
    """What a TLS object says after its handshake; counts how often its session is asked for."""

    def __init__(self, *, resumed: bool) -> None:
        self.session_reused = resumed
        self.asked = 0

    @property
    def session(self) -> object:
        self.asked += 1
        return self


@pytest.mark.parametrize(
    ("resumed", "later", "replaced"), [(True, 1e6, False), (False, 299, False), (False, 300, True)]
)
def test_a_session_is_replaced_once_it_is_refused_for_long(
    *, resumed: bool, later: float, replaced: bool
) -> None:
    context = ResumingContext.around(plain_client())
    first, second = Handshake(resumed=False), Handshake(resumed=resumed)
    context.keep(first, 1000.0)
    context.keep(second, 1000.0 + later)
    assert context.session is (second if replaced else first)
    assert (first.asked, second.asked) == (1, int(replaced))


def test_a_session_that_was_forgotten_is_replaced_at_once() -> None:
    context = ResumingContext.around(plain_client())
    context.keep(Handshake(resumed=False), 1000.0)
    context.forget()
    second = Handshake(resumed=False)
    context.keep(second, 1000.0)
    assert context.session is second


def test_different_tls_identities_never_share_a_connection() -> None:
    async def scenario() -> None:
        async with listening(peer_port()) as port, calling() as client:
            for keys in (EC, RSA, EC):
                await client.fetch("GET", port.url, tls=peer_tls(peer(keys)))
            assert [caller.certificate for caller in port.peers] == [
                peer(EC).der,
                peer(RSA).der,
                peer(EC).der,
            ]
            assert port.server.connections == 3

    run(scenario())


def test_client_without_certificate_or_of_an_unknown_authority_is_refused() -> None:
    async def scenario() -> None:
        async with listening(peer_port()) as port:
            for identity in (None, peer(EC, "Other lab")):
                context = plain_client(identity)
                context.maximum_version = ssl.TLSVersion.TLSv1_2
                context.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
                assert await get(context, port) == b""
            context = plain_client(peer())
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers("ECDHE-ECDSA-AES256-SHA384")
            assert await get(context, port) == b"hello"
            assert len(port.peers) == 1

    run(scenario())


def test_expired_client_certificate_is_refused() -> None:
    past = datetime.now(UTC) - timedelta(days=30)  # noqa: TID251 - TLS reads the real clock
    expired = as_tls(lab().auth_certificate(SERVER, at=past, days=5), lab().issuing.certificate.der)

    async def scenario() -> None:
        async with listening(peer_port()) as port, calling() as client:
            with pytest.raises(PostroadError):
                await client.fetch("GET", port.url, tls=peer_tls(expired), timeout=3)
            assert port.peers == []

    run(scenario())


@pytest.mark.parametrize(
    ("versions", "ciphers"),
    [
        ((ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3), None),
        ((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2), "ECDHE+AESGCM"),
        ((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2), "ECDHE-ECDSA-AES128-SHA256"),
        ((ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1), "ALL:@SECLEVEL=0"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*TLSv1_1 is deprecated:DeprecationWarning")
def test_other_versions_and_suites_are_refused_between_servers(
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion], ciphers: str | None
) -> None:
    async def scenario() -> None:
        context = plain_client(peer())
        if ciphers is not None:
            context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = versions
        async with listening(peer_port()) as port:
            assert await get(context, port) == b""
            assert port.peers == []

    run(scenario())


def test_own_client_speaks_nothing_but_tls_1_2_with_the_three_suites() -> None:
    context = peer_client_context(peer().key, peer().chain)
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert [name for name in names if not name.startswith("TLS_")] == [
        "ECDHE-RSA-AES256-SHA384",
        "DHE-RSA-AES256-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
    ]
    assert context.minimum_version == context.maximum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


async def s_client(port: int, tmp_path: Path, *options: str) -> str:
    """What openssl says about a connection to our port."""
    identity = peer()
    (tmp_path / "key.pem").write_bytes(identity.key)
    (tmp_path / "chain.pem").write_bytes(identity.chain)
    process = await asyncio.create_subprocess_exec(
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{port}",
        "-key",
        "key.pem",
        "-cert",
        "chain.pem",
        "-cert_chain",
        "chain.pem",
        *options,
        cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate(b"Q\n")
    return out.decode(errors="replace")


@pytest.mark.parametrize(
    ("keys", "suite"),
    [
        (RSA, "ECDHE-RSA-AES256-SHA384"),
        (RSA, "DHE-RSA-AES256-SHA256"),
        (EC, "ECDHE-ECDSA-AES256-SHA384"),
    ],
)
def test_openssl_negotiates_each_suite(keys: KeyKind, suite: str, tmp_path: Path) -> None:
    async def scenario() -> str:
        async with listening(peer_port(keys)) as port:
            return await s_client(port.listener.port, tmp_path, "-tls1_2", "-cipher", suite)

    said = run(scenario())
    assert f"New, TLSv1.2, Cipher is {suite}" in said
    assert "Verify return code" in said


def test_openssl_is_refused_with_tls_1_3(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with listening(peer_port()) as port:
            return await s_client(port.listener.port, tmp_path, "-tls1_3")

    assert "alert protocol version" in run(scenario())


def test_refused_client_is_told_by_an_alert() -> None:
    async def scenario() -> str:
        stranger_ = peer(EC, "Other lab")
        async with listening(peer_port()) as port, calling() as client:
            with pytest.raises(TrustError) as caught:
                await client.fetch("GET", port.url, tls=peer_tls(stranger_), timeout=3)
            assert caught.value.code is FaultCode.SSL_AUTHENTICATION_FAILED
            return caught.value.message

    assert "unknown ca" in run(scenario()).lower()


def test_openssl_may_not_renegotiate(tmp_path: Path) -> None:
    async def scenario() -> str:
        async with listening(peer_port()) as port:
            return await s_client(port.listener.port, tmp_path, "-tls1_2", "-no_ticket")

    assert "Secure Renegotiation IS supported" in run(scenario())
    assert peer_port().options & ssl.OP_NO_RENEGOTIATION


def test_new_keys_and_anchors_are_used_for_new_connections_only() -> None:
    async def scenario() -> None:
        async with listening(peer_port(EC)) as port, calling() as client:
            shown: list[bytes] = []

            async def verify(leaf: bytes, chain: tuple[bytes, ...]) -> None:
                shown.append(leaf)

            tls = peer_tls(peer())
            await client.fetch("GET", port.url, tls=tls, verify_peer=verify)
            port.listener.switch_tls(peer_port(RSA))
            await client.fetch("GET", port.url, tls=tls, verify_peer=verify)
            fresh = peer_tls(peer())
            await client.fetch("GET", port.url, tls=fresh, verify_peer=verify)
            assert shown == [peer(EC).der, peer(EC).der, peer(RSA).der]

    run(scenario())


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP 1.1 /\n"])
def test_plain_bytes_on_a_tls_port_close_it_at_once(sent: bytes) -> None:
    async def scenario() -> bytes:
        async with listening(peer_port()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port.listener.port)
            writer.write(sent)
            answer = b""
            with contextlib.suppress(ConnectionError):
                answer = await reader.read()
            writer.close()
            assert port.peers == []
            return answer

    assert b"HTTP" not in run(scenario())


def test_key_and_certificate_must_belong_together() -> None:
    with pytest.raises(ConfigurationError):
        peer_client_context(peer(RSA).key, peer(EC).chain)
    with pytest.raises(ConfigurationError):
        peer_client_context(b"no key", peer(EC).chain)
    with pytest.raises(ConfigurationError):
        peer_server_context(peer().key, peer().chain, [b"no certificate"])


def test_keys_leave_no_descriptor_behind() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        peer_port()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# ---- information systems


def is_port(*known: TlsIdentity, any_certificate: bool = True) -> ssl.SSLContext:
    own = peer()
    return information_system_context(
        own.key,
        own.chain,
        [identity.der for identity in known],
        any_certificate=any_certificate,
    )


def stranger(name: str = "Somebody's CA", **options: object) -> TlsIdentity:
    """A certificate of an authority that nobody approved; end-entity only."""
    return as_tls(lab(name).auth_certificate(SERVER, **options))


@pytest.mark.parametrize("any_certificate", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_information_system_may_come_without_a_certificate(
    any_certificate: bool, version: ssl.TLSVersion
) -> None:
    async def scenario() -> None:
        context = plain_client()
        context.maximum_version = version
        async with listening(is_port(any_certificate=any_certificate)) as port:
            assert await get(context, port) == b"hello"
            assert port.peers[0].tls
            assert port.peers[0].certificate is None

    run(scenario())


@pytest.mark.parametrize("any_certificate", [True, False])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_registered_certificate_is_shown_to_the_handler_whatever_its_dates_and_purpose(
    any_certificate: bool, version: ssl.TLSVersion
) -> None:
    past = datetime.now(UTC) - timedelta(days=400)  # noqa: TID251 - TLS reads the real clock
    known = [
        stranger(),
        stranger(at=past, days=5),
        as_tls(lab("Somebody's CA").sign_certificate(SERVER.owner)),
    ]

    async def scenario() -> None:
        async with listening(is_port(*known, any_certificate=any_certificate)) as port:
            for identity in known:
                context = plain_client(identity)
                context.maximum_version = version
                assert await get(context, port) == b"hello"
            assert [caller.certificate for caller in port.peers] == [i.der for i in known]

    run(scenario())


def test_unregistered_certificate_reaches_the_handler_that_judges_it() -> None:
    unknown = stranger()

    async def scenario() -> None:
        async with listening(is_port()) as port:
            assert await get(plain_client(unknown), port) == b"hello"
            assert port.peers[0].certificate == unknown.der

    run(scenario())


def test_unregistered_certificate_is_refused_where_openssl_can_not_be_told() -> None:
    async def scenario() -> None:
        async with listening(is_port(stranger(), any_certificate=False)) as port:
            assert await get(plain_client(stranger("Another CA")), port) == b""
            assert port.peers == []

    run(scenario())


def test_certificate_without_its_key_is_never_accepted() -> None:
    own = peer()
    context = is_port()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(incoming, outgoing, server_side=True)
    client_context = plain_client(own)
    client_context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = client_context.wrap_bio(outgoing, incoming)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    with contextlib.suppress(ssl.SSLWantReadError):
        server.do_handshake()
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    flight = bytearray(incoming.read())
    # CertificateVerify is the record before ChangeCipherSpec (20); spoil its signature
    flight[flight.rindex(b"\x14\x03\x03\x00\x01\x01") - 5] ^= 0xFF
    incoming.write(bytes(flight))
    with contextlib.suppress(ssl.SSLWantReadError):
        server.do_handshake()  # the alert is written
    with pytest.raises(ssl.SSLError, match="BAD_SIGNATURE"):
        server.do_handshake()


# ---- providers


def test_provider_sees_our_internal_certificate_and_we_pin_its() -> None:
    own, service = stranger("Internal"), stranger("Service")

    async def scenario() -> None:
        context = information_system_context(service.key, service.chain, [own.der])
        shown: list[bytes] = []

        async def pin(leaf: bytes, chain: tuple[bytes, ...]) -> None:
            shown.append(leaf)

        async with listening(context) as port, calling() as client:
            tls = ClientTls(provider_client_context(own.key, own.chain))
            assert (await client.fetch("GET", port.url, tls=tls, verify_peer=pin)).status == 200
            assert shown == [service.der]
            assert port.peers[0].certificate == own.der

    run(scenario())


def test_web_addresses_are_checked_against_the_systems_authorities() -> None:
    async def scenario() -> None:
        async with listening(is_port()) as port:
            client = HttpClient()
            with pytest.raises(TrustError) as caught:
                await client.fetch("GET", port.url, timeout=3)
            assert caught.value.code is FaultCode.SSL_AUTHENTICATION_FAILED
            client.close()

    run(scenario())


def test_plain_listener_has_no_tls_to_switch() -> None:
    async def scenario() -> None:
        server = HttpServer(Port(peer_port())._answer)
        listener = await server.listen("127.0.0.1", 0)
        with pytest.raises(ConfigurationError):
            listener.switch_tls(peer_port())
        await server.drain(0)

    run(scenario())


def test_large_bodies_pass_tls_both_ways_in_little_memory() -> None:
    async def scenario() -> int:
        async with listening(peer_port()) as port, calling() as client:
            port.server.handler = mirror
            tls = peer_tls(peer())
            async with await client.open(
                "POST", port.url, content_length=None, tls=tls
            ) as exchange:

                async def produce() -> None:
                    for _ in range(30):
                        await exchange.write(bytes(1_000_000))
                    await exchange.finish()

                tracemalloc.start()
                try:
                    producer = asyncio.ensure_future(produce())
                    received = 0
                    while piece := await exchange.read_some():
                        received += len(piece)
                    await producer
                    assert received == 30_000_000
                    return tracemalloc.get_traced_memory()[1]
                finally:
                    tracemalloc.stop()

    async def mirror(request: Request, responder: Responder) -> None:
        await responder.start(200)
        async for piece in request.body:
            await responder.write(piece)
        await responder.finish()

    assert run(scenario()) < 12_000_000


def test_pem_is_what_openssl_reads() -> None:
    assert ssl.PEM_cert_to_DER_cert(encode_pem(peer().der).decode()) == peer().der


def test_lost_connections_leave_nothing_to_the_garbage_collector() -> None:
    """Each holds half a hundred kilobytes, and the collector of a busy worker comes seldom."""
    kinds = ("ClientConnection", "ServerConnection", "SSLProtocol", "ClientExchange", "BodyStream")

    def left() -> list[str]:
        return [name for each in gc.get_objects() if (name := type(each).__name__) in kinds]

    async def scenario() -> None:
        async with listening(peer_port()) as port, calling() as client:
            tls = peer_tls(peer())

            async def exchange(size: int) -> None:
                async with await client.open("POST", port.url, tls=tls, content_length=size) as it:
                    await it.finish(b"x" * size)
                    await it.response()
                    if size != _HALF_READ:
                        await it.body.read_all(1 << 24)

            await asyncio.gather(*(exchange(size) for size in (0, 10, _HALF_READ, 1 << 20)))
            client.close()
            async with asyncio.timeout(5):
                while port.server.connections:
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            assert left() == []

    gc.collect()
    gc.disable()
    try:
        run(scenario())
    finally:
        gc.enable()


_HALF_READ = 300_000


def test_handshakes_that_never_end_make_room_for_others_oldest_first() -> None:
    limits = ServerLimits(max_handshakes=4, handshake_timeout=60)

    async def scenario() -> None:
        async with listening(peer_port(), limits) as port, AsyncExitStack() as stack:
            begun = []
            for _ in range(10):
                reader, writer = await asyncio.open_connection("127.0.0.1", port.listener.port)
                stack.callback(lambda kept=writer: kept.transport.abort())
                writer.write(b"\x16")
                begun.append(reader)
            assert await get(plain_client(peer(EC)), port) == b"hello"
            for reader in begun[:7]:
                async with asyncio.timeout(5):
                    assert await cut_off(reader)
            for reader in begun[7:]:
                assert not reader.at_eof()

    run(scenario())


def test_a_port_that_closes_gives_up_the_handshakes_that_are_not_over() -> None:
    async def scenario() -> None:
        async with listening(peer_port()) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port.listener.port)
            writer.write(b"\x16")
            assert await get(plain_client(peer(EC)), port) == b"hello"
            port.listener.close()
            async with asyncio.timeout(5):
                assert await cut_off(reader)
            writer.transport.abort()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port.listener.port)

    run(scenario())


class Exhausted(socket.socket):
    """A listening socket for whose next connection the system has no file descriptor left."""

    refusals = 1

    def accept(self) -> tuple[socket.socket, object]:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "no file descriptor is left")
        return super().accept()


def test_a_port_that_had_no_file_descriptor_left_accepts_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tls_accepting, "_PAUSE", 0.01)

    async def scenario() -> None:
        bound = socket.create_server(("127.0.0.1", 0))
        listening = Exhausted(fileno=bound.detach())
        listening.settimeout(0)
        called = asyncio.Event()

        class Called(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                called.set()
                transport.close()

        acceptor = TlsAcceptor([listening], Called, peer_port(), ServerLimits())
        try:
            _, writer = await asyncio.open_connection(
                *listening.getsockname(), ssl=plain_client(peer(EC))
            )
            async with asyncio.timeout(5):
                await called.wait()
            writer.close()
        finally:
            acceptor.close()
        assert not listening.refusals

    run(scenario())


async def cut_off(reader: asyncio.StreamReader) -> bool:
    """Wait until the server ends a connection."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True
