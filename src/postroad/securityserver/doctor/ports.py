"""Does the server listen where its settings say, or does somebody else?"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from postroad.securityserver.doctor.findings import Finding, Telling
from postroad.securityserver.doctor.server import look as look_at_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from postroad.securityserver.doctor.patient import Patient
    from postroad.securityserver.doctor.server import SeenServer
    from postroad.securityserver.settings import Settings

NAME: Final = "ports"
_LISTENING: Final = "0A"


@dataclass(frozen=True, slots=True)
class Port:
    """A port that the settings name."""

    what: str
    host: str
    number: int


@dataclass(frozen=True, slots=True)
class SeenPort:
    """Who listens on a port."""

    port: Port
    listeners: int
    """How many sockets listen there."""
    owners: frozenset[int] = frozenset()
    """The processes that hold them, as far as this user may know."""


async def examine(patient: Patient) -> Sequence[Finding]:
    """Read the kernel's tables."""

    def look_at_all() -> tuple[SeenServer, list[SeenPort]]:
        seen = look_at_server(patient.settings.run_path)
        return seen, look(expected_ports(patient.settings))

    seen, found = await asyncio.to_thread(look_at_all)
    return judge(seen, found)


def expected_ports(settings: Settings) -> list[Port]:
    """The ports that are to be open; 0 opens none."""
    client, server, health = settings.client_proxy, settings.server_proxy, settings.monitoring
    ports = [
        Port("information systems, HTTP", client.host, client.http_port),
        Port("information systems, HTTPS", client.host, client.https_port),
        Port("peers", server.host, server.port),
        Port("OCSP for peers", server.ocsp_host, server.ocsp_port),
        Port("health check", health.health_check_host, health.health_check_port),
    ]
    return [port for port in ports if port.number]


def look(ports: Sequence[Port]) -> list[SeenPort]:
    """Find the listening sockets and who holds them; blocking."""
    inodes = {port: set(_inodes(port)) for port in ports}
    wanted = {inode for found in inodes.values() for inode in found}
    owners = _owners(wanted)
    return [
        SeenPort(
            port,
            len(found),
            frozenset(pid for inode in found for pid in owners.get(inode, ())),
        )
        for port, found in inodes.items()
    ]


def _inodes(port: Port) -> Iterator[str]:
    try:
        found = socket.getaddrinfo(port.host, port.number, type=socket.SOCK_STREAM)
    except OSError:
        return
    for family, _, _, _, address in found:
        packed = socket.inet_pton(family, str(address[0]))
        # An address that stands for all of them is taken by whoever has a single one, too.
        any_of = not any(packed)
        table = "/proc/net/tcp6" if family == socket.AF_INET6 else "/proc/net/tcp"
        try:
            lines = Path(table).read_text("ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            host, _, number = fields[1].rpartition(":")
            if fields[3] != _LISTENING or int(number, 16) != port.number:
                continue
            if any_of or host in {_hexadecimal(packed), "0" * len(host)}:
                yield fields[9]


def _hexadecimal(packed: bytes) -> str:
    """An address as the kernel's tables write it: words of the machine's byte order."""
    return b"".join(packed[at : at + 4][::-1] for at in range(0, len(packed), 4)).hex().upper()


def _owners(inodes: set[str]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            for descriptor in (process / "fd").iterdir():
                inode = wanted.get(str(descriptor.readlink()))
                if inode is not None:
                    found.setdefault(inode, set()).add(int(process.name))
        except OSError:
            continue  # it ended, or is another user's
    return found


def judge(seen: SeenServer, ports: Sequence[SeenPort]) -> list[Finding]:
    """Each port is held by a process of ours, and of ours alone."""
    tell = Telling(NAME)
    findings: list[Finding] = []
    children = {child.pid for child in seen.children if child.is_alive} | {seen.pid}
    crashing = any(
        child.name.startswith("worker") and child.last_end == "exit code 1"
        for child in seen.children
    )
    for entry in ports:
        port = entry.port
        where = f"port {port.number} ({port.what}) at {port.host}"
        strangers = sorted(entry.owners - children)
        taken = bool(strangers) or (entry.listeners and (not seen.is_alive or crashing))
        if taken and not (entry.owners & children and seen.is_alive):
            who = f" by process {strangers[0]}" if strangers else ""
            findings.append(
                tell.failed(
                    f"{where} is taken{who}, which is not this server's",
                    "stop the other program, or change the port in server.toml",
                    str(port.number),
                )
            )
        elif not entry.listeners and seen.is_alive:
            causes = ["server", "processes"]
            if port.what == "peers":
                causes += ["token", "authentication certificate", "configuration expiry"]
            findings.append(
                tell.failed(
                    f"nothing listens on {where}",
                    "the worker's log tells why it didn't open it",
                    str(port.number),
                    causes,
                )
            )
    if findings:
        return findings
    if not seen.is_alive:
        return [tell.not_judged("server")]
    return [tell.ok(", ".join(f"{port.port.number} {port.port.what}" for port in ports))]
