"""What stands around the Security Servers: provider, a pair of nginx to compare with, PostgreSQL.

All are processes of their own, listen on loopback addresses only, and live in one folder.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from bench import tools
from bench.load import Target, connect
from bench.workloads import SIZES
from postroad.adapters.tls import SERVER_TO_SERVER_CIPHERS

if TYPE_CHECKING:
    from collections.abc import Sequence

_PROXYING = """
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_pass_request_headers on;
"""
_STREAMING = """
        proxy_request_buffering off;
        proxy_max_temp_file_size 0;
"""


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _end_with_us() -> None:
    """Run in a child before its program: let it end when this process does, however it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A process that ends with us."""

    def __init__(self, arguments: Sequence[str | Path], log: Path, **options: object) -> None:
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [str(each) for each in arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=_end_with_us,  # noqa: PLW1509 - the threads are idle here
                **options,
            )

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def wait_for_port(target: Target, *, patience: float = 15.0) -> None:
    """Wait until something listens; ``TimeoutError`` otherwise."""
    until = time.monotonic() + patience
    while True:
        try:
            connect(target, timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise TimeoutError(f"nothing listens at {target.url}") from None
            time.sleep(0.02)
        else:
            return


def _nginx(folder: Path, http: str) -> Process:
    """Start nginx with the given ``http`` section, everything it writes being in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    places = "\n".join(
        f"    {kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"""\
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
{places}
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_timeout 300;
    keepalive_requests 100000000;
    client_max_body_size 0;
    client_body_buffer_size 128k;
    default_type application/json;
{http}
}}
"""
    )
    program = tools.find("nginx") or "nginx"
    arguments = [program, "-p", folder, "-c", folder / "nginx.conf"]
    return Process([*arguments, "-e", folder / "error.log"], folder / "nginx.log")


class Provider:
    """The information system behind the provider's Security Server.

    GET is answered by nginx from files, POST by a process that reads the body and forgets it.
    """

    def __init__(self, folder: Path, address: str, large_bytes: int) -> None:
        self.get = Target(address, 8000)
        self.post = Target(address, 8001)
        root = folder / "files" / "get"
        root.mkdir(parents=True)
        for name, size in SIZES.items():
            (root / name).write_bytes(b'{"data": "' + b"x" * (size - 12) + b'"}')
        with (root / "large").open("wb") as file:
            file.truncate(large_bytes)
        location = f"root {root.parent}; open_file_cache max=100 inactive=10m;"
        self._processes = [
            _nginx(
                folder / "provider",
                f"    server {{ listen {address}:8000 backlog=1024; location / {{ {location} }} }}",
            ),
            Process(
                [sys.executable, "-m", "bench.sink", address, "8001"],
                folder / "sink.log",
                cwd=Path(__file__).parents[1],
            ),
        ]
        for target in (self.get, self.post):
            wait_for_port(target)

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self._processes]

    def stop(self) -> None:
        for each in self._processes:
            each.stop()


class NginxPair:
    """Two nginx with mutual TLS between them: what the network part alone costs.

    ``streaming`` passes bodies on as they come; ``buffered`` is nginx as it is installed: it takes
    a request in as a whole first, on the disk if need be, as a Security Server must. Both speak the
    cipher suite that the protocol prescribes; ``modern`` streams with the one that nginx would
    choose, which costs a third a byte and isn't allowed between Security Servers.
    """

    def __init__(
        self, folder: Path, addresses: tuple[str, str], provider: Provider, keys: str
    ) -> None:
        near, far = addresses
        self.streaming = Target(near, 8080)
        self.buffered = Target(near, 8081)
        self.modern = Target(near, 8082)
        pair = folder / "pair"
        pair.mkdir()
        key, certificate = _self_signed(pair, keys)
        tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
        get, post = (f"{each.host}:{each.port}" for each in (provider.get, provider.post))

        def server(listen: str, upstreams: tuple[str, str], extra: str, more: str) -> str:
            scheme = "https" if more else "http"
            client_tls = (
                f"proxy_ssl_certificate {certificate}; proxy_ssl_certificate_key {key};"
                f"proxy_ssl_trusted_certificate {certificate}; proxy_ssl_verify on;"
                "proxy_ssl_name pair; proxy_ssl_session_reuse on;"
                if more
                else ""
            )
            if more == "protocol":
                client_tls += f"proxy_ssl_protocols TLSv1.2; proxy_ssl_ciphers {suites};"
            return (
                f"    server {{ listen {listen} backlog=1024; {extra} {_PROXYING} {client_tls}\n"
                f"        location / {{ proxy_pass {scheme}://{upstreams[0]}; }}\n"
                f"        location /post {{ proxy_pass {scheme}://{upstreams[1]}; }}\n"
                "    }\n"
            )

        def upstream(name: str, address: str) -> str:
            return f"    upstream {name} {{ server {address}; keepalive 300; }}\n"

        suites = SERVER_TO_SERVER_CIPHERS
        mutual = f"{tls} ssl_client_certificate {certificate}; ssl_verify_client on;"
        protocol = f"{mutual} ssl_protocols TLSv1.2; ssl_ciphers {suites};"
        self._processes = [
            _nginx(
                folder / "pair-far",
                upstream("get", get)
                + upstream("post", post)
                + server(f"{far}:5500 ssl", ("get", "post"), protocol + _STREAMING, "")
                + server(f"{far}:5501 ssl", ("get", "post"), protocol, "")
                + server(f"{far}:5502 ssl", ("get", "post"), mutual + _STREAMING, ""),
            ),
            _nginx(
                folder / "pair-near",
                upstream("stream", f"{far}:5500")
                + upstream("buffer", f"{far}:5501")
                + upstream("modern", f"{far}:5502")
                + server(f"{near}:8080", ("stream", "stream"), _STREAMING, "protocol")
                + server(f"{near}:8081", ("buffer", "buffer"), "", "protocol")
                + server(f"{near}:8082", ("modern", "modern"), _STREAMING, "modern"),
            ),
        ]
        for target in (self.streaming, self.buffered, self.modern, Target(far, 5500)):
            wait_for_port(target)

    @property
    def pids(self) -> list[int]:
        return [each.pid for each in self._processes]

    def stop(self) -> None:
        for each in self._processes:
            each.stop()


def _self_signed(folder: Path, keys: str) -> tuple[Path, Path]:
    """A key and a certificate that both nginx show and trust."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    if keys == "EC-P256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(65537, int(keys.removeprefix("RSA-")))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pair")])
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - a certificate for this hour
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("pair")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_path, certificate_path = folder / "key.pem", folder / "certificate.pem"
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    key_path.chmod(0o600)
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return key_path, certificate_path


