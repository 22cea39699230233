"""Peers and strangers on the ports 8080, 8443, 5500 and 5577 that break HTTP and TLS.

While they do, ordinary consumers must be served and no process may grow without bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chaos.arena import Arena
from chaos.report import Skipped, require
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.tls import encode_pem, peer_client_context
from postroad.demo.layout import CONSUMER, PROVIDER, Party
from postroad.ports import LentKey

CLIENT_HTTP, CLIENT_HTTPS, PEER, OCSP = 8080, 8443, 5500, 5577
GROWTH_MB = 64.0
_MULTIPART = b"Content-Type: multipart/mixed; boundary=b\r\n"
_PEER_HEADERS = _MULTIPART + b"x-hash-algorithm: SHA-512\r\nx-road-message-type: REST\r\n"


@dataclass(frozen=True, slots=True)
class Attack:
    """What is sent first, and what is repeated then for as long as the server lets us."""

    first: bytes
    repeated: bytes = b""
    pause: float = 0.0


def _post(headers: bytes, target: bytes = b"/") -> bytes:
    return b"POST " + target + b" HTTP/1.1\r\nHost: chaos\r\n" + headers + b"\r\n"


_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_R1 = b"/r1/DEMO/GOV/1002/register/ledger/elsewhere"
_CLIENT = b"X-Road-Client: DEMO/GOV/1001/questions\r\n"
ATTACKS = {
    "silence": Attack(b""),
    "half a request line": Attack(b"GE"),
    "one byte per second": Attack(b"", b"G", 1.0),
    "one header per second": Attack(b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: 1\r\n", 1.0),
    "endless request line": Attack(b"GET /", b"a" * 4096),
    "endless header": Attack(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"y" * 4096),
    "endless headers": Attack(b"GET / HTTP/1.1\r\nHost: a\r\n", b"X-More: 1\r\n" * 200),
    "body that never comes": Attack(_post(_CLIENT + b"Content-Length: 1000000\r\n", _R1)),
    "one body byte per second": Attack(
        _post(_CLIENT + b"Content-Length: 1000000\r\n", _R1), b"x", 1.0
    ),
    "endless chunk extension": Attack(
        _post(_CLIENT + _CHUNKED, _R1) + b"1;", b"ext=" + b"y" * 4000
    ),
    "one byte chunks with extensions": Attack(
        _post(_CLIENT + _CHUNKED, _R1), b"1;" + b"e" * 500 + b"\r\nx\r\n"
    ),
    "endless trailers": Attack(
        _post(_CLIENT + _CHUNKED, _R1) + b"1\r\nx\r\n0\r\n", b"X-Trailer: 1\r\n" * 200
    ),
    "chunk size that isn't one": Attack(_post(_CLIENT + _CHUNKED, _R1) + b"-1\r\nx\r\n"),
    "chunk size beyond 64 bits": Attack(_post(_CLIENT + _CHUNKED, _R1) + b"f" * 17 + b"\r\n"),
    "two lengths": Attack(
        _post(_CLIENT + b"Content-Length: 3\r\nContent-Length: 4\r\n", _R1) + b"abcd"
    ),
    "length and chunks": Attack(
        _post(_CLIENT + b"Content-Length: 3\r\n" + _CHUNKED, _R1) + b"0\r\n\r\n"
    ),
    "more than the length": Attack(
        _post(_CLIENT + b"Content-Length: 3\r\n", _R1), b"abc\x00\xff garbage"
    ),
    "endless pipeline": Attack(b"", b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n" * 50),
    "garbage": Attack(b"\x00\xff" * 1000, b"\x80" * 1000),
}
_ENDLESS = b"Content-Length: 99999999999\r\n"
_RELATED = b'Content-Type: multipart/related; type="text/xml"; boundary=b\r\n'
_ENVELOPE = b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Header>'
SOAP_ATTACKS = {
    "endless SOAP header": Attack(
        _post(b"Content-Type: text/xml\r\n" + _ENDLESS) + _ENVELOPE, b"<a>x</a>" * 500
    ),
    "endlessly deep SOAP": Attack(
        _post(b"Content-Type: text/xml\r\n" + _ENDLESS) + _ENVELOPE, b"<a>" * 1000
    ),
    "endless SOAP parts": Attack(
        _post(_RELATED + _ENDLESS), b"--b\r\nContent-Type: text/xml\r\n\r\nx\r\n" * 20
    ),
    "endless SOAP part header": Attack(_post(_RELATED + _ENDLESS) + b"--b\r\nX: ", b"y" * 4096),
    "endless SOAP part": Attack(
        _post(_RELATED + _ENDLESS) + b"--b\r\nContent-Type: text/xml\r\n\r\n" + _ENVELOPE,
        b"<a>x</a>" * 500,
    ),
}
PEER_ATTACKS = {
    "endless parts": Attack(
        _post(_PEER_HEADERS + _CHUNKED) + b"5\r\n--b\r\n\r\n",
        b"2e\r\nContent-Type: application/ocsp-response\r\n\r\n0\r\n\r\n--b\r\n".replace(
            b"2e", b"%x" % 53
        ),
    ),
    "endless part header": Attack(
        _post(_PEER_HEADERS + b"Content-Length: 99999999999\r\n") + b"--b\r\nX: ", b"y" * 4096
    ),
    "endless preamble": Attack(
        _post(_PEER_HEADERS + b"Content-Length: 99999999999\r\n"), b"p" * 4096
    ),
    "endless OCSP part": Attack(
        _post(_PEER_HEADERS + b"Content-Length: 99999999999\r\n")
        + b"--b\r\nContent-Type: application/ocsp-response\r\n\r\n",
        b"0" * 4096,
    ),
    "endless message part": Attack(
        _post(_PEER_HEADERS + b"Content-Length: 99999999999\r\n")
        + b"--b\r\nContent-Type: application/x-road-rest-request\r\n\r\n",
        b"GET\r\n" * 800,
    ),
}


def broken_peers(arena: Arena) -> dict[str, object]:
    """Strangers break HTTP on every port, consumers SOAP, a peer its messages, all at once."""
    seconds = 8.0 if arena.quick else 100.0
    server, peer = arena.layout.address(PROVIDER.number), arena.layout.address(CONSUMER.number)
    lent = asyncio.run(_lent_key(arena, CONSUMER))
    authentic = peer_client_context(lent.private_key_pkcs8_pem, encode_pem(lent.certificate_der))
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    targets: list[tuple[str, int, ssl.SSLContext | None, dict[str, Attack]]] = [
        (peer, CLIENT_HTTP, None, ATTACKS | SOAP_ATTACKS),
        (peer, CLIENT_HTTPS, anybody, ATTACKS | SOAP_ATTACKS),
        (server, PEER, authentic, ATTACKS | PEER_ATTACKS),
        (server, PEER, None, ATTACKS),
        (server, OCSP, None, ATTACKS),
    ]
    before = _memory(arena)
    with arena.load(sizes=False) as load:
        began = time.monotonic()
        outcomes = asyncio.run(_attack_all(targets, seconds))
        replies = load.since(began)
    grown = {name: value - before.get(name, 0.0) for name, value in _memory(arena).items()}
    _require_served(replies_ok=[each.status == 200 for each in replies])
    largest = max(grown.values())
    require(largest < GROWTH_MB, f"a process grew by {largest:.0f} MB: {grown}")
    open_after = [name for name, ended in outcomes.items() if not ended]
    if not arena.quick:
        require(not open_after, f"never cut off: {open_after}")
    return {
        "attacks": len(outcomes),
        "cut_off": sum(outcomes.values()),
        "still_open": open_after,
        "consumers_served": len(replies),
        "slowest_s": max(each.seconds for each in replies),
        "largest_growth_mb": largest,
    }


async def _attack_all(
    targets: list[tuple[str, int, ssl.SSLContext | None, dict[str, Attack]]], seconds: float
) -> dict[str, bool]:
    names: list[str] = []
    tasks: list[asyncio.Task[bool]] = []
    async with asyncio.TaskGroup() as group:
        for host, port, tls, attacks in targets:
            for name, attack in attacks.items():
                kind = "TLS " if tls else ""
                names.append(f"{kind}{port}: {name}")
                tasks.append(group.create_task(_attack(host, port, tls, attack, seconds)))
    return {name: task.result() for name, task in zip(names, tasks, strict=True)}


async def _attack(
    host: str, port: int, tls: ssl.SSLContext | None, attack: Attack, seconds: float
) -> bool:
    """Attack once for so long; whether the server ended it."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(
                host, port, ssl=tls, server_hostname="" if tls else None
            )
            try:
                await asyncio.gather(_pour(writer, attack), _read_to_the_end(reader))
            finally:
                writer.transport.abort()
    except TimeoutError:
        return False
    except (OSError, _Ended):
        return True
    return True


