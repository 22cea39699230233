"""Every fault that is put into a running ecosystem is named, and a healthy one isn't called sick.

Faults of services are the lab's own; those of processes are real. Where a fault is something that
the server's operator, or somebody on the way, has done, the doctor looks at a home directory that
is like the server's but for that one thing, with the running server behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from postroad.adapters.log_client import LogClient
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.system_clock import SystemClock
from postroad.adapters.tls import load_certificate_chain
from postroad.clock import Clock
from postroad.demo.ecosystem import Ecosystem
from postroad.demo.layout import CONSUMER, PROVIDER, SERVICE_CODE
from postroad.demo.processes import wait_until
from postroad.errors import PostroadError
from postroad.globalconf.anchor import Anchor
from postroad.identifiers import ServiceId
from postroad.securityserver.doctor.examination import examine
from postroad.securityserver.doctor.findings import Finding, Verdict, exit_code
from postroad.securityserver.doctor.patient import Room, opened_patient
from postroad.securityserver.doctor.table import CHECKS
from postroad.securityserver.internal_tls import ensure_internal_identity
from postroad.securityserver.messagelog.stop_rule import STATE_NAME, TimestampingState
from postroad.securityserver.serverconf.snapshot import (
    ServiceEntry,
    load_snapshot,
    store_snapshot,
)
from postroad.securityserver.settings import load_settings
from postroad.trustlab.faults import FaultPlan, ServiceFaults
from postroad.trustlab.home import LabHome
from support.operating import postroad

pytestmark = pytest.mark.xdist_group("doctor")

_numbers = count()
_SCRATCH = ("-wal", "-shm")
"""What SQLite keeps beside a database for as long as somebody looks at it."""


@dataclass
class Ward:
    """The provider's server in the ecosystem, and what is looked at."""

    ecosystem: Ecosystem
    tmp: Path

    @property
    def home(self) -> Path:
        return self.ecosystem.layout.server_home(PROVIDER)

    @property
    def consumer(self) -> Path:
        return self.ecosystem.layout.server_home(CONSUMER)

    @property
    def address(self) -> str:
        return self.ecosystem.layout.address(PROVIDER.number)

    def pid_of(self, name: str) -> int:
        """One of the server's processes, as its supervisor told last."""
        status = json.loads((self.home / "run" / "status.json").read_bytes())
        return int(next(child["pid"] for child in status["children"] if child["name"] == name))

    @contextmanager
    def lab(self, **faults: ServiceFaults) -> Iterator[Path]:
        lab = LabHome(self.ecosystem.layout.lab_home)
        lab.store_faults(FaultPlan(**faults))
        try:
            yield self.home
        finally:
            lab.store_faults(FaultPlan())

    def like(self, of: Path | None = None) -> Path:
        """A home directory like the server's, with the running processes behind it."""
        home = of or self.home
        other = self.tmp / f"home-{next(_numbers)}"
        shutil.copytree(home, other, ignore=shutil.ignore_patterns("*.sock", "signer", ".*"))
        other.chmod(0o700)
        for path in (home / "run").glob("*.sock"):
            (other / "run" / path.name).symlink_to(path)
        return other

    def with_settings(self, old: str, new: str, of: Path | None = None) -> Path:
        home = self.like(of)
        return edited(home, home / "server.toml", old, new)


def edited(home: Path, path: Path, old: str, new: str) -> Path:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")
    return home


@dataclass(frozen=True)
class Shifted:
    """A clock that is wrong."""

    by: timedelta

    def now(self) -> datetime:
        return SystemClock().now() + self.by


def diagnose(
    home: Path,
    *,
    clock: Clock | None = None,
    services: tuple[ServiceId, ...] = (),
    room: Callable[[Path], Room] | None = None,
) -> tuple[Finding, ...]:
    async def run() -> tuple[Finding, ...]:
        with opened_patient(load_settings(home), clock or SystemClock(), services) as patient:
            patient.answer_seconds = 2.0
            if room is not None:
                patient.room = room
            return await examine(patient, CHECKS)

    return asyncio.run(run())


def failures(findings: tuple[Finding, ...]) -> dict[str, str]:
    return {each.check: each.seen for each in findings if each.verdict is Verdict.FAILED}


def told(findings: tuple[Finding, ...]) -> str:
    return "\n".join(f"{each.verdict} {each.name}: {each.seen}" for each in findings)