class Postgresql:
    """A PostgreSQL with its default settings in a temporary folder, reached by a socket file."""

    def __init__(self) -> None:
        # Not below our own folder: started by root, the server is another user.
        self._folder = Path(tempfile.mkdtemp(prefix="postroad-bench-", dir="/var/tmp"))
        self._account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        data = self._folder / "data"
        initdb = [tools.postgresql("initdb"), "-D", data, "-U", "postgres", "-A", "trust"]
        subprocess.run(
            [str(each) for each in (*initdb, "-E", "UTF8", "--locale=C")],
            check=True,
            cwd="/",
            stdout=subprocess.DEVNULL,
            timeout=120,
            **self._as_user(),
        )
        with (self._folder / "log").open("ab") as log:
            command = [
                tools.postgresql("postgres") or "postgres",
                "-D",
                str(data),
                "-k",
                str(self._folder),
                "-c",
                "listen_addresses=",
            ]
            self._process = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_us,  # noqa: PLW1509 - the threads are idle here
                **self._as_user(),
            )
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def create(self, database: str) -> str:
        """Make a new, empty database; its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _as_user(self) -> dict[str, object]:
        if self._account is None:
            return {}
        return {"user": "postgres", "group": "postgres", "extra_groups": []}

    def _wait(self) -> None:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.url("postgres")).close()
                return
            if time.monotonic() > until or self._process.poll() is not None:
                log = (self._folder / "log").read_text("utf-8", "replace")
                self.stop()
                raise TimeoutError(f"PostgreSQL did not start: {log[-500:]}")
            time.sleep(0.05)