class _Ended(Exception):
    """The server closed the connection."""


async def _read_to_the_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass
    raise _Ended


async def _pour(writer: asyncio.StreamWriter, attack: Attack) -> None:
    writer.write(attack.first)
    await writer.drain()
    while attack.repeated:
        writer.write(attack.repeated)
        await writer.drain()
        await asyncio.sleep(attack.pause or 0.002)


async def _lent_key(arena: Arena, party: Party) -> LentKey:
    signer = SignerClient(arena.ecosystem.settings(party).signer_socket)
    try:
        return await signer.lend_authentication_key()
    finally:
        signer.close()


def renegotiation(arena: Arena) -> dict[str, object]:
    """A registered peer asks for TLS renegotiation again and again (openssl s_client)."""
    program = shutil.which("openssl")
    if program is None:
        raise Skipped("openssl is not installed")
    lent = asyncio.run(_lent_key(arena, CONSUMER))
    key, certificate = arena.layout.home / "peer.key", arena.layout.home / "peer.pem"
    address = arena.layout.address(PROVIDER.number)
    refused = 0
    try:
        key.touch(mode=0o600)
        key.write_bytes(lent.private_key_pkcs8_pem)
        certificate.write_bytes(encode_pem(lent.certificate_der))
        command = [program, "s_client", "-connect", f"{address}:{PEER}", "-tls1_2"]
        with arena.load(sizes=False) as load:
            for _ in range(5):
                ran = subprocess.run(
                    [*command, "-key", str(key), "-cert", str(certificate)],
                    input=b"R\nR\nR\n",
                    capture_output=True,
                    check=False,
                    timeout=60,
                )
                text = ran.stdout + ran.stderr
                require(b"Verify return code" in text, f"no handshake: {text[-300:]!r}")
                refused += b"no renegotiation" in text or (
                    b"RENEGOTIATING" in text and bool(ran.returncode)
                )
    finally:
        key.unlink(missing_ok=True)
    _require_served([each.status == 200 for _, each in load.replies])
    require(refused == 5, f"only {refused} of 5 renegotiations were refused")
    return {"refused": refused}


