"""The lab's ACME endpoint over real HTTP, and hosts that show challenges, or something else."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import uvicorn
from starlette.types import ASGIApp

from postroad.adapters.http_client import HttpClient
from postroad.adapters.signer_client import SignerClient
from postroad.adapters.signer_protocol import CertificateRecord, KeyAlgorithm
from postroad.adapters.system_clock import SystemClock
from postroad.globalconf.shared_parameters import AcmeServer
from postroad.globalconf.view import GlobalConfiguration
from postroad.securityserver.acme.new_orders import first_order
from postroad.securityserver.acme.order_book import OrderBook, OrderRecord, new_order_id
from postroad.securityserver.acme.ordering import Ordering
from postroad.securityserver.certificates import Applicant
from postroad.securityserver.settings import Settings, load_settings
from postroad.trustlab.app import build_app
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.home import LabHome
from support.trust import OWNER, SERVER, Ecosystem

T = TypeVar("T")
WELL_KNOWN = "/.well-known/acme-challenge/"


@dataclass
class RunningLab:
    """A lab that answers at a port of loopback."""

    home: LabHome
    lab: TrustLab
    port: int

    @property
    def directory(self) -> str:
        return f"http://127.0.0.1:{self.port}/acme/directory"

    def set(self, **settings: object) -> None:
        (self.home.path / "acme.json").write_text(json.dumps(settings))


@contextmanager
def running_lab(
    path: Path,
    *,
    wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app,
    lab: TrustLab | None = None,
    **settings: object,
) -> Iterator[RunningLab]:
    """Serve a new lab; ``wrap`` may put something in the middle that isn't so honest."""
    home = LabHome(path)
    lab = lab or TrustLab.create(at=SystemClock().now())
    home.store(lab)
    with serving_app(wrap(build_app(home, SystemClock()))) as port:
        running = RunningLab(home, lab, port)
        running.set(**settings)
        yield running


class _Server(uvicorn.Server):
    """One that lets the connections it closes last go, before its loop does."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        await asyncio.sleep(0.01)


@contextmanager
def serving_app(app: ASGIApp) -> Iterator[int]:
    """Serve an application at a free port of loopback, in a thread; yields the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, loop="asyncio", lifespan="off", log_level="error")
        server = _Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(10)


@dataclass
class ChallengeHost:
    """A web server that shows what it was given, by token."""

    port: int = 0
    shown: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@contextmanager
def challenge_host() -> Iterator[ChallengeHost]:
    """Serve challenges on a free port of loopback."""
    host = ChallengeHost()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host.asked.append(self.path)
            text = host.shown.get(self.path.removeprefix(WELL_KNOWN))
            self.send_response(200 if text is not None else 404)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        host.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join(10)


SIGNER_SCRIPT = """
import sys
from pathlib import Path
from postroad.cli import server_signer
from postroad.securityserver.settings import load_settings
server_signer.run_signer(load_settings(Path(sys.argv[1])), None)
"""
SETTINGS = """
[server]
identifier = "TEST/GOV/1/SS1"

[acme]
acme_challenge_host = "127.0.0.1"
acme_challenge_port = {port}
acme_authorization_wait_attempts = 40
acme_authorization_wait_interval = 0.1
acme_certificate_wait_interval = 0.1
"""


@dataclass
class Bench:
    """A Security Server's signer, and the lab that its global configuration approves."""

    home: Path
    lab: RunningLab
    ecosystem: Ecosystem
    directory: str = ""
    """Where the global configuration says the service is; the lab's by default."""

    @property
    def settings(self) -> Settings:
        return load_settings(self.home)

    @property
    def book(self) -> OrderBook:
        return OrderBook(self.settings.acme_path)

    def globalconf(self) -> GlobalConfiguration:
        self.ecosystem.acme_server = AcmeServer(self.directory or self.lab.directory)
        return self.ecosystem.globalconf()

    def run(self, work: Callable[[SignerClient, HttpClient], Awaitable[T]]) -> T:
        """Do something with the signer and the web."""

        async def call() -> T:
            signer, http = SignerClient(self.settings.signer_socket), HttpClient()
            try:
                return await work(signer, http)
            finally:
                signer.close()
                http.close()

        return asyncio.run(call())

    def ordering(self, signer: SignerClient, http: HttpClient) -> Ordering:
        return Ordering(
            settings=self.settings,
            signer=signer,
            fetcher=http,
            book=self.book,
            clock=SystemClock(),
        )

    def wanted(self, *, signing: bool = False, name: str = "localhost") -> OrderRecord:
        record = first_order(
            Applicant(
                server=SERVER, member=OWNER if signing else None, name="Ministry", dns_name=name
            ),
            "Lab CA",
            self.lab.lab.profile,
            {},
            order_id=new_order_id(),
            token="0",
            algorithm=KeyAlgorithm.EC_P256,
            at=SystemClock().now(),
        )
        with self.book.locked():
            self.book.store(record)
        return record

    def fulfil(self, record: OrderRecord) -> CertificateRecord:
        imported = self.run(
            lambda signer, http: self.ordering(signer, http).fulfil(
                record, globalconf=self.globalconf(), local_members=frozenset({OWNER})
            )
        )
        self.book.close(record)
        return imported


@contextmanager
def acme_bench(
    path: Path, *, wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app, **settings: object
) -> Iterator[Bench]:
    """A signer process that is logged in, beside a running lab."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    home = path / "server"
    (home / "run").mkdir(parents=True)
    (home / "server.toml").write_text(SETTINGS.format(port=port))
    process = subprocess.Popen([sys.executable, "-c", SIGNER_SCRIPT, str(home)])
    try:
        with running_lab(path / "lab", wrap=wrap, challenge_port=port, **settings) as lab:
            urls = (f"http://127.0.0.1:{lab.port}/ocsp",) * 2
            bench = Bench(home, lab, Ecosystem(lab=lab.lab, address="localhost", ocsp_urls=urls))
            until = time.monotonic() + 20
            while not bench.settings.signer_socket.exists():
                assert process.poll() is None
                assert time.monotonic() < until
                time.sleep(0.02)
            bench.run(_log_in)
            yield bench
    finally:
        process.kill()
        process.wait()


async def _log_in(signer: SignerClient, _http: HttpClient) -> None:
    await signer.initialise("1234")
    await signer.login("1234")
