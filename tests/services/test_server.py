"""A whole Security Server as its operator runs it, without an ecosystem around it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from postroad.adapters.files import write_atomic
from postroad.crypto.certificates import Certificate
from postroad.globalconf.anchor import build_anchor
from support.softhsm import LIBRARY, SoftHsm
from support.softhsm import PIN as HSM_PIN

PIN = "canary-pin-4711-secret"
CERTIFICATE = Path(__file__).parents[1] / "data/reference/certs/client.pem"
DEVICE = f"""
[tokens]
pin_file = "pins"

[devices.hsm]
library = "{LIBRARY}"
token_id_format = "{{label}}"
"""
PROGRAM = [sys.executable, "-m", "postroad", "server"]


@dataclass
class Server:
    home: Path
    process: subprocess.Popen[bytes]

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return ask(self.home, *arguments)

    def status(self) -> dict[str, Any]:
        path = self.home / "run/status.json"
        return dict(json.loads(path.read_text())) if path.exists() else {}

    def pid(self, name: str) -> int:
        return next(int(c["pid"]) for c in self.status()["children"] if c["name"] == name)


def ask(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 40
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    anchor = tmp_path / "anchor.xml"
    certificate = Certificate.from_pem_or_der(CERTIFICATE.read_bytes())
    built = build_anchor(
        "TEST",
        [("127.0.0.1:1", [certificate.der])],
        directory="internalconf",
        at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    anchor.write_bytes(built.encode())
    home = tmp_path / "server"
    # A loopback address of our own, so that no port is taken.
    address = f"127.{20 + os.getpid() % 200}.{os.getpid() // 200 % 250}.1"
    made = ask(
        home,
        *("init", "--owner", "TEST/GOV/1", "--code", "SS1", "--anchor", str(anchor)),
        *("--host", address, "--client-host", address),
    )
    assert made.returncode == 0, made.stderr
    hsm = SoftHsm(tmp_path / "hsm")
    hsm.add_token("seal")
    write_atomic(home / "pins", f"seal:{HSM_PIN}\nother:x\n".encode())
    with (home / "server.toml").open("a") as settings:
        settings.write(DEVICE)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*PROGRAM, "run", "--home", str(home)],
            env={**hsm.environment, "POSTROAD_TOKEN_PIN": PIN},
            stdout=log,
            stderr=log,
        )
    server = Server(home, process)
    wait_for(lambda: process.poll() is not None or server.status().get("state") == "running")
    assert process.poll() is None, (tmp_path / "log").read_text()
    yield server
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    process.wait(60)


def test_life_of_a_server(server: Server, tmp_path: Path) -> None:
    pin_file = tmp_path / "pin"
    pin_file.write_text(PIN + "\n")
    assert server.ask("token", "init", "--pin-file", str(pin_file)).returncode == 0
    made = server.ask("key", "generate", "--label", "auth", "--algorithm", "EC-P256")
    assert made.stdout.strip() in server.ask("key", "list").stdout

    # Applied while it runs: the snapshot is what the workers watch.
    declaration = tmp_path / "clients.toml"
    declaration.write_text('[[client]]\nid = "TEST/GOV/1/app"\nconnection = "HTTP"\n')
    assert server.ask("diff", str(declaration)).returncode == 1
    assert server.ask("apply", str(declaration)).returncode == 0
    assert server.ask("diff", str(declaration)).returncode == 0

    # A killed signer comes back, and logs in with the PIN that it alone was given.
    killed = server.pid("signer")
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: server.pid("signer") not in {0, killed})
    wait_for(lambda: "logged in" in server.ask("token", "status").stdout)

    # So does the process of a hardware token's library, and the signer never noticed.
    def seal_is_open() -> bool:
        return "logged in" in server.ask("token", "status", "--token", "seal").stdout

    signer, crashed = server.pid("signer"), server.pid("token-hsm")
    wait_for(seal_is_open)
    made = server.ask("key", "generate", "--label", "seal", "--usage", "sign", "--token", "seal")
    assert made.returncode == 0, made.stderr
    os.kill(crashed, signal.SIGSEGV)
    wait_for(lambda: server.pid("token-hsm") not in {0, crashed} and seal_is_open())
    assert made.stdout.strip() in server.ask("key", "list").stdout
    assert server.pid("signer") == signer

    # A second server in the same home is refused.
    second = server.ask("run")
    assert second.returncode == 2
    assert "already" in second.stderr

    # The PIN is neither in an environment nor, but for the signer, behind a descriptor.
    for pid in (server.process.pid, *(int(c["pid"]) for c in server.status()["children"])):
        assert PIN.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    worker = server.pid("worker-0")
    opened = [str(entry.readlink()) for entry in Path(f"/proc/{worker}/fd").iterdir()]
    assert not any("token-pin" in target for target in opened)

    # It stops in order, and says so.
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "stopped" in server.ask("status").stdout
    log = (tmp_path / "log").read_bytes()
    assert PIN.encode() not in log
    assert HSM_PIN.encode() not in log
    for path in server.home.rglob("*"):
        if path.is_file() and path.name != "pins":
            assert PIN.encode() not in path.read_bytes(), path
            assert HSM_PIN.encode() not in path.read_bytes(), path


def test_every_process_ends_when_the_supervisor_is_killed(server: Server) -> None:
    children = [int(child["pid"]) for child in server.status()["children"]]
    server.process.kill()
    server.process.wait()
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def test_jobs_tell_that_the_ecosystem_is_not_there(server: Server) -> None:
    path = server.home / "run/status-configuration.json"
    wait_for(path.exists)
    status = json.loads(path.read_bytes())
    assert status["state"] == "failed"
    assert "127.0.0.1:1" in status["error"]
