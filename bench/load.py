"""How are requests sent, and how fast did the answers come?

Many small ones are sent by wrk, a process of its own; one huge body by plain sockets. wrk keeps a
fixed number of requests under way (a closed loop), as many as there are consumers.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.workloads import Workload

SCRIPT = Path(__file__).with_name("load.lua")
PATIENCE = 60
"""Seconds until wrk calls a request timed out."""
_MARK = "BENCH "


@dataclass(frozen=True, slots=True)
class Target:
    """Where a workload is sent: an address, what is put before its paths, who asks."""

    host: str
    port: int
    prefix: str = ""
    client: str = "BENCH/GOV/1/direct"

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk measured; times in milliseconds."""

    requests: int
    seconds: float
    mb: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    errors: dict[str, int]
    generator_cpu_s: float

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    @property
    def failed(self) -> int:
        return sum(self.errors.values())


def run_wrk(
    target: Target, workload: Workload, *, consumers: int, seconds: float, keep_alive: bool = True
) -> Load:
    """Send ``workload`` from ``consumers`` connections for ``seconds``."""
    paths = "\n".join(f"{target.prefix}{path} {weight}" for path, weight in workload.paths)
    environment = {
        **os.environ,
        "BENCH_METHOD": workload.method,
        "BENCH_BODY": str(workload.body_bytes),
        "BENCH_CLOSE": "0" if keep_alive else "1",
        "BENCH_PREFIX": f"bench-{uuid.uuid4().hex[:12]}-",
        "BENCH_CLIENT": target.client,
        "BENCH_PATHS": paths,
    }
    command = [
        tools.find("wrk") or "wrk",
        "-t",
        "1",
        "-c",
        str(consumers),
        "-d",
        f"{max(1, round(seconds))}s",
        "--timeout",
        f"{PATIENCE}s",
        "-s",
        str(SCRIPT),
        target.url,
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    finished = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 2 * PATIENCE,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = next((each for each in finished.stdout.splitlines() if each.startswith(_MARK)), None)
    if line is None:
        raise RuntimeError(f"wrk said nothing: {finished.stdout}{finished.stderr}")
    said = json.loads(line.removeprefix(_MARK))
    return Load(
        requests=said["requests"],
        seconds=said["microseconds"] / 1e6,
        mb=said["bytes"] / 1e6,
        p50_ms=said["p50"] / 1e3,
        p95_ms=said["p95"] / 1e3,
        p99_ms=said["p99"] / 1e3,
        max_ms=said["max"] / 1e3,
        errors=said["errors"],
        generator_cpu_s=(after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime),
    )


@dataclass(frozen=True, slots=True)
class Transfer:
    """One large body."""

    bytes: int
    seconds: float
    status: int

    @property
    def mb_per_second(self) -> float:
        return self.bytes / 1e6 / self.seconds


def _head(target: Target, method: str, path: str, size: int | None) -> bytes:
    lines = [
        f"{method} {target.prefix}{path} HTTP/1.1",
        f"Host: {target.host}",
        f"X-Road-Client: {target.client}",
        f"X-Road-Id: bench-{uuid.uuid4()}",
        "Connection: close",
    ]
    if size is not None:
        lines += [f"Content-Length: {size}", "Content-Type: application/octet-stream"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def connect(target: Target, *, timeout: float = 300.0) -> socket.socket:
    """Open a connection to a target."""
    return socket.create_connection((target.host, target.port), timeout=timeout)


def send_large(target: Target, path: str, size: int) -> Transfer:
    """POST ``size`` bytes, which come from a file without contents."""
    with tempfile.TemporaryFile() as file, connect(target) as connection:
        file.truncate(size)
        started = time.monotonic()
        connection.sendall(_head(target, "POST", path, size))
        connection.sendfile(file)
        status, _received = _receive(connection)
        return Transfer(size, time.monotonic() - started, status)


def fetch_large(target: Target, path: str) -> Transfer:
    """GET a large body and throw it away."""
    with connect(target) as connection:
        started = time.monotonic()
        connection.sendall(_head(target, "GET", path, None))
        status, received = _receive(connection)
        return Transfer(received, time.monotonic() - started, status)


def _receive(connection: socket.socket) -> tuple[int, int]:
    """Read an answer to its end; its status and the size of its body."""
    view = memoryview(bytearray(1 << 20))
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65536)
        if not data:
            return 0, 0
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        None,
    )
    received = len(rest)
    while (length is None or received < length) and (count := connection.recv_into(view)):
        received += count
    if length is not None and received != length:
        return 0, received
    return int(head.split(b" ", 2)[1]), received


@dataclass(frozen=True, slots=True)
class SlowConsumers:
    """Consumers that send or read as slowly as a bad line does."""

    reading: Target
    sending: Target
    read_path: str
    send_path: str
    body_bytes: int

    def hold(self, count: int, seconds: float, look: Callable[[], None]) -> int:
        """Keep ``count`` exchanges slow for ``seconds``; half send, half read.

        Calls ``look`` about twice a second; returns how many connections were still open.
        """
        connections = [self._begin(number) for number in range(count)]
        until = time.monotonic() + seconds
        alive = set(range(count))
        try:
            while time.monotonic() < until:
                for number in sorted(alive):
                    if not self._step(connections[number], sends=number % 2 == 0):
                        alive.discard(number)
                look()
                time.sleep(0.4)
        finally:
            for connection in connections:
                connection.close()
        return len(alive)

    def _begin(self, number: int) -> socket.socket:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        sends = number % 2 == 0
        target = self.sending if sends else self.reading
        connection.connect((target.host, target.port))
        connection.sendall(
            _head(target, "POST", self.send_path, self.body_bytes)
            if sends
            else _head(target, "GET", self.read_path, None)
        )
        connection.settimeout(0)
        return connection

    @staticmethod
    def _step(connection: socket.socket, *, sends: bool) -> bool:
        try:
            if sends:
                connection.send(b"x" * 4096)
                return True
            return bool(connection.recv(1024))
        except BlockingIOError:
            return True
        except OSError:
            return False