@pytest.fixture(scope="module")
def ward(ecosystem: Ecosystem, tmp_path_factory: pytest.TempPathFactory) -> Ward:
    return Ward(ecosystem, tmp_path_factory.mktemp("ward"))


# --- health ---------------------------------------------------------------------------------------


def test_healthy_servers_are_not_called_sick(ward: Ward) -> None:
    chosen = f"{PROVIDER.subsystem.encoded()}/{SERVICE_CODE}"
    for party, extra in ((PROVIDER, ()), (CONSUMER, ("--service", chosen))):
        home = ward.ecosystem.layout.server_home(party)
        result = postroad("doctor", "--json", "--home", home, *extra)
        findings = json.loads(result.stdout)["findings"]
        assert {each["verdict"] for each in findings} == {"ok"}, result.stdout
        assert result.returncode == 0
        assert {each["check"] for each in findings} == {"settings", *(c.name for c in CHECKS)}


def test_the_doctor_changes_nothing(ward: Ward) -> None:
    home = ward.like()

    def contents() -> dict[Path, bytes]:
        files = (path for path in home.rglob("*") if path.is_file())
        return {path: read(path) for path in files if not path.name.endswith(_SCRATCH)}

    def read(path: Path) -> bytes:
        if path.suffix != ".sqlite":
            return path.read_bytes()
        # Who closes a database last moves what is committed into its file.
        with contextlib.closing(sqlite3.connect(path)) as database:
            return "".join(database.iterdump()).encode()

    before = contents()
    findings = diagnose(home)
    assert exit_code(findings) == 0, told(findings)
    assert contents() == before


# --- faults ---------------------------------------------------------------------------------------


Inject = Callable[[Ward], "contextlib.AbstractContextManager[Path]"]
_faults: list[tuple[str, Inject, str, str]] = []


def fault(check: str, phrase: str) -> Callable[[Callable[[Ward], Iterator[Path]]], Inject]:
    """Register a fault: its only failed check, and what is said of it."""

    def register(inject: Callable[[Ward], Iterator[Path]]) -> Inject:
        made = contextmanager(inject)
        _faults.append((inject.__name__, made, check, phrase))
        return made

    return register


@fault("time-stamping", "gives no answer|HTTP status 503")
def dead_tsa(ward: Ward) -> Iterator[Path]:
    with ward.lab(tsa=ServiceFaults(stopped=True)) as home:
        yield home


@fault("time-stamping", "certificate that is not approved")
def tsa_with_an_unknown_certificate(ward: Ward) -> Iterator[Path]:
    with ward.lab(tsa=ServiceFaults(foreign=True)) as home:
        yield home


@fault("time-stamping", "no usable time-stamp")
def tsa_that_answers_nonsense(ward: Ward) -> Iterator[Path]:
    with ward.lab(tsa=ServiceFaults(broken=True)) as home:
        yield home


@fault("clock", "time-stamping service .* 7(200|199) s ahead of the others")
def lying_clock_of_the_tsa(ward: Ward) -> Iterator[Path]:
    with ward.lab(tsa=ServiceFaults(time_shift=7200)) as home:
        yield home


@fault("clock", "OCSP responder .* 7(200|199) s ahead of the others")
def lying_clock_of_the_ocsp_responder(ward: Ward) -> Iterator[Path]:
    with ward.lab(ocsp=ServiceFaults(time_shift=7200)) as home:
        yield home


@fault("OCSP", "stale answers")
def stale_ocsp_answers(ward: Ward) -> Iterator[Path]:
    with ward.lab(ocsp=ServiceFaults(time_shift=-7200)) as home:
        yield home


@fault("OCSP", "gives no answer")
def ocsp_responder_down(ward: Ward) -> Iterator[Path]:
    with ward.lab(ocsp=ServiceFaults(stopped=True)) as home:
        yield home


@fault("OCSP", "says that the certificate is revoked")
def revoked_certificate(ward: Ward) -> Iterator[Path]:
    with ward.lab(ocsp=ServiceFaults(status="revoked")) as home:
        yield home


@fault("OCSP", "about another certificate than asked")
def ocsp_for_another_serial(ward: Ward) -> Iterator[Path]:
    with ward.lab(ocsp=ServiceFaults(foreign=True)) as home:
        yield home