def idle_connections(arena: Arena) -> dict[str, object]:
    """Thousands of idle connections on each port: consumers and peers are served all the same."""
    wanted = 2_000 if arena.quick else 10_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = hard if hard != resource.RLIM_INFINITY else 65536
    count = min(wanted, limit - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(limit, count + 400)), hard))
    facts: dict[str, object] = {"connections": count}
    before = _memory(arena)
    try:
        for party, port in ((CONSUMER, CLIENT_HTTP), (PROVIDER, PEER), (PROVIDER, OCSP)):
            with _idle(arena.layout.address(party.number), port, count) as held:
                began = time.monotonic()
                with arena.load(sizes=False) as load:
                    time.sleep(4)
                replies = load.since(began)
                fresh = [arena.once() for _ in range(5)]
                facts[f"port {port}"] = {
                    "open": held(),
                    "served": sum(each.status == 200 for each in replies),
                    "slowest_s": max((each.seconds for each in [*replies, *fresh]), default=0.0),
                }
                _require_served([each.status == 200 for each in [*replies, *fresh]])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    grown = {name: value - before.get(name, 0.0) for name, value in _memory(arena).items()}
    facts["largest_growth_mb"] = max(grown.values())
    require(max(grown.values()) < 2 * GROWTH_MB, f"a process grew: {grown}")
    return facts


@contextlib.contextmanager
def _idle(host: str, port: int, count: int) -> Iterator[Callable[[], int]]:
    """Hold so many connections open; calling the result counts those the server hasn't closed."""
    held: list[socket.socket] = []
    try:
        for number in range(count):
            connection = socket.socket()
            held.append(connection)
            connection.setblocking(False)
            connection.connect_ex((host, port))
            if number % 200 == 199:
                time.sleep(0.05)  # the listener's queue is finite
        yield lambda: sum(map(_is_open, held))
    finally:
        for connection in held:
            connection.close()


def _is_open(connection: socket.socket) -> bool:
    try:
        return bool(connection.recv(4096, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False


def _require_served(replies_ok: list[bool]) -> None:
    good = sum(replies_ok)
    require(replies_ok, "consumers were not served at all meanwhile")
    require(
        good == len(replies_ok), f"{len(replies_ok) - good} of {len(replies_ok)} were not served"
    )


def _memory(arena: Arena) -> dict[str, float]:
    """Resident MB of every process of both servers."""
    found: dict[str, float] = {}
    for party in (CONSUMER, PROVIDER):
        for name, pid in arena.children(party).items():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmRSS:"):
                        found[f"{party.server_code} {name}"] = int(line.split()[1]) / 1024
    return found


SCENARIOS = (broken_peers, renegotiation, idle_connections)
