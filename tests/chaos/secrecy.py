"""Do PIN, keys and bodies stay where they belong?

Canaries are looked for in everything the processes write and, since we are root's equal here, in
the memory of every process that must not know them.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import stat
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from chaos.arena import Arena
from chaos.load import send
from chaos.report import Skipped, require
from postroad.adapters.signer_protocol import KeyUsage, TokenRecord
from postroad.adapters.tokens import SoftwareToken
from postroad.demo.layout import CONSUMER, HEALTH_CHECK_PORT, PARTIES, Party

_REGION = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r")
_PIECE = 1 << 22


def canaries(arena: Arena) -> dict[str, object]:
    """PIN, private keys and bodies are in no log, fault, metric or status file; keys are 0600."""
    pin = arena.layout.pin_file.read_bytes().strip()
    body = f"canary-{uuid.uuid4().hex}".encode()
    faults = _exchange_with(arena, body)
    require(not any(body in told for told in faults), "a fault tells a body")
    arena.await_works()
    for party in PARTIES:
        metrics = _metrics(arena, party)
        require(b"postroad_" in metrics, f"no metrics of {party.server_code}: {metrics[:200]!r}")
        require(pin not in metrics and body not in metrics, "the metrics tell a PIN or a body")
    written = 0
    for path in _files(arena.layout.log):
        written += 1
        _require_absent(path, {"PIN": pin, "body": body})
    for party in PARTIES:
        home = arena.layout.server_home(party)
        directory = arena.ecosystem.settings(party).signer_path
        keys = {f"key {index}": key for index, key in enumerate(private_keys(directory, pin))}
        require(keys, f"no private keys of {party.server_code} found to look for")
        for path in _files(home):
            written += 1
            held = {"PIN": pin} | keys
            if "db" not in path.parts and "spool" not in path.parts:
                held["body"] = body  # the message log is where bodies belong
            _require_absent(path, held)
        _require_private(home)
    return {"files": written, "faults": len(faults)}


def _metrics(arena: Arena, party: Party) -> bytes:
    connection = http.client.HTTPConnection(
        arena.layout.address(party.number), HEALTH_CHECK_PORT, timeout=30
    )
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read()


def _exchange_with(arena: Arena, canary: bytes) -> list[bytes]:
    """Exchanges, good ones and all kinds of refused ones, with the canary in their bodies."""
    told: list[bytes] = []
    paths = ["/elsewhere", "/ledger/../x", "/nasty/garbage", "/nasty/reset", "/nasty/hang"]
    for service, path in [
        ("ledger", paths[0]),
        ("ledger", paths[1]),
        ("none", "/x"),
        *(("nasty", each) for each in paths[2:]),
    ]:
        door = arena.door(service)
        connection = http.client.HTTPConnection(door.host, door.port, timeout=60)
        with contextlib.closing(connection):
            reply = send(door, connection, path, canary * 3000, str(uuid.uuid4()))
        require(reply.status != 200, f"{path} was not refused")
        told.append(reply.body)
    connection = http.client.HTTPConnection(arena.door().host, 8080, timeout=60)
    with contextlib.closing(connection):
        query_id = str(uuid.uuid4())
        arena.ledger.sending(query_id, canary)
        reply = send(arena.door(), connection, "/ledger", canary, query_id)
        require(reply.status == 200, f"a good exchange failed: {reply}")
    return told


def processes(arena: Arena) -> dict[str, object]:
    """Only the signer has keys: no other process has them open, mapped, or in its memory."""
    if os.geteuid() != 0:
        raise Skipped("needs root to look into the memory of processes that forbid it")
    pin = arena.layout.pin_file.read_bytes().strip()
    arena.await_works()
    looked = 0
    for party in PARTIES:
        signer_path = arena.ecosystem.settings(party).signer_path
        secrets = {"PIN": pin}
        secrets |= {f"signing key {n}": key for n, key in enumerate(_scalars(party, arena, pin))}
        # A device's keys can't be read, so there it is the PIN alone that is looked for.
        require(len(secrets) > 1 or arena.has_device(party), "no signing key found to look for")
        found_in_signer = 0
        for name, pid in arena.children(party).items():
            _require_undumpable(name, pid)
            memory = set(_found_in_memory(pid, secrets))
            if name == "signer":
                found_in_signer = len(memory)
                continue
            if name.startswith("token-"):
                continue  # the library of a device, which was given the PIN
            looked += 1
            require(not memory, f"{party.server_code} {name} has in its memory: {memory}")
            opened = [str(path) for path in _opened(pid) if path.is_relative_to(signer_path)]
            require(not opened, f"{party.server_code} {name} has open: {opened}")
        can_see = found_in_signer or len(secrets) == 1
        require(can_see, "the search finds nothing in the signer either: it can't see")
    return {"processes": looked}


def core_files(arena: Arena) -> dict[str, object]:
    """A crash (SIGSEGV) of the signer or a worker leaves no core file; one of another might."""
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    if "/" in pattern or pattern.startswith("|"):
        raise Skipped(f"this machine's core files go elsewhere: {pattern}")
    program = arena.ecosystem.servers[CONSUMER]
    folder = Path(f"/proc/{program.pid}/cwd").resolve()
    before = set(folder.glob("core*"))
    for name in ("signer", "worker-0"):
        os.kill(arena.children(CONSUMER)[name], signal.SIGSEGV)
        time.sleep(1)
        arena.await_works()
    made = set(folder.glob("core*")) - before
    for path in made:
        path.unlink()
    require(not made, f"core files: {sorted(map(str, made))}")
    return {"pattern": pattern}


# ---- what there is to find


def private_keys(directory: Path, pin: bytes) -> Iterator[bytes]:
    """Every form in which a private key of a software token could lie in a file."""
    for key in _keys(directory, pin):
        yield key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        yield key.private_numbers().private_value.to_bytes(32, "big")


def _scalars(party: Party, arena: Arena, pin: bytes) -> Iterator[bytes]:
    """Signing keys as numbers: as OpenSSL keeps them in memory (little-endian), and as sent."""
    for key in _keys(arena.ecosystem.settings(party).signer_path, pin, signing_only=True):
        number = key.private_numbers().private_value
        yield number.to_bytes(32, "big")
        yield number.to_bytes(32, "little")


def _keys(
    directory: Path, pin: bytes, *, signing_only: bool = False
) -> Iterator[ec.EllipticCurvePrivateKey]:
    record = msgspec.json.decode((directory / "token.json").read_bytes(), type=TokenRecord)
    token = SoftwareToken(directory)
    secret = token.unlock(pin.decode())
    for entry in record.keys:
        if signing_only and entry.usage is not KeyUsage.SIGNING:
            continue
        key = token.load_key(secret, entry.id)
        require(isinstance(key, ec.EllipticCurvePrivateKey), "the suite runs with EC keys")
        if isinstance(key, ec.EllipticCurvePrivateKey):
            yield key


# ---- where to look


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path


def _require_absent(path: Path, secrets: dict[str, bytes]) -> None:
    content = path.read_bytes()
    for name, secret in secrets.items():
        hidden = secret in content or secret.hex().encode() in content.lower()
        require(not hidden, f"{path} holds a {name}")


def _require_private(home: Path) -> None:
    """Nobody else may read what a server keeps, keys least of all."""
    for path in _files(home / "signer"):
        mode = stat.S_IMODE(path.stat().st_mode)
        require(mode == 0o600, f"{path} has mode {mode:o}")
    mode = stat.S_IMODE((home / "signer").stat().st_mode)
    require(mode == 0o700, f"{home / 'signer'} has mode {mode:o}")
    for path in [*(home / "db").iterdir(), *(home / "spool").iterdir(), *(home / "run").iterdir()]:
        mode = stat.S_IMODE(path.stat().st_mode)
        require(not mode & 0o077, f"{path} has mode {mode:o}")


def _opened(pid: int) -> Iterable[Path]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            yield entry.readlink()
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            yield Path(parts[5])


def _found_in_memory(pid: int, secrets: dict[str, bytes]) -> Iterator[str]:
    longest = max(map(len, secrets.values()))
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            region = _REGION.match(line)
            if region is None or "[v" in line:
                continue
            at, end = int(region[1], 16), int(region[2], 16)
            tail = b""
            while at < end:
                with contextlib.suppress(OSError, ValueError):
                    memory.seek(at)
                    data = tail + memory.read(min(_PIECE, end - at))
                    yield from (name for name, secret in secrets.items() if secret in data)
                    tail = data[-longest:]
                at += _PIECE


def _require_undumpable(name: str, pid: int) -> None:
    """A process that forbids dumps belongs to root in /proc even when it runs as another user."""
    if name != "signer" and not name.startswith("worker"):
        return
    if Path(f"/proc/{pid}").stat().st_uid == 0:
        return
    require(Path(f"/proc/{pid}/mem").stat().st_uid == 0, f"{name} may be dumped")


SCENARIOS = (canaries, processes, core_files)