@fault("configuration expiry", "has expired")
def expired_configuration(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    for path in home.glob("globalconf/*/*.metadata"):
        stored = json.loads(path.read_bytes())
        path.write_text(json.dumps({**stored, "expirationDate": "2020-01-01T00:00:00Z"}))
    yield home


@fault("anchor", "of the instance 'OTHER'")
def anchor_of_another_instance(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    path = home / "configuration-anchor.xml"
    path.write_bytes(replace(Anchor.parse(path.read_bytes()), instance="OTHER").encode())
    yield home


@fault("configuration download", "can't be proven")
def anchor_with_foreign_keys(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    path = home / "configuration-anchor.xml"
    anchor = Anchor.parse(path.read_bytes())
    foreign = ensure_internal_identity(ward.tmp, SystemClock().now(), ()).certificate.der
    sources = tuple(replace(each, verification_certificates=(foreign,)) for each in anchor.sources)
    path.write_bytes(replace(anchor, sources=sources).encode())
    yield home


@fault("own server port", "TLS is terminated in front of")
def tls_terminated_in_front_of_5500(ward: Ward) -> Iterator[Path]:
    other = ward.ecosystem.layout.address(77)
    home = moved(ward, other)
    with forwarding(other, 5577, ward.address), tls_server(other, 5500, ward.tmp):
        yield home


@fault("own OCSP port", "get no OCSP responses")
def closed_5577(ward: Ward) -> Iterator[Path]:
    other = ward.ecosystem.layout.address(78)
    home = moved(ward, other)
    with forwarding(other, 5500, ward.address):
        yield home


def moved(ward: Ward, address: str) -> Path:
    """A home whose global configuration gives the server another address."""
    home = ward.like()
    old, new = f"<address>{ward.address}</address>", f"<address>{address}</address>"
    return edited(home, home / "globalconf" / "DEMO" / "shared-params.xml", old, new)


@contextmanager
def forwarding(host: str, port: int, to: str) -> Iterator[None]:
    """Pass TCP on, as a router with port forwarding does."""

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def relay(near: socket.socket) -> None:
        with near, socket.create_connection((to, port)) as far:
            back = threading.Thread(target=pump, args=(far, near), daemon=True)
            back.start()
            pump(near, far)
            back.join(5)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=relay, args=(near,), daemon=True).start()

    with socket.create_server((host, port)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def tls_server(host: str, port: int, home: Path) -> Iterator[int]:
    """Something that speaks TLS with a certificate of its own, as a proxy does."""
    identity = ensure_internal_identity(home, SystemClock().now(), (host,))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_certificate_chain(context, identity.key_pem, identity.chain_pem)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                with (
                    contextlib.suppress(OSError),
                    context.wrap_socket(near, server_side=True) as tls,
                ):
                    tls.recv(1)

    with socket.create_server((host, port)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@fault("ports", r"HTTPS\) .* is taken by process")
def port_taken(ward: Ward) -> Iterator[Path]:
    with socket.create_server((ward.address, 0)) as stranger:
        section = "[client_proxy]\n"
        number = stranger.getsockname()[1]
        yield ward.with_settings(section, f"{section}https_port = {number}\n")


@fault("authentication certificate", "doesn't list it")
def unregistered_authentication_certificate(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    shared = home / "globalconf" / "DEMO" / "shared-params.xml"
    text = shared.read_text()
    before, mark, rest = text.partition(f"<address>{ward.address}</address>")
    head, tag, hash_and_rest = rest.partition("<authCertHash>")
    assert mark
    assert tag
    shared.write_text(before + mark + head + tag + "AAAA" + hash_and_rest[4:])
    yield home


@fault("authentication certificate", "it is not active")
def deactivated_certificate(ward: Ward) -> Iterator[Path]:
    async def switch(*, active: bool) -> None:
        signer = SignerClient(load_settings(ward.home).signer_socket)
        keys = await signer.certificates()
        for info in await signer.tokens():
            for key in info.token.keys:
                for certificate in key.certificates:
                    if any(
                        each.usage == "AUTHENTICATION" and each.der == certificate.der
                        for each in keys
                    ):
                        await signer.set_certificate(certificate.hash, active=active)
        signer.close()

    asyncio.run(switch(active=False))
    try:
        yield ward.home
    finally:
        asyncio.run(switch(active=True))


@fault("token", "not logged in")
def wrong_pin(ward: Ward) -> Iterator[Path]:
    right = ward.ecosystem.layout.pin_file.read_text().strip()

    async def log_in(pin: str) -> None:
        signer = SignerClient(load_settings(ward.home).signer_socket)
        with contextlib.suppress(PostroadError):
            await signer.logout()
            await signer.login(pin)
        signer.close()

    asyncio.run(log_in("9999"))
    try:
        yield ward.home
    finally:

        def is_in() -> bool:
            asyncio.run(log_in(right))
            return "token" not in failures(diagnose(ward.home))

        wait_until("the login", is_in)


@fault("processes", "signer is down")
def signer_down(ward: Ward) -> Iterator[Path]:
    with process_killed(ward, "signer") as home:
        yield home


@fault("processes", "logwriter is down")
def log_writer_killed(ward: Ward) -> Iterator[Path]:
    with process_killed(ward, "logwriter") as home:
        yield home


@contextmanager
def process_killed(ward: Ward, name: str) -> Iterator[Path]:
    """Killed for good: its supervisor, held for so long, doesn't start another."""
    status = json.loads((ward.home / "run" / "status.json").read_bytes())
    pid = ward.pid_of(name)
    os.kill(status["pid"], signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    try:
        yield ward.home
    finally:
        os.kill(status["pid"], signal.SIGCONT)
        program = ward.ecosystem.servers[PROVIDER]
        program.stop()
        program.start()
        wait_until(name, lambda: exit_code(diagnose(ward.home)) == 0)


@fault("database", "message log database can't be used: .* locked")
def database_locked(ward: Ward) -> Iterator[Path]:
    connection = sqlite3.connect(ward.home / "db" / "messagelog.sqlite", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield ward.home
    finally:
        connection.close()


@fault("database", "is gone")
def database_gone(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    (home / "db" / "messagelog.sqlite").unlink()
    yield home


@fault("files", "other users of this machine can use .*messagelog.sqlite")
def wrong_file_permissions(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    for path in (home, home / "db"):
        path.chmod(0o755)
    (home / "db" / "messagelog.sqlite").chmod(0o644)
    yield home


@fault("services", "can't be used: .* can't be reached")
def back_end_down(ward: Ward) -> Iterator[Path]:
    with socket.create_server((ward.address, 0)) as free:
        url = f"http://{ward.address}:{free.getsockname()[1]}/"
    yield with_service(ward, url)


@fault("services", "TLS certificate that is not registered")
def back_end_with_a_wrong_certificate(ward: Ward) -> Iterator[Path]:
    with tls_server(ward.address, 0, ward.tmp) as port:
        yield with_service(ward, f"https://{ward.address}:{port}/")


def with_service(ward: Ward, url: str) -> Path:
    home = ward.like()
    path = home / "run" / "serverconf.snapshot"
    snapshot = load_snapshot(path)

    def change(service: ServiceEntry) -> ServiceEntry:
        return ServiceEntry(
            service.service_code,
            service.service_version,
            service.type,
            url,
            service.timeout,
            True,
            service.disabled,
            service.disabled_notice,
            service.description_url,
        )

    clients = tuple(
        type(client)(
            client.identifier,
            client.status,
            client.connection_type,
            client.certificates,
            tuple(change(service) for service in client.services),
            client.endpoints,
            client.local_groups,
        )
        for client in snapshot.clients
    )
    store_snapshot(
        path,
        type(snapshot)(
            snapshot.format, snapshot.revision, snapshot.server, clients, snapshot.timestamping
        ),
    )
    return home


@fault("message log", "no message can be logged, .* has failed since")
def stop_rule_reached(ward: Ward) -> Iterator[Path]:
    since = SystemClock().now() - timedelta(hours=5)
    working = TimestampingState(configured=True)

    async def tell(state: TimestampingState) -> None:
        log = LogClient(load_settings(ward.home).logwriter_socket)
        await log.set_state(STATE_NAME, state.encode())
        log.close()

    async def refuses() -> bool:
        log = LogClient(load_settings(ward.home).logwriter_socket)
        refusing = (await log.status()).refusing
        log.close()
        return bool(refusing)

    # The job would tell the truth again before anybody has looked.
    job = ward.pid_of("background")
    os.kill(job, signal.SIGSTOP)
    try:
        asyncio.run(tell(TimestampingState(configured=True, failing_since=since)))
        wait_until("the stop rule", lambda: asyncio.run(refuses()))
        yield ward.home
    finally:
        asyncio.run(tell(working))
        os.kill(job, signal.SIGCONT)
        wait_until("the log", lambda: not asyncio.run(refuses()))


@fault("registration", "doesn't list this server")
def server_not_in_the_configuration(ward: Ward) -> Iterator[Path]:
    home = ward.like()
    shared = home / "globalconf" / "DEMO" / "shared-params.xml"
    code = f"<serverCode>{PROVIDER.server_code}</serverCode>"
    yield edited(home, shared, code, "<serverCode>ELSE</serverCode>")


@fault("configuration download", "the Central Server can't be reached")
def central_server_unreachable(ward: Ward) -> Iterator[Path]:
    os.kill(ward.ecosystem.central.pid, signal.SIGSTOP)
    try:
        yield ward.home
    finally:
        os.kill(ward.ecosystem.central.pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("inject", "check", "phrase"),
    [pytest.param(*rest, id=name) for name, *rest in _faults],
)
def test_a_fault_is_named_and_nothing_else(
    ward: Ward, inject: Inject, check: str, phrase: str
) -> None:
    with inject(ward) as home:
        findings = diagnose(home)
    named = failures(findings)
    assert set(named) == {check}, told(findings)
    text = next(each for each in findings if each.verdict is Verdict.FAILED).seen
    assert re.search(phrase, text), text
    assert exit_code(findings) == 2
    assert all(each.advice for each in findings if each.verdict is Verdict.FAILED)


def test_our_own_clock_is_the_one_that_lies(ward: Ward) -> None:
    for by in (timedelta(hours=2), timedelta(hours=-2)):
        findings = diagnose(ward.home, clock=Shifted(by))
        named = failures(findings)
        assert set(named) == {"clock"}, told(findings)
        assert "our own clock is wrong" in named["clock"]


def test_a_full_disk_is_named(ward: Ward) -> None:
    findings = diagnose(ward.home, room=lambda _path: Room(1_000_000, None))
    assert set(failures(findings)) == {"disk"}
    findings = diagnose(ward.home, room=lambda _path: Room(10**10, 3))
    assert "3 files" in failures(findings)["disk"]


PEER = (ServiceId(PROVIDER.subsystem, SERVICE_CODE),)


def test_a_providers_closed_ocsp_port_is_named(ward: Ward) -> None:
    home = ward.with_settings(
        "[server_proxy]", "[server_proxy]\npeer_ocsp_port = 5599", ward.consumer
    )
    named = failures(diagnose(home, services=PEER))
    assert set(named) == {"peer"}
    assert "OCSP port" in named["peer"]


def test_tls_terminated_in_front_of_a_provider_is_named(ward: Ward) -> None:
    with tls_server(ward.address, 0, ward.tmp) as port:
        home = ward.with_settings(
            "[server_proxy]", f"[server_proxy]\npeer_port = {port}", ward.consumer
        )
        named = failures(diagnose(home, services=PEER))
    assert set(named) == {"peer"}
    assert "TLS is terminated in front of" in named["peer"]


def test_settings_that_cannot_be_read_are_the_only_fault(ward: Ward) -> None:
    home = ward.with_settings("[client_proxy]\n", '[client_proxy]\nhttps_port = "many"\n')
    result = postroad("doctor", "--json", "--home", home)
    findings = json.loads(result.stdout)["findings"]
    assert result.returncode == 2
    assert [each["check"] for each in findings if each["verdict"] == "failed"] == ["settings"]
    assert {each["because"] for each in findings[1:]} == {"settings"}


def test_a_server_that_is_down_is_told_and_the_rest_still_judged(ward: Ward) -> None:
    program = ward.ecosystem.servers[PROVIDER]
    program.stop()
    try:
        findings = diagnose(ward.home)
    finally:
        program.start()
        wait_until("the server", lambda: exit_code(diagnose(ward.home)) == 0)
    assert set(failures(findings)) == {"server"}, told(findings)
    verdicts = {each.check: each for each in findings}
    for check in ("disk", "anchor", "configuration download", "clock", "time-stamping", "services"):
        assert verdicts[check].verdict is Verdict.OK, told(findings)
    for check in ("token", "processes", "message log", "own server port", "OCSP"):
        assert verdicts[check].because == "server", told(findings)
