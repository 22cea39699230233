"""The lab's ACME endpoint over real HTTP, and hosts that show challenges, or something else."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from postroad.adapters.system_clock import SystemClock
from postroad.trustlab.app import build_app
from postroad.trustlab.authority import TrustLab
from postroad.trustlab.home import LabHome

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


@contextmanager
def serving_app(app: ASGIApp) -> Iterator[int]:
    """Serve an application at a free port of loopback, in a thread; yields the port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = uvicorn.Config(app, loop="asyncio", lifespan="off", log_level="error")
        server = uvicorn.Server(config)
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
