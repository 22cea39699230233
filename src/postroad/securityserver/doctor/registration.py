"""Does the global configuration know this server and its clients as we do?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from postroad.securityserver.doctor.findings import Finding, Telling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from postroad.securityserver.doctor.patient import Patient

NAME: Final = "registration"


@dataclass(frozen=True, slots=True)
class Known:
    """What the global configuration says of this server."""

    exists: bool
    address: str | None
    maintenance: str | None
    unregistered: tuple[str, ...]
    """Clients that we think are registered, and it doesn't list."""
    saved: tuple[str, ...]
    """Clients that nobody has asked to register."""


async def examine(patient: Patient) -> Sequence[Finding]:
    """Compare both."""
    globalconf = await patient.globalconf()
    server = patient.settings.server_id
    clients = (await patient.serverconf()).clients
    known = globalconf.clients_of(server)
    return judge(
        Known(
            exists=globalconf.server_exists(server),
            address=globalconf.address_of(server),
            maintenance=globalconf.maintenance_of(server),
            unregistered=tuple(
                str(client.identifier)
                for client in clients
                if client.is_registered and client.identifier not in known
            ),
            saved=tuple(str(client.identifier) for client in clients if client.status == "saved"),
        )
    )


def judge(known: Known) -> list[Finding]:
    """A server that isn't listed doesn't exist for others."""
    tell = Telling(NAME)
    if not known.exists:
        return [
            tell.failed(
                "the global configuration doesn't list this server: nobody can call it",
                "postroad server register, and ask the Central Server's operator to approve",
            )
        ]
    if known.address is None:
        return [
            tell.failed(
                "the global configuration has no address of this server",
                "postroad server address change",
            )
        ]
    findings: list[Finding] = []
    if known.unregistered:
        findings.append(
            tell.failed(
                f"not listed for this server: {', '.join(known.unregistered)}",
                "postroad server client register, or wait for the next configuration",
                "clients",
            )
        )
    if known.saved:
        findings.append(
            tell.warning(
                f"configured but never registered: {', '.join(known.saved)}",
                "postroad server client register",
                "clients",
            )
        )
    if known.maintenance is not None:
        message = f": {known.maintenance}" if known.maintenance else ""
        findings.append(
            tell.warning(
                f"this server is in maintenance mode{message}; consumers don't choose it",
                "postroad server maintenance disable",
            )
        )
    return findings or [tell.ok(f"listed at {known.address} with all its clients")]
